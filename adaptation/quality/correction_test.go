package quality

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestCorrectionsConverge(t *testing.T) {
	c, err := NewCorrections(0.1, 100)
	if err != nil {
		t.Fatal(err)
	}
	r := seeded(3)
	v := View{
		Stations: []Station{{Name: "detect", Servers: 1}},
		Classes: []Class{{Name: "c", FPS: 1, Options: []Option{{Quality: Quality{Model: "m", Resolution: 512, Every: 1}, Accuracy: 0.5,
			Path: Path{{Stage: Analysis, Transfer: []Visit{{"", ms(1), 0}}, Execution: Visit{"detect", ms(20), 0}}}}}}},
	}
	// Execution takes 1.8 times, and waits half, of what the model says; single
	// spans are off by up to 10 %, and some by far more.
	for i := range 440 {
		now := c.Apply(v)
		service := now.Classes[0].Options[0].Path[0].Execution.Service
		noise := 0.9 + 0.2*r.Float64()
		if i%50 == 49 {
			noise = 100
		}
		c.Observe(Observation{"detect", PartService, seconds(0.036 * noise), service, c.Factor("detect", PartService)})
		c.Observe(Observation{"detect", PartWait, seconds(0.005 * (0.9 + 0.2*r.Float64())), seconds(0.01 * c.Factor("detect", PartWait)), c.Factor("detect", PartWait)})
	}
	if f := c.Factor("detect", PartService); math.Abs(f-1.8) > 0.15 {
		t.Errorf("service is corrected by %g, want about 1.8", f)
	}
	if f := c.Factor("detect", PartWait); math.Abs(f-0.5) > 0.05 {
		t.Errorf("the wait is corrected by %g, want about 0.5", f)
	}
	if f := c.Factor("draw", PartService); f != 1 {
		t.Errorf("what was not measured is corrected by %g", f)
	}
	if e, n := c.Error(PartService); e > 0.2 || n != 100 {
		t.Errorf("the median error of the last 100 is %g of %d", e, n)
	}
	after := c.Apply(v)
	if got, want := after.Stations[0].Variability, 0.5*c.Factor("detect", PartWait); !near(got, want) {
		t.Errorf("variability %g, want %g", got, want)
	}
	if v.Stations[0].Variability != 0 || v.Classes[0].Options[0].Path[0].Execution.Service != ms(20) {
		t.Error("the view itself was changed")
	}
	if path := after.Classes[0].Options[0].Path; path[0].Transfer[0].Service != ms(1) {
		t.Errorf("a visit without a station was changed: %v", path)
	}
}

func TestCorrectionsIgnoreWhatHasNoRatio(t *testing.T) {
	c, err := NewCorrections(0.5, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Observation{
		{"s", PartWait, 0, ms(1), 1}, {"s", PartWait, ms(1), 0, 1}, {"s", PartWait, ms(1), math.MaxInt64, 1}, {"s", PartWait, -ms(1), ms(1), 1},
	} {
		c.Observe(o)
	}
	if f := c.Factor("s", PartWait); f != 1 {
		t.Errorf("corrected by %g", f)
	}
	if e, n := c.Error(PartWait); e != 0 || n != 0 {
		t.Errorf("error %g of %d", e, n)
	}
	c.Observe(Observation{"", PartTotal, 100 * time.Millisecond, 80 * time.Millisecond, 1})
	if e, n := c.Error(PartTotal); !near(e, 0.2) || n != 1 {
		t.Errorf("the error of the total is %g of %d, want 0.2 of 1", e, n)
	}
	for _, of := range []struct {
		weight float64
		window int
	}{{0, 1}, {2, 1}, {math.NaN(), 1}, {0.5, 0}} {
		if _, err := NewCorrections(of.weight, of.window); !errors.Is(err, ErrInvalid) {
			t.Errorf("weight %g over %d: %v", of.weight, of.window, err)
		}
	}
}
