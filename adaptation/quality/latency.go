package quality

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Step is one task on a frame's way. Its response time is transfer + execution
// (section IV-A): discovery looks up what the node knows already.
type Step struct {
	Task      string
	Transfer  []Visit // from the task before: equation 2
	Execution Visit
	// Nodes are those whose processors are fewer than the instances on them: what
	// the execution takes of each, by the share of the frames that come there. Frames
	// wait for them, and take no time beyond the execution's.
	Nodes []Visit
}

// Path is what a frame passes at one quality: equation 1.
type Path []Step

// stay is a visit, or within another one: then it takes no time of its own.
type stay struct {
	Visit
	within bool
}

func (p Path) visits() []stay {
	var all []stay
	for i := range p {
		for _, v := range append(slices.Clone(p[i].Transfer), p[i].Execution) {
			all = append(all, stay{Visit: v})
		}
		for _, v := range p[i].Nodes {
			all = append(all, stay{v, true})
		}
	}
	return all
}

// Visit is a frame's stay at a station: Delay + the wait there + Service.
type Visit struct {
	Station string        // empty: nothing to wait for
	Service time.Duration // execution, or size ÷ bandwidth
	Delay   time.Duration // that occupies nothing: propagation
}

// Station is what frames queue for: the instances of a task, or a link.
//
// The wait before one is the approximation of Allen and Cunneen for G/G/c with
// Sakasegawa's closed form for the queue of M/M/c ("An approximation formula
// L_q ≃ αρ^β/(1−ρ)", Ann. Inst. Statist. Math. 29, 1977): with utilisation ρ,
// c servers, mean service time S and variability v = (C_a² + C_s²)/2,
//
//	W = v · S/c · ρ^(√(2(c+1)) − 1) / (1 − ρ)
//
// It is exact for M/G/1 (Pollaczek and Khinchine), and off from the exact M/M/c
// by less than 5 % of the wait and 3 % of the service time.
type Station struct {
	Name    string
	Servers int
	// Variability is (C_a² + C_s²)/2; 0 stands for 0.5, M/D/c: many cameras
	// out of step look like Poisson arrivals, and a detector's time hardly
	// depends on the picture. [Corrections] replaces it by what is measured.
	Variability float64
	// Each, if positive, says that this is not one station but one for every
	// Each sources: an edge node's own uplink. What a source waits there is
	// estimated as if its neighbours had the same quality as itself.
	Each int
}

func (s *Station) validate() error {
	switch {
	case s.Servers < 1:
		return fmt.Errorf("%d servers; use at least 1", s.Servers)
	case !within(s.Variability, 0, math.MaxFloat64):
		return fmt.Errorf("variability %g; use a number that is not negative", s.Variability)
	case s.Each < 0:
		return fmt.Errorf("one for every %d sources; use 0 for a station that all share", s.Each)
	}
	return nil
}

func (s *Station) variability() float64 {
	if s.Variability == 0 {
		return 0.5
	}
	return s.Variability
}

// Wait returns the mean wait in seconds for frames that come at rate a second
// and take service seconds each; +Inf if they are more than it can serve.
func (s *Station) Wait(rate, service float64) float64 {
	rho := rate * service / float64(s.Servers)
	if rho >= 1 {
		return math.Inf(1)
	}
	return s.variability() * service / float64(s.Servers) * math.Pow(rho, exponent(s.Servers)) / (1 - rho)
}

// exponent is Sakasegawa's, less one for the ρ that Little's law takes. It is
// at least 1.
func exponent(servers int) float64 { return math.Sqrt(2*float64(servers+1)) - 1 }

// Pool returns the one service time and number of servers that stand for
// instances of unequal speed: the same number, the same throughput.
func Pool(services ...time.Duration) (servers int, service time.Duration) {
	var rate float64
	for _, s := range services {
		rate += 1 / s.Seconds()
	}
	if len(services) == 0 {
		return 0, 0
	}
	return len(services), seconds(float64(len(services)) / rate)
}

// seconds is the inverse of time.Duration.Seconds; too long a time is the
// longest.
func seconds(s float64) time.Duration {
	if ns := s * float64(time.Second); ns < math.MaxInt64 {
		return time.Duration(math.Round(ns))
	}
	return math.MaxInt64
}
