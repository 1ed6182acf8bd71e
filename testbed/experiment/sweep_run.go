package experiment

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/testbed"
)

// SweepRuns is a sweep with what became of it.
type SweepRuns struct {
	Parameter Parameter
	Points    []SweepPoint
}

// SweepPoint is the arms at one value, and the runs of each.
type SweepPoint struct {
	Value float64
	Arms  []Arm
	Runs  [][]ArmRun

	floor *float64 // the accuracy that all arms are asked for, once it is known
}

// MapRuns is where adaptation pays: over the number of sources and the rate of
// links, ours and the best quality for all.
type MapRuns struct {
	Link    Parameter
	Sources []float64
	Rates   []float64
	Points  [][]SweepPoint // by rate, then by sources
}

// Simulate runs one arm, counted from 1.
type Simulate func(ctx context.Context, a *Arm, number int) (*testbed.Recording, error)

// NewSweep makes the points of a sweep, not yet run.
func NewSweep(s *testbed.Scenario, sweep Sweep) (*SweepRuns, error) {
	out := &SweepRuns{Parameter: sweep.Parameter}
	for _, v := range sweep.Values {
		at, err := sweep.Parameter.Apply(s, v)
		if err != nil {
			return nil, err
		}
		arms, err := SweepArms(at, sweep.Parameter == SweepSources)
		if err != nil {
			return nil, fmt.Errorf("%s at %g: %w", sweep.Parameter, v, err)
		}
		out.Points = append(out.Points, SweepPoint{Value: v, Arms: arms})
	}
	return out, nil
}

// NewMap makes the points of a map, not yet run.
func NewMap(s *testbed.Scenario, link Parameter, sources, rates []float64) (*MapRuns, error) {
	out := &MapRuns{Link: link, Sources: sources, Rates: rates}
	for _, rate := range rates {
		squeezed, err := link.Apply(s, rate)
		if err != nil {
			return nil, err
		}
		var row []SweepPoint
		for _, n := range sources {
			at, err := SweepSources.Apply(squeezed, n)
			if err != nil {
				return nil, err
			}
			arms, err := SweepArms(at, false)
			if err != nil {
				return nil, err
			}
			point := SweepPoint{Value: n}
			for _, a := range arms {
				if a.Name == armOurs || a.Name == armBest {
					point.Arms = append(point.Arms, a)
				}
			}
			row = append(row, point)
		}
		out.Points = append(out.Points, row)
	}
	return out, nil
}

// RunPoints runs every arm of the points once for each seed, as many at once as
// there are processors: a simulation has one thread.
func RunPoints(ctx context.Context, points []*SweepPoint, seeds int, run Simulate, done func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	for _, p := range points {
		p.Runs = make([][]ArmRun, len(p.Arms))
		for i := range p.Arms {
			p.Runs[i] = make([]ArmRun, seeds)
			for k := range seeds {
				g.Go(func() error {
					if err := ctx.Err(); err != nil {
						return err
					}
					rec, err := run(ctx, &p.Arms[i], k+1)
					if err != nil {
						return fmt.Errorf("at %g, arm %s, run %d: %w", p.Value, p.Arms[i].Name, k+1, err)
					}
					x, err := p.Arms[i].Measure(rec)
					if err != nil {
						return err
					}
					p.Runs[i][k] = x
					mu.Lock()
					defer mu.Unlock()
					done()
					return nil
				})
			}
		}
	}
	return g.Wait()
}

// arm is the number of the arm of that name; negative: there is none.
func (p *SweepPoint) arm(name string) int {
	for i := range p.Arms {
		if p.Arms[i].Name == name {
			return i
		}
	}
	return -1
}

func (p *SweepPoint) utility(i int) Estimate {
	return armEstimate(p.Runs[i], func(r *ArmRun) float64 { return r.Utility })
}

// admissible reports whether an arm keeps the accuracy that is asked for
// (equation 6), by its mean over the runs; one that does not is no better for
// being faster. What adaptation owes after a minute it repays later.
func (p *SweepPoint) admissible(i int) bool {
	if p.floor == nil {
		w, err := p.Arms[i].Scenario.WorkflowSpec(nil)
		if err != nil {
			return false
		}
		p.floor = &w.Objectives.MinAccuracy
	}
	f1 := armEstimate(p.Runs[i], func(r *ArmRun) float64 { return r.F1 }).Mean
	return f1 >= *p.floor-owed
}

// owed is by how much an arm may miss the accuracy asked for.
const owed = 0.005

// best is the admissible arm with the most utility, the first of equals, and
// ratio what ours comes to of it (which is taken for admissible: see owed): 1 − the difference over the size of the best's,
// so that it says the same where a large Θ makes utilities negative.
func (p *SweepPoint) best() (best int, ratio float64) {
	best = p.arm(armOurs)
	ours := p.utility(best).Mean
	most := ours
	for i := range p.Arms {
		if u := p.utility(i).Mean; u > most && p.admissible(i) {
			best, most = i, u
		}
	}
	if most == ours {
		return best, 1
	}
	return best, 1 - (most-ours)/math.Abs(most)
}
