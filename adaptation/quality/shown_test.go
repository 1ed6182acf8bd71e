package quality

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// twoSteps is a detector that cannot do all of the frames, and draw, which all that it
// lets through come to.
func twoSteps(detect, draw time.Duration) *problem {
	view := View{Stations: []Station{{Name: "detect", Servers: 1}, {Name: "draw", Servers: 1}}, Classes: []Class{{
		Name: "a", FPS: 10, Own: Quality{Every: 1}, Sources: names("s", 10),
		Options: []Option{{Quality: Quality{Every: 1}, Accuracy: 0.8, Path: Path{
			{Task: "detect", Execution: Visit{Station: "detect", Service: detect}},
			{Task: "draw", Execution: Visit{Station: "draw", Service: draw}},
		}}},
	}}}
	params := DefaultParams()
	p, _ := newProblem(&view, &params, []int{10})
	return p
}

func TestShown(t *testing.T) {
	for _, c := range []struct {
		name         string
		detect, draw time.Duration
		want         float64 // of the frames
		within       float64
	}{
		{"all", ms(1), ms(1), 1, 1e-3},
		{"half of them are detected", ms(20), ms(1), 0.5, 0.01},
		{"what is not detected is not drawn", ms(20), ms(15), 0.5, 0.02}, // draw at 75 %, not 150 %
		{"draw is the bottleneck", ms(1), ms(40), 0.25, 0.01},
		{"at full load a share is dropped", ms(10), ms(1), 1 - 0.5/(places+1), 0.001}, // the variability is 0.5
	} {
		p := twoSteps(c.detect, c.draw)
		got := p.shown([]int{10}) / (0.8 * p.frames)
		if math.Abs(got-c.want) > c.within {
			t.Errorf("%s: %.4f of the frames are shown, want %.4f", c.name, got, c.want)
		}
	}
	// M/M/1/K, Kleinrock, Queueing Systems I, 3.6.
	s := server{places: 5}
	for _, rho := range []float64{0.1, 0.5, 0.999999, 1, 1.000001, 1.3, 10, 1e6} {
		sum := 0.0
		for k := range 6 {
			sum += math.Pow(rho, float64(k))
		}
		want := 1 - math.Pow(rho, 5)/sum
		if got := s.serves(rho); math.Abs(got-want) > 1e-6 {
			t.Errorf("at %g %.6f is served, want %.6f", rho, got, want)
		}
	}
	if got := (&server{places: 1000}).serves(3); math.Abs(got-1./3) > 1e-9 {
		t.Errorf("many places: %g", got)
	}
}

// Where nothing can be served, what is chosen shows nearly as much as the best there
// is, which is found by trying all.
func TestMostShownAgainstEnumeration(t *testing.T) {
	params := everyKnob()
	worst, tried, equal := 1.0, 0, 0
	for seed := uint64(1); tried < 200; seed++ {
		v := drawView(seeded(seed), 1+int(seed%2), 8, 3, seed%3 == 0)
		for i := range v.Classes {
			v.Classes[i].FPS *= 3
		}
		p, unusable := newProblem(&v, &params, v.counts())
		if len(unusable) > 0 || p.solve(goal{kind: fastest}) != nil {
			continue
		}
		tried++
		best := 0.0
		enumerate(p, func(n []int, _ point) { best = max(best, p.shown(n)) })
		got := p.mostShown()
		if math.Abs(p.shown(got.n)-got.shown) > 1e-9*best {
			t.Fatalf("seed %d: it says %g and comes to %g", seed, got.shown, p.shown(got.n))
		}
		worst = min(worst, got.shown/best)
		if got.shown > best*(1-1e-6) {
			equal++
		}
	}
	t.Logf("%d of %d are the best, the worst comes to %.4f of it", equal, tried, worst)
	if worst < 0.95 || equal < tried*3/4 {
		t.Errorf("%d of %d are the best, the worst comes to %.4f of it", equal, tried, worst)
	}
}

func BenchmarkMostShown(b *testing.B) {
	params := everyKnob()
	for _, of := range []struct{ classes, sources int }{{3, 10_000}, {100, 1000}} {
		b.Run(fmt.Sprintf("classes=%d/sources=%d", of.classes, of.sources), func(b *testing.B) {
			v := drawView(seeded(1), of.classes, 1, 6, true)
			more(&v, of.sources/of.classes)
			for i := range v.Classes {
				v.Classes[i].FPS *= 5
			}
			p, _ := newProblem(&v, &params, v.counts())
			for b.Loop() {
				p.mostShown()
			}
		})
	}
}
