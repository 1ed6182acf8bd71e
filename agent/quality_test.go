package agent

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// twoQualities is people with a detector at 416 on the fog and one at 512 in
// the cloud.
func twoQualities() (*tiering.Workflow, map[string]string) {
	w := people()
	high := w.Tasks[1]
	low := high
	low.Name, low.Model = "detect@416", &tiering.Model{Name: "eyes", Resolution: 416, Fit: tiering.Stretch}
	high.Name, high.Model = "detect@512", &tiering.Model{Name: "eyes", Resolution: 512, Fit: tiering.Stretch}
	w.Tasks = []tiering.Task{w.Tasks[0], low, high, w.Tasks[2]}
	return w, map[string]string{"gate": "edge", "resize": "edge", "detect@416": "fog", "detect@512": "cloud", "draw": "cloud"}
}

// A source changes its quality while it runs: nothing is started again, no
// frame is lost, and each goes to the instance that serves its resolution.
func TestQualityChangesWhileFramesFlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		analysed := map[string]int{}
		s := newShop()
		work := delays(map[string]time.Duration{"resize": 5 * time.Millisecond, "detect@416": 20 * time.Millisecond, "detect@512": 40 * time.Millisecond})
		s.work = func(ctx context.Context, a tiering.Assignment, f *pipeline.Frame) error {
			if m := a.Task.Model; m != nil {
				if m.Resolution != f.Quality {
					t.Errorf("frame %s at %d came to %s", f.ID, f.Quality, a.Task.Name)
				}
				mu.Lock()
				analysed[a.Task.Name]++
				mu.Unlock()
			}
			return work(ctx, a, f)
		}
		m := newMesh(t, s)
		w, on := twoQualities()
		want := func(a *tiering.Adaptation) {
			out := map[string][]tiering.Assignment{}
			for node := range meshNodes {
				out[node] = tiering.Assignments(node, []*tiering.Workflow{w}, placementsOf(w, on), meshNodes, map[string]*tiering.Adaptation{w.Name: a})
			}
			m.script.want(out)
		}
		at := func(resolution, every int) *tiering.Adaptation {
			return &tiering.Adaptation{Qualities: map[string]tiering.Quality{"gate": {Model: "eyes", Resolution: resolution, Every: every}}}
		}
		step := func(what string, a *tiering.Adaptation, low, high int) {
			t.Helper()
			want(a)
			pass(time.Second) // under way
			mu.Lock()
			clear(analysed)
			mu.Unlock()
			pass(5 * time.Second)
			mu.Lock()
			got := maps.Clone(analysed)
			mu.Unlock()
			near := func(n, want int) bool { return n >= want-1 && n <= want+1 }
			if !near(got["detect@416"], low) || !near(got["detect@512"], high) {
				t.Errorf("%s: in 5 s %v were analysed, want %d at 416 and %d at 512", what, got, low, high)
			}
		}
		step("as the document says", nil, 0, 100)
		step("reduced", at(416, 1), 100, 0)
		step("every fourth frame", at(512, 4), 0, 25)
		held := at(512, 1)
		held.Held = map[string]string{"gate": "0.9 is asked for"}
		step("held", held, 0, 0)
		if got := statusOf(m.nodes["edge"].agent.Report(), "people/gate#0"); got != "held: 0.9 is asked for" {
			t.Errorf("a source that is held is %s", got)
		}
		step("admitted", at(512, 1), 0, 100)
		for _, id := range []string{"gate#0@edge", "resize#0@edge", "detect@416#0@fog", "detect@512#0@cloud", "draw#0@cloud"} {
			if n := len(s.entries("open", "people/"+id)); n != 1 {
				t.Errorf("%s was started %d times", id, n)
			}
		}
		m.stop()
		if c := m.settled(); c.Lost() > 0 {
			t.Errorf("changes of quality cost frames: %+v", c)
		}
		m.drawnOnce()
	})
}

// A source that starts anew begins with the quality that was decided.
func TestQualityAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		w, on := twoQualities()
		low := tiering.Quality{Model: "eyes", Resolution: 416, Every: 2}
		out := map[string][]tiering.Assignment{}
		for node := range meshNodes {
			out[node] = tiering.Assignments(node, []*tiering.Workflow{w}, placementsOf(w, on), meshNodes,
				map[string]*tiering.Adaptation{w.Name: {Qualities: map[string]tiering.Quality{"gate": low}}})
		}
		m.script.want(out)
		pass(5 * time.Second)
		m.restart("edge")
		pass(5 * time.Second)
		sources := m.nodes["edge"].agent.Report().Sources
		if len(sources) != 1 || sources[0].Quality == nil || *sources[0].Quality != low || sources[0].Frames.Captured == 0 {
			t.Errorf("after a restart: %+v", sources)
		}
		m.stop()
	})
}
