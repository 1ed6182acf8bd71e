package filter

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/pipeline"
)

// road is a view and what is found in it: a car at each of the places.
func road(places ...int) (*View, []pipeline.Detection) {
	v := &View{}
	var found []pipeline.Detection
	for lane, x := range places {
		for y := range 4 {
			for i := range 8 {
				if at := x + i; at < viewWidth {
					v.cells[(20*lane+10+y)*viewWidth+at] = 120
				}
			}
		}
		found = append(found, pipeline.Detection{Label: "car", Score: 0.9, Box: pipeline.Box{
			X: float64(x) / viewWidth, Y: float64(20*lane+10) / viewHeight, W: 8. / viewWidth, H: 4. / viewHeight,
		}})
	}
	return v, found
}

// A replay of every threshold says what the filter would have done, frame by
// frame.
func TestTrialAgainstTheRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := drawRun(t, runLength)
		trial := newTrial(run)
		r := rapid.IntRange(0, rungs-1).Draw(t, "rung")
		s, err := New(Params{Threshold: rung(r)})
		if err != nil {
			t.Fatal(err)
		}
		var tally score.Tally
		analysed, shown := 0, []pipeline.Detection(nil)
		for i := range run {
			pass, sample := s.Look(run[i].view, Kind{})
			if sample != nil {
				t.Fatal("a filter with a fixed threshold asks")
			}
			if pass {
				analysed++
				shown = run[i].found
			}
			var truth []pipeline.Truth
			for _, d := range run[i].found {
				truth = append(truth, pipeline.Truth{Label: d.Label, Box: d.Box})
			}
			tally.Add(shown, truth)
		}
		want, _ := tally.Result()
		if got := trial.rungs[r]; got.analysed != analysed || got.counts != want {
			t.Fatalf("threshold %g: %+v, want %d analysed and %+v", rung(r), got, analysed, want)
		}
	})
}

func drawRun(t *rapid.T, most int) []seen {
	run := make([]seen, rapid.IntRange(1, most).Draw(t, "frames"))
	places := rapid.SliceOfN(rapid.IntRange(0, viewWidth), 0, 4).Draw(t, "places")
	for i := range run {
		for k := range places {
			places[k] = (places[k] + rapid.IntRange(0, 3).Draw(t, "move")) % viewWidth
		}
		run[i].view, run[i].found = road(places...)
	}
	return run
}

// What is chosen keeps the accuracy, as do all smaller thresholds; it is not
// beyond what was seen, and more accuracy never means a larger one.
func TestChoose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var trials []*trial
		most := 0.0
		for range rapid.IntRange(1, 3).Draw(t, "trials") {
			trials = append(trials, newTrial(drawRun(t, 7)))
			most = max(most, trials[len(trials)-1].most)
		}
		accuracy := rapid.Float64Range(0.5, 1).Draw(t, "accuracy")
		threshold, sum, ok := choose(trials, accuracy)
		if ok && sum.kept() < accuracy || threshold > most {
			t.Fatalf("threshold %g of %g keeps %g of %g", threshold, most, sum.kept(), accuracy)
		}
		best, any := 0.0, false
		for r := range rungs {
			var all tried
			for _, x := range trials {
				all = all.plus(x.rungs[r])
			}
			if all.kept()-spread(trials, r, all) < accuracy {
				break
			}
			best, any = min(rung(r), most), true
		}
		if any != ok || best != threshold {
			t.Fatalf("threshold %g (%t), want %g (%t)", threshold, ok, best, any)
		}
		if less, _, ok2 := choose(trials, accuracy*0.8); less < threshold || ok && !ok2 {
			t.Fatalf("%g for %g, and %g for less", threshold, accuracy, less)
		}
	})
}

// answer is what is told of a sample.
type answer func(s *Source, x *Sample, found []pipeline.Detection)

func atOnce(s *Source, x *Sample, found []pipeline.Detection) { s.Found(x, found) }

// watch has a filter look at frames, and says which passed.
func watch(t *testing.T, s *Source, frames int, places func(i int) []int, tell answer) (passed []bool) {
	t.Helper()
	for i := range frames {
		v, found := road(places(i)...)
		pass, sample := s.Look(v, Kind{512, "street"})
		if sample != nil {
			if !pass {
				t.Fatalf("frame %d is a sample and skipped", i)
			}
			tell(s, sample, found)
		}
		passed = append(passed, pass)
	}
	return passed
}

func share(passed []bool) float64 {
	n := 0
	for _, p := range passed {
		if p {
			n++
		}
	}
	return float64(n) / float64(len(passed))
}

func learning(t *testing.T, accuracy float64) *Source {
	t.Helper()
	s, err := New(Params{Accuracy: accuracy})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Until enough is known everything passes; then what stands still is skipped,
// within limits, and what begins to move passes.
func TestStill(t *testing.T) {
	s := learning(t, 0.95)
	parked := func(int) []int { return []int{30, 90} }
	if got := share(watch(t, s, enough*runLength, parked, atOnce)); got != 1 {
		t.Errorf("%.2f passes before enough is known", got)
	}
	passed := watch(t, s, 1000, parked, atOnce)
	if got := share(passed); got > 0.2 {
		t.Errorf("%.2f of what stands still passes: %+v", got, s.State())
	}
	skipped := 0
	for i, p := range passed {
		if skipped++; p {
			skipped = 0
		}
		if skipped > mostSkipped {
			t.Fatalf("frame %d is the %dth in a row that is skipped", i, skipped)
		}
	}
	if st := s.State(); !st.Learnt || st.Accuracy != 1 || st.Analysed > 0.1 {
		t.Errorf("state %+v", st)
	}
	// A third car comes: nobody has ever seen such a difference.
	if got := share(watch(t, s, 20, func(i int) []int { return []int{30, 90, 2 * i} }, atOnce)); got != 1 {
		t.Errorf("%.2f passes when something comes", got)
	}
}

// The more accuracy may go, the fewer frames are analysed, but for the runs; and what is asked for
// is kept.
func TestMoving(t *testing.T) {
	const frames = 400
	last := 1.0
	for _, accuracy := range []float64{1, 0.9, 0.5} {
		s := learning(t, accuracy)
		// Cars of different speeds: each frame differs from the last by a bit more.
		places := func(i int) []int { return []int{i / 4 % viewWidth, i / 2 % viewWidth, i % viewWidth} }
		watch(t, s, 100, places, atOnce)
		var tally score.Tally
		var shown []pipeline.Detection
		passed := 0
		for i := range frames {
			v, found := road(places(100 + i)...)
			pass, x := s.Look(v, Kind{512, "street"})
			if x != nil {
				s.Found(x, found)
			}
			if pass {
				shown = found
				passed++
			}
			var truth []pipeline.Truth
			for _, d := range found {
				truth = append(truth, pipeline.Truth{Label: d.Label, Box: d.Box})
			}
			tally.Add(shown, truth)
		}
		counts, _ := tally.Result()
		share := float64(passed) / frames
		if counts.F1() < accuracy-0.02 || share > last+0.05 {
			t.Errorf("accuracy %g: F1 %.3f with %.2f analysed (%.2f for more accuracy): %+v", accuracy, counts.F1(), share, last, s.State())
		}
		last = share
	}
	if last > 0.7 {
		t.Errorf("%.2f are analysed where half of the accuracy may go", last)
	}
}

// Nothing is skipped where nobody says what was found, or too little of it.
func TestUnanswered(t *testing.T) {
	for name, tell := range map[string]answer{
		"never": func(*Source, *Sample, []pipeline.Detection) {},
		"missed": func(s *Source, x *Sample, _ []pipeline.Detection) {
			s.Missed(x)
		},
		"mostly missed": func(s *Source, x *Sample, found []pipeline.Detection) {
			if x.index%3 == 0 {
				s.Found(x, found)
			} else {
				s.Missed(x)
			}
		},
	} {
		s := learning(t, 0.5)
		if got := share(watch(t, s, 1000, func(int) []int { return nil }, tell)); got != 1 {
			t.Errorf("%s: %.2f passes", name, got)
		}
		if len(s.waiting) > mostWaiting || len(s.trials) > 0 {
			t.Errorf("%s: %d runs wait, %d are known", name, len(s.waiting), len(s.trials))
		}
	}
	// A few holes do no harm, and neither do answers that come late.
	var late []func()
	s := learning(t, 0.9)
	passed := watch(t, s, 2000, func(int) []int { return []int{50} }, func(s *Source, x *Sample, found []pipeline.Detection) {
		late = append(late, func() {
			if x.index == 5 {
				s.Missed(x)
			} else {
				s.Found(x, found)
			}
		})
		if len(late) > 10 {
			late[0]()
			late = late[1:]
		}
	})
	if got := share(passed); got > 0.5 || !s.State().Learnt {
		t.Errorf("late answers: %.2f passes, %+v", got, s.State())
	}
}

// A scene in which the same difference means more: the threshold follows.
func TestItFollowsTheScene(t *testing.T) {
	s := learning(t, 0.9)
	// A big thing that nobody looks for flickers: differences, and nothing lost.
	flicker := func(i int, v *View) {
		if i%2 == 0 {
			for k := range viewCells / 10 {
				v.cells[viewCells-1-k] = 90
			}
		}
	}
	look := func(i int, car int) bool {
		v, found := road(car)
		flicker(i, v)
		pass, x := s.Look(v, Kind{})
		if x != nil {
			s.Found(x, found)
		}
		return pass
	}
	n := 0
	for i := range 500 {
		if look(i, 40) && i >= 300 {
			n++
		}
	}
	if n > 60 {
		t.Errorf("%d of 200 pass though nothing happens: %+v", n, s.State())
	}
	n = 0
	for i := range 800 {
		if look(i, 3*i%150) && i >= 500 {
			n++
		}
	}
	if n < 270 {
		t.Errorf("%d of 300 pass when a car drives by: %+v", n, s.State())
	}
}

// Frames of another quality pass, and begin a run anew.
func TestKinds(t *testing.T) {
	s := learning(t, 0.9)
	v, found := road(10)
	for i := range 1000 {
		pass, x := s.Look(v, Kind{Resolution: 416 + 96*(i/10%2)})
		if x != nil {
			s.Found(x, found)
		}
		if !pass {
			t.Fatalf("frame %d is skipped, though no run is whole", i)
		}
	}
	fixed, err := New(Params{Threshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true, false, false} {
		if pass, _ := fixed.Look(v, Kind{Resolution: []int{512, 512, 416, 416, 416}[i]}); pass != want {
			t.Errorf("frame %d passes: %t", i, pass)
		}
	}
}

func TestParams(t *testing.T) {
	for _, p := range []Params{{Accuracy: -0.1}, {Accuracy: 1.1}, {Threshold: 2}, {Accuracy: math.NaN()}, {Threshold: math.NaN()}, {Accuracy: 0.5, Threshold: 0.5}} {
		if _, err := New(p); !errors.Is(err, ErrParams) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []Params{{}, {Accuracy: 1}, {Threshold: 1}} {
		if _, err := New(p); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func BenchmarkTrial(b *testing.B) {
	run := make([]seen, runLength)
	for i := range run {
		run[i].view, run[i].found = road(i, 2*i, 3*i, 40, 50)
	}
	for b.Loop() {
		newTrial(run)
	}
}

// A detector that finds something in one of 20 frames of an empty street, where
// nothing is, is no reason to analyse them all; and a car that comes is seen.
func TestWhimsOfTheDetectorInAnEmptyScene(t *testing.T) {
	s := learning(t, 0.95)
	n := 0
	tell := func(s *Source, x *Sample, found []pipeline.Detection) {
		if n++; n%20 == 7 {
			found = append(found, pipeline.Detection{Label: "person", Score: 0.5, Box: pipeline.Box{X: 0.5, Y: 0.5, W: 0.1, H: 0.2}})
		}
		s.Found(x, found)
	}
	empty := func(int) []int { return nil }
	passed := watch(t, s, 1200, empty, tell)
	if got := share(passed[400:]); got > 0.3 {
		t.Errorf("%.0f %% of the frames of an empty street are analysed", 100*got)
	}
	if st := s.State(); !st.Learnt || st.Accuracy < 0.95 {
		t.Errorf("%+v", st)
	}
	passed = watch(t, s, 300, func(i int) []int { return []int{(2 * i) % viewWidth} }, tell)
	if got := share(passed[100:]); got < 0.9 {
		t.Errorf("of a car that drives by %.0f %% of the frames are analysed", 100*got)
	}
}
