package chaos

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// ErrScenario reports a scenario in which not every fault is possible.
var ErrScenario = errors.New("the scenario does not serve for chaos")

// Plant is what there is to break, and what runs on it.
type Plant struct {
	Nodes        []string `json:"nodes"`        // all, in the order of the scenario
	Coordinators []string `json:"coordinators"` // which of them take no tasks
	Workers      []string `json:"workers"`      // all others
	Workflow     string   `json:"workflow"`
	Sources      []Source `json:"sources"`
	Sinks        []string `json:"sinks"` // tasks, without their variants, behind which a frame is delivered
	// Deadline of a frame; longer than it and a little more, none is in flight.
	Deadline time.Duration `json:"deadline"`
}

// Source is a camera of the workflow.
type Source struct {
	Name string  `json:"name"`
	Node string  `json:"node"`
	FPS  float64 `json:"fps"`
	URI  string  `json:"uri"`
}

// NewPlant reads from a scenario what there is. The error is ErrScenario.
func NewPlant(s *testbed.Scenario) (Plant, error) {
	p := Plant{Workflow: s.Workflow.Name}
	tiers := map[tiering.Tier]bool{}
	var errs []error
	for _, n := range s.Nodes {
		p.Nodes = append(p.Nodes, n.Name)
		switch {
		case n.Coordinator && !n.Dedicated:
			errs = append(errs, fmt.Errorf("%w: coordinator %s takes tasks, too: make it `dedicated: true`, for faults of coordinators must touch no stage", ErrScenario, n.Name))
		case n.Coordinator:
			p.Coordinators = append(p.Coordinators, n.Name)
		default:
			p.Workers = append(p.Workers, n.Name)
			tiers[n.Tier] = true
		}
	}
	if len(p.Coordinators) != 3 {
		errs = append(errs, fmt.Errorf("%w: %d dedicated coordinators: use 3, so that 1|2 is a partition", ErrScenario, len(p.Coordinators)))
	}
	for _, t := range []tiering.Tier{tiering.Edge, tiering.Fog} {
		if !tiers[t] {
			errs = append(errs, fmt.Errorf("%w: no node on the %s: there is nothing to part", ErrScenario, t))
		}
	}
	w, err := s.WorkflowSpec(nil)
	if err != nil {
		return p, err
	}
	p.Deadline = w.Objectives.Deadline
	for _, x := range w.Sources {
		if x.Node == "" {
			errs = append(errs, fmt.Errorf("%w: source %s is attached to no node", ErrScenario, x.Name))
		}
		p.Sources = append(p.Sources, Source{x.Name, x.Node, x.FPS, x.URI})
	}
	for _, t := range w.Tasks {
		if !slices.ContainsFunc(w.Links, func(l tiering.Link) bool { return l.From == t.Name }) && !slices.Contains(p.Sinks, t.Group) {
			p.Sinks = append(p.Sinks, t.Group)
		}
	}
	if len(s.Timeline) > 0 {
		errs = append(errs, fmt.Errorf("%w: it has a timeline: remove it, faults are drawn", ErrScenario))
	}
	return p, errors.Join(errs...)
}

func (p Plant) coordinator(node string) bool { return slices.Contains(p.Coordinators, node) }

// hasSource reports whether a camera is attached to the node.
func (p Plant) hasSource(node string) bool {
	return slices.ContainsFunc(p.Sources, func(s Source) bool { return s.Node == node })
}
