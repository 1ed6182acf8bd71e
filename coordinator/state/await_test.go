package state

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/tiering"
)

// another is the workflow of pipelineOf with another detector.
func another(name, model string) *tiering.Workflow {
	w := pipelineOf(name, 1)
	w.Tasks[1].Model.Name = model
	return w
}

// awaits is a plan for a workflow whose model is not there yet.
func awaits(name, why string) *tiering.Plan {
	return &tiering.Plan{Workflow: name, Awaits: true, Unplaced: []tiering.Unplaced{{Name: "detect@416", Reason: why}}}
}

// running is a mesh that runs a workflow.
func running(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	f.submit(pipelineOf("people", 1))
	return f
}

// A new version that waits for a model leaves alone what runs, until a plan
// places it.
func TestWhatRunsGoesOnUntilTheNextVersionCan(t *testing.T) {
	f := running(t)
	before, was := f.Snapshot().Placements(), f.workflow("people")
	revision := f.Snapshot().Revision()
	r := f.must(&SubmitWorkflow{Workflow: another("people", "yolox"), Document: "new", Plan: awaits("people", "waiting for model yolox on fog-1"), At: at(5)})
	w := f.workflow("people")
	if w.Status != Running || w.Version != 1 || w.Document != was.Document || !Same(w.Spec, was.Spec) || !Same(f.Snapshot().Placements(), before) {
		t.Fatalf("it runs %+v", w)
	}
	if n := w.Next; n == nil || n.Version != 2 || n.Document != "new" || !n.Submitted.Equal(at(5)) || n.Reason != "detect@416: waiting for model yolox on fog-1" {
		t.Fatalf("%+v waits", n)
	}
	if types(r.Events) != "workflow-updated" || !strings.Contains(r.Events[0].Message, "version 1 goes on until it can run: detect@416: waiting for model yolox") {
		t.Errorf("%v", r.Events)
	}
	if f.Snapshot().Revision() == revision {
		t.Error("nodes are not told that there is a model to get")
	}

	// What is known of its wait changes, and nothing else.
	revision = f.Snapshot().Revision()
	f.must(&CommitPlan{Plan: awaits("people", "waiting for model yolox on fog-1, fog-2"), Version: 2, At: at(6)})
	f.must(&SetWorkflowStatus{Name: "people", Status: Pending, Reason: "fog is short of 1 core", Next: 2, At: at(7)})
	if w = f.workflow("people"); w.Status != Running || w.Next.Reason != "fog is short of 1 core" || len(w.Next.Unplaced) > 0 {
		t.Errorf("%+v waits, and it is %s", w.Next, w.Status)
	}
	if f.Snapshot().Revision() != revision {
		t.Error("nothing that plans depend on has changed")
	}
	f.refused(&SetWorkflowStatus{Name: "people", Status: Pending, Reason: "x", Next: 3, At: at(7)}, ErrConflict)
	f.refused(&SetWorkflowStatus{Name: "people", Status: Degraded, Reason: "x", Next: 2, At: at(7)}, ErrConflict)
	greedy := awaits("people", "waits")
	greedy.Remove = []string{"people/draw#0"}
	f.refused(&CommitPlan{Plan: greedy, Version: 2, At: at(8)}, ErrInvalid)

	// The one that runs is still planned for.
	f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(9)})
	f.nodes(node("fog-2", tiering.Fog, 4))
	f.must(&CommitPlan{Plan: f.plan(was.Spec), Version: 1, At: at(10)})
	if w = f.workflow("people"); w.Status != Running || w.Next == nil || f.where("people/detect@416#0") != "fog-2" {
		t.Fatalf("it is %s: %s", w.Status, w.Reason)
	}

	// The model has come.
	n := node("fog-2", tiering.Fog, 4)
	n.Models = []string{"yolo", "yolox"}
	f.nodes(n)
	plan := f.plan(w.Next.Spec)
	r = f.must(&CommitPlan{Plan: plan, Version: 2, At: at(12)})
	w = f.workflow("people")
	if w.Next != nil || w.Version != 2 || w.Document != "new" || w.Status != Running || w.Spec.Tasks[1].Model.Name != "yolox" || !w.Submitted.Equal(at(5)) {
		t.Errorf("it is %+v", w)
	}
	if !strings.Contains(r.Events[0].Message, "version 2 takes the place of version 1") {
		t.Errorf("%v", r.Events)
	}
	f.refused(&CommitPlan{Plan: plan, Version: 1, At: at(13)}, ErrConflict)
}

// What waits is dropped with the workflow, and by the next submission; its
// version is not used again.
func TestWhatWaitsIsDropped(t *testing.T) {
	for name, c := range map[string]struct {
		then    Command
		version uint64 // that runs, or ran last
		waits   string // model; empty: none
		status  Status
	}{
		"stopped":            {&StopWorkflow{Name: "people", At: at(6)}, 2, "", Stopped},
		"the old one again":  {&SubmitWorkflow{Workflow: pipelineOf("people", 1), Plan: &tiering.Plan{Workflow: "people"}, At: at(6)}, 3, "", Running},
		"another that waits": {&SubmitWorkflow{Workflow: another("people", "yolo-fastest"), Plan: awaits("people", "waits"), At: at(6)}, 1, "yolo-fastest", Running},
		// It has nothing to lose.
		"the old one, which waits": {&SubmitWorkflow{Workflow: pipelineOf("people", 1), Plan: awaits("people", "waits"), At: at(6)}, 3, "", Degraded},
	} {
		t.Run(name, func(t *testing.T) {
			f := running(t)
			f.must(&SubmitWorkflow{Workflow: another("people", "yolox"), Plan: awaits("people", "waits"), At: at(5)})
			f.must(c.then)
			w := f.workflow("people")
			waits := ""
			if w.Next != nil {
				waits = w.Next.Spec.Tasks[1].Model.Name
			}
			if w.Version != c.version || waits != c.waits || w.Status != c.status {
				t.Errorf("version %d is %s, and %q waits: %+v", w.Version, w.Status, waits, w)
			}
			f.refused(&CommitPlan{Plan: &tiering.Plan{Workflow: "people"}, Version: 2, At: at(7)}, ErrConflict)
		})
	}
}

// A version that waits takes the place of one that has no instances: there is
// nothing to go on.
func TestAVersionThatWaitsReplacesOneThatDoes(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("fog-1", tiering.Fog, 4))
	for i, model := range []string{"yolox", "yolo-fastest"} {
		f.must(&SubmitWorkflow{Workflow: another("people", model), Plan: awaits("people", "waiting for model "+model), At: at(i)})
		w := f.workflow("people")
		if w.Next != nil || w.Status != Pending || w.Version != uint64(i+1) || !strings.Contains(w.Reason, model) {
			t.Errorf("%s: %+v", model, w)
		}
	}
}
