package experiment

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/baseline"
	"github.com/weft-mesh/weft/tiering"
)

// ErrSweep reports a sweep that cannot be made of a scenario.
var ErrSweep = errors.New("no sweep can be made of the scenario")

// Parameter is what a sweep varies.
type Parameter string

// The parameters.
const (
	SweepSources     Parameter = "sources"
	SweepFogCloud    Parameter = "fog-cloud" // Mbit/s of each link between the tiers
	SweepEdgeFog     Parameter = "edge-fog"
	SweepMinAccuracy Parameter = "minAccuracy"
	SweepTheta       Parameter = "theta"
)

// Sweep is a parameter and its values.
type Sweep struct {
	Parameter Parameter
	Values    []float64
}

// Sweeps are those that are made where nobody says otherwise.
func Sweeps() []Sweep {
	return []Sweep{
		{SweepSources, []float64{1, 2, 4, 8, 12, 16, 19, 24, 30, 35, 40}},
		{SweepFogCloud, []float64{1, 3, 10, 30, 100, 1000, 10000}},
		{SweepEdgeFog, []float64{1, 3, 5, 10, 15, 30, 100}},
		{SweepMinAccuracy, []float64{0, 0.3, 0.38, 0.4, 0.41, 0.42}},
		{SweepTheta, []float64{0, 0.05, 0.1, 0.2, 0.5, 1, 2}},
	}
}

// label is the parameter on an axis.
func (p Parameter) label() string {
	switch p {
	case SweepSources:
		return "number of sources"
	case SweepFogCloud:
		return "rate of a fog–cloud link (Mbit/s)"
	case SweepEdgeFog:
		return "rate of an edge–fog link (Mbit/s)"
	case SweepMinAccuracy:
		return "accuracy asked for (a_min)"
	case SweepTheta:
		return "accuracy that a second is worth (Θ)"
	}
	return string(p)
}

// logarithmic reports whether its values are drawn so.
func (p Parameter) logarithmic() bool { return p == SweepFogCloud || p == SweepEdgeFog }

// Apply returns the scenario with the parameter at a value.
func (p Parameter) Apply(s *testbed.Scenario, value float64) (*testbed.Scenario, error) {
	switch p {
	case SweepSources:
		if n := int(value); value != math.Trunc(value) || n < 1 || n > 1000 {
			return nil, fmt.Errorf("%w: %g sources; use a whole number from 1 to 1000", ErrSweep, value)
		}
		out := *s
		out.Sources = withSources(s.Sources, int(value))
		return &out, nil
	case SweepFogCloud:
		return withRate(s, tiering.Fog, tiering.Cloud, value)
	case SweepEdgeFog:
		return withRate(s, tiering.Edge, tiering.Fog, value)
	case SweepMinAccuracy:
		return s.Asking(value)
	case SweepTheta:
		return s.Weighing(value)
	}
	return nil, fmt.Errorf("%w: there is no parameter %q; use %s, %s, %s, %s or %s", ErrSweep, p,
		SweepSources, SweepFogCloud, SweepEdgeFog, SweepMinAccuracy, SweepTheta)
}

// withSources returns the first n of the sources; further ones are like these,
// on their nodes in turn.
func withSources(all []testbed.Source, n int) []testbed.Source {
	if n <= len(all) {
		return slices.Clone(all[:n])
	}
	out := slices.Clone(all)
	var nodes []string
	for _, s := range all {
		if !slices.Contains(nodes, s.Node) {
			nodes = append(nodes, s.Node)
		}
	}
	for i := len(all); i < n; i++ {
		x := all[i%len(all)]
		x.Name, x.Node = fmt.Sprintf("more-%d", i+1), nodes[i%len(nodes)]
		out = append(out, x)
	}
	return out
}

func withRate(s *testbed.Scenario, a, b tiering.Tier, mbits float64) (*testbed.Scenario, error) {
	if !(mbits >= 0.001) || mbits > 1e6 {
		return nil, fmt.Errorf("%w: a rate of %g Mbit/s; use one from 0.001 to 1000000", ErrSweep, mbits)
	}
	if len(s.Network.Pairs) > 0 {
		return nil, fmt.Errorf("%w: it has links of its own between nodes, which the rate between tiers says nothing of; leave network.links out", ErrSweep)
	}
	out := *s
	out.Network.Tiers = slices.Clone(s.Network.Tiers)
	found := false
	for i := range out.Network.Tiers {
		if l := &out.Network.Tiers[i]; l.A == a && l.B == b {
			l.Link.Rate, found = int64(mbits*1e6), true
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: it has no link between %s and %s as tiers; write one under network.tiers", ErrSweep, a, b)
	}
	return &out, nil
}

// The names of the arms of a sweep that others are held against.
const (
	armOurs = "weft" // our placement, all knobs
	armBest = "best quality for all"
)

// ArmPlaced is the kind of arms that are placed by somebody else.
const ArmPlaced ArmKind = "placed"

// SweepArms are the ways to run a scenario that a sweep compares: ours, with all
// knobs that the workflow names; with fewer; fixed qualities; and other
// placements, each with the best quality for all and adapted as ours is. Which
// knobs are worth what is only asked with each.
func SweepArms(s *testbed.Scenario, each bool) ([]Arm, error) {
	plain, err := s.Unfiltered()
	if err != nil {
		return nil, err
	}
	w, err := plain.WorkflowSpec(nil)
	if err != nil {
		return nil, err
	}
	if w.Adapting == nil {
		return nil, fmt.Errorf("%w: %s has no rule of adaptation; write adaptation: {rule: utility} under spec", ErrSweep, s.Workflow.File)
	}
	for _, x := range s.Sources {
		if x.Resolution != s.Sources[0].Resolution {
			return nil, fmt.Errorf("%w: source %s has %d and %s has %d; give all the same resolution", ErrSweep, s.Sources[0].Name, s.Sources[0].Resolution, x.Name, x.Resolution)
		}
	}
	resolutions, err := upTo(w, s.Sources[0].Resolution)
	if err != nil {
		return nil, err
	}
	if len(resolutions) < 2 {
		return nil, fmt.Errorf("%w: its workflow offers one resolution up to %d; offer several", ErrSweep, s.Sources[0].Resolution)
	}
	var out []Arm
	var errs []error
	add := func(a Arm, of *testbed.Scenario, sources []testbed.Source, knobs ...tiering.Knob) {
		variant, err := of.Adapting(sources, a.Rule, knobs)
		a.Scenario = variant
		out, errs = append(out, a), append(errs, err)
	}
	all := w.Adapting.Knobs
	add(Arm{Name: armOurs, Kind: ArmAdapted, Rule: tiering.AdaptUtility}, plain, s.Sources, all...)
	knobs := [][]tiering.Knob{{tiering.KnobResolution}}
	if each {
		knobs = nil
		for _, k := range all {
			knobs = append(knobs, []tiering.Knob{k})
		}
	}
	for _, set := range knobs {
		add(Arm{Name: "only " + string(set[0]), Kind: ArmAdapted, Rule: tiering.AdaptUtility}, plain, s.Sources, set...)
	}
	if full, err := s.WorkflowSpec(nil); err == nil && len(full.Tasks) > len(w.Tasks) && each {
		add(Arm{Name: "filter alone", Kind: ArmFixed, Rule: tiering.AdaptOff}, s, s.Sources)
		add(Arm{Name: armOurs + " and filter", Kind: ArmAdapted, Rule: tiering.AdaptUtility}, s, s.Sources, all...)
	}
	low := slices.Clone(s.Sources)
	half := slices.Clone(s.Sources)
	for i := range low {
		low[i].Resolution = resolutions[1]
		if i%2 == 1 {
			half[i].Resolution = resolutions[1]
		}
	}
	add(Arm{Name: armBest, Kind: ArmFixed, Rule: tiering.AdaptOff}, plain, s.Sources)
	add(Arm{Name: fmt.Sprintf("%d-only", resolutions[1]), Kind: ArmFixed, Rule: tiering.AdaptOff}, plain, low)
	add(Arm{Name: fmt.Sprintf("half %d, half %d", resolutions[0], resolutions[1]), Kind: ArmFixed, Rule: tiering.AdaptOff}, plain, half)
	for _, p := range placements(plain) {
		add(Arm{Name: p.name, Kind: ArmPlaced, Rule: tiering.AdaptOff, Placer: p.placer}, plain, s.Sources)
		add(Arm{Name: p.name + ", adapted", Kind: ArmPlaced, Rule: tiering.AdaptUtility, Placer: p.placer}, plain, s.Sources, all...)
	}
	return out, errors.Join(errs...)
}

// placement is a way to place the workflow, for each seed.
type placement struct {
	name   string
	placer func(seed uint64) baseline.Placer
	edge   bool // it has analysis or postprocessing there
}

func placements(s *testbed.Scenario) []placement {
	always := func(p baseline.Placer) func(uint64) baseline.Placer { return func(uint64) baseline.Placer { return p } }
	return []placement{
		{name: "cloud-only", placer: always(baseline.Tier(tiering.Cloud))},
		{name: "fog-only", placer: always(baseline.Tier(tiering.Fog))},
		{name: "edge-only", placer: always(baseline.Tier(tiering.Edge))},
		{name: "random", placer: baseline.Random},
		{name: "greedy", placer: always(baseline.Greedy(costsOf(s)))},
	}
}

// costsOf is what a frame takes by itself, from the scenario's links and costs:
// more than our placement knows.
func costsOf(s *testbed.Scenario) baseline.Costs {
	topology := testbed.NewTopology(s)
	mean := func(t *testbed.Time) time.Duration {
		if t == nil {
			return 0
		}
		return t.Mean
	}
	return baseline.Costs{
		Transfer: func(from, to *tiering.Node, t *tiering.Task) time.Duration {
			if from.ID == to.ID {
				return 0
			}
			l, ok := topology.Link(from.ID, to.ID)
			if !ok {
				return time.Hour
			}
			c := s.Costs.Tasks[t.Name]
			d := l.Delay + mean(c.Send) + mean(c.Receive)
			if l.Rate > 0 && c.Bytes != nil {
				d += time.Duration(float64(8**c.Bytes) / float64(l.Rate) * float64(time.Second))
			}
			return d
		},
		Execute: func(_ *tiering.Node, t *tiering.Task) time.Duration { return mean(s.Costs.Tasks[t.Name].Work) },
	}
}

// number is a value as it is written.
func (p Parameter) number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
