package agent

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// What has ended is reported until the coordinator has taken it, once.
func TestLastWordsGetThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		m.script.want(assignments(people(), usual()))
		pass(5*time.Second + 500*time.Millisecond)
		m.script.fail(false, true)
		m.script.want(nil)
		pass(time.Minute)
		m.runs()
		if c := m.total(); c.Captured > 100 {
			t.Errorf("reports got through: %+v", c)
		}
		m.script.fail(false, false)
		pass(5 * time.Second)
		if c := m.settled(); c.Captured < 109 || c.Lost() > 0 {
			t.Errorf("after the last words: %+v", c)
		}
		for id, n := range m.nodes {
			if r := n.agent.Report(); len(r.Sources)+len(r.Stages) > 0 {
				t.Errorf("%s goes on telling of what has ended: %+v", id, r)
			}
		}
		m.stop()
	})
}

// What ends while a report of it as running is under way is still in the
// next.
func TestEndsDuringReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		m.script.want(assignments(people(), usual()))
		pass(5*time.Second + 500*time.Millisecond)
		var once sync.Once
		m.script.mu.Lock()
		m.script.onReport = func() {
			once.Do(func() { m.script.want(nil) })
			<-time.After(3 * time.Second)
		}
		m.script.mu.Unlock()
		pass(20 * time.Second)
		m.runs()
		m.settled()
		for _, r := range m.script.sources() {
			if r.Status != pipeline.StatusEnded {
				t.Errorf("the last that was heard of %s: %s", r.Instance, r.Status)
			}
		}
		for _, r := range m.script.stages() {
			if r.Status != pipeline.StatusEnded {
				t.Errorf("the last that was heard of %s: %s", r.Instance, r.Status)
			}
		}
		m.stop()
	})
}

// Last words are kept within a limit, the newest of them.
func TestLastWordsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, err := New(Config{Node: meshNodes["fog"], Log: quiet()}, "run-1", newScript(), newShop(), Links{}, pipeline.NewSwitchboard(), nil)
		if err != nil {
			t.Fatal(err)
		}
		w := people()
		for n := range endedLimit + 5 {
			p := tiering.Placement{ID: tiering.SlotID("people", "detect", n), Workflow: "people", Task: "detect", Node: "fog"}
			a.match(t.Context(), []tiering.Assignment{{Placement: p, Task: &w.Tasks[1], Objectives: w.Objectives}})
			pass(10 * time.Millisecond) // so that they end in this order
		}
		a.match(t.Context(), nil)
		a.running.Wait()
		r := a.Report()
		if len(r.Stages) != endedLimit {
			t.Errorf("%d last words, want %d", len(r.Stages), endedLimit)
		}
		if !slices.ContainsFunc(r.Stages, func(s pipeline.StageReport) bool {
			return s.Instance == fmt.Sprintf("people/detect#%d", endedLimit+4)
		}) {
			t.Error("the newest was forgotten")
		}
	})
}

// The sums of the newest reports of all starts agree with what the source
// counts, over restarts; epochs tell the starts apart.
func TestEpochs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		for fps := 10.0; fps <= 50; fps += 10 {
			w := people()
			w.Sources[0].FPS = fps
			m.script.want(assignments(w, usual()))
			pass(4 * time.Second)
		}
		m.stop()
		if n := len(m.script.sources()); n != 5 {
			t.Errorf("%d starts of the source reported, want 5", n)
		}
		stages := slices.Collect(maps.Values(m.script.stages()))
		if len(stages) != 3 {
			t.Errorf("%d starts of three stages reported", len(stages))
		}
		c := m.settled()
		for _, s := range stages {
			if s.Status != pipeline.StatusEnded || s.Received != c.Captured || s.Processed != c.Delivered {
				t.Errorf("%s: %s, received %d, processed %d; the sources: %+v", s.Instance, s.Status, s.Received, s.Processed, c)
			}
		}
	})
}
