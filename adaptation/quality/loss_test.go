package quality

import (
	"math"
	"testing"
	"time"
)

// At variability 1 the share that is dropped is that of M/M/1/K, by Kleinrock's
// closed form (Queueing Systems I, 3.6), to a fiftieth of the frames.
func TestLossesFollowTheory(t *testing.T) {
	view := View{Stations: []Station{{Name: "detect", Servers: 1, Variability: 1}}}
	v := Visit{Station: "detect", Service: 10_000_000} // 100 a second
	view.Classes = []Class{{Name: "a", FPS: 1, Own: Quality{Every: 1}, Sources: []Source{{Name: "x"}}, Options: []Option{
		{Quality: Quality{Every: 1}, Accuracy: 0.8, Path: Path{{Task: "detect", Execution: v}}},
	}}}
	params := DefaultParams()
	params.Deadline, params.Theta = 2_000_000_000, 0.2
	p, _ := newProblem(&view, &params, []int{1})
	s := &p.stations[0]
	const price = 2 + 0.8/0.2 // seconds: the deadline, and accuracy at Θ
	last := 0.0
	for rho := 0.05; rho < 0.95; rho += 0.05 {
		a, slope, _ := s.waiting(rho)
		b, _, _ := s.queued(rho)
		got := (a - b) / price / (100 * rho)
		want := (1 - rho) * math.Pow(rho, places) / (1 - math.Pow(rho, places+1))
		if math.Abs(got-want) > 0.02 || got < last {
			t.Errorf("at a load of %.2f a share of %.4f is dropped, want %.4f", rho, got, want)
		}
		last = got
		after, next, _ := s.waiting(rho + 1e-6)
		if d := (after - a) / 1e-6; math.Abs(d-slope) > 1e-3*slope || next < slope {
			t.Errorf("at %.2f the slope is %g, want %g, and rising", rho, slope, d)
		}
	}
	params.Deadline = 0
	if p, _ := newProblem(&view, &params, []int{1}); p.stations[0].lossy != 0 {
		t.Error("without a deadline frames are counted as dropped")
	}
}

// Where a queue would be full now and then, accuracy is given up for room.
func TestFullQueuesAreKeptAwayFrom(t *testing.T) {
	option := func(r int, accuracy float64, ms int) Option {
		return Option{Quality: Quality{Resolution: r, Every: 1}, Accuracy: accuracy, Path: Path{{Execution: Visit{Station: "detect", Service: time.Duration(ms) * time.Millisecond}}}}
	}
	view := View{Stations: []Station{{Name: "detect", Servers: 1}}, Classes: []Class{{
		Name: "a", FPS: 9, Own: Quality{Resolution: 512, Every: 1}, Options: []Option{option(512, 0.8, 10), option(416, 0.79, 6)},
	}}}
	params := DefaultParams()
	params.Theta = 0.05
	best := func() int {
		p, _ := newProblem(&view, &params, []int{10})
		return p.bestUtility(params.Theta, 1).n[0]
	}
	without := best()
	params.Deadline = 2 * time.Second
	if with := best(); with >= without {
		t.Errorf("%d of 10 sources at 512 where full queues cost, and %d where they do not", with, without)
	}
}

// What is dropped of frames that stand for others is as bad as all of them, and
// qualities keep their order whichever of them a node's own link is too slow for.
func TestDroppedFramesStandForOthers(t *testing.T) {
	option := func(r, every, ms int) Option {
		return Option{Quality: Quality{Resolution: r, Every: every}, Accuracy: 0.8, Path: Path{{Execution: Visit{Station: "own", Service: time.Duration(ms) * time.Millisecond}}}}
	}
	view := View{Stations: []Station{{Name: "own", Servers: 1, Each: 1}}, Classes: []Class{{
		Name: "a", FPS: 10, Own: Quality{Resolution: 512, Every: 1}, Sources: []Source{{Name: "x"}},
		Options: []Option{option(512, 1, 190), option(512, 4, 760), option(416, 1, 50)},
	}}}
	params := DefaultParams()
	params.Deadline, params.Theta, params.Knobs.Rate = 2*time.Second, 0.2, true
	p, _ := newProblem(&view, &params, []int{1})
	if len(p.options) != 3 || p.options[0].index != 0 || p.options[1].index != 1 || p.options[2].index != 2 {
		t.Fatalf("options %+v", p.options)
	}
	// Both ask for 190 % of their link: half of ten frames a second are lost, or
	// half of 2.5 that stand for four each.
	for i, o := range p.options[:2] {
		if want := 6.0 * 5; math.Abs(o.lost-want) > 1e-9 {
			t.Errorf("option %d: %g s a second are lost, want %g", i, o.lost, want)
		}
	}
	if p.options[2].lost != 0 {
		t.Error("nothing is lost at 416")
	}
}
