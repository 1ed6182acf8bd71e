package quality

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Part is what of a frame's time was measured.
type Part string

// The parts.
const (
	PartWait  Part = "wait"
	PartTotal Part = "total" // capture to result; the error is shown, nothing is corrected by it
)

// Observation is a measured span beside what the model said it would be.
type Observation struct {
	Station   string
	Part      Part
	Measured  time.Duration
	Predicted time.Duration
	// Factor is the correction that Predicted contains: what
	// [Corrections.Factor] said when it was made; 0 stands for 1.
	Factor float64
}

// Corrections follows how much longer than predicted things take. It is not
// safe for concurrent use.
type Corrections struct {
	weight  float64
	window  int
	factors map[key]float64
	errors  map[Part]*recent
}

type key struct {
	station string
	part    Part
}

// recent is a ring of relative errors.
type recent struct {
	errors []float64
	next   int
}

// A single span may be off by anything (a page fault, a pause), so one
// observation counts for at most this factor.
const outlier = 4

// farthest is the factor that is never passed, either way. Cameras that are in step
// wait where the model says that nobody does, and those that never meet do not
// where it says so; neither tells what it would be like under load.
const farthest = 16

// NewCorrections returns corrections in which a new observation has that
// weight, and errors are over the last window observations of a part.
func NewCorrections(weight float64, window int) (*Corrections, error) {
	if !within(weight, 1e-6, 1) || window < 1 {
		return nil, fmt.Errorf("%w: corrections of weight %g over %d observations; use a weight from 0 to 1 and 1 or more",
			ErrInvalid, weight, window)
	}
	return &Corrections{weight, window, map[key]float64{}, map[Part]*recent{}}, nil
}

// Observe takes a measured span into account. What was predicted as nothing or
// as for ever has no ratio and is ignored.
//
// The mean is of logarithms: half and double cancel out.
func (c *Corrections) Observe(o Observation) {
	if o.Measured <= 0 || o.Predicted <= 0 || o.Predicted == math.MaxInt64 {
		return
	}
	ring := c.errors[o.Part]
	if ring == nil {
		ring = &recent{}
		c.errors[o.Part] = ring
	}
	ring.add(math.Abs(o.Predicted.Seconds()-o.Measured.Seconds())/o.Measured.Seconds(), c.window)
	if o.Part == PartTotal {
		return
	}
	contained := o.Factor
	if contained == 0 {
		contained = 1
	}
	k := key{o.Station, o.Part}
	old := c.Factor(o.Station, o.Part)
	ratio := contained * o.Measured.Seconds() / o.Predicted.Seconds()
	ratio = max(old/outlier, min(old*outlier, ratio))
	f := math.Exp((1-c.weight)*math.Log(old) + c.weight*math.Log(ratio))
	c.factors[k] = max(1.0/farthest, min(farthest, f))
}

// Factor is what the model's figure for the part is to be multiplied by.
func (c *Corrections) Factor(station string, part Part) float64 {
	if f, ok := c.factors[key{station, part}]; ok {
		return f
	}
	return 1
}

// Error returns the median relative error of recent predictions of the part,
// |predicted − measured| / measured, and of how many.
func (c *Corrections) Error(part Part) (median float64, observations int) {
	ring := c.errors[part]
	if ring == nil {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(ring.errors))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2, n
}

func (r *recent) add(e float64, window int) {
	if len(r.errors) < window {
		r.errors = append(r.errors, e)
		return
	}
	r.errors[r.next] = e
	r.next = (r.next + 1) % window
}

// Apply returns the view with waits corrected, by the variability of their
// stations, to which they are proportional.
func (c *Corrections) Apply(v View) View {
	v.Stations = slices.Clone(v.Stations)
	for i := range v.Stations {
		s := &v.Stations[i]
		s.Variability = s.variability() * c.Factor(s.Name, PartWait)
	}
	return v
}
