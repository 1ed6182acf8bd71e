package state

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/tiering"
)

// TestPlanIsRechecked breaks one fact after the other that a plan relies on.
func TestPlanIsRechecked(t *testing.T) {
	const detect = "people/detect@416#0"
	half := tiering.Resources{CPU: 500, Memory: gib / 2}
	one := tiering.Resources{CPU: 1000, Memory: gib}
	find := func(p *tiering.Plan, id string) *tiering.Placement {
		for i := range p.Place {
			if p.Place[i].ID == id {
				return &p.Place[i]
			}
		}
		return nil
	}
	for name, c := range map[string]struct {
		spoil func(f *fixture, p *tiering.Plan)
		want  string
	}{
		"node failed": {func(f *fixture, p *tiering.Plan) {
			f.must(&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(2)})
		}, "node fog-1 is failed"},
		"node gone": {func(f *fixture, p *tiering.Plan) { find(p, detect).Node = "fog-9" }, "there is no node fog-9"},
		"tier":      {func(f *fixture, p *tiering.Plan) { find(p, detect).Tier = tiering.Cloud }, "is fog, not cloud"},
		"intensive on the edge": {func(f *fixture, p *tiering.Plan) {
			d := find(p, detect)
			d.Node, d.Tier = "edge-1", tiering.Edge
		}, "must stay off the edge"},
		"model gone": {func(f *fixture, p *tiering.Plan) {
			n := node("fog-1", tiering.Fog, 4)
			n.Models = nil
			f.nodes(n)
		}, "cannot load model yolo"},
		"capacity shrank": {func(f *fixture, p *tiering.Plan) {
			n := node("fog-1", tiering.Fog, 1)
			n.Capacity.CPU = 999
			f.nodes(n)
		}, "would be short of"},
		"capacity taken": {func(f *fixture, p *tiering.Plan) { f.submit(pipelineOf("cars", 4)) }, "would be short of"},
		"reserves more than asked": {func(f *fixture, p *tiering.Plan) {
			find(p, detect).Reserved.CPU++
		}, "reserves"},
		"reserves less than half": {func(f *fixture, p *tiering.Plan) {
			find(p, detect).Reserved = half.Sub(tiering.Resources{CPU: 1})
		}, "less than half"},
		"reserves a negative amount": {func(f *fixture, p *tiering.Plan) { find(p, detect).Reserved.Disk = -1 }, "reserves"},
		"placed twice":               {func(f *fixture, p *tiering.Plan) { p.Place = append(p.Place, p.Place[0]) }, "named twice"},
		"foreign slot": {func(f *fixture, p *tiering.Plan) {
			d := find(p, detect)
			d.Workflow, d.ID = "cars", "cars/detect@416#0"
		}, "is no instance of workflow people"},
		"unknown task":      {func(f *fixture, p *tiering.Plan) { d := find(p, detect); d.Task, d.ID = "fly", "people/fly#0" }, "is no instance"},
		"wrong ID":          {func(f *fixture, p *tiering.Plan) { find(p, detect).ID = "people/detect@416#7" }, "is no instance"},
		"negative instance": {func(f *fixture, p *tiering.Plan) { d := find(p, detect); d.Instance, d.ID = -1, "people/detect@416#-1" }, "is no instance"},
		"removes what is not there": {func(f *fixture, p *tiering.Plan) {
			p.Remove = append(p.Remove, "people/none#0")
		}, "is not placed"},
		"removes another's": {func(f *fixture, p *tiering.Plan) {
			f.submit(pipelineOf("cars", 1))
			p.Remove = append(p.Remove, "cars/detect@416#0")
		}, "belongs to workflow cars"},
		"keeps what is not there": {func(f *fixture, p *tiering.Plan) {
			p.Keep = append(p.Keep, tiering.Placement{ID: detect, Node: "fog-1"})
		}, "is no longer on node fog-1"},
		"adjusts what is not there": {func(f *fixture, p *tiering.Plan) {
			p.Adjust = append(p.Adjust, tiering.Adjustment{Placement: "cars/detect@416#0", From: one, To: half})
		}, "is not placed"},
		"adjusts what has changed": {func(f *fixture, p *tiering.Plan) {
			f.submit(pipelineOf("cars", 1))
			p.Adjust = append(p.Adjust, tiering.Adjustment{Placement: "cars/detect@416#0", From: half, To: half})
		}, "by now"},
		"adjusts upwards": {func(f *fixture, p *tiering.Plan) {
			f.submit(pipelineOf("cars", 1))
			p.Adjust = append(p.Adjust, tiering.Adjustment{Placement: "cars/detect@416#0", From: one, To: one.Add(half)})
		}, "may only shrink"},
		"adjusts below half": {func(f *fixture, p *tiering.Plan) {
			f.submit(pipelineOf("cars", 1))
			p.Adjust = append(p.Adjust, tiering.Adjustment{Placement: "cars/detect@416#0", From: one, To: half.Sub(tiering.Resources{Memory: 1})})
		}, "less than half"},
		"source attached elsewhere": {func(f *fixture, p *tiering.Plan) {
			f.nodes(node("edge-2", tiering.Edge, 1))
			find(p, "people/cam#0").Node = "edge-2"
		}, "is attached to node edge-1"},
		"platform": {func(f *fixture, p *tiering.Plan) {
			n := node("fog-1", tiering.Fog, 4)
			n.Platforms = []tiering.Platform{{Type: "cuda", Count: 1}}
			f.nodes(n)
		}, "has no cpu"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
			w := pipelineOf("people", 1)
			w.Sources[0].Node = "edge-1"
			w.Tasks[1].Platform = "cpu"
			p := f.plan(w)
			c.spoil(f, p)
			r := f.refused(&SubmitWorkflow{Workflow: w, Plan: p, At: at(3)}, ErrRefused)
			var said []string
			for _, x := range r.Refused {
				said = append(said, x.Placement+" "+x.Reason)
			}
			if !strings.Contains(strings.Join(said, "\n"), c.want) {
				t.Fatalf("refused because of\n%s\nwant %q", strings.Join(said, "\n"), c.want)
			}
			if _, ok := f.Snapshot().Workflow("people"); ok || len(f.Snapshot().PlacementsOf("people")) > 0 {
				t.Fatal("a refused workflow left something behind")
			}
		})
	}
}

// A plan made from an older state is good as long as its facts hold.
func TestStalePlanWhoseFactsHold(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	w := pipelineOf("people", 1)
	p := f.plan(w)
	f.nodes(node("fog-2", tiering.Fog, 4), node("cloud-1", tiering.Cloud, 8))
	f.submit(pipelineOf("cars", 1))
	f.must(&SubmitWorkflow{Workflow: w, Plan: p, At: at(3)})
}

// A plan may put something where its own adjustments make room.
func TestPlanMakesItsOwnRoom(t *testing.T) {
	f := newFixture(t)
	fog := node("fog-1", tiering.Fog, 2)
	fog.Capacity.CPU = 1200
	f.nodes(node("edge-1", tiering.Edge, 1), fog)
	f.submit(pipelineOf("cars", 1))
	r := f.submit(pipelineOf("people", 1)) // 200 of 1200 are left, 500 is the least it takes
	if !strings.Contains(types(r.Events), "reservation-adjusted") {
		t.Fatalf("nothing was adjusted: %s", types(r.Events))
	}
	var used tiering.Resources
	for _, p := range f.Snapshot().PlacementsOn("fog-1") {
		used = used.Add(p.Reserved)
	}
	if n, _ := f.Snapshot().Node("fog-1"); !used.Fits(n.Capacity) {
		t.Fatalf("fog-1 has %v in use of %v", used, n.Capacity)
	}
}

// A node that came back smaller than what runs on it takes no more of what it
// is short of, but a plan that frees it goes through.
func TestOvercommittedNode(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	f.submit(pipelineOf("people", 2))
	small := node("fog-1", tiering.Fog, 4)
	small.Capacity.CPU = 1500
	f.nodes(small, node("fog-2", tiering.Fog, 4))
	var on1 []tiering.Placement
	for _, p := range f.Snapshot().PlacementsOn("fog-1") {
		if p.Category.Intensive() {
			on1 = append(on1, p)
		}
	}
	if len(on1) != 2 {
		t.Fatalf("%d detectors on fog-1", len(on1))
	}
	moved := on1[0]
	moved.Node = "fog-2"
	f.must(&CommitPlan{Plan: &tiering.Plan{Workflow: "people", Place: []tiering.Placement{moved}}, Version: 1, At: at(5)})
	moved.Node = "fog-1"
	f.refused(&CommitPlan{Plan: &tiering.Plan{Workflow: "people", Place: []tiering.Placement{moved}}, Version: 1, At: at(6)}, ErrRefused)

	// What asks for none of what is short may come.
	small.Capacity.CPU = 500
	f.nodes(small)
	cam := tiering.Placement{ID: "people/cam#0", Workflow: "people", Task: "cam", Source: true, Node: "fog-1", Tier: tiering.Fog}
	f.must(&CommitPlan{Plan: &tiering.Plan{Workflow: "people", Place: []tiering.Placement{cam}}, Version: 1, At: at(7)})
}

// An update whose plan does not mention a task that is gone still removes it.
func TestUpdateLeavesNothingBehind(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	f.submit(pipelineOf("people", 1))
	smaller := pipelineOf("people", 1)
	smaller.Tasks, smaller.Links = smaller.Tasks[:2], smaller.Links[:2]
	plan := f.plan(smaller)
	plan.Remove = nil
	f.must(&SubmitWorkflow{Workflow: smaller, Plan: plan, At: at(2)})
	if on := f.where("people/draw#0"); on != "" {
		t.Fatalf("draw, which is gone, is still on %s", on)
	}
}
