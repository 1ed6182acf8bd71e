package experiment

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/weft-mesh/weft/testbed"
)

// Comparison sets the metrics of two result folders beside each other. No
// list in it is null.
type Comparison struct {
	A            string       `json:"a"` // scenario
	B            string       `json:"b"`
	SameScenario bool         `json:"same_scenario"` // to the byte
	Notes        []string     `json:"notes"`         // what else sets them apart, for people
	Within       float64      `json:"within"`
	Beyond       int          `json:"beyond"` // metrics that are
	Metrics      []Difference `json:"metrics"`
}

// Difference is one metric in A and in B. Where one lacks it, it is of the
// other only, and beyond.
type Difference struct {
	MethodA testbed.Method `json:"method_a"`
	MethodB testbed.Method `json:"method_b"`
	Metric  string         `json:"metric"` // as in Summary
	Unit    string         `json:"unit"`   // empty for fractions
	A       *Estimate      `json:"a,omitempty"`
	B       *Estimate      `json:"b,omitempty"`
	Ratio   *float64       `json:"ratio,omitempty"`        // B over A, where A is not 0
	Overlap *bool          `json:"ci95_overlap,omitempty"` // of the confidence intervals, where both have one
	// Beyond is set where B differs from A by more than the fraction within of
	// A.
	Beyond bool `json:"beyond"`
}

// Compare compares b with a: emulated with emulated runs and simulated with
// simulated ones. Where they have no method in common, it compares what they
// have. within is a fraction of A: 0.15 for 15 %.
func Compare(a, b *Summary, within float64) *Comparison {
	c := &Comparison{
		A: a.Scenario, B: b.Scenario, SameScenario: a.SHA256 == b.SHA256,
		Notes: []string{}, Within: within, Metrics: []Difference{},
	}
	note := func(format string, args ...any) { c.Notes = append(c.Notes, fmt.Sprintf(format, args...)) }
	switch {
	case a.Scenario != b.Scenario:
		note("different scenarios: %s and %s", a.Scenario, b.Scenario)
	case !c.SameScenario:
		note("the scenario %s was edited between the two", a.Scenario)
	}
	if a.CPUScale != b.CPUScale {
		note("different CPU scales: %g and %g", a.CPUScale, b.CPUScale)
	}
	if a.Machine.CPU != b.Machine.CPU || a.Machine.Cores != b.Machine.Cores {
		note("different machines: %s and %s", a.Machine.processor(), b.Machine.processor())
	}
	if a.Version != b.Version {
		note("different versions of weft: %s and %s", a.Version, b.Version)
	}

	pairs := 0
	both := []testbed.Method{testbed.Emulated, testbed.Simulated}
	for _, m := range both {
		if a.Methods[m] != nil && b.Methods[m] != nil {
			c.add(m, m, a, b)
			pairs++
		}
	}
	for _, m := range both {
		for _, n := range both {
			if pairs == 0 && a.Methods[m] != nil && b.Methods[n] != nil {
				note("%s runs are compared with %s ones", m, n)
				c.add(m, n, a, b)
				pairs++
			}
		}
	}
	if pairs == 0 {
		note("there is nothing to compare: one of them has no runs")
	}
	return c
}

func (c *Comparison) add(ma, mb testbed.Method, a, b *Summary) {
	xs, ys := a.Methods[ma].Metrics, b.Methods[mb].Metrics
	names := map[string]bool{}
	for name := range xs {
		names[name] = true
	}
	for name := range ys {
		names[name] = true
	}
	for _, name := range slices.SortedFunc(maps.Keys(names), byImportance) {
		d := Difference{MethodA: ma, MethodB: mb, Metric: name, Unit: unitOf(name)}
		x, inA := xs[name]
		y, inB := ys[name]
		if inA {
			d.A = &x
		}
		if inB {
			d.B = &y
		}
		if inA && inB {
			d.Ratio, d.Overlap = ratio(y.Mean, x.Mean), overlap(x, y)
			d.Beyond = math.Abs(y.Mean-x.Mean) > c.Within*math.Abs(x.Mean)
		} else {
			d.Beyond = true
		}
		if d.Beyond {
			c.Beyond++
		}
		c.Metrics = append(c.Metrics, d)
	}
}

func (m Machine) processor() string {
	if m.CPU == "" {
		return fmt.Sprintf("%d cores", m.Cores)
	}
	return fmt.Sprintf("%s (%d cores)", m.CPU, m.Cores)
}
