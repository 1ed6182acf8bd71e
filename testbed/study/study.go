package study

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/testbed"
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
	Agreement   float64  // by what share simulated and emulated makespans of a run may differ
	Remarks     []string // of who wrote it, on where what comes out is not as published
	Runs        []Run
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
	Runs                []string // of which it is wanted; nil: of all
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

// Variant is a run's scenario as one of its experiments has it.
type Variant struct {
	Experiment Experiment
	Scenario   *testbed.Scenario
}

// Variants are the run's scenario once for each of its experiments.
func (r *Run) Variants() ([]Variant, error) {
	var out []Variant
	for _, e := range r.Experiments {
		sources := r.Scenario.Sources
		if n := e.Sources; n > len(sources) {
			return nil, fmt.Errorf("experiment %s is of %d sources, and %s has %d", e.Name, n, r.Scenario.Name, len(sources))
		} else if n > 0 {
			sources = sources[:n]
		}
		s, err := r.Scenario.Adapting(sources, e.Rule, e.Knobs)
		if err != nil {
			return nil, err
		}
		out = append(out, Variant{e, s})
	}
	return out, nil
}
