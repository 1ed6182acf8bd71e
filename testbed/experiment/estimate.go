package experiment

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Estimate is a figure over the runs that have it.
type Estimate struct {
	Mean float64 `json:"mean"`
	// SD is the standard deviation over the runs (n − 1), CI95 half the width of
	// the 95 % confidence interval of the mean, from Student's t distribution.
	// A single run has neither.
	SD     *float64 `json:"sd,omitempty"`
	CI95   *float64 `json:"ci95,omitempty"`
	Values []Value  `json:"values"` // in order of the runs
}

// Value is a figure of one run.
type Value struct {
	Run   int     `json:"run"`
	Value float64 `json:"value"`
}

const confidence = 0.95

// estimate returns the estimate from at least one value.
func estimate(values []Value) Estimate {
	e := Estimate{Values: values}
	xs := make([]float64, len(values))
	for i, v := range values {
		xs[i] = v.Value
	}
	e.Mean = stat.Mean(xs, nil)
	if n := float64(len(xs)); n > 1 {
		sd := stat.StdDev(xs, nil)
		t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile((1 + confidence) / 2)
		half := t * sd / math.Sqrt(n)
		e.SD, e.CI95 = &sd, &half
	}
	return e
}

// overlap reports whether the confidence intervals of a and b overlap; nil:
// one of them has none.
func overlap(a, b Estimate) *bool {
	if a.CI95 == nil || b.CI95 == nil {
		return nil
	}
	yes := math.Abs(a.Mean-b.Mean) <= *a.CI95+*b.CI95
	return &yes
}

// ratio is x/y; nil where that says nothing.
func ratio(x, y float64) *float64 {
	r := x / y
	if y == 0 || math.IsNaN(r) || math.IsInf(r, 0) {
		return nil
	}
	return &r
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// round rounds to so many digits after the point.
func round(x float64, digits int) float64 {
	p := math.Pow10(digits)
	if r := math.Round(x*p) / p; finite(r) && r != 0 {
		return r
	}
	return 0 // and not −0
}

func sortBy[T any, K cmp.Ordered](xs []T, key func(T) K) {
	slices.SortStableFunc(xs, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
}
