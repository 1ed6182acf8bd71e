package quality

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/optimize"
)

// Point is a measured accuracy: F1 (IoU ≥ 0.5 and right label) at a
// resolution, or at a frame rate as a share of what all frames would give.
type Point struct {
	X  float64 `json:"x"`
	F1 float64 `json:"f1"`
}

// Curve is accuracy over resolution (or frame rate): equation 4,
//
//	E(x) = α₁ − α₂·e^(−x/α₃)
//
// or, where that cannot be fitted, straight lines through the points, level
// beyond them.
type Curve struct {
	Alpha1 float64 `json:"alpha1"`
	Alpha2 float64 `json:"alpha2"`
	Alpha3 float64 `json:"alpha3"`
	// Residual is the root mean square of measured less fitted F1.
	Residual float64 `json:"residual"`
	// Unfitted says why there are lines instead; empty: fitted.
	Unfitted string  `json:"unfitted,omitempty"`
	Points   []Point `json:"points"` // ascending
}

// ErrNoMeasurement reports that accuracy is to be known without measuring.
var ErrNoMeasurement = errors.New("no measured accuracy")

// fitWell is the residual above which the points are believed rather than the
// equation: about what F1 varies by between evaluations of a few hundred
// images.
const fitWell = 0.03

// Fit fits equation 4 to the points, with 0 ≤ α₁ ≤ 1, α₂ ≥ 0 and α₃ > 0. With
// fewer than three points, with accuracy that falls somewhere, or with a bad
// fit the curve goes through the points instead and says why.
func Fit(points []Point) (Curve, error) {
	c := Curve{Points: slices.Clone(points)}
	if len(points) == 0 {
		return c, fmt.Errorf("%w: evaluate the model at one resolution at least", ErrNoMeasurement)
	}
	slices.SortFunc(c.Points, func(a, b Point) int { return cmp.Compare(a.X, b.X) })
	for i, p := range c.Points {
		if !within(p.X, math.SmallestNonzeroFloat64, math.MaxFloat64) || !within(p.F1, 0, 1) {
			return c, fmt.Errorf("%w: F1 %g at %g; use scores from 0 to 1 at positive resolutions", ErrInvalid, p.F1, p.X)
		}
		if i > 0 && p.X == c.Points[i-1].X {
			return c, fmt.Errorf("%w: accuracy at %g is there twice", ErrInvalid, p.X)
		}
	}
	if len(points) < 3 {
		c.Unfitted = fmt.Sprintf("measured at %d of at least 3 resolutions", len(points))
		return c, nil
	}
	for i, p := range c.Points[1:] {
		if before := c.Points[i]; p.F1 < before.F1 {
			c.Unfitted = fmt.Sprintf("accuracy falls from %.3f at %g to %.3f at %g", before.F1, before.X, p.F1, p.X)
			return c, nil
		}
	}
	c.fit()
	if c.Residual > fitWell {
		c.Unfitted = fmt.Sprintf("the fit is off by %.3f", c.Residual)
	}
	return c, nil
}

// fit searches α₃ only: given it, the best α₁ and α₂ are those of a linear
// regression within their bounds.
func (c *Curve) fit() {
	span := c.Points[len(c.Points)-1].X
	problem := optimize.Problem{Func: func(u []float64) float64 {
		return c.regress(span * math.Exp(max(-8, min(8, u[0]))))
	}}
	best, at := math.Inf(1), 0.0
	for _, start := range []float64{-4, -2, 0, 2} { // the residual may have several minima
		r, err := optimize.Minimize(problem, []float64{start}, nil, &optimize.NelderMead{})
		if r != nil && (err == nil || !math.IsNaN(r.F)) && r.F < best {
			best, at = r.F, r.X[0]
		}
	}
	c.regress(span * math.Exp(max(-8, min(8, at))))
}

// regress sets the coefficients for this α₃, and returns the residual.
func (c *Curve) regress(alpha3 float64) float64 {
	var n, sz, sy, szz, szy float64
	for _, p := range c.Points {
		z := math.Exp(-p.X / alpha3)
		n, sz, sy, szz, szy = n+1, sz+z, sy+p.F1, szz+z*z, szy+z*p.F1
	}
	a1, a2 := sy/n, 0.0 // level, if the points are
	if d := szz - sz*sz/n; d > 1e-18*max(szz, 1e-300) {
		a2 = -(szy - sz*sy/n) / d
		a1 = (sy + a2*sz) / n
	}
	if a1 > 1 && szz > 0 {
		a1, a2 = 1, (sz-szy)/szz
	}
	if a2 < 0 || a1 > 1 {
		a1, a2 = sy/n, 0
	}
	c.Alpha1, c.Alpha2, c.Alpha3 = a1, a2, alpha3
	var square float64
	for _, p := range c.Points {
		d := p.F1 - (a1 - a2*math.Exp(-p.X/alpha3))
		square += d * d
	}
	c.Residual = math.Sqrt(square / n)
	return c.Residual
}

// At returns the accuracy at x, between 0 and 1.
func (c *Curve) At(x float64) float64 {
	if c.Unfitted == "" {
		return max(0, min(1, c.Alpha1-c.Alpha2*math.Exp(-x/c.Alpha3)))
	}
	i, _ := slices.BinarySearchFunc(c.Points, x, func(p Point, x float64) int { return cmp.Compare(p.X, x) })
	switch {
	case i == 0:
		return c.Points[0].F1
	case i == len(c.Points):
		return c.Points[i-1].F1
	}
	a, b := c.Points[i-1], c.Points[i]
	return a.F1 + (b.F1-a.F1)*(x-a.X)/(b.X-a.X)
}

// ModelAccuracy is what is known of one model: its accuracy over resolution
// when every frame is analysed, and the share of it that is left over frames
// analysed a second (nil: all of it). The two are taken as independent.
type ModelAccuracy struct {
	Resolution Curve
	Rate       *Curve
}

// Of returns the accuracy of a quality for a source of fps frames a second.
func (m *ModelAccuracy) Of(q Quality, fps float64) float64 {
	return min(m.Resolution.At(float64(q.Resolution))*m.Kept(q.Every, fps), 1)
}

// Kept is the share of the accuracy that is left of a source of fps frames a
// second if one in every is analysed.
func (m *ModelAccuracy) Kept(every int, fps float64) float64 {
	if m.Rate == nil {
		return 1
	}
	return m.Rate.At(fps/float64(every)) / max(m.Rate.At(fps), 1e-9)
}
