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
	v := View{Stations: []Station{{Name: "detect", Servers: 1}, {Name: "draw", Servers: 1}}}
	// Frames wait 1.8 times as long before one, and half as long before the other,
	// as the model says; single spans are off by up to 10 %, and some by far more.
	for i := range 440 {
		for station, factor := range map[string]float64{"detect": 1.8, "draw": 0.5} {
			noise := 0.9 + 0.2*r.Float64()
			if i%50 == 49 {
				noise = 100
			}
			c.Observe(Observation{station, PartWait, seconds(0.01 * factor * noise), seconds(0.01 * c.Factor(station, PartWait)), c.Factor(station, PartWait)})
		}
	}
	if f := c.Factor("detect", PartWait); math.Abs(f-1.8) > 0.15 {
		t.Errorf("the wait is corrected by %g, want about 1.8", f)
	}
	if f := c.Factor("draw", PartWait); math.Abs(f-0.5) > 0.05 {
		t.Errorf("the wait is corrected by %g, want about 0.5", f)
	}
	if f := c.Factor("resize", PartWait); f != 1 {
		t.Errorf("what was not measured is corrected by %g", f)
	}
	if e, n := c.Error(PartWait); e > 0.2 || n != 100 {
		t.Errorf("the median error of the last 100 is %g of %d", e, n)
	}
	after := c.Apply(v)
	if got, want := after.Stations[0].Variability, 0.5*c.Factor("detect", PartWait); !near(got, want) {
		t.Errorf("variability %g, want %g", got, want)
	}
	if v.Stations[0].Variability != 0 {
		t.Error("the view itself was changed")
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

// However long nobody waits where the model has them wait a little, a load is not
// taken for none.
func TestCorrectionsAreBounded(t *testing.T) {
	c, err := NewCorrections(0.3, 10)
	if err != nil {
		t.Fatal(err)
	}
	for want, measured := range map[float64]time.Duration{1.0 / farthest: time.Microsecond, farthest: time.Hour} {
		for range 1000 {
			c.Observe(Observation{"s", PartWait, measured, seconds(0.002 * c.Factor("s", PartWait)), c.Factor("s", PartWait)})
		}
		if f := c.Factor("s", PartWait); !near(f, want) {
			t.Errorf("the wait is corrected by %g, want %g", f, want)
		}
	}
}
