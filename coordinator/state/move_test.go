package state

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/tiering"
)

const detector = "people/detect@416#0"

// moving is a mesh whose detector has begun to move from fog-1 to fog-2.
func moving(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	f.submit(pipelineOf("people", 1))
	f.nodes(node("fog-2", tiering.Fog, 4))
	f.must(&SetNodeDrain{Node: "fog-1", Drain: true, At: at(2)})
	r := f.must(f.move(detector))
	if got := types(r.Events); got != "task-moving" {
		t.Fatalf("events of a move: %s", got)
	}
	return f
}

// move is the plan for a placement to leave its node.
func (f *fixture) move(id string) *CommitPlan {
	f.Helper()
	name, _, _ := strings.Cut(id, "/")
	w := f.workflow(name)
	p, why := tiering.Move(f.Snapshot().View(nil), w.Spec, id, rand.New(rand.NewPCG(1, 2)))
	if p == nil {
		f.Fatalf("%s stays: %s", id, why)
	}
	p.Unplaced = w.Unplaced
	return &CommitPlan{Plan: p, Version: w.Version, At: at(3)}
}

func (f *fixture) placement(id string) tiering.Placement {
	for _, p := range f.Snapshot().Placements() {
		if p.ID == id {
			return p
		}
	}
	return tiering.Placement{}
}

// offered returns the node that resize sends frames for the detector to.
func (f *fixture) offered() string {
	for _, a := range f.Snapshot().Assignments("edge-1") {
		for _, o := range a.Next {
			if o.Instance == detector {
				return o.Node
			}
		}
	}
	return ""
}

// runs returns the nodes that run the detector.
func (f *fixture) runs() string {
	var on []string
	for _, n := range f.Snapshot().Nodes() {
		for _, a := range f.Snapshot().Assignments(n.ID) {
			if a.Placement.ID == detector {
				on = append(on, n.ID)
			}
		}
	}
	return strings.Join(on, " ")
}

func TestMoveStepByStep(t *testing.T) {
	f := moving(t)
	expect := func(step, runs, offered string) {
		t.Helper()
		if f.runs() != runs || f.offered() != offered {
			t.Fatalf("%s: runs on %s, frames go to %s; want %s, %s", step, f.runs(), f.offered(), runs, offered)
		}
		if w := f.workflow("people"); w.Status != Running || w.Reason != "" {
			t.Fatalf("%s: workflow is %s: %s", step, w.Status, w.Reason)
		}
	}
	expect("planned", "fog-1 fog-2", "fog-1")
	f.refused(&FinishMove{Placement: detector, Node: "fog-2", At: at(4)}, ErrConflict)
	f.refused(&SwitchMove{Placement: detector, Node: "fog-9", At: at(4)}, ErrConflict)
	f.refused(&SwitchMove{Placement: "people/none#0", Node: "fog-2", At: at(4)}, ErrNotFound)
	f.must(&SwitchMove{Placement: detector, Node: "fog-2", At: at(4)})
	if p := f.placement(detector); p.Switched != uint64(len(f.log)) || f.Snapshot().Revision() != p.Switched {
		t.Fatalf("switched at %d, revision %d", p.Switched, f.Snapshot().Revision())
	}
	expect("up", "fog-1 fog-2", "fog-2")
	before := f.placement(detector)
	f.must(&SwitchMove{Placement: detector, Node: "fog-2", At: at(5)})
	if f.placement(detector) != before {
		t.Fatal("to switch again changes something")
	}
	r := f.must(&FinishMove{Placement: detector, Node: "fog-2", At: at(6)})
	if len(r.Events) != 1 || !strings.HasPrefix(r.Events[0].Message, detector+" moved from fog-1 to fog-2: ") {
		t.Fatalf("events %v", r.Events)
	}
	expect("done", "fog-2", "fog-2")
	f.refused(&FinishMove{Placement: detector, Node: "fog-2", At: at(7)}, ErrConflict)
	f.refused(&SwitchMove{Placement: detector, Node: "fog-2", At: at(7)}, ErrConflict)
}

func TestMovesThatComeToNothing(t *testing.T) {
	for name, c := range map[string]struct {
		switched              bool
		do                    func(f *fixture)
		runs, offered, events string
		status                Status
	}{
		"the old node dies": {false, func(f *fixture) {
			f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(5)})
			f.must(&FinishMove{Placement: detector, Node: "fog-2", At: at(5)})
		}, "fog-2", "fog-2", "node-failed workflow-degraded task-moved", Degraded}, // draw was on fog-1, too
		"the old node is forgotten": {false, func(f *fixture) {
			f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeLeft, At: at(5)})
			f.must(&ForgetNode{Node: "fog-1", At: at(5)})
			f.must(&FinishMove{Placement: detector, Node: "fog-2", At: at(5)})
		}, "fog-2", "fog-2", "node-left workflow-degraded node-forgotten task-moved", Degraded},
		"the new node dies": {false, func(f *fixture) {
			f.must(&SetNodeStatus{Node: "fog-2", Status: tiering.NodeFailed, At: at(5)})
			f.refused(&SwitchMove{Placement: detector, Node: "fog-2", At: at(5)}, ErrConflict)
		}, "fog-1 fog-2", "fog-1", "node-failed", Running},
		"the new node dies late": {true, func(f *fixture) {
			f.must(&SetNodeStatus{Node: "fog-2", Status: tiering.NodeFailed, At: at(5)})
		}, "fog-1 fog-2", "fog-1", "node-failed", Running},
		"the new node dies late and returns": {true, func(f *fixture) {
			f.must(&SetNodeStatus{Node: "fog-2", Status: tiering.NodeFailed, At: at(5)})
			f.must(&HoldPlacement{Placement: detector, Node: "fog-2", Reason: "no room", At: at(5)})
			f.nodes(node("fog-2", tiering.Fog, 4))
			f.refused(&FinishMove{Placement: detector, Node: "fog-2", At: at(6)}, ErrConflict)
			if reason := f.workflow("people").Reason; reason != "" {
				f.Errorf("it moves on, and the workflow says %q", reason)
			}
		}, "fog-1 fog-2", "fog-1", "node-failed workflow-running node-returned workflow-running", Running},
		"both nodes die": {true, func(f *fixture) {
			f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(5)})
			f.must(&SetNodeStatus{Node: "fog-2", Status: tiering.NodeLeft, At: at(5)})
			f.refused(&FinishMove{Placement: detector, Node: "fog-2", At: at(6)}, ErrConflict)
		}, "fog-1 fog-2", "", "node-failed workflow-degraded node-left workflow-degraded", Degraded},
		"the drain ends": {false, func(f *fixture) {
			f.must(&SetNodeDrain{Node: "fog-1", At: at(5)})
		}, "fog-1", "fog-1", "node-undrained task-placed", Running},
		"the drain ends late": {true, func(f *fixture) {
			f.must(&SetNodeDrain{Node: "fog-1", At: at(5)})
			f.must(&FinishMove{Placement: detector, Node: "fog-2", At: at(6)})
		}, "fog-2", "fog-2", "node-undrained task-moved", Running},
		"the room there is gone when the drain ends": {false, func(f *fixture) {
			small := node("fog-1", tiering.Fog, 4)
			small.Capacity.CPU = 500
			f.nodes(small)
			f.must(&SetNodeDrain{Node: "fog-1", At: at(5)})
		}, "fog-1 fog-2", "fog-1", "node-updated node-undrained", Running},
		"the workflow is stopped": {false, func(f *fixture) {
			f.must(&StopWorkflow{Name: "people", At: at(5)})
			f.refused(&SwitchMove{Placement: detector, Node: "fog-2", At: at(5)}, ErrNotFound)
		}, "", "", "workflow-stopped", Stopped},
		"the workflow is submitted again": {false, func(f *fixture) {
			w := pipelineOf("people", 1)
			w.Sources[0].FPS = 3
			f.submit(w)
		}, "fog-1 fog-2", "fog-1", "workflow-updated", Running},
		"its detector is to be another": {false, func(f *fixture) {
			w := pipelineOf("people", 1)
			w.Tasks[1].Request.CPU = 1500
			f.submit(w)
		}, "fog-2", "fog-2", "workflow-updated task-placed", Running},
	} {
		t.Run(name, func(t *testing.T) {
			f := moving(t)
			if c.switched {
				f.must(&SwitchMove{Placement: detector, Node: "fog-2", At: at(4)})
			}
			last := uint64(len(f.log))
			c.do(f)
			events, _ := f.Events(last)
			if got := types(events); f.runs() != c.runs || f.offered() != c.offered || got != c.events || f.workflow("people").Status != c.status {
				t.Errorf("runs on %q, frames go to %q, %s, workflow is %s (%s)", f.runs(), f.offered(), got, f.workflow("people").Status, f.workflow("people").Reason)
			}
		})
	}
}

func TestDrain(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	f.submit(pipelineOf("people", 1))
	f.refused(&SetNodeDrain{Node: "fog-9", Drain: true, At: at(2)}, ErrNotFound)
	before := f.Snapshot().Revision()
	r := f.must(&SetNodeDrain{Node: "fog-1", Drain: true, At: at(2)})
	if types(r.Events) != "node-draining" || f.Snapshot().Revision() == before {
		t.Fatalf("events %s, revision %d", types(r.Events), f.Snapshot().Revision())
	}
	if r := f.must(&SetNodeDrain{Node: "fog-1", Drain: true, At: at(3)}); len(r.Events) != 0 {
		t.Fatalf("the same again: %s", types(r.Events))
	}

	// It stays marked whatever becomes of the node.
	bigger := node("fog-1", tiering.Fog, 8)
	f.nodes(bigger)
	f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(3)})
	f.nodes(bigger)
	if n, _ := f.Snapshot().Node("fog-1"); !n.Drain || !n.Alive() {
		t.Fatalf("%+v", n)
	}

	// Why something stays is the workflow's reason, until the drain ends.
	f.refused(&HoldPlacement{Placement: detector, Node: "edge-1", Reason: "r", At: at(4)}, ErrConflict)
	f.refused(&HoldPlacement{Placement: detector, Node: "fog-1", At: at(4)}, ErrInvalid)
	f.refused(&HoldPlacement{Placement: "people/none#0", Node: "fog-1", Reason: "r", At: at(4)}, ErrNotFound)
	f.refused(&HoldPlacement{Placement: "people/cam#0", Node: "edge-1", Reason: "r", At: at(4)}, ErrConflict)
	before = f.Snapshot().Revision()
	f.must(&HoldPlacement{Placement: detector, Node: "fog-1", Reason: "no cloud node is alive", At: at(4)})
	want := "detect@416 stays on fog-1, which is draining: no cloud node is alive"
	if w := f.workflow("people"); w.Status != Running || w.Reason != want || f.Snapshot().Revision() != before {
		t.Fatalf("workflow is %s: %s", w.Status, w.Reason)
	}
	f.must(&SetNodeDrain{Node: "fog-1", At: at(5)})
	if w := f.workflow("people"); w.Status != Running || w.Reason != "" {
		t.Fatalf("workflow is %s: %s", w.Status, w.Reason)
	}
}

// What a plan says of drains and moves is checked against the facts.
func TestMovesAreRechecked(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(f *fixture, p *tiering.Placement)
		want  string
	}{
		"the node drains by now":       {func(f *fixture, p *tiering.Placement) { f.must(&SetNodeDrain{Node: "fog-2", Drain: true, At: at(3)}) }, "node fog-2 is draining"},
		"from where it never was":      {func(_ *fixture, p *tiering.Placement) { p.From = "edge-1" }, "does not move from node edge-1"},
		"from where it goes":           {func(_ *fixture, p *tiering.Placement) { p.From = "fog-2" }, "does not move from node fog-2"},
		"switched before it has begun": {func(_ *fixture, p *tiering.Placement) { p.Switched = 1 }, "does not move"},
		"with a reason to stay":        {func(_ *fixture, p *tiering.Placement) { p.Stays = "here" }, "does not move"},
		"a source, which cannot run twice": {func(f *fixture, p *tiering.Placement) {
			f.nodes(node("edge-2", tiering.Edge, 1))
			*p = f.placement("people/cam#0")
			p.Node, p.From = "edge-2", "edge-1"
		}, "does not move"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
			f.submit(pipelineOf("people", 1))
			f.nodes(node("fog-2", tiering.Fog, 4))
			f.must(&SetNodeDrain{Node: "fog-1", Drain: true, At: at(2)})
			cmd := f.move(detector)
			c.spoil(f, &cmd.Plan.Place[0])
			if r := f.refused(cmd, ErrRefused); !strings.Contains(r.Err.Error(), c.want) {
				t.Errorf("%v, want %q", r.Err, c.want)
			}
		})
	}
	// What is on a draining node already may be placed there once more.
	f := moving(t)
	for _, id := range []string{detector, "people/draw#0"} {
		p := f.placement(id)
		p.Node, p.From = "fog-1", ""
		f.must(&CommitPlan{Plan: &tiering.Plan{Workflow: "people", Place: []tiering.Placement{p}}, Version: 1, At: at(4)})
	}
}

// A state in the middle of a drain comes back from its snapshot.
func TestSnapshotOfADrain(t *testing.T) {
	f := moving(t)
	f.must(&HoldPlacement{Placement: "people/draw#0", Node: "fog-1", Reason: "why", At: at(4)})
	f.must(&SwitchMove{Placement: detector, Node: "fog-2", At: at(4)})
	b := persist(t, f.Snapshot())
	back := New()
	if err := back.Restore(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if n, _ := back.Snapshot().Node("fog-1"); !n.Drain || len(back.Snapshot().MovingFrom("fog-1")) != 1 || !bytes.Equal(b, persist(t, back.Snapshot())) {
		t.Errorf("restored %+v, %+v", n, back.Snapshot().Moving())
	}
}
