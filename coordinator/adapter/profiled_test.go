package adapter

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

// A leader that has seen no frame at 416 goes by what was profiled: that it takes
// nearly as long as 512 there, and so gains nothing, or next to nothing.
func TestProfilesStandIn(t *testing.T) {
	reduced := map[string]int{}
	for what, mean := range map[string]time.Duration{"slow": 149 * time.Millisecond, "fast": 10 * time.Millisecond} {
		w := newWorld(t, 5)
		put := &state.PutProfiles{At: w.now}
		for _, backend := range []string{profile.CPU, profile.CUDA} { // of these nodes none has CUDA
			put.Profiles = append(put.Profiles, profile.Profile{
				Model: "street", Resolution: 416, Platform: profile.Platform{Backend: backend, Cores: 4},
				ExecuteP50: mean, ExecuteP95: mean, ExecuteMean: mean, Load: time.Second, Energy: profile.Energy{Source: profile.Modelled}, Frames: 20, At: w.now,
			})
			mean = time.Nanosecond
		}
		mean = put.Profiles[0].ExecuteMean
		nodes := w.Snapshot().Nodes()
		for _, n := range nodes {
			put.Node = n.ID
			w.do(put)
		}
		of := profiled(w.Snapshot())
		spec := streets(1)
		for _, tc := range []struct {
			node string
			task *tiering.Task
			want time.Duration
		}{
			{"fog-1", &spec.Tasks[0], mean}, {"fog-1", &spec.Tasks[1], 0}, {"nobody", &spec.Tasks[0], 0}, {"fog-1", &tiering.Task{Name: "resize"}, 0},
		} {
			if got, ok := of(tc.node, tc.task); got != tc.want || ok != (tc.want > 0) {
				t.Errorf("%s on %s: %v, want %v", tc.task.Name, tc.node, got, tc.want)
			}
		}
		for range 60 { // until the first decision, which no frame at 416 was before
			if w.pass(time.Second); len(w.commits) > 0 {
				break
			}
		}
		reduced[what] = w.reduced()
	}
	if reduced["fast"] == 0 || reduced["slow"] >= reduced["fast"] {
		t.Errorf("reduced at the first decision: %v", reduced)
	}
}
