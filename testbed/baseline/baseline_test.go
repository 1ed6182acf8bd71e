package baseline_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/testbed/baseline"
	"github.com/weft-mesh/weft/tiering"
)

const gib = int64(1) << 30

func node(id string, t tiering.Tier, cores int64, models ...string) tiering.Node {
	return tiering.Node{ID: id, Tier: t, Capacity: tiering.Resources{CPU: 1000 * cores, Memory: 8 * gib, Disk: gib}, Models: models}
}

// mesh is two cameras' nodes, a fog node and a cloud.
func mesh() []tiering.Node {
	return []tiering.Node{
		node("cloud-1", tiering.Cloud, 8, "yolo"), node("edge-1", tiering.Edge, 1, "yolo"), node("edge-2", tiering.Edge, 1, "yolo"),
		node("fog-1", tiering.Fog, 2, "yolo"),
	}
}

func cameras(replicas int) *tiering.Workflow {
	detect := func(r int) tiering.Task {
		return tiering.Task{
			Name: map[int]string{416: "detect@416", 512: "detect@512"}[r], Group: "detect", Type: tiering.DeepModel, Operation: "detect",
			Model:   &tiering.Model{Name: "yolo", Family: "yolo", Resolution: r},
			Request: tiering.Resources{CPU: 500, Memory: gib}, Replicas: replicas,
		}
	}
	return &tiering.Workflow{
		Name:    "cameras",
		Sources: []tiering.Source{{Name: "a", Node: "edge-1", FPS: 5, Resolution: 512}, {Name: "b", Node: "edge-2", FPS: 5, Resolution: 512}},
		Tasks: []tiering.Task{
			{Name: "resize", Group: "resize", Type: tiering.Preprocess, Operation: "resize", Request: tiering.Resources{CPU: 200}, Replicas: 1},
			detect(416), detect(512),
			{Name: "draw", Group: "draw", Type: tiering.Postprocess, Operation: "draw", Store: true, Request: tiering.Resources{CPU: 500, Memory: gib}, Replicas: replicas},
		},
		Links: []tiering.Link{{From: "a", To: "resize"}, {From: "b", To: "resize"}, {From: "resize", To: "detect"}, {From: "detect", To: "draw"}},
	}
}

func rtt(a, b string) (time.Duration, bool) {
	tier := map[byte]int{'e': 0, 'f': 1, 'c': 2}
	d := tier[a[0]] - tier[b[0]]
	return time.Duration(1+4*max(d, -d)) * time.Millisecond, true
}

func costs() baseline.Costs {
	return baseline.Costs{
		Transfer: func(from, to *tiering.Node, _ *tiering.Task) time.Duration {
			if from.ID == to.ID {
				return 0
			}
			d, _ := rtt(from.ID, to.ID)
			return d
		},
		Execute: func(*tiering.Node, *tiering.Task) time.Duration { return time.Millisecond },
	}
}

// where says on which nodes the instances of a task are, and what was left out.
func where(p *tiering.Plan, task string) string {
	var on []string
	for _, x := range p.Place {
		if x.Task == task {
			on = append(on, x.Node)
		}
	}
	slices.Sort(on)
	for _, u := range p.Unplaced {
		if u.Name == task {
			on = append(on, u.Reason)
		}
	}
	return strings.Join(on, " ")
}

func TestWhereEachPlaces(t *testing.T) {
	fixed := map[string]string{"cameras/detect@416#0": "edge-1", "cameras/detect@512#0": "cloud-1", "cameras/draw#0": "fog-1"}
	for name, x := range map[string]struct {
		placer                        baseline.Placer
		replicas                      int
		resize, detect416, d512, draw string
	}{
		"cloud":       {baseline.Tier(tiering.Cloud), 2, "edge-1 edge-2", "cloud-1 cloud-1", "cloud-1 cloud-1", "cloud-1 cloud-1"},
		"fog":         {baseline.Tier(tiering.Fog), 1, "edge-1 edge-2", "fog-1", "fog-1", "fog-1"},
		"fog is full": {baseline.Tier(tiering.Fog), 2, "edge-1 edge-2", "fog-1 fog-1", "fog-1 fog-1", "no room for 2 of its 2 instances"},
		"edge":        {baseline.Tier(tiering.Edge), 1, "edge-1 edge-2", "edge-1", "edge-2", "no room for 1 of its 1 instances"},
		"greedy":      {baseline.Greedy(costs()), 1, "edge-1 edge-2", "edge-1", "edge-2", "fog-1"},
		"fixed":       {baseline.Fixed(fixed), 1, "edge-1 edge-2", "edge-1", "cloud-1", "fog-1"},
	} {
		v := tiering.NewView(1, mesh(), nil, rtt)
		p, err := x.placer(v, cameras(x.replicas), rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		for task, want := range map[string]string{"resize": x.resize, "detect@416": x.detect416, "detect@512": x.d512, "draw": x.draw} {
			if got := where(p, task); got != want {
				t.Errorf("%s: %s on %q, want %q", name, task, got, want)
			}
		}
	}
}

// Whatever there is: no node is given more than it has or what it cannot run,
// the same seed places alike, and what is placed stays.
func TestTheyKeepToTheMesh(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := mesh()
		for i := range nodes {
			nodes[i].Capacity.CPU = rapid.Int64Range(0, 4000).Draw(t, "cores")
			if rapid.Bool().Draw(t, "bare") {
				nodes[i].Models = nil
			}
		}
		w := cameras(rapid.IntRange(1, 4).Draw(t, "replicas"))
		seed := rapid.Uint64().Draw(t, "seed")
		placers := []baseline.Placer{
			baseline.Tier(tiering.Cloud), baseline.Tier(tiering.Fog), baseline.Tier(tiering.Edge), baseline.Random(seed), baseline.Greedy(costs()),
		}
		placer := placers[rapid.IntRange(0, len(placers)-1).Draw(t, "placer")]
		plan := func(v *tiering.View) *tiering.Plan {
			p, err := placer(v, w, rand.New(rand.NewPCG(seed, 2)))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		v := tiering.NewView(1, nodes, nil, rtt)
		p := plan(v)
		used := map[string]tiering.Resources{}
		for _, x := range p.Place {
			used[x.Node] = used[x.Node].Add(x.Reserved)
			if task, ok := w.Task(x.Task); ok && !v.Takes(x.Node, task) {
				t.Errorf("%s is on %s, which cannot run it", x.ID, x.Node)
			}
		}
		for _, n := range nodes {
			if !used[n.ID].Fits(n.Capacity) {
				t.Errorf("%s has %v and is given %v", n.ID, n.Capacity, used[n.ID])
			}
		}
		if again := plan(v); !slices.Equal(again.Place, p.Place) {
			t.Errorf("another time %+v, want %+v", again.Place, p.Place)
		}
		if next := plan(v.With(p)); !next.Empty() || !slices.Equal(next.Unplaced, p.Unplaced) {
			t.Errorf("once it runs: %+v", next)
		}
	})
}

// What ran on a node that is lost is placed anew, and nothing else moves.
func TestALostNode(t *testing.T) {
	w, rng := cameras(1), rand.New(rand.NewPCG(1, 1))
	v := tiering.NewView(1, mesh(), nil, rtt)
	place := baseline.Fixed(map[string]string{"cameras/detect@416#0": "fog-1", "cameras/detect@512#0": "cloud-1", "cameras/draw#0": "cloud-1"})
	p, err := place(v, w, rng)
	if err != nil {
		t.Fatal(err)
	}
	left := slices.DeleteFunc(mesh(), func(n tiering.Node) bool { return n.ID == "fog-1" })
	next, err := baseline.Tier(tiering.Cloud)(tiering.NewView(2, left, p.Place, rtt), w, rng)
	if err != nil {
		t.Fatal(err)
	}
	if len(next.Place) != 1 || next.Place[0].ID != "cameras/detect@416#0" || next.Place[0].Node != "cloud-1" || len(next.Remove) > 0 {
		t.Errorf("placed %+v, removed %v", next.Place, next.Remove)
	}
}
