package experiment

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/baseline"
	"github.com/weft-mesh/weft/tiering"
)

// Optimum is what ours comes to of the best placement and distribution of
// qualities, in small cases.
type Optimum struct {
	Scenario string         `json:"scenario"`
	Cases    []OptimumPoint `json:"cases"`
}

// OptimumPoint is one case.
type OptimumPoint struct {
	Parameter Parameter `json:"parameter"`
	Value     float64   `json:"value"`
	Tried     int       `json:"tried"` // placements times distributions
	Best      string    `json:"best"`
	Utility   float64   `json:"utility"`
	Ours      float64   `json:"ours"`
	Ratio     float64   `json:"utility_ratio_to_best"`
	// Anywhere is the best with analysis and postprocessing on the edge, too, where
	// section VI-B of Houmani et al., and so a mesh, never puts them.
	Anywhere        string  `json:"best_anywhere"`
	AnywhereUtility float64 `json:"utility_anywhere"`
}

// maxOptimum bounds what is tried of one case.
const maxOptimum = 4000

// NewOptimum makes an arm of every placement of analysis and postprocessing over
// the nodes together with every distribution of resolutions, and ours. They are
// to be simulated rather than estimated by the latency model: that is what our
// choice is made by, and a mistake of it would be on both sides.
//
// Preprocessing stays beside the sources. Which of a task's instances is where
// makes no difference, so only how many are.
func NewOptimum(s *testbed.Scenario, value float64) (*SweepPoint, error) {
	s, err := s.Unfiltered()
	if err != nil {
		return nil, err
	}
	w, err := s.WorkflowSpec(nil)
	if err != nil {
		return nil, err
	}
	resolutions, err := upTo(w, s.Sources[0].Resolution)
	if err != nil {
		return nil, err
	}
	var placed []placement
	places := []map[string]string{{}}
	names := []string{""}
	for i := range w.Tasks {
		t := &w.Tasks[i]
		if t.Type == tiering.Preprocess {
			continue
		}
		var more []map[string]string
		var called []string
		for k, before := range places {
			for _, n := range spread(t.Replicas, len(s.Nodes)) {
				next := map[string]string{}
				for id, node := range before {
					next[id] = node
				}
				var on []string
				instance := 0
				for at, many := range n {
					for range many {
						next[tiering.SlotID(w.Name, t.Name, instance)] = s.Nodes[at].Name
						on = append(on, s.Nodes[at].Name)
						instance++
					}
				}
				more = append(more, next)
				called = append(called, strings.TrimPrefix(names[k]+"; "+t.Name+" on "+strings.Join(on, ", "), "; "))
			}
		}
		places, names = more, called
		if len(places) > maxOptimum {
			return nil, fmt.Errorf("%w: it has more than %d placements; take fewer nodes or instances", ErrSweep, maxOptimum)
		}
	}
	for k := range places {
		edge := false
		for _, n := range s.Nodes {
			for _, on := range places[k] {
				edge = edge || on == n.Name && n.Tier == tiering.Edge
			}
		}
		placed = append(placed, placement{name: names[k], edge: edge, placer: func(uint64) baseline.Placer { return baseline.Fixed(places[k]) }})
	}
	distributions := spread(len(s.Sources), len(resolutions))
	if n := len(placed) * len(distributions); n > maxOptimum {
		return nil, fmt.Errorf("%w: %d placements and %d distributions are more than %d to try; take fewer nodes, instances or sources",
			ErrSweep, len(placed), len(distributions), maxOptimum)
	}
	ours, err := s.Adapting(s.Sources, tiering.AdaptUtility, nil)
	if err != nil {
		return nil, err
	}
	out := &SweepPoint{Value: value, Arms: []Arm{{Name: armOurs, Kind: ArmAdapted, Rule: tiering.AdaptUtility, Scenario: ours}}}
	for _, n := range distributions {
		sources := distributed(s.Sources, n, resolutions)
		fixed, err := s.Adapting(sources, tiering.AdaptOff, nil)
		if err != nil {
			return nil, err
		}
		for _, p := range placed {
			out.Arms = append(out.Arms, Arm{
				Name: distributionName(n, resolutions) + "; " + p.name, Kind: ArmPlaced, Rule: tiering.AdaptOff, Scenario: fixed, Placer: p.placer,
				OnEdge: p.edge,
			})
		}
	}
	return out, nil
}

// OptimumOf sums a case up.
func OptimumOf(parameter Parameter, p *SweepPoint) OptimumPoint {
	anywhere, _ := p.best()
	off := &SweepPoint{Value: p.Value}
	for i := range p.Arms {
		if !p.Arms[i].OnEdge {
			off.Arms, off.Runs = append(off.Arms, p.Arms[i]), append(off.Runs, p.Runs[i])
		}
	}
	best, ratio := off.best()
	return OptimumPoint{
		Parameter: parameter, Value: p.Value, Tried: len(p.Arms) - 1, Best: off.Arms[best].Name,
		Utility: off.utility(best).Mean, Ours: p.utility(p.arm(armOurs)).Mean, Ratio: ratio,
		Anywhere: p.Arms[anywhere].Name, AnywhereUtility: p.utility(anywhere).Mean,
	}
}

func (o *Optimum) write(w *markdown) {
	if o == nil {
		return
	}
	w.linef("## The optimum of small cases")
	w.linef("")
	w.linef("%s: every placement with every distribution of resolutions, simulated; ours has its knobs. "+
		"The ratio is to the best that keeps analysis off the edge, as section VI-B has it; what comes of the edge stands beside it.", safe(o.Scenario))
	w.linef("")
	var rows [][]string
	for _, c := range o.Cases {
		rows = append(rows, []string{
			c.Parameter.label() + ": " + c.Parameter.number(c.Value), fmt.Sprint(c.Tried), decimal(c.Utility, 3), decimal(c.Ours, 3), decimal(c.Ratio, 3), safe(c.Best),
			decimal(c.AnywhereUtility, 3), safe(c.Anywhere),
		})
	}
	w.table("case|>tried|>best utility|>ours|>ratio|best off the edge|>anywhere|best", rows)
}
