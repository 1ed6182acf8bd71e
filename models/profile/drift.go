package profile

import (
	"fmt"
	"time"
)

// Drift is when what is seen live says that a profile no longer holds.
type Drift struct {
	Ratio   float64 // by which the means differ, more than 1
	Periods int     // for how many periods on end, to the same side
}

// DefaultDrift is half as long again, or two thirds, for three periods.
func DefaultDrift() Drift { return Drift{Ratio: 1.5, Periods: 3} }

// Validate says what is wrong with the rule.
func (d Drift) Validate() error {
	if !(d.Ratio > 1) || d.Periods < 1 {
		return fmt.Errorf("drift by a ratio of %g for %d periods: use a ratio above 1, and 1 period or more", d.Ratio, d.Periods)
	}
	return nil
}

// Watch follows one profile by a rule. The zero Watch has seen nothing.
type Watch struct{ off int } // periods on end; below zero: too fast

// Observe takes in the means of a period, and reports whether the profile has
// drifted. Then it begins anew.
func (w *Watch) Observe(rule Drift, profiled, live time.Duration) bool {
	switch a, b := float64(profiled), float64(live); {
	case a <= 0 || b <= 0:
		w.off = 0
	case b > a*rule.Ratio:
		w.off = max(w.off, 0) + 1
	case a > b*rule.Ratio:
		w.off = min(w.off, 0) - 1
	default:
		w.off = 0
	}
	if w.Off() < rule.Periods {
		return false
	}
	w.off = 0
	return true
}

// Off is how many periods on end have differed to the same side; 0: the last one
// did not, or the profile has drifted.
func (w *Watch) Off() int { return max(w.off, -w.off) }
