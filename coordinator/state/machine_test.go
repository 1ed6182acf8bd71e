package state

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/tiering"
)

func TestNodeLifeCycle(t *testing.T) {
	f := newFixture(t)
	fog := node("fog-1", tiering.Fog, 4)
	bigger := node("fog-1", tiering.Fog, 8)
	for _, step := range []struct {
		cmd    Command
		err    error
		events string
		status tiering.NodeStatus
		since  int
	}{
		{&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(1)}, ErrNotFound, "", "", 0},
		{&RegisterNode{Node: fog, At: at(2)}, nil, "node-joined", tiering.NodeAlive, 2},
		{&RegisterNode{Node: fog, At: at(3)}, nil, "", tiering.NodeAlive, 2},
		{&RegisterNode{Node: bigger, At: at(4)}, nil, "node-updated", tiering.NodeAlive, 2},
		{&ForgetNode{Node: "fog-1", At: at(5)}, ErrConflict, "", tiering.NodeAlive, 2},
		{&SetNodeStatus{Node: "fog-1", Status: "asleep", At: at(6)}, ErrInvalid, "", tiering.NodeAlive, 2},
		{&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(7)}, nil, "node-failed", tiering.NodeFailed, 7},
		{&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(8)}, nil, "", tiering.NodeFailed, 7},
		{&SetNodeStatus{Node: "fog-1", Status: tiering.NodeAlive, At: at(9)}, nil, "node-returned", tiering.NodeAlive, 9},
		{&SetNodeStatus{Node: "fog-1", Status: tiering.NodeLeft, At: at(10)}, nil, "node-left", tiering.NodeLeft, 10},
		{&RegisterNode{Node: fog, At: at(11)}, nil, "node-returned", tiering.NodeAlive, 11},
		{&SetNodeStatus{Node: "fog-1", Status: tiering.NodeLeft, At: at(12)}, nil, "node-left", tiering.NodeLeft, 12},
		{&ForgetNode{Node: "fog-1", At: at(13)}, nil, "node-forgotten", "", 0},
		{&ForgetNode{Node: "fog-1", At: at(14)}, ErrNotFound, "", "", 0},
	} {
		r := f.do(step.cmd)
		if !errors.Is(r.Err, step.err) || types(r.Events) != step.events {
			t.Fatalf("%#v: got %v, events %q; want %v, %q", step.cmd, r.Err, types(r.Events), step.err, step.events)
		}
		n, ok := f.Snapshot().Node("fog-1")
		if ok != (step.status != "") || ok && (n.Status != step.status || !n.Since.Equal(at(step.since))) {
			t.Fatalf("after %#v: node %+v", step.cmd, n)
		}
	}
}

func TestInvalidCommandsChangeNothing(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	f.must(&SetCluster{Name: "demo", At: at(0)})
	w := pipelineOf("people", 1)
	plan := f.plan(w)
	f.must(&SubmitWorkflow{Workflow: w, Plan: plan, At: at(1)})

	negative := node("fog-2", tiering.Fog, 1)
	negative.Capacity.Memory = -1
	f.refused(&SetCluster{Name: "", At: at(2)}, ErrInvalid)
	f.refused(&SetCluster{Name: "other", At: at(2)}, ErrConflict)
	f.refused(&RegisterNode{Node: node("", tiering.Fog, 1), At: at(2)}, ErrInvalid)
	f.refused(&RegisterNode{Node: node("fog\x00", tiering.Fog, 1), At: at(2)}, ErrInvalid)
	f.refused(&RegisterNode{Node: node("x", 0, 1), At: at(2)}, ErrInvalid)
	f.refused(&RegisterNode{Node: node("x", 9, 1), At: at(2)}, ErrInvalid)
	f.refused(&RegisterNode{Node: negative, At: at(2)}, ErrInvalid)
	f.refused(&SubmitWorkflow{Workflow: w, At: at(2)}, ErrInvalid)
	f.refused(&SubmitWorkflow{Plan: plan, At: at(2)}, ErrInvalid)
	f.refused(&SubmitWorkflow{Workflow: pipelineOf("", 1), Plan: plan, At: at(2)}, ErrInvalid)
	f.refused(&SubmitWorkflow{Workflow: pipelineOf("cars", 1), Plan: plan, At: at(2)}, ErrInvalid)
	f.refused(&StopWorkflow{Name: "cars", At: at(2)}, ErrNotFound)
	f.refused(&CommitPlan{At: at(2)}, ErrInvalid)
	f.refused(&CommitPlan{Plan: &tiering.Plan{Workflow: "cars"}, Version: 1, At: at(2)}, ErrNotFound)
	f.refused(&CommitPlan{Plan: &tiering.Plan{Workflow: "people"}, Version: 7, At: at(2)}, ErrConflict)
	f.refused(&SetWorkflowStatus{Name: "cars", Status: Degraded, At: at(2)}, ErrNotFound)
	f.refused(&SetWorkflowStatus{Name: "people", Status: Running, At: at(2)}, ErrInvalid)
	f.refused(&SetWorkflowStatus{Name: "people", Status: Degraded, At: at(2)}, ErrConflict)
	f.must(&StopWorkflow{Name: "people", At: at(3)})
	f.refused(&CommitPlan{Plan: plan, Version: 1, At: at(4)}, ErrConflict)
	f.refused(&SetWorkflowStatus{Name: "people", Status: Degraded, At: at(4)}, ErrConflict)
}

func TestUndecodableEntries(t *testing.T) {
	good, err := Encode(&StopWorkflow{Name: "people", At: at(0)})
	if err != nil {
		t.Fatal(err)
	}
	type future struct {
		Name   string `json:"name"`
		Reason string `json:"reason"`
	}
	unknown, err := newCodec().enc.Marshal(future{"people", "a field of a later version"})
	if err != nil {
		t.Fatal(err)
	}
	for name, entry := range map[string][]byte{
		"empty":          nil,
		"one byte":       {commandVersion},
		"later version":  append([]byte{commandVersion + 1}, good[1:]...),
		"unknown type":   append([]byte{commandVersion, 200}, good[2:]...),
		"cut short":      good[:len(good)-1],
		"trailing bytes": append(slices.Clone(good), 0),
		"unknown field":  append([]byte{commandVersion, byte(kindStopWorkflow)}, unknown...),
		"not a map":      {commandVersion, byte(kindStopWorkflow), 0x01},
	} {
		m := New()
		if _, err := m.Apply(1, entry); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
		if i := m.Snapshot().Index(); i != 0 {
			t.Errorf("%s: index is %d", name, i)
		}
	}
}

func TestWorkflowLifeCycle(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4), node("fog-2", tiering.Fog, 4))
	r := f.submit(pipelineOf("people", 1))
	if got := types(r.Events); got != "workflow-submitted task-placed task-placed task-placed task-placed workflow-running" {
		t.Fatalf("events of a submission: %s", got)
	}
	w := f.workflow("people")
	if w.Version != 1 || w.Status != Running || !w.Submitted.Equal(at(1)) || w.Document != "name: people" {
		t.Fatalf("submitted: %+v", w)
	}

	// An update keeps what it can and takes out what is no longer wanted.
	smaller := pipelineOf("people", 1)
	smaller.Tasks, smaller.Links = smaller.Tasks[:2], smaller.Links[:2]
	r = f.submit(smaller)
	if got := types(r.Events); got != "workflow-updated task-removed" {
		t.Fatalf("events of an update: %s", got)
	}
	if w := f.workflow("people"); w.Version != 2 || w.CreateIndex != 4 || f.where("people/draw#0") != "" {
		t.Fatalf("updated: %+v", w)
	}

	f.must(&StopWorkflow{Name: "people", At: at(5)})
	if w := f.workflow("people"); w.Status != Stopped || !w.Since.Equal(at(5)) || len(f.Snapshot().Placements()) != 0 {
		t.Fatalf("stopped: %+v", w)
	}
	if r := f.must(&StopWorkflow{Name: "people", At: at(6)}); len(r.Events) != 0 {
		t.Fatalf("stopping twice: %v", r.Events)
	}
	r = f.submit(pipelineOf("people", 1))
	if w := f.workflow("people"); w.Status != Running || w.Version != 3 || !strings.HasPrefix(types(r.Events), "workflow-submitted ") {
		t.Fatalf("submitted again: %+v, %s", w, types(r.Events))
	}
}

// A node that fails keeps its placements until they are planned anew; when it
// returns, it has only what is still assigned to it.
func TestFailedNode(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4), node("fog-2", tiering.Fog, 4))
	w := pipelineOf("people", 1)
	f.submit(w)
	const detect = "people/detect@416#0"
	first := f.where(detect)
	if len(f.Snapshot().Assignments(first)) == 0 {
		t.Fatalf("%s has nothing to do", first)
	}

	f.must(&SetNodeStatus{Node: first, Status: tiering.NodeFailed, At: at(10)})
	if f.where(detect) != first {
		t.Fatal("a failed node's placement went away before it was planned anew")
	}
	if got := f.workflow("people"); got.Status != Degraded || !strings.Contains(got.Reason, first) {
		t.Fatalf("with a node failed: %s (%s)", got.Status, got.Reason)
	}
	for _, a := range f.Snapshot().Assignments("edge-1") {
		for _, o := range a.Next {
			if o.Node == first {
				t.Fatalf("%s is sent to the failed %s", a.Placement.ID, first)
			}
		}
	}

	r := f.must(&CommitPlan{Plan: f.plan(w), Version: 1, At: at(11)})
	second := f.where(detect)
	if second == first || !strings.Contains(types(r.Events), "task-moved") || f.workflow("people").Status != Running {
		t.Fatalf("after the plan: on %s, %s", second, types(r.Events))
	}

	f.must(&RegisterNode{Node: node(first, tiering.Fog, 4), At: at(12)})
	for _, a := range f.Snapshot().Assignments(first) {
		if a.Placement.ID == detect {
			t.Fatalf("%s runs twice", detect)
		}
	}
	if !f.plan(w).Empty() {
		t.Fatal("the return of a node moved something")
	}
}

// A node that comes back before anyone planned anew goes on as before.
func TestNodeReturnsInTime(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	f.submit(pipelineOf("people", 1))
	f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(10)})
	f.must(&SetWorkflowStatus{Name: "people", Status: Degraded, Reason: "no fog node", At: at(11)})
	if w := f.workflow("people"); w.Reason != "no fog node" || !w.Since.Equal(at(10)) {
		t.Fatalf("degraded: %+v", w)
	}
	if len(f.Snapshot().Assignments("fog-1")) == 0 {
		t.Fatal("a node that can still ask gets nothing although nothing was moved")
	}
	for _, back := range []Command{
		&SetNodeStatus{Node: "fog-1", Status: tiering.NodeAlive, At: at(12)},
		&RegisterNode{Node: node("fog-1", tiering.Fog, 4), At: at(12)},
	} {
		f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(11)})
		f.must(back)
		if w := f.workflow("people"); w.Status != Running || w.Reason != "" {
			t.Fatalf("returned with %T: %+v", back, w)
		}
	}
	f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(13)})
	f.must(&SetNodeStatus{Node: "edge-1", Status: tiering.NodeFailed, At: at(13)})
	if w := f.workflow("people"); w.Status != Pending {
		t.Fatalf("with every node gone: %+v", w)
	}
}

func TestUnplacedSourceDegrades(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	w := pipelineOf("people", 1)
	w.Sources = append(w.Sources, tiering.Source{Name: "gate", Node: "edge-9", URI: "videotest:", Resolution: 416})
	f.submit(w)
	got := f.workflow("people")
	if got.Status != Degraded || !strings.Contains(got.Reason, "gate: ") || len(got.Unplaced) != 1 {
		t.Fatalf("source without its node: %+v", got)
	}
	f.nodes(node("edge-9", tiering.Edge, 1))
	f.must(&CommitPlan{Plan: f.plan(w), Version: 1, At: at(3)})
	if got := f.workflow("people"); got.Status != Running || f.where("people/gate#0") != "edge-9" {
		t.Fatalf("its node joined: %+v", got)
	}
}

func TestChangedAndRevision(t *testing.T) {
	f := newFixture(t)
	closed := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	for _, step := range []struct {
		cmd  Command
		want bool
	}{
		{&SetCluster{Name: "demo", At: at(0)}, false},
		{&RegisterNode{Node: node("fog-1", tiering.Fog, 4), At: at(0)}, true},
		{&RegisterNode{Node: node("fog-1", tiering.Fog, 4), At: at(1)}, false},
		{&RegisterNode{Node: node("edge-1", tiering.Edge, 4), At: at(1)}, true},
		{&StopWorkflow{Name: "people", At: at(1)}, false},
		{&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(2)}, true},
	} {
		before := f.Snapshot()
		f.do(step.cmd)
		after := f.Snapshot()
		if got := closed(before.Changed()); got != step.want || (after.Revision() != before.Revision()) != step.want {
			t.Errorf("%T: changed %v, revision %d to %d; want change %v", step.cmd, got, before.Revision(), after.Revision(), step.want)
		}
		if after.Index() != before.Index()+1 {
			t.Errorf("%T: index %d after %d", step.cmd, after.Index(), before.Index())
		}
	}
}

func TestRestoreWakesWatchers(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("fog-1", tiering.Fog, 4))
	b := persist(t, f.Snapshot())
	m := New()
	before := m.Snapshot()
	if err := m.Restore(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-before.Changed():
	default:
		t.Fatal("who watched the state before was not told")
	}
}

func TestSnapshotDoesNotChange(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	f.submit(pipelineOf("people", 1))
	s := f.Snapshot()
	before := persist(t, s)
	f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(10)})
	f.must(&StopWorkflow{Name: "people", At: at(11)})
	if string(before) != string(persist(t, s)) {
		t.Fatal("a snapshot changed with the machine")
	}
}

func TestEventsAreBoundedAndResumable(t *testing.T) {
	f := newFixture(t)
	events, more := f.Events(0)
	if len(events) != 0 {
		t.Fatal("events from nothing")
	}
	f.nodes(node("fog-1", tiering.Fog, 4))
	select {
	case <-more:
	default:
		t.Fatal("watchers were not told")
	}
	for i := range eventsKept {
		s := tiering.NodeFailed
		if i%2 == 1 {
			s = tiering.NodeAlive
		}
		f.must(&SetNodeStatus{Node: "fog-1", Status: s, At: at(i)})
	}
	events, _ = f.Events(0)
	if len(events) != eventsKept || events[0].Index != 2 {
		t.Fatalf("%d events from index %d", len(events), events[0].Index)
	}
	events, _ = f.Events(eventsKept)
	if len(events) != 1 || events[0].Index != eventsKept+1 {
		t.Fatalf("resumed: %v", events)
	}
}
