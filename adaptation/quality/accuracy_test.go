package quality

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// Equation 4: the coefficients that made the points are found again.
func TestFitFindsTheCoefficients(t *testing.T) {
	for _, of := range [][3]float64{{0.94, 0.9, 150}, {0.7, 2.5, 90}, {1, 0.8, 400}, {0.6, 0.3, 1000}} {
		var points []Point
		for _, x := range []float64{608, 320, 416, 512} { // in any order
			points = append(points, Point{x, of[0] - of[1]*math.Exp(-x/of[2])})
		}
		c, err := Fit(points)
		if err != nil || c.Unfitted != "" {
			t.Fatalf("%v: %v, %q", of, err, c.Unfitted)
		}
		if c.Residual > 1e-6 {
			t.Errorf("%v: residual %g", of, c.Residual)
		}
		for x := 200.0; x < 800; x += 50 {
			if want := max(0, of[0]-of[1]*math.Exp(-x/of[2])); math.Abs(c.At(x)-want) > 2e-4 {
				t.Errorf("%v at %g: %g, want %g", of, x, c.At(x), want)
			}
		}
	}
}

func TestFitFallsBackOnThePoints(t *testing.T) {
	for _, of := range []struct {
		points []Point
		why    string
		at     float64
		want   float64
	}{
		{[]Point{{416, 0.6}}, "1 of at least 3", 512, 0.6},
		{[]Point{{416, 0.6}, {512, 0.7}}, "2 of at least 3", 464, 0.65},
		{[]Point{{320, 0.5}, {416, 0.7}, {512, 0.66}}, "falls from 0.700 at 416 to 0.660 at 512", 512, 0.66},
		{[]Point{{320, 0.5}, {416, 0.7}, {512, 0.66}}, "falls", 1000, 0.66},
		{[]Point{{320, 0.5}, {416, 0.7}, {512, 0.66}}, "falls", 100, 0.5},
		// Convex: no exponential of that kind.
		{[]Point{{320, 0.1}, {416, 0.1}, {512, 0.15}, {608, 0.9}}, "the fit is off by", 512, 0.15},
	} {
		c, err := Fit(of.points)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(c.Unfitted, of.why) || !near(c.At(of.at), of.want) {
			t.Errorf("%v: %q, %g at %g; want %q, %g", of.points, c.Unfitted, c.At(of.at), of.at, of.why, of.want)
		}
	}
}

func TestFitRefusesNonsense(t *testing.T) {
	if _, err := Fit(nil); !errors.Is(err, ErrNoMeasurement) {
		t.Errorf("no points: %v", err)
	}
	for _, points := range [][]Point{
		{{416, math.NaN()}}, {{416, 1.2}}, {{416, -0.1}}, {{0, 0.5}}, {{math.Inf(1), 0.5}}, {{416, 0.5}, {416, 0.6}},
	} {
		if _, err := Fit(points); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", points, err)
		}
	}
}

// TestCurveIsSane: whatever is measured, accuracy is a number from 0 to 1, the
// coefficients are within their bounds, and a fitted curve does not fall.
func TestCurveIsSane(t *testing.T) {
	fitted := 0
	for seed := range uint64(200) {
		r := seeded(seed)
		var points []Point
		y := r.Float64() * 0.8
		for i := range 1 + r.IntN(6) {
			points = append(points, Point{float64(160 + 96*i + r.IntN(90)), y})
			y = max(0, min(1, y+0.3*(r.Float64()-0.2)))
		}
		c, err := Fit(points)
		if err != nil {
			t.Fatal(err)
		}
		if c.Unfitted == "" {
			fitted++
			if c.Alpha1 < 0 || c.Alpha1 > 1 || c.Alpha2 < 0 || c.Alpha3 <= 0 || !(c.Residual <= fitWell) {
				t.Errorf("seed %d: %+v", seed, c)
			}
		}
		last := math.Inf(-1)
		for x := 1.0; x < 2000; x += 13 {
			a := c.At(x)
			if !(a >= 0 && a <= 1) || c.Unfitted == "" && a < last {
				t.Fatalf("seed %d: %g at %g after %g, of %v", seed, a, x, last, points)
			}
			last = a
		}
	}
	if fitted < 20 {
		t.Errorf("only %d curves were fitted", fitted)
	}
}

func TestAccuracyOfAQuality(t *testing.T) {
	resolution, _ := Fit([]Point{{416, 0.6}, {512, 0.8}})
	rate, _ := Fit([]Point{{5, 0.45}, {25, 0.9}})
	m := ModelAccuracy{Resolution: resolution, Rate: &rate}
	for _, of := range []struct {
		q    Quality
		want float64
	}{
		{Quality{Model: "m", Resolution: 512, Every: 1}, 0.8},
		{Quality{Model: "m", Resolution: 416, Every: 1}, 0.6},
		{Quality{Model: "m", Resolution: 512, Every: 5}, 0.4}, // half of what all frames give
	} {
		if got := m.Of(of.q, 25); !near(got, of.want) {
			t.Errorf("%v: %g, want %g", of.q, got, of.want)
		}
	}
}
