package planner

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

const gib = 1 << 30

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bare is a state machine without Raft. before, where set, is called before
// each command is applied.
type bare struct {
	*state.Machine
	t      *testing.T
	index  uint64
	log    []state.Command
	before func(state.Command)
}

func (b *bare) Apply(cmd state.Command) (state.Result, error) {
	if hook := b.before; hook != nil {
		b.before = nil
		hook(cmd)
	}
	entry, err := state.Encode(cmd)
	if err != nil {
		b.t.Fatal(err)
	}
	b.index++
	b.log = append(b.log, cmd)
	r, err := b.Machine.Apply(b.index, entry)
	if err != nil {
		b.t.Fatal(err)
	}
	return r, r.Err
}

func newBare(t *testing.T) (*bare, *Leader) {
	b := &bare{Machine: state.New(), t: t}
	return b, New(b, nil, slog.New(slog.DiscardHandler))
}

func member(id string, tier tiering.Tier, cores int64, status tiering.NodeStatus) tiering.Member {
	return tiering.Member{Status: status, Node: tiering.Node{
		ID: id, Tier: tier, Capacity: tiering.Resources{CPU: cores * 1000, Memory: 4 * gib, Disk: gib},
		Platforms: []tiering.Platform{{Type: "cpu", Count: int(cores)}}, Models: []string{"hog-people"},
	}}
}

func workflow(name string) *tiering.Workflow {
	return &tiering.Workflow{
		Name:    name,
		Sources: []tiering.Source{{Name: "cam", URI: "videotest:", Resolution: 640}},
		Tasks: []tiering.Task{{
			Name: "detect@640", Group: "detect", Type: tiering.DeepModel, Operation: "detect", Replicas: 1,
			Model:   &tiering.Model{Name: "hog-people", Family: "hog", Resolution: 640, Fit: tiering.Letterbox},
			Request: tiering.Resources{CPU: 2000, Memory: gib},
		}},
		Links:      []tiering.Link{{From: "cam", To: "detect", Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90}},
		Objectives: tiering.Objectives{MinAccuracy: 0.5, Deadline: time.Second},
	}
}

// mesh registers an edge, a fog and a cloud node, of these statuses.
func mesh(t *testing.T, l *Leader, fog, cloud tiering.NodeStatus, at time.Time) {
	t.Helper()
	members := []tiering.Member{
		member("edge-1", tiering.Edge, 1, tiering.NodeAlive), member("fog-1", tiering.Fog, 2, fog), member("cloud-1", tiering.Cloud, 2, cloud),
	}
	if err := l.ReconcileNodes(t.Context(), members, at); err != nil {
		t.Fatal(err)
	}
}

func where(b *bare, workflow string) string {
	for _, p := range b.Snapshot().PlacementsOf(workflow) {
		if !p.Source {
			return p.Node
		}
	}
	return ""
}

// Nodes that membership does not list are given time, then failed, then
// forgotten.
func TestNodesThatMembershipDoesNotList(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	others := []tiering.Member{member("edge-1", tiering.Edge, 1, tiering.NodeAlive), member("cloud-1", tiering.Cloud, 2, tiering.NodeAlive)}
	for _, x := range []struct {
		after time.Duration
		want  tiering.NodeStatus
	}{
		{0, tiering.NodeAlive},
		{missingGrace - time.Second, tiering.NodeAlive},
		{missingGrace, tiering.NodeFailed},
		{forgetAfter, tiering.NodeFailed},
		{forgetAfter + missingGrace, ""},
	} {
		if err := l.ReconcileNodes(t.Context(), others, start.Add(x.after)); err != nil {
			t.Fatal(err)
		}
		var got tiering.NodeStatus
		if n, ok := b.Snapshot().Node("fog-1"); ok {
			got = n.Status
		}
		if got != x.want {
			t.Fatalf("missing for %v: %q, want %q", x.after, got, x.want)
		}
	}
}

func TestReconcileWritesOnlyDifferences(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	n := len(b.log)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start.Add(time.Second))
	if len(b.log) != n {
		t.Errorf("nothing had changed, and %T was written", b.log[n])
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.ReconcileNodes(done, []tiering.Member{member("fog-9", tiering.Fog, 1, tiering.NodeAlive)}, start); err != nil || len(b.log) != n {
		t.Errorf("after its end %d commands were written, %v", len(b.log)-n, err)
	}
}

func TestReplanMovesWhatADeadNodeHad(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	w := workflow("people")
	if _, _, err := l.Submit(t.Context(), w, "document", start); err != nil {
		t.Fatal(err)
	}
	first := where(b, "people")
	fog, cloud := tiering.NodeAlive, tiering.NodeAlive
	if first == "fog-1" {
		fog = tiering.NodeFailed
	} else {
		cloud = tiering.NodeFailed
	}
	mesh(t, l, fog, cloud, start.Add(time.Second))
	if err := l.Replan(t.Context(), start.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if second := where(b, "people"); second == first || second == "edge-1" {
		t.Errorf("%s failed; the detector is on %s", first, second)
	}

	// With nowhere to go the workflow says so once, and is not tried again
	// before something has changed.
	mesh(t, l, tiering.NodeFailed, tiering.NodeFailed, start.Add(2*time.Second))
	for range 3 {
		if err := l.Replan(t.Context(), start.Add(2*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	said := 0
	for _, cmd := range b.log {
		if _, ok := cmd.(*state.SetWorkflowStatus); ok {
			said++
		}
	}
	got, _ := b.Snapshot().Workflow("people")
	if said != 1 || got.Status != state.Degraded || !strings.Contains(got.Reason, "detect@640") {
		t.Errorf("said %d times; %s: %s", said, got.Status, got.Reason)
	}
	mesh(t, l, tiering.NodeAlive, tiering.NodeFailed, start.Add(3*time.Second))
	if err := l.Replan(t.Context(), start.Add(3*time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, _ := b.Snapshot().Workflow("people"); got.Status != state.Running || where(b, "people") != "fog-1" {
		t.Errorf("fog-1 is back; %s on %s", got.Status, where(b, "people"))
	}
}

func TestSubmit(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeFailed, start)
	if _, _, err := l.Submit(t.Context(), workflow("people"), "document", start); err != nil {
		t.Fatal(err)
	}
	n := len(b.log)
	if p, anew, err := l.Submit(t.Context(), workflow("people"), "document", start); err != nil || anew || !p.Empty() || len(b.log) != n {
		t.Errorf("the same again: plan %+v, %d commands, %v", p, len(b.log)-n, err)
	}
	if _, err := b.Apply(&state.StopWorkflow{Name: "people", At: start}); err != nil {
		t.Fatal(err)
	}
	if _, anew, err := l.Submit(t.Context(), workflow("people"), "document", start); err != nil || !anew {
		t.Errorf("submitted after it was stopped: anew %t, %v", anew, err)
	}
	n = len(b.log)
	big := workflow("big")
	big.Tasks[0].Request.CPU = 64_000
	if _, _, err := l.Submit(t.Context(), big, "", start); !errors.As(err, new(*tiering.Refused)) || len(b.log) != n {
		t.Errorf("what nobody can run: %v, %d commands", err, len(b.log)-n)
	}
}

// A plan that was overtaken is made anew from what is then.
func TestSubmitPlansAgainWhenOvertaken(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	b.before = func(cmd state.Command) {
		on := cmd.(*state.SubmitWorkflow).Plan.Place[1].Node
		if _, err := b.Apply(&state.SetNodeStatus{Node: on, Status: tiering.NodeFailed, At: start}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := l.Submit(t.Context(), workflow("people"), "", start); err != nil {
		t.Fatal(err)
	}
	n, ok := b.Snapshot().Node(where(b, "people"))
	if !ok || !n.Alive() {
		t.Errorf("placed on %s, which is dead", where(b, "people"))
	}
}

func TestScheduleFollowsFromTheState(t *testing.T) {
	b, l := newBare(t)
	members := []tiering.Member{member("edge-1", tiering.Edge, 1, tiering.NodeAlive)}
	for _, id := range []string{"fog-1", "fog-2", "fog-3", "fog-4"} {
		members = append(members, member(id, tiering.Fog, 4, tiering.NodeAlive))
	}
	if err := l.ReconcileNodes(t.Context(), members, start); err != nil {
		t.Fatal(err)
	}
	view := b.Snapshot().View(nil)
	first, err := Schedule(view, workflow("people"))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if again, err := Schedule(view, workflow("people")); err != nil || !state.Same(again, first) {
			t.Fatalf("the same view gave another plan: %+v, %v", again, err)
		}
	}
}
