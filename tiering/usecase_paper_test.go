package tiering

import (
	"strings"
	"testing"
)

// Houmani et al., section VII: "resize on the edge (11 instances), the 416
// model on fog, the 512 model and draw share the cloud half and half".
func TestUseCaseOfSectionVII(t *testing.T) {
	nodes := paperMesh()
	v := NewView(7, nodes, nil, paperRoundTrips(nodes))
	for seed := range uint64(20) {
		p, err := Schedule(v, paperWorkflow(19), seeded(seed))
		if err != nil {
			t.Fatal(err)
		}
		sources, resize := map[string]int{}, map[string]int{}
		for _, x := range p.Place {
			switch {
			case x.Source:
				sources[x.Node]++
			case x.Task == "resize":
				resize[x.Node]++
				if x.Tier != Edge || x.Category != NI || !strings.HasSuffix(x.Reason, "(same node)") {
					t.Errorf("seed %d: %+v, want it on the edge node of its source", seed, x)
				}
			}
		}
		if len(sources) != 11 || len(resize) != 11 {
			t.Errorf("seed %d: sources on %d nodes, resize on %d, want 11 each", seed, len(sources), len(resize))
		}
		for id, n := range sources {
			if n > 2 {
				t.Errorf("seed %d: %d of 19 sources on %s, want 1 or 2", seed, n, id)
			}
		}
		if x := find(t, p, "yolov4@416", 0); x.Category != LI || x.Tier != Fog || x.Reserved != res(4, 32) {
			t.Errorf("seed %d: 416 is %+v, want LI on the fog", seed, x)
		}
		half := res(4, 32)
		for _, task := range []string{"yolov4@512", "draw"} {
			if x := find(t, p, task, 0); x.Category != HI || x.Node != "cloud-1" || x.Reserved != half {
				t.Errorf("seed %d: %s is %+v, want half of the cloud", seed, task, x)
			}
		}
		if free, _ := v.With(p).Free("cloud-1"); !free.IsZero() {
			t.Errorf("seed %d: cloud has %v free, want nothing", seed, free)
		}
		if len(p.Adjust) != 0 || p.Index != 7 {
			t.Errorf("seed %d: adjusts %v at index %d", seed, p.Adjust, p.Index)
		}
	}
}
