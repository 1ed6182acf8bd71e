package tiering

import (
	"fmt"
	"strings"
	"testing"
)

// reaching is the paper's use case with 10 cameras of 8 frames a second, each on
// a node of its own, and what uplinks of edge and fog carry.
func reaching(replicas int, edge, fog int64) (*View, *Workflow) {
	var nodes []Node
	w := &Workflow{Name: "w", Objectives: Objectives{MinAccuracy: 0.5}}
	for i := range 10 {
		n := node(fmt.Sprintf("edge-%d", i), Edge, res(1, 2))
		n.Uplink = edge
		nodes = append(nodes, n)
		w.Sources = append(w.Sources, Source{Name: fmt.Sprintf("cam-%d", i), Node: n.ID, FPS: 8, Resolution: 512})
		w.Links = append(w.Links, Link{From: w.Sources[i].Name, To: "detect", Encoding: JPEG})
	}
	for i := range 2 {
		n := node(fmt.Sprintf("fog-%d", i), Fog, res(8, 32), "yolo")
		n.Uplink = fog
		nodes = append(nodes, n)
	}
	nodes = append(nodes, node("cloud", Cloud, res(16, 64), "yolo"))
	for _, r := range []int{416, 512} {
		w.Tasks = append(w.Tasks, Task{
			Name: fmt.Sprintf("detect@%d", r), Group: "detect", Type: DeepModel, Operation: "detect", Replicas: replicas, Request: res(1, 1),
			Model: &Model{Name: "yolo", Family: "yolo", Resolution: r},
		})
	}
	w.Tasks = append(w.Tasks, Task{Name: "draw", Group: "draw", Type: Postprocess, Operation: "draw", Store: true, Replicas: replicas, Request: res(1, 1)})
	w.Links = append(w.Links, Link{From: "detect", To: "draw", Encoding: JPEG})
	return NewView(1, nodes, nil, nil), w
}

// tiers counts the instances of a task by tier: "2 fog, 1 cloud".
func tiers(p *Plan, task string) string {
	count := map[Tier]int{}
	for _, x := range p.Place {
		if x.Task == task {
			count[x.Tier]++
		}
	}
	var out []string
	for _, t := range Tiers() {
		if count[t] > 0 {
			out = append(out, fmt.Sprintf("%d %s", count[t], t))
		}
	}
	return strings.Join(out, ", ")
}

// 80 frames a second of 2.4 bits a pixel are 50 Mbit/s at 512 and 33 at 416; each
// camera sends 5, half of it to either detector.
func TestHITurnsToTheFogWhereLinksCarryTooLittle(t *testing.T) {
	const mbit = 1_000_000
	for what, x := range map[string]struct {
		replicas  int
		edge, fog int64
		high      string
		draw      string
	}{
		"nobody said":           {2, 0, 0, "2 cloud", "2 cloud"},
		"there is enough":       {2, 30 * mbit, 1000 * mbit, "2 cloud", "2 cloud"},
		"the fog's is short":    {2, 30 * mbit, 20 * mbit, "2 cloud", "1 fog, 1 cloud"},
		"it carries next to no": {2, 30 * mbit, 1 * mbit, "2 fog", "2 fog"},
		"one draws for all":     {1, 30 * mbit, 1 * mbit, "1 fog", "1 fog"},
		"the edge's is short":   {2, 1 * mbit, 1000 * mbit, "2 cloud", "2 cloud"}, // the fog is no nearer
	} {
		v, w := reaching(x.replicas, x.edge, x.fog)
		p := mustSchedule(t, v, w)
		if got := tiers(p, "detect@512"); got != x.high {
			t.Errorf("%s: detect@512 on %s, want %s", what, got, x.high)
		}
		if got := tiers(p, "draw"); got != x.draw {
			t.Errorf("%s: draw on %s, want %s", what, got, x.draw)
		}
		if got := tiers(p, "detect@416"); got != fmt.Sprintf("%d fog", x.replicas) {
			t.Errorf("%s: detect@416 on %s, want the fog", what, got)
		}
		if again := mustSchedule(t, v.With(p), w); !again.Empty() {
			t.Errorf("%s: once it runs, %s", what, describe(again))
		}
	}
}

// Without the rate of one source nothing is known of what links carry.
func TestNothingTurnsWithoutRates(t *testing.T) {
	v, w := reaching(2, 30_000_000, 1_000_000)
	w.Sources[3].FPS = 0
	if p := mustSchedule(t, v, w); tiers(p, "detect@512") != "2 cloud" || tiers(p, "draw") != "2 cloud" {
		t.Error(describe(p))
	}
}

// Slots that no task has taken yet are not what a node is full of: instances of
// two detectors are spread over two nodes alike.
func TestDetectorsAreSpread(t *testing.T) {
	v, w := reaching(3, 0, 0)
	w.Tasks[1].Model = &Model{Name: "yolo", Family: "other", Resolution: 512} // LI, too
	p := mustSchedule(t, v, w)
	on := map[string]int{}
	for _, x := range p.Place {
		if x.Tier == Fog {
			on[x.Node]++
		}
	}
	if on["fog-0"] != 3 || on["fog-1"] != 3 {
		t.Errorf("instances by node: %v", on)
	}
}

// What turned to the fog and leaves a draining node there stays in the fog.
func TestWhatTurnedMovesWithinTheFog(t *testing.T) {
	v, w := reaching(2, 30_000_000, 1_000_000)
	p := mustSchedule(t, v, w)
	v = v.With(p)
	draw := find(t, p, "draw", 0)
	plan, why := Move(v.Drain(draw.Node), w, draw.ID, seeded(1))
	if why != "" || len(plan.Place) != 1 || plan.Place[0].Tier != Fog || plan.Place[0].Node == draw.Node {
		t.Errorf("%s %+v", why, plan)
	}
}
