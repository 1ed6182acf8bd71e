package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// scale is the example with so many sources.
func scale(t testing.TB, sources int) *testbed.Scenario {
	t.Helper()
	s, err := testbed.Load("../../examples/testbed/scale.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.Sources = s.Sources[:sources]
	return s
}

// atScale is the control plane once the workflow runs and frames have passed.
func atScale(t testing.TB, sources int) *control {
	t.Helper()
	s := scale(t, sources)
	c, err := newControl(Config{Scenario: s, CPUScale: s.CPUScale, Placer: tiering.Await}, s.Costs)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.setUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	end := c.now() + 2*reconcile
	if err := c.until(t.Context(), func() bool { return c.now() >= end }); err != nil {
		t.Fatal(err)
	}
	return c
}

// A thousand cameras on a hundred nodes: everything is placed, every frame is
// accounted for, and more than detection at 512 can serve is adapted to. Cameras
// that start together stay in step (see opening), so that their frames come in
// bursts, of which a part finds queues full.
func TestAThousandCameras(t *testing.T) {
	s := scale(t, 1000)
	s.Measure.Warmup, s.Measure.Duration = 20*time.Second, 10*time.Second
	rec, err := Run(t.Context(), Config{Scenario: s, Costs: s.Costs, Seed: 1, CPUScale: s.CPUScale})
	if err != nil {
		t.Fatal(err)
	}
	f := rec.Totals.Frames
	if f.Captured != 50_000 || f.Delivered+f.Lost()+f.InFlight != f.Captured || f.Delivered < f.Captured/2 {
		t.Errorf("%+v, want 50,000 captured, each with one fate, and most delivered", f)
	}
	if len(decisions(rec, state.QualityChanged)) == 0 {
		t.Error("nothing was adapted")
	}
	at := map[string]int{}
	for _, p := range rec.Totals.Placements {
		at[p.Task]++
	}
	if at["detect@416"] != 100 || at["detect@512"] != 100 || at["draw"] != 120 || at["resize"] != 80 {
		t.Errorf("instances: %v", at)
	}
}

// How long the decisions of a coordinator take on a hundred nodes, by the number
// of sources: a plan from the state, and a decision about qualities with the
// reports of all agents at hand.
func BenchmarkDecisions(b *testing.B) {
	for _, n := range []int{250, 500, 1000} {
		c := atScale(b, n)
		w, ok := c.machine.Snapshot().Workflow(c.scenario.Workflow.Name)
		if !ok {
			b.Fatal("no workflow runs")
		}
		b.Run(fmt.Sprintf("plan/sources=%d", n), func(b *testing.B) {
			view := c.machine.Snapshot().View(c.roundTrip)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tiering.Await(view, w.Spec, rand.New(rand.NewPCG(1, 1))); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("submit/sources=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fresh, err := newControl(c.cfg, c.costs)
				if err != nil {
					b.Fatal(err)
				}
				fresh.rewire()
				fresh.newTerm(fresh.coordinators[0].node)
				if err := fresh.submit(fresh.scenario.Sources); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("adapt/sources=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			at := c.date()
			for b.Loop() {
				at = at.Add(20 * reconcile)
				if err := c.adapter.Adapt(b.Context(), at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
