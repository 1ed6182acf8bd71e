package tiering

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// placedOn returns a small mesh with one workflow placed: a camera and resize
// on the edge, detect on the fog.
func placedOn(t *testing.T, nodes ...Node) (*Workflow, []Placement) {
	t.Helper()
	w := &Workflow{
		Name:    "people",
		Sources: []Source{{Name: "gate", URI: "videotest:", Resolution: 512}},
		Tasks: []Task{
			{Name: "resize", Group: "resize", Type: Preprocess, Operation: "resize", Request: res(0.5, 0.5), Replicas: 1},
			deep("hog", 512, res(2, 2)),
		},
		Links: []Link{{From: "gate", To: "resize"}, {From: "resize", To: "detect"}},
	}
	return w, mustSchedule(t, NewView(1, nodes, nil, nil), w).Place
}

func TestMove(t *testing.T) {
	edge, fog, cloud := node("edge-1", Edge, res(1, 2)), node("fog-1", Fog, res(4, 8), "hog"), node("cloud-1", Cloud, res(4, 8), "hog")
	for name, c := range map[string]struct {
		nodes    []Node
		draining []string
		id       string
		change   func(*Workflow, []Placement)
		to, from string
		why      string
	}{
		"a detector":                  {[]Node{edge, fog, cloud}, []string{"fog-1"}, "people/hog@512#0", nil, "cloud-1", "fog-1", ""},
		"there is no other node":      {[]Node{edge, fog}, []string{"fog-1"}, "people/hog@512#0", nil, "", "", "no fog node that is not draining could run it; no cloud node is alive"},
		"the other node drains, too":  {[]Node{edge, fog, cloud}, []string{"fog-1", "cloud-1"}, "people/hog@512#0", nil, "", "", "no fog node that is not draining could run it; no cloud node that is not draining could run it"},
		"the other node is too small": {[]Node{edge, fog, node("cloud-1", Cloud, res(0.5, 8), "hog")}, []string{"fog-1"}, "people/hog@512#0", nil, "", "", "no fog node that is not draining could run it; cloud is short of 1.5 cores (needs 2, has 0.5 free)"},
		"beside its camera":           {[]Node{edge, node("edge-2", Edge, res(1, 2)), fog}, []string{"edge-1"}, "people/resize#0", func(w *Workflow, p []Placement) { p[0].Node, p[1].Node = "edge-1", "edge-1" }, "edge-2", "edge-1", ""},
		"a source":                    {[]Node{edge, node("edge-2", Edge, res(1, 2)), fog}, []string{"edge-1"}, "people/gate#0", func(w *Workflow, p []Placement) { p[0].Node = "edge-1" }, "edge-2", "", ""},
		"the last edge node":          {[]Node{edge, fog}, []string{"edge-1"}, "people/gate#0", nil, "", "", "every edge node that is alive is draining"},
		"an attached source":          {[]Node{edge, node("edge-2", Edge, res(1, 2)), fog}, []string{"edge-1"}, "people/gate#0", func(w *Workflow, p []Placement) { w.Sources[0].Node = "edge-1" }, "", "", "it is attached to edge-1"},
		"what is not placed":          {[]Node{edge, fog}, []string{"fog-1"}, "people/hog@512#7", nil, "", "", "it is not placed"},
		"a task that is gone":         {[]Node{edge, fog, cloud}, []string{"fog-1"}, "people/hog@512#0", func(w *Workflow, _ []Placement) { w.Tasks = w.Tasks[:1] }, "", "", "the workflow has no task hog@512 any more"},
		"a task that asks for more by now": {[]Node{edge, fog, cloud}, []string{"fog-1"}, "people/hog@512#0", func(w *Workflow, _ []Placement) {
			w.Tasks[1].Request = res(3, 2)
		}, "cloud-1", "", ""},
		// It was moving from fog-1 to fog-2, which has died.
		"anew, since the new node died": {[]Node{edge, fog, cloud}, []string{"fog-1"}, "people/hog@512#0", func(_ *Workflow, p []Placement) {
			p[2].From, p[2].Node = "fog-1", "fog-2"
		}, "cloud-1", "fog-1", ""},
		"back, since the new node died": {[]Node{edge, fog}, nil, "people/hog@512#0", func(_ *Workflow, p []Placement) {
			p[2].From, p[2].Node = "fog-1", "fog-2"
		}, "fog-1", "", ""},
		"since both nodes died": {[]Node{edge, cloud}, nil, "people/hog@512#0", func(_ *Workflow, p []Placement) {
			p[2].From, p[2].Node = "fog-1", "fog-2"
		}, "cloud-1", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, placed := placedOn(t, edge, fog)
			if c.change != nil {
				c.change(w, placed)
			}
			plan, why := Move(NewView(1, c.nodes, placed, nil).Drain(c.draining...), w, c.id, seeded(1))
			if why != c.why || (plan == nil) != (c.why != "") {
				t.Fatalf("plan %+v, why %q, want %q", plan, why, c.why)
			}
			if plan == nil {
				return
			}
			if len(plan.Place) != 1 || plan.Place[0].ID != c.id || plan.Place[0].Node != c.to || plan.Place[0].From != c.from || len(plan.Remove) != 0 {
				t.Errorf("want %s from %q to %s: %s", c.id, c.from, c.to, describe(plan))
			}
		})
	}
}

// A draining node gets nothing new, and what it has stays until it is moved.
func TestScheduleOnADrainingMesh(t *testing.T) {
	nodes := []Node{node("edge-1", Edge, res(1, 2)), node("fog-1", Fog, res(4, 8), "hog"), node("cloud-1", Cloud, res(4, 8), "hog")}
	w, placed := placedOn(t, nodes[0], nodes[1])
	view := NewView(1, nodes, placed, nil).Drain("fog-1", "edge-1", "unknown")
	if p := mustSchedule(t, view, w); !p.Empty() || len(p.Keep) != 3 {
		t.Errorf("what runs on draining nodes is planned anew: %s", describe(p))
	}
	other := *w
	other.Name, other.Sources = "cars", []Source{{Name: "yard", Node: "edge-1"}, {Name: "gate"}}
	other.Tasks = w.Tasks[1:]
	other.Links = []Link{{From: "yard", To: "detect"}}
	p := mustSchedule(t, view, &other)
	if find(t, p, "hog@512", 0).Node != "cloud-1" || !strings.Contains(find(t, p, "hog@512", 0).Reason, "no fog node that is not draining could run it, cloud next") {
		t.Errorf("the detector goes elsewhere: %s", describe(p))
	}
	want := []Unplaced{{"yard", "node edge-1 is draining"}, {"gate", "every edge node that is alive is draining"}}
	if !slices.Equal(p.Unplaced, want) {
		t.Errorf("unplaced %v, want %v", p.Unplaced, want)
	}
}

// While a placement moves both nodes run it, and frames go to the one that
// serves.
func TestAssignmentsOfAMove(t *testing.T) {
	nodes := []Node{node("edge-1", Edge, res(1, 2)), node("fog-1", Fog, res(4, 8), "hog"), node("cloud-1", Cloud, res(4, 8), "hog")}
	for name, c := range map[string]struct {
		switched uint64
		dead     string
		serves   string
	}{
		"the new instance is not up": {0, "", "fog-1"},
		"it is up":                   {7, "", "cloud-1"},
		"the old node died":          {0, "fog-1", "cloud-1"},
		"the new node died":          {0, "cloud-1", "fog-1"},
		"the old node died late":     {7, "fog-1", "cloud-1"},
		"the new node died late":     {7, "cloud-1", "fog-1"},
	} {
		w, placed := placedOn(t, nodes[0], nodes[1])
		moving := &placed[2]
		moving.From, moving.Node, moving.Tier, moving.Switched = "fog-1", "cloud-1", Cloud, c.switched
		live := map[string]Node{}
		for _, n := range nodes {
			if n.ID != c.dead {
				live[n.ID] = n
			}
		}
		next := Assignments("edge-1", []*Workflow{w}, placed, live, nil)[1].Next
		if len(next) != 1 || next[0].Node != c.serves || next[0].Address != c.serves+":7946" || next[0].Tier != live[c.serves].Tier {
			t.Errorf("%s: resize may go to %+v, want %s", name, next, c.serves)
		}
		for _, n := range []string{"fog-1", "cloud-1"} {
			if n == c.dead {
				continue
			}
			as := Assignments(n, []*Workflow{w}, placed, live, nil)
			if len(as) != 1 || as[0].Placement.ID != moving.ID || as[0].Placement.Node != n || as[0].Placement.Tier != live[n].Tier || as[0].Task == nil {
				t.Errorf("%s: %s runs %+v", name, n, as)
			}
		}
	}
}

// TestDrainsKeepTheirPromises drains nodes of random meshes:
//
//   - what runs there stays in every plan until it is moved by name;
//   - no plan places anything new on a draining node;
//   - a move changes one placement, says where it comes from unless it is a
//     source, and keeps every rule;
//   - what stays finds no node with the room, whatever Algorithm 4 does.
func TestDrainsKeepTheirPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, rtt := drawMesh(t), drawTrips(t)
		workflows := map[string]*Workflow{}
		var placed []Placement
		for i := range rapid.IntRange(1, 3).Draw(t, "workflows") {
			w := drawWorkflow(t, fmt.Sprintf("w%d", i), nodes)
			if p, err := Schedule(NewView(1, nodes, placed, rtt), w, seeded(1)); err == nil {
				workflows[w.Name] = w
				placed = replay(placed, p)
			}
		}
		draining := map[string]bool{}
		for _, n := range nodes {
			draining[n.ID] = rapid.Bool().Draw(t, "drains "+n.ID)
		}
		var ids []string
		for id, drains := range draining {
			if drains {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		view := NewView(2, nodes, placed, rtt).Drain(ids...)
		for _, w := range workflows {
			if p, err := Schedule(view, w, seeded(2)); err != nil || !p.Empty() {
				t.Fatalf("a drain alone changes a plan: %v%s", err, describe(p))
			}
		}
		if p, err := Schedule(view, drawWorkflow(t, "new", nodes), seeded(3)); err == nil {
			for _, x := range p.Place {
				if draining[x.Node] {
					t.Fatalf("%s is placed on %s, which is draining", x.ID, x.Node)
				}
			}
		}
		for _, x := range slices.Clone(placed) {
			if !draining[x.Node] {
				continue
			}
			w := workflows[x.Workflow]
			plan, why := Move(view, w, x.ID, seeded(4))
			again, whyAgain := Move(NewView(2, nodes, shuffled(t, placed), rtt).Drain(ids...), w, x.ID, seeded(4))
			if !reflect.DeepEqual(plan, again) || why != whyAgain {
				t.Fatalf("equal seeds, different moves: %+v %q and %+v %q", plan, why, again, whyAgain)
			}
			if plan == nil {
				if why == "" {
					t.Fatalf("%s stays for no reason", x.ID)
				}
				stuck(t, view, w, &x, why)
				continue
			}
			y := plan.Place[0]
			if len(plan.Place) != 1 || len(plan.Remove) != 0 || y.ID != x.ID || draining[y.Node] || y.Source && y.From != "" || !y.Source && y.From != x.Node {
				t.Fatalf("to move %s: %s", x.ID, describe(plan))
			}
			var rest []Placement
			for _, z := range placed {
				if z.Workflow == x.Workflow && z.ID != x.ID {
					rest = append(rest, z)
				}
			}
			if !reflect.DeepEqual(sortedByID(plan.Keep), sortedByID(rest)) {
				t.Fatalf("kept %+v, want all the others, %+v", plan.Keep, rest)
			}
			checkAdjustments(t, placed, plan)
			placed, view = replay(placed, plan), view.With(plan)
			check(t, nodes, workflows, placed)
			sameView(t, view, NewView(2, nodes, placed, rtt))
		}
	})
}

// stuck checks that no node could have taken a placement.
func stuck(t *rapid.T, v *View, w *Workflow, x *Placement, why string) {
	if x.Source {
		if src, _ := w.Source(x.Task); src.Node != "" {
			return
		}
	}
	for n := range v.mesh.nodes {
		node := &v.mesh.nodes[n]
		if v.mesh.draining.has(int32(n)) || x.Category.Intensive() && node.Tier == Edge || x.Source && node.Tier != Edge {
			continue
		}
		task, _ := w.Task(x.Task)
		if !x.Source && (task.Model != nil && !node.HasModel(task.Model.Name) || !node.HasPlatform(task.Platform)) {
			continue
		}
		free, least := v.loads[n].free, x.Requested
		if x.Category.Intensive() {
			free, least = free.Add(v.loads[n].slack), x.Requested.Half()
		}
		if x.Source || least.Fits(free) {
			t.Fatalf("%s stays (%s), and %s has %v free", x.ID, why, node.ID, free)
		}
	}
}
