package testbed_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
	"github.com/weft-mesh/weft/tiering/workflow"
)

// examples loads every scenario that ships, by name.
func examples(t testing.TB) map[string]*testbed.Scenario {
	t.Helper()
	out := map[string]*testbed.Scenario{}
	for file, data := range documents(t, "../examples/testbed/*.yaml") {
		if _, err := workflow.Parse(file, data, catalog.Builtin()); err == nil {
			continue
		}
		s, err := testbed.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		out[s.Name] = s
		if want := s.Name + ".yaml"; filepath.Base(file) != want {
			t.Errorf("%s holds the scenario %s", file, s.Name)
		}
	}
	for _, name := range []string{"small", "faults", "houmani", "nineteen", "people14"} {
		if out[name] == nil {
			t.Fatalf("there is no example %s", name)
		}
	}
	return out
}

// place is what the coordinator would place on the scenario's nodes, all of
// them up, by task and number of instances on a tier.
func place(t *testing.T, s *testbed.Scenario) map[string]map[tiering.Tier]int {
	t.Helper()
	w, err := s.WorkflowSpec(nil)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []tiering.Node
	tier := map[string]tiering.Tier{}
	for _, n := range s.Nodes {
		tier[n.Name] = n.Tier
		nodes = append(nodes, tiering.Node{
			ID: n.Name, Tier: n.Tier, Models: catalog.Builtin().Names(), Platforms: []tiering.Platform{{Type: "cpu", Count: 1}},
			Capacity:  tiering.Resources{CPU: n.Cores, Memory: n.Memory, Disk: n.Disk},
			Addresses: tiering.Addresses{Data: n.Name + ":7947"},
		})
	}
	plan, err := tiering.Schedule(tiering.NewView(1, nodes, nil, nil), w, rand.New(rand.NewPCG(s.Seed, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range plan.Unplaced {
		t.Errorf("%s: %s is not placed: %s", s.Name, u.Name, u.Reason)
	}
	out := map[string]map[tiering.Tier]int{}
	for _, p := range plan.Place {
		if out[p.Task] == nil {
			out[p.Task] = map[tiering.Tier]int{}
		}
		out[p.Task][tier[p.Node]]++
	}
	return out
}

// Every example's workflow has room on its machines, the light detector in the
// fog and the heavy one and the pictures in the cloud.
func TestExamplesHaveRoom(t *testing.T) {
	for name, s := range examples(t) {
		t.Run(name, func(t *testing.T) {
			light, heavy := "detect@512", "detect@640"
			switch name {
			case "houmani", "houmani-street", "houmani-sweep", "houmani-ratios", "houmani-one", "houmani-scaled", "houmani-coco", "nineteen", "adaptation", "adaptation-filter", "adaptation-small", "optimum", "scale":
				light, heavy = "detect@416", "detect@512"
			case "adaptation-coco", "sweeps":
				light, heavy = "detect:mobilenetv2-yolov3-nano@416", "detect:mobilenetv2-yolov3-nano@512"
			}
			wants := map[string]tiering.Tier{"resize": tiering.Edge, light: tiering.Fog, heavy: tiering.Cloud, "draw": tiering.Cloud}
			switch name {
			case "adaptation-filter", "sweeps":
				wants["still"] = tiering.Edge
			case "adaptation-small": // nothing is drawn
				delete(wants, "draw")
			}
			got := place(t, s)
			for task, want := range wants {
				if len(got[task]) != 1 || got[task][want] == 0 {
					t.Errorf("%s is on %v, want the %s only", task, got[task], want)
				}
			}
		})
	}
}

// Tables I and II of Houmani et al.
func TestHoumani(t *testing.T) {
	s := examples(t)["houmani"]
	count := map[tiering.Tier]int{}
	machines := map[tiering.Tier][3]int64{tiering.Edge: {1000, 2 << 30, 2e9}, tiering.Fog: {4000, 32 << 30, 20e9}, tiering.Cloud: {8000, 64 << 30, 500e9}}
	for _, n := range s.Nodes {
		count[n.Tier]++
		if got := [3]int64{n.Cores, n.Memory, n.Disk}; got != machines[n.Tier] {
			t.Errorf("%s has %v, want %v", n.Name, got, machines[n.Tier])
		}
	}
	if count[tiering.Edge] != 11 || count[tiering.Fog] != 2 || count[tiering.Cloud] != 1 {
		t.Errorf("nodes %v, want 11 edge, 2 fog and 1 cloud", count)
	}
	topology := testbed.NewTopology(s)
	for _, tt := range []struct {
		a, b  string
		delay int // milliseconds
		rate  int64
	}{
		{"edge-1", "edge-11", 1, 1e9},
		{"fog-1", "fog-2", 1, 1e9},
		{"edge-3", "fog-2", 4, 30e6},
		{"fog-1", "cloud-1", 5, 10e9},
		{"edge-7", "cloud-1", 9, 30e6}, // through the fog
	} {
		l, ok := topology.Link(tt.a, tt.b)
		if !ok || l.Delay.Milliseconds() != int64(tt.delay) || l.Rate != tt.rate || l.Loss != 0 || l.Jitter != 0 {
			t.Errorf("%s–%s is %+v, %v", tt.a, tt.b, l, ok)
		}
	}
	// One instance of resize on each edge node.
	if got := place(t, s)["resize"][tiering.Edge]; got != 11 {
		t.Errorf("%d instances of resize, want 11", got)
	}
}
