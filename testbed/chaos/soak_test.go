package chaos

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// usage is a series: so much at the start, so much more an hour, with noise.
func usage(node string, pid int, from, to time.Duration, at, perHour, noise float64, rnd *rand.Rand) []Usage {
	var out []Usage
	for t := from; t <= to; t += sampleEvery {
		v := at + perHour*(t-from).Hours() + noise*rnd.NormFloat64()
		out = append(out, Usage{At: t, Node: node, PID: pid, Of: map[Resource]float64{Memory: v, Goroutines: 80, Descriptors: 30}})
	}
	return out
}

func TestTrends(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []Usage
	all = append(all, usage("steady", 1, 0, 2*time.Hour, 100, 0, 5, rnd)...)
	all = append(all, usage("leaks", 2, 0, 2*time.Hour, 100, 40, 5, rnd)...)
	all = append(all, usage("slowly", 3, 0, 2*time.Hour, 100, 2, 5, rnd)...)
	// Fast at first, as caches fill, and then no more.
	all = append(all, usage("warms", 4, 0, time.Hour, 50, 60, 1, rnd)...)
	all = append(all, usage("warms", 4, time.Hour+sampleEvery, 3*time.Hour, 110, 0, 1, rnd)...)
	// Grows, and is started again: the longest series counts, alone.
	all = append(all, usage("restarts", 5, 0, 20*time.Minute, 100, 0, 1, rnd)...)
	all = append(all, usage("restarts", 6, 21*time.Minute, 60*time.Minute, 200, 0, 1, rnd)...)
	// Does more from some time on.
	all = append(all, usage("steps", 8, 0, 80*time.Minute, 100, 0, 1, rnd)...)
	for _, u := range usage("steps", 8, 80*time.Minute+sampleEvery, 2*time.Hour, 150, 0, 1, rnd) {
		u.Role = "people/detect@512#0"
		all = append(all, u)
	}
	// Has more and more to do for others, but not all of the time; one of the two
	// leaks as well.
	for i, node := range []string{"turns", "leaks by turns"} {
		for _, u := range usage(node, 9+i, 0, 2*time.Hour, 68, 20*float64(i), 0.5, rnd) {
			if m := u.At.Minutes(); m > 60 && int(m)%5 != 0 {
				u.Of[Memory] += (m - 60) / 2
			}
			all = append(all, u)
		}
	}
	all = append(all, usage("young", 7, 0, 5*time.Minute, 100, 900, 1, rnd)...)
	want := map[string]Verdicted{"steady": Steady, "leaks": Grows, "slowly": Steady, "warms": Steady, "restarts": Steady, "steps": Steady, "turns": Steady, "leaks by turns": Grows, "young": Short}
	for _, got := range Trends(all) {
		if got.Resource != Memory {
			if got.Verdict != Steady && got.Verdict != Short || got.PerHour != 0 {
				t.Errorf("%+v", got)
			}
			continue
		}
		if got.Verdict != want[got.Node] {
			t.Errorf("%+v, want %s", got, want[got.Node])
		}
		delete(want, got.Node)
		switch got.Node {
		case "leaks":
			if math.Abs(got.PerHour-40) > 4 {
				t.Errorf("slope %+v, want 40", got)
			}
		case "restarts":
			if math.Abs(got.Median-200) > 2 || got.For != 39*time.Minute {
				t.Errorf("%+v: of the longer series?", got)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("nothing is said of %v", want)
	}
	if got := Trends(nil); len(got) != 0 {
		t.Errorf("trends of nothing: %v", got)
	}
}

// One outlier in ten does not turn a slope.
func TestTheilSenIsRobust(t *testing.T) {
	var x, y []float64
	for i := range 60 {
		x, y = append(x, float64(i)), append(y, 3*float64(i))
		if i%10 == 9 {
			y[i] = 5000
		}
	}
	low, slope := theilSen(x, y, make([]string, len(x)))
	if math.Abs(slope-3) > 0.5 || low > slope {
		t.Errorf("slope %g, from %g; want 3", slope, low)
	}
}
