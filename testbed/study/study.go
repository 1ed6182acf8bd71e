package study

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/experiment"
	"github.com/weft-mesh/weft/tiering"
)

// Study is what is carried out and reported as one. It is immutable once made.
type Study struct {
	Name, Title string
	Paper       *Paper // nil: nothing was published
	Repeat      int    // seeds of each experiment, unless it is run with another number
	Experiments []Experiment
	Targets     []Target
	Figures     []Figure
	Agreement   float64 // by what share simulated and emulated makespans of a run may differ
	Runs        []Run
	Sweeps      []Sweep
}

// Paper is where the published figures are from.
type Paper struct {
	Cite string
	// Duration is how much of the sources' time was analysed: makespans are
	// compared as multiples of it.
	Duration time.Duration
}

// Experiment is a way to run a scenario.
type Experiment struct {
	Name, About string
	Sources     int // 0: all of the scenario's
	Rule        tiering.AdaptingRule
	Knobs       []tiering.Knob // what a rule may change
	Published   *Published     // nil: nothing was
}

// Published are figures of a paper; nil: not said.
type Published struct {
	Makespan *time.Duration `json:"makespan,omitempty"`
	F1       *float64       `json:"f1,omitempty"`
}

// Target is what an experiment is to reach beside another one; nil: nothing.
type Target struct {
	Experiment, Against string
	Makespan            *float64 // by what share of the other's it may change at most
	F1                  *float64 // by how much it may change at least, which is mostly below 0
	// What is aimed at, beyond what must be reached.
	AimMakespan, AimF1 *float64
}

// Figure is one of the paper's that is drawn again.
type Figure struct {
	Name, Title string
	Shows       Shown
	Experiments []string
}

// Shown is what a figure shows of experiments.
type Shown string

// What figures can show.
const (
	ShowMakespan Shown = "makespan" // in multiples of the duration
	ShowF1       Shown = "f1"
)

// Run is a scenario on which experiments are run.
type Run struct {
	Name, Title, About string
	File               string
	Scenario           *testbed.Scenario
	Methods            []testbed.Method
	Experiments        []Experiment // in the study's order
}

// Has reports whether it is carried out by the method.
func (r *Run) Has(m testbed.Method) bool {
	for _, x := range r.Methods {
		if x == m {
			return true
		}
	}
	return false
}

// Arms are the run's scenario once for each of its experiments.
func (r *Run) Arms() ([]experiment.Arm, error) {
	var out []experiment.Arm
	for _, e := range r.Experiments {
		a, err := e.arm(r.Scenario)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// arm is the experiment on a scenario.
func (e *Experiment) arm(s *testbed.Scenario) (experiment.Arm, error) {
	sources, kind := s.Sources, experiment.ArmAdapted
	if e.Rule == tiering.AdaptOff {
		kind = experiment.ArmFixed
	}
	if n := e.Sources; n > 0 {
		if n > len(sources) {
			return experiment.Arm{}, fmt.Errorf("experiment %s is of %d sources, and %s has %d", e.Name, n, s.Name, len(sources))
		}
		sources = sources[:n]
	}
	if len(sources) == 1 {
		kind = experiment.ArmSingle
	}
	variant, err := s.Adapting(sources, e.Rule, e.Knobs)
	return experiment.Arm{Name: e.Name, Kind: kind, Rule: e.Rule, Scenario: variant}, err
}
