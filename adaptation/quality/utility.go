package quality

import "time"

// Utility is equation 5 for means: a − Θ·T, with Θ in accuracy per second.
func Utility(accuracy float64, latency time.Duration, theta float64) float64 {
	return accuracy - theta*latency.Seconds()
}

// Debt is the accuracy that is owed, in periods: after a period at 0.05 below
// a_min it is 0.05 more. It is what makes the constraint of equation 6 a
// constraint on the long-run mean, and not on each period: a virtual queue in
// the sense of Lyapunov drift-plus-penalty (Neely, "Stochastic Network
// Optimization with Application to Communication and Queueing Systems", 2010,
// section 4.4), fed with a_min and served with the accuracy reached.
//
// Maximising V·U_t + Z_t·a_t in every period, where Z is the debt, maximises
// the mean utility to within O(1/V) of the best, while the mean accuracy over
// T periods is at least a_min − Z_T/T. That bound holds for whatever is done;
// that Z does not grow without bound is what the weight sees to, as long as
// a_min can be reached.
type Debt float64

// After is the debt after so many periods with that mean accuracy.
func (d Debt) After(minAccuracy, accuracy, periods float64) Debt {
	return max(0, d+Debt((minAccuracy-accuracy)*periods))
}

// Weight is what accuracy counts beside Θ·T: 1 + Z/V, with urgency = 1/V.
func (d Debt) Weight(urgency float64) float64 { return 1 + urgency*float64(d) }
