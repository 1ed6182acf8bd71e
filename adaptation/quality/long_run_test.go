package quality

import (
	"math"
	"strings"
	"testing"
	"time"
)

// Equation 6: the mean accuracy over a long time is at least a_min, although
// single periods are below it, and although what can be had varies; and that
// costs less latency than keeping to a_min in each.
func TestAccuracyHoldsInTheLongRun(t *testing.T) {
	for seed := range uint64(2) {
		for _, patience := range []int{0, 2} {
			params := DefaultParams()
			params.MinAccuracy, params.Theta, params.Patience = 0.67, 4, patience
			r, noise := start(t, params), seeded(seed)
			var sum, measured float64
			below := 0
			const periods = 400
			for range periods {
				v := useCase(10, 1e9)
				bias := -0.02 + 0.04*noise.Float64() // what it was is not what was estimated
				r.state.Accuracy = measured
				// The latency of the better quality varies.
				v.Classes[0].Options[0].Path[1].Execution.Service = ms(100 + 150*noise.Float64())
				d := r.decide(v)
				measured = d.Estimate.Accuracy + bias
				sum += measured
				if measured < params.MinAccuracy {
					below++
				}
			}
			mean := sum / periods
			if owed := float64(r.last.Debt) / periods; mean < params.MinAccuracy-owed-2.0/periods {
				t.Errorf("seed %d: mean accuracy %.4f with a debt of %.4f a period: the books are wrong", seed, mean, owed)
			}
			if mean < params.MinAccuracy-0.01 {
				t.Errorf("seed %d, patience %d: mean accuracy %.4f, want %.3f", seed, patience, mean, params.MinAccuracy)
			}
			if below < periods/20 {
				t.Errorf("seed %d: only %d of %d periods below a_min: this test shows nothing", seed, below, periods)
			}
		}
	}
}

// What is not analysed is not owed: after an outage the books are as they were,
// however long it was.
func TestAnOutageIsNotOwed(t *testing.T) {
	params := DefaultParams()
	params.MinAccuracy = 0.65
	r := start(t, params)
	v := useCase(10, 1e9)
	r.decide(v)
	r.state.Accuracy = 0.6 // less than there was
	r.decide(v)
	owed := r.last.Debt
	if math.Abs(float64(owed)-0.05) > 1e-9 {
		t.Fatalf("a period of 0.60 where 0.65 is asked for owes %.3f", owed)
	}
	r.now = r.now.Add(time.Hour)
	r.state.Accuracy = 0.6
	v.State, v.Analysed = r.state, 0
	if d := r.judge(v); d.Debt != owed {
		t.Errorf("after an hour without a frame %.3f is owed, before it %.3f", d.Debt, owed)
	}
	r.now = r.now.Add(time.Hour)
	r.state.Accuracy = 0.6
	v.State, v.Analysed = r.state, params.Period
	if d := r.judge(v); math.Abs(float64(d.Debt-owed)-0.05) > 1e-9 {
		t.Errorf("after an hour with a period of frames %.3f is owed, before it %.3f", d.Debt, owed)
	}
}

// Algorithm 1 pays its debt, too: here every period is less accurate than was
// estimated.
func TestFastestRulePaysItsDebt(t *testing.T) {
	params := DefaultParams()
	params.Rule, params.MinAccuracy = RuleFastest, 0.66
	r := start(t, params)
	var sum float64
	v := useCase(10, 1e9)
	for range 300 {
		d := r.decide(v)
		r.state.Accuracy = d.Estimate.Accuracy - 0.03
		sum += r.state.Accuracy
	}
	if mean := sum / 300; mean < params.MinAccuracy-0.002 {
		t.Errorf("the mean accuracy is %.4f", mean)
	}
	r.state.Accuracy = 0.3 // more than can be paid in a period
	r.decide(v)
	if d := r.last; !strings.Contains(d.Why, "is owed: the most accurate") || d.Estimate.Accuracy < 0.711 {
		t.Errorf("owing %.3f: %q, %+v", d.Debt, d.Why, d.Estimate)
	}
}
