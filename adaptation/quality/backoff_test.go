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
	changes := func(remembered bool) (n int, levels int) {
		r, noise := start(t, preferAccuracy()), seeded(3)
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
	without, _ := changes(false)
	with, levels := changes(true)
	if without < 80 || with > without/5 {
		t.Errorf("in 400 periods changed %d times, %d without a backoff", with, without)
	}
	if levels > backoffLevels {
		t.Errorf("backed off to level %d", levels)
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
		if more := r.last.Alternatives; !strings.Contains(more[0].Lost, "overloaded before") && !strings.Contains(more[0].Lost, "loads detect") {
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

// Capacity that comes back is used at once, also what was overloaded meanwhile:
// nothing could be served, so nothing was taken for more than it can do.
func TestNoBackoffWhereNothingCanBeServed(t *testing.T) {
	r := start(t, preferAccuracy())
	r.decide(oneDetector(1))
	r.decide(oneDetector(0.5))
	if r.last.Estimate.Saturated == "" {
		t.Fatalf("%v can be served", r.last.Distribution)
	}
	r.decide(oneDetector(1))
	d := r.decide(oneDetector(1)) // better for a period
	if got := shares(d.Distribution)["m@512"]; got != 8 || len(r.state.Backoffs) > 0 {
		t.Errorf("%d of 10 at 512, %+v", got, r.state.Backoffs)
	}
}

// Other stations are not avoided, and where only what was overloaded can be had, it is.
func TestBackoffIsNoRefusal(t *testing.T) {
	r := start(t, preferAccuracy())
	v := oneDetector(1)
	v.Classes[0].Options = v.Classes[0].Options[:1]
	v.Classes[0].Sources = v.Classes[0].Sources[:9]
	r.state.Backoffs = map[string]Backoff{"detect": {1, r.now.Add(time.Hour)}, "gone": {1, r.now.Add(time.Hour)}}
	if d := r.decide(v); shares(d.Distribution)["m@512"] != 9 || d.Estimate.Saturated != "" {
		t.Errorf("%+v", d)
	}
	r.params.MinAccuracy, r.params.Rule, r.params.Near = 0.76, RuleFastest, 0
	if d := r.decide(oneDetector(1)); shares(d.Distribution)["m@512"] != 6 {
		t.Errorf("a floor of 0.76 needs 6 of 10 at 512: %v, %s", d.Distribution, d.Why)
	}
}
