package quality

import (
	"strings"
	"testing"
	"time"
)

// oneDetector is 10 sources of which 8 at 512 load the detector to 92 % of speed.
func oneDetector(speed float64) View {
	option := func(r int, accuracy, service float64) Option {
		return Option{Quality{Model: "m", Resolution: r, Every: 1}, accuracy, Path{{Execution: Visit{Station: "detect", Service: ms(service / speed)}}}}
	}
	return View{Stations: []Station{{Name: "detect", Servers: 1, Variability: 0.3}}, Classes: []Class{{
		Name: "a", FPS: 1, Own: Quality{Model: "m", Resolution: 512, Every: 1}, Sources: names("cam", 10),
		Options: []Option{option(512, 0.8, 100), option(416, 0.7, 60)},
	}}}
}

func preferAccuracy() Params {
	params := DefaultParams()
	params.Theta = 0.001
	return params
}

// Near the limit, measurements that vary do not make the distribution change again
// and again.
func TestBackoff(t *testing.T) {
	changes := func(params Params, remembered bool) (n int, levels int) {
		r, noise := start(t, params), seeded(3)
		r.decide(oneDetector(1.3)) // which admits all
		for i := range 400 {
			if !remembered {
				r.state.Backoffs = nil
			}
			d := r.decide(oneDetector(0.95 + 0.1*noise.Float64()))
			if d.Changed && i > 0 {
				n++
			}
			if d.Estimate.Saturated != "" {
				t.Fatalf("%v cannot be served", d.Distribution)
			}
			levels = max(levels, r.state.Backoffs["detect"].Level)
		}
		return n, levels
	}
	outOfReach := preferAccuracy()
	outOfReach.Rule, outOfReach.MinAccuracy = RuleFastest, 0.799
	for name, params := range map[string]Params{"utility": preferAccuracy(), "fastest, out of reach": outOfReach} {
		without, _ := changes(params, false)
		with, levels := changes(params, true)
		if without < 80 || with > without/4 {
			t.Errorf("%s: in 400 periods changed %d times, %d without a backoff", name, with, without)
		}
		if levels > backoffLevels {
			t.Errorf("%s: backed off to level %d", name, levels)
		}
	}
}

// A loss of capacity that measurements follow by and by is one mistake.
func TestBackoffCountsALossOnce(t *testing.T) {
	r := start(t, preferAccuracy())
	r.decide(oneDetector(1))
	for _, speed := range []float64{0.9, 0.83, 0.75} {
		v := oneDetector(speed)
		v.State = r.state
		r.judge(v)
		if !r.last.Changed {
			t.Fatalf("at a speed of %g: %s", speed, r.last.Why)
		}
		r.now = r.now.Add(-r.params.Period * 3 / 4) // a quarter of a period after the last
	}
	if b := r.state.Backoffs["detect"]; b.Level != 1 {
		t.Errorf("%+v", b)
	}
}

// A station that has more servers is another.
func TestBackoffEndsWithMoreServers(t *testing.T) {
	r := start(t, preferAccuracy())
	r.decide(oneDetector(1))
	r.decide(oneDetector(0.96))
	v := oneDetector(0.5)
	v.Stations[0].Servers = 2
	r.decide(v)
	if r.decide(v); shares(r.last.Distribution)["m@512"] != 8 || len(r.state.Backoffs) > 0 {
		t.Errorf("%v, %+v", r.last.Distribution, r.state.Backoffs)
	}
}

// What was overloaded once is tried again, after twice as long each time; and it is
// forgotten when it is not overloaded.
func TestBackoffEnds(t *testing.T) {
	r := start(t, preferAccuracy())
	at512 := func(speed float64) int { return shares(r.decide(oneDetector(speed)).Distribution)["m@512"] }
	if n := at512(1); n != 8 {
		t.Fatalf("%d of 10 at 512", n)
	}
	for i, periods := range []int{4, 8, 16, 32, 64, 64} {
		if n := at512(0.96); n >= 8 || !r.last.Changed {
			t.Fatalf("overloaded for the %dth time: %d of 10 at 512: %s", i+1, n, r.last.Why)
		}
		left := r.now
		if more := r.last.Alternatives; !strings.Contains(more[0].Lost, "loads detect") {
			t.Errorf("%+v", more)
		}
		for at512(1) < 8 {
			if r.now.Sub(left) > time.Hour {
				t.Fatalf("never tried again: %+v", r.last)
			}
		}
		// It is seen to be better for a period before it is taken.
		if took := int(r.now.Sub(left)/r.params.Period) - r.params.Patience; took < periods-1 || took > periods+1 {
			t.Errorf("the %dth time tried again after %d periods, want about %d", i+1, took, periods)
		}
	}
	for range 64 {
		at512(1)
	}
	if len(r.state.Backoffs) > 0 {
		t.Errorf("%+v after 64 periods in which all could be served", r.state.Backoffs)
	}
}

// Who backs off says so.
func TestBackoffIsExplained(t *testing.T) {
	r := start(t, preferAccuracy())
	r.decide(oneDetector(1))
	d := r.decide(oneDetector(0.96))
	for shares(d.Distribution)["m@512"] < 7 {
		d = r.decide(oneDetector(1))
	}
	for _, a := range d.Alternatives {
		if strings.HasPrefix(a.Name, "one more at m@512") {
			if a.Better >= 0 || !strings.HasPrefix(a.Lost, "loads detect to 92 %, and that was overloaded before: more than 90 % again in") {
				t.Errorf("%q", a.Lost)
			}
			return
		}
	}
	t.Errorf("no alternative has one more at 512: %+v", d.Alternatives)
}

// Capacity that comes back is used at once, also of what was overloaded meanwhile:
// nothing could be served, so nothing was taken for more than it can do.
func TestNoBackoffWhereNothingCanBeServed(t *testing.T) {
	// Behind the detector all frames are drawn.
	view := func(draw float64) View {
		v := oneDetector(1)
		v.Stations = append(v.Stations, Station{Name: "draw", Servers: 1, Variability: 0.3})
		for i := range v.Classes[0].Options {
			o := &v.Classes[0].Options[i]
			o.Path = append(o.Path, Step{Execution: Visit{Station: "draw", Service: ms(draw)}})
		}
		return v
	}
	r := start(t, preferAccuracy())
	r.decide(view(150))
	if d := r.last; !strings.Contains(d.Estimate.Saturated, "draw") || !strings.Contains(d.Estimate.Saturated, "detect") {
		t.Fatalf("%v: %s", d.Distribution, d.Estimate.Saturated)
	}
	d := r.decide(view(10))
	if got := shares(d.Distribution)["m@512"]; got != 8 || len(r.state.Backoffs) > 0 {
		t.Errorf("%d of 10 at 512, %+v: %s", got, r.state.Backoffs, d.Why)
	}
}

// Where only what was overloaded can be had, or is as accurate as is asked, it is taken.
func TestBackoffIsNoRefusal(t *testing.T) {
	r := start(t, preferAccuracy())
	v := oneDetector(1)
	v.Classes[0].Options = v.Classes[0].Options[:1]
	v.Classes[0].Sources = v.Classes[0].Sources[:9] // 90 %, where 81 % are left
	r.state.Backoffs = map[string]Backoff{"detect": {3, r.now.Add(time.Hour), 1}, "gone": {1, r.now.Add(time.Hour), 1}}
	if d := r.decide(v); shares(d.Distribution)["m@512"] != 9 || d.Estimate.Saturated != "" {
		t.Errorf("%+v", d)
	}
	r.params.MinAccuracy, r.params.Rule, r.params.Near = 0.76, RuleFastest, 0
	if d := r.decide(oneDetector(1)); shares(d.Distribution)["m@512"] != 6 {
		t.Errorf("a floor of 0.76 needs 6 of 10 at 512, which is 84 %%: %v, %s", d.Distribution, d.Why)
	}
	// Also what is owed is not forgone.
	r.params.MinAccuracy, r.state.Debt = 0.74, 0.02
	if d := r.decide(oneDetector(1)); shares(d.Distribution)["m@512"] < 6 {
		t.Errorf("with %.3f owed: %v, %s", d.Debt, d.Distribution, d.Why)
	}
}
