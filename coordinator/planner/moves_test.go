package planner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// agents is what agents have reported.
type agents struct {
	up      map[string]bool // "placement on node"
	follows map[string]uint64
}

func newAgents() *agents { return &agents{map[string]bool{}, map[string]uint64{}} }

func (a *agents) Up(placement, node string, since uint64) bool {
	return a.up[placement+" on "+node] && a.follows[node] >= since
}

func (a *agents) Follows(node string, index uint64) bool { return a.follows[node] >= index }

// starts has every instance that a node is to run be up.
func (a *agents) starts(b *bare, nodes ...string) {
	for _, n := range nodes {
		for _, as := range b.Snapshot().Assignments(n) {
			a.up[as.Placement.ID+" on "+n] = true
		}
	}
	a.follow(b, nodes...)
}

// follow has nodes act on the state as it is.
func (a *agents) follow(b *bare, nodes ...string) {
	for _, n := range nodes {
		a.follows[n] = b.Snapshot().Revision()
	}
}

const detector = "people/detect@640#0"

// draining is a mesh that drains the node of its detector, which has begun to
// move from one to the other.
func draining(t *testing.T) (b *bare, l *Leader, a *agents, from, to string) {
	t.Helper()
	b, l = newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	if _, _, err := l.Submit(t.Context(), workflow("people"), "document", start); err != nil {
		t.Fatal(err)
	}
	from, to, a = where(b, "people"), "cloud-1", newAgents()
	if from == to {
		to = "fog-1"
	}
	a.starts(b, from, "edge-1")
	drain(t, b, from, true)
	move(t, l, a)
	if p := placement(b, detector); p.Node != to || p.From != from || p.Switched != 0 {
		t.Fatalf("%+v, want it on its way from %s to %s", p, from, to)
	}
	return b, l, a, from, to
}

func drain(t *testing.T, b *bare, node string, on bool) {
	t.Helper()
	if _, err := b.Apply(&state.SetNodeDrain{Node: node, Drain: on, At: start}); err != nil {
		t.Fatal(err)
	}
}

func move(t *testing.T, l *Leader, a *agents) {
	t.Helper()
	if err := l.Move(t.Context(), a, start); err != nil {
		t.Fatal(err)
	}
}

func placement(b *bare, id string) tiering.Placement {
	for _, p := range b.Snapshot().Placements() {
		if p.ID == id {
			return p
		}
	}
	return tiering.Placement{}
}

func TestMoveTakesOneStepAfterTheOther(t *testing.T) {
	b, l, a, from, to := draining(t)
	idle := func(why string) {
		t.Helper()
		n := len(b.log)
		move(t, l, a)
		if len(b.log) != n {
			t.Fatalf("%s, and %T was written", why, b.log[n])
		}
	}
	idle("the new instance is not up")
	a.starts(b, to)
	move(t, l, a)
	if p := placement(b, detector); p.Switched == 0 || p.From != from {
		t.Fatalf("the new instance is up: %+v", p)
	}
	a.follow(b, "edge-1", to)
	idle("the old node has not heard of it")
	a.follow(b, from)
	a.follows["edge-1"]--
	idle("the camera's node has not heard of it")
	a.follow(b, "edge-1")

	// A new leader goes on where the other left off.
	l = New(b, nil, l.log)
	move(t, l, a)
	if p := placement(b, detector); p.From != "" || p.Node != to {
		t.Fatalf("every node sends frames to the new instance: %+v", p)
	}
	idle("it has moved")
	drain(t, b, from, false)
	if err := l.Replan(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	idle("the drain is over, and nothing moves back")
}

// A new leader knows from the state alone what moves.
func TestMoveUnderANewLeader(t *testing.T) {
	b, l, _, from, to := draining(t)
	l, a := New(b, nil, l.log), newAgents()
	move(t, l, a)
	if p := placement(b, detector); p.From != from || p.Switched != 0 {
		t.Fatalf("before any report: %+v", p)
	}
	a.starts(b, to)
	move(t, l, a)
	a.follow(b, "edge-1", from, to)
	move(t, l, a)
	if p := placement(b, detector); p.From != "" || p.Node != to {
		t.Fatalf("%+v", p)
	}
}

func TestMovesThatAreDisturbed(t *testing.T) {
	status := func(fog, cloud tiering.NodeStatus) func(*testing.T, *bare, *Leader) {
		return func(t *testing.T, _ *bare, l *Leader) { t.Helper(); mesh(t, l, fog, cloud, start.Add(time.Second)) }
	}
	const alive, failed = tiering.NodeAlive, tiering.NodeFailed
	for name, c := range map[string]struct {
		do     func(*testing.T, *bare, *Leader)
		node   string // "from", "to" or a node
		moving bool
		status state.Status
		reason string
	}{
		"the old node dies": {func(t *testing.T, b *bare, l *Leader) {
			fog, cloud := alive, failed
			if placement(b, detector).From == "fog-1" {
				fog, cloud = failed, alive
			}
			status(fog, cloud)(t, b, l)
		}, "to", false, state.Running, ""},
		"the new node dies, and there is no other": {func(t *testing.T, b *bare, l *Leader) {
			fog, cloud := failed, alive
			if placement(b, detector).From == "fog-1" {
				fog, cloud = alive, failed
			}
			status(fog, cloud)(t, b, l)
		}, "to", true, state.Running, "which is draining"},
		"the new node dies, and there is another": {func(t *testing.T, b *bare, l *Leader) {
			members := []tiering.Member{member("edge-1", tiering.Edge, 1, alive), member("fog-9", tiering.Fog, 2, alive)}
			p := placement(b, detector)
			members = append(members, member(p.Node, p.Tier, 2, failed))
			if err := l.ReconcileNodes(t.Context(), members, start); err != nil {
				t.Fatal(err)
			}
		}, "fog-9", true, state.Running, ""},
		"the new node dies when the drain is over": {func(t *testing.T, b *bare, l *Leader) {
			p := placement(b, detector)
			if _, err := b.Apply(&state.SetNodeStatus{Node: p.Node, Status: failed, At: start}); err != nil {
				t.Fatal(err)
			}
			drain(t, b, p.From, false)
		}, "from", false, state.Running, ""},
		"both nodes die": {status(failed, failed), "to", true, state.Degraded, "detect@640 does not fit"},
		"both nodes die, and the old one returns": {func(t *testing.T, b *bare, l *Leader) {
			p := placement(b, detector)
			status(failed, failed)(t, b, l)
			for range 2 {
				if err := l.Replan(t.Context(), start); err != nil {
					t.Fatal(err)
				}
				move(t, l, newAgents())
			}
			fog, cloud := alive, failed
			if p.From == "cloud-1" {
				fog, cloud = failed, alive
			}
			status(fog, cloud)(t, b, l)
		}, "to", true, state.Running, "which is draining"},
		"both nodes die, and there is another": {func(t *testing.T, b *bare, l *Leader) {
			status(failed, failed)(t, b, l)
			if err := l.ReconcileNodes(t.Context(), []tiering.Member{member("fog-9", tiering.Fog, 2, alive)}, start); err != nil {
				t.Fatal(err)
			}
		}, "fog-9", false, state.Running, ""},
		"the drain ends": {func(t *testing.T, b *bare, _ *Leader) { drain(t, b, placement(b, detector).From, false) }, "from", false, state.Running, ""},
		"the new node is drained, too": {func(t *testing.T, b *bare, l *Leader) {
			members := []tiering.Member{member("fog-9", tiering.Fog, 2, alive)}
			if err := l.ReconcileNodes(t.Context(), members, start); err != nil {
				t.Fatal(err)
			}
			drain(t, b, placement(b, detector).Node, true)
		}, "fog-9", true, state.Running, ""},
		"the workflow is stopped": {func(t *testing.T, b *bare, _ *Leader) {
			if _, err := b.Apply(&state.StopWorkflow{Name: "people", At: start}); err != nil {
				t.Fatal(err)
			}
		}, "", false, state.Stopped, ""},
		"the workflow is submitted again": {func(t *testing.T, _ *bare, l *Leader) {
			w := workflow("people")
			w.Sources[0].FPS = 2
			if _, _, err := l.Submit(t.Context(), w, "another", start); err != nil {
				t.Fatal(err)
			}
		}, "to", true, state.Running, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, l, a, from, to := draining(t)
			c.do(t, b, l)
			for range 3 {
				if err := l.Replan(t.Context(), start); err != nil {
					t.Fatal(err)
				}
				move(t, l, a)
			}
			want := c.node
			switch want {
			case "from":
				want = from
			case "to":
				want = to
			}
			p := placement(b, detector)
			w, _ := b.Snapshot().Workflow("people")
			if p.Node != want || (p.From != "") != c.moving || w.Status != c.status || !strings.Contains(w.Reason, c.reason) || c.reason == "" && w.Reason != "" {
				t.Errorf("it is on %s, from %q, want %s; workflow is %s: %s", p.Node, p.From, want, w.Status, w.Reason)
			}
			if c.moving && p.From != from {
				t.Errorf("it comes from %s, want %s, which serves", p.From, from)
			}
		})
	}
}

// A report of before a node's crash, or of before a drain was ended and begun
// again, says nothing of what runs there now.
func TestOldReportsSayNothing(t *testing.T) {
	t.Run("crash", func(t *testing.T) {
		b, l := newBare(t)
		mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
		if _, _, err := l.Submit(t.Context(), workflow("people"), "document", start); err != nil {
			t.Fatal(err)
		}
		first, a := where(b, "people"), newAgents()
		a.starts(b, first)
		dies(t, l, first)
		if err := l.Replan(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		second := where(b, "people")
		if second == first {
			t.Fatal("it has not moved")
		}
		drain(t, b, second, true)
		mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
		for range 3 {
			move(t, l, a)
		}
		if p := placement(b, detector); p.Node != first || p.From != second || p.Switched != 0 {
			t.Fatalf("nobody knows yet whether it is up on %s: %+v", first, p)
		}
		a.starts(b, first)
		move(t, l, a)
		if p := placement(b, detector); p.Switched == 0 {
			t.Fatalf("it is up on %s: %+v", first, p)
		}
	})
	t.Run("off and on", func(t *testing.T) {
		b, l, a, from, to := draining(t)
		a.starts(b, to)
		drain(t, b, from, false) // to stops it; its next report is yet to come
		drain(t, b, from, true)
		for range 3 {
			move(t, l, a)
		}
		if p := placement(b, detector); p.From != from || p.Switched != 0 {
			t.Fatalf("nobody knows yet whether it is up on %s again: %+v", to, p)
		}
	})
	t.Run("off and on while the plan is made", func(t *testing.T) {
		b, l, a, from, to := draining(t)
		move(t, l, a)
		a.starts(b, to)
		drain(t, b, from, false)
		move(t, l, a)
		drain(t, b, from, true)
		for range 3 {
			move(t, l, a)
		}
		if p := placement(b, detector); p.From != from || p.Switched != 0 {
			t.Fatalf("nobody knows yet whether it is up on %s again: %+v", to, p)
		}
	})
	t.Run("another detector", func(t *testing.T) {
		b, l, a, from, to := draining(t)
		move(t, l, a)
		a.starts(b, to)
		w := workflow("people")
		w.Tasks[0].Settings = map[string]string{"score": "0.7"}
		if _, _, err := l.Submit(t.Context(), w, "another", start); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			move(t, l, a)
		}
		if p := placement(b, detector); p.From != from || p.Switched != 0 {
			t.Fatalf("nobody knows yet whether the new detector is up on %s: %+v", to, p)
		}
	})
}

// dies has fog-1 or cloud-1 fail; the other one lives.
func dies(t *testing.T, l *Leader, node string) {
	t.Helper()
	fog, cloud := tiering.NodeAlive, tiering.NodeFailed
	if node == "fog-1" {
		fog, cloud = cloud, fog
	}
	mesh(t, l, fog, cloud, start.Add(time.Second))
}

// A node that frames were switched to, dies and returns has to start its
// instance again before it gets any.
func TestSwitchedNodeReturns(t *testing.T) {
	b, l, a, from, to := draining(t)
	round := func() {
		t.Helper()
		if err := l.Replan(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		move(t, l, a)
	}
	served := func(want, when string) {
		t.Helper()
		for _, as := range b.Snapshot().Assignments("edge-1") {
			if as.Source != nil && (len(as.Next) != 1 || as.Next[0].Node != want) {
				t.Fatalf("%s: frames go to %+v, want %s", when, as.Next, want)
			}
		}
		if p := placement(b, detector); p.From != from {
			t.Fatalf("%s: %s ends its instance: %+v", when, from, p)
		}
	}
	a.starts(b, to)
	round()
	served(to, "it is up")
	a.follow(b, from) // edge-1 is yet to
	dies(t, l, to)
	round()
	served(from, to+" is dead")
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start.Add(time.Minute))
	served(from, to+" is back and has not started anything")
	if p := placement(b, detector); p.Stays != "" {
		t.Errorf("it can move again, and is said to stay: %s", p.Stays)
	}
	a.follow(b, "edge-1", from)
	round()
	round()
	served(from, "it has said nothing of what it runs now")
	a.starts(b, to)
	round()
	served(to, "it is up again")
	a.up[detector+" on "+to] = false // its agent was restarted before anybody saw
	a.follow(b, "edge-1", from, to)
	round()
	served(to, "it starts once more")
	a.starts(b, to)
	round()
	if p := placement(b, detector); p.From != "" || p.Node != to {
		t.Fatalf("all is well: %+v", p)
	}
}

// What finds no room stays, says why once, and moves when there is room. The
// camera is attached, and nothing is said of it.
func TestWhatStays(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeFailed, start)
	w := workflow("people")
	w.Sources[0].Node = "edge-1"
	if _, _, err := l.Submit(t.Context(), w, "document", start); err != nil {
		t.Fatal(err)
	}
	a := newAgents()
	drain(t, b, "fog-1", true)
	drain(t, b, "edge-1", true)
	n := len(b.log)
	for range 3 {
		move(t, l, a)
	}
	got, _ := b.Snapshot().Workflow("people")
	want := "detect@640 stays on fog-1, which is draining: no fog node that is not draining could run it; no cloud node is alive"
	if len(b.log) != n+1 || got.Status != state.Running || got.Reason != want {
		t.Fatalf("%d commands; workflow is %s: %s", len(b.log)-n, got.Status, got.Reason)
	}
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	move(t, l, a)
	if p := placement(b, detector); p.Node != "cloud-1" || p.From != "fog-1" || p.Stays != "" {
		t.Fatalf("there is room: %+v", p)
	}
	if got, _ := b.Snapshot().Workflow("people"); got.Reason != "" {
		t.Errorf("the reason lasts: %s", got.Reason)
	}
}

// Why a workflow does not run in full is not overwritten by why something stays.
func TestWhatStaysIsNotAllThatIsWrong(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	w := workflow("people")
	w.Sources[0].Node = "edge-1"
	w.Tasks[0].Replicas = 2
	w.Tasks[0].Request.Memory = 3 * gib
	if _, _, err := l.Submit(t.Context(), w, "document", start); err != nil {
		t.Fatal(err)
	}
	drain(t, b, "fog-1", true)
	mesh(t, l, tiering.NodeAlive, tiering.NodeFailed, start.Add(time.Second))
	for range 3 {
		if err := l.Replan(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		move(t, l, newAgents())
	}
	if got, _ := b.Snapshot().Workflow("people"); got.Status != state.Degraded || !strings.Contains(got.Reason, "refused") {
		t.Errorf("workflow is %s: %s", got.Status, got.Reason)
	}
	if !slices.ContainsFunc(b.Snapshot().PlacementsOn("fog-1"), func(p tiering.Placement) bool { return p.Stays != "" }) {
		t.Error("what stays on fog-1 does not say why")
	}
}

// A node that drains stays known however long it is away: else it would be given
// tasks when it is back, though nobody has ended the drain.
func TestADrainIsNotForgotten(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	drain(t, b, "fog-1", true)
	others := []tiering.Member{member("edge-1", tiering.Edge, 1, tiering.NodeAlive)}
	for _, d := range []time.Duration{0, missingGrace, missingGrace + forgetAfter, missingGrace + 2*forgetAfter} {
		if err := l.ReconcileNodes(t.Context(), others, start.Add(d)); err != nil {
			t.Fatal(err)
		}
	}
	if _, known := b.Snapshot().Node("cloud-1"); known {
		t.Error("cloud-1 is still known")
	}
	if n, known := b.Snapshot().Node("fog-1"); !known || n.Alive() || !n.Drain {
		t.Fatalf("fog-1 is %+v", n)
	}
	drain(t, b, "fog-1", false)
	if err := l.ReconcileNodes(t.Context(), others, start.Add(missingGrace+2*forgetAfter)); err != nil {
		t.Fatal(err)
	}
	if _, known := b.Snapshot().Node("fog-1"); known {
		t.Error("the drain is over, and fog-1 is still known")
	}
}

// A move that is overtaken is no error; the next round sees what is then.
func TestMoveIsOvertaken(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	if _, _, err := l.Submit(t.Context(), workflow("people"), "", start); err != nil {
		t.Fatal(err)
	}
	from := where(b, "people")
	drain(t, b, from, true)
	b.before = func(cmd state.Command) {
		b.before = nil
		to := cmd.(*state.CommitPlan).Plan.Place[0].Node
		if _, err := b.Apply(&state.SetNodeStatus{Node: to, Status: tiering.NodeFailed, At: start}); err != nil {
			t.Fatal(err)
		}
	}
	move(t, l, newAgents())
	if p := placement(b, detector); p.Node != from {
		t.Fatalf("moved to %s, which has died", p.Node)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	n := len(b.log)
	if err := l.Move(done, newAgents(), start); err != nil || len(b.log) != n {
		t.Errorf("after its end: %d commands, %v", len(b.log)-n, err)
	}
	broken := errors.New("no majority")
	l = New(failing{b, broken}, nil, l.log)
	mesh(t, New(b, nil, l.log), tiering.NodeAlive, tiering.NodeAlive, start)
	if err := l.Move(t.Context(), newAgents(), start); !errors.Is(err, broken) {
		t.Errorf("a write that fails: %v", err)
	}
}

type failing struct {
	*bare
	err error
}

func (f failing) Apply(state.Command) (state.Result, error) { return state.Result{}, f.err }
