package tiering

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// TestMain has properties checked on more cases than rapid's hundred, which
// these are small enough for; -rapid.checks still overrides it.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const gib = int64(1) << 30

// res is cores and GiB of memory.
func res(cores float64, mem float64) Resources {
	return Resources{CPU: int64(cores * 1000), Memory: int64(mem * float64(gib))}
}

func node(id string, t Tier, capacity Resources, models ...string) Node {
	return Node{ID: id, Tier: t, Capacity: capacity, Models: models, Platforms: []Platform{{"cpu", 1}},
		Addresses: Addresses{Data: id + ":7946"}}
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func mustSchedule(t testing.TB, v *View, w *Workflow) *Plan {
	t.Helper()
	p, err := Schedule(v, w, seeded(1))
	if err != nil {
		t.Fatalf("Schedule: %v", err)
	}
	return p
}

// find returns what the plan places for an instance.
func find(t testing.TB, p *Plan, task string, instance int) Placement {
	t.Helper()
	for _, x := range p.Place {
		if x.Task == task && x.Instance == instance {
			return x
		}
	}
	t.Fatalf("plan places no %s#%d: %s", task, instance, describe(p))
	return Placement{}
}

func describe(p *Plan) string {
	s := "\n"
	for _, x := range p.Place {
		s += fmt.Sprintf("  place %-14s %-8s %v of %v: %s\n", x.ID, x.Node, x.Reserved, x.Requested, x.Reason)
	}
	for _, x := range p.Keep {
		s += fmt.Sprintf("  keep %-14s %-8s\n", x.ID, x.Node)
	}
	for _, x := range p.Adjust {
		s += fmt.Sprintf("  adjust %s from %v to %v\n", x.Placement, x.From, x.To)
	}
	return s + fmt.Sprintf("  remove %v unplaced %v", p.Remove, p.Unplaced)
}

// deep is an LI or HI task, depending on the other resolutions of its family.
func deep(family string, resolution int, r Resources) Task {
	return Task{
		Name: fmt.Sprintf("%s@%d", family, resolution), Group: "detect", Type: DeepModel, Operation: "detect",
		Model:   &Model{Name: family, Family: family, Resolution: resolution, Fit: Letterbox},
		Request: r, Replicas: 1,
	}
}

// paperMesh is the testbed of section VII: 11 edge, 2 fog and 1 cloud nodes.
func paperMesh() []Node {
	var nodes []Node
	for i := range 11 {
		nodes = append(nodes, node(fmt.Sprintf("edge-%02d", i+1), Edge, res(1, 2), "yolov4"))
	}
	nodes = append(nodes,
		node("fog-1", Fog, res(4, 32), "yolov4"), node("fog-2", Fog, res(4, 32), "yolov4"),
		node("cloud-1", Cloud, res(8, 64), "yolov4"))
	return nodes
}

// paperRoundTrips are those of section VII: within a tier 1 ms, edge to fog 4,
// fog to cloud 5, one way; edge to cloud through the fog.
func paperRoundTrips(nodes []Node) RoundTrips {
	tiers := map[string]Tier{}
	for _, n := range nodes {
		tiers[n.ID] = n.Tier
	}
	oneWay := map[[2]Tier]time.Duration{{Edge, Fog}: 4, {Fog, Cloud}: 5, {Edge, Cloud}: 9}
	return func(a, b string) (time.Duration, bool) {
		x, y := min(tiers[a], tiers[b]), max(tiers[a], tiers[b])
		if x == 0 {
			return 0, false
		}
		if x == y {
			return 2 * time.Millisecond, true
		}
		return 2 * oneWay[[2]Tier{x, y}] * time.Millisecond, true
	}
}

// paperWorkflow is the use case of section VII: 19 sources, resize, YOLOv4 at
// 416 and 512, draw with its store.
func paperWorkflow(sources int) *Workflow {
	w := &Workflow{Name: "objects"}
	for i := range sources {
		name := fmt.Sprintf("cam-%02d", i+1)
		w.Sources = append(w.Sources, Source{Name: name, URI: "videotest:", Resolution: 512})
		w.Links = append(w.Links, Link{From: name, To: "resize"})
	}
	w.Tasks = []Task{
		{Name: "resize", Group: "resize", Type: Preprocess, Operation: "resize", Request: res(1, 1), Replicas: 1},
		deep("yolov4", 416, res(4, 32)),
		deep("yolov4", 512, res(4, 32)),
		{Name: "draw", Group: "draw", Type: Postprocess, Operation: "draw", Request: res(2, 16), Store: true, Replicas: 1},
	}
	w.Links = append(w.Links, Link{From: "resize", To: "detect"}, Link{From: "detect", To: "draw"})
	return w
}
