package experiment

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/baseline"
	"github.com/weft-mesh/weft/tiering"
)

// ErrArms reports a scenario from which no arms can be made.
var ErrArms = errors.New("no arms can be made of the scenario")

// ArmKind is what sets an arm apart.
type ArmKind string

// The kinds.
const (
	ArmFixed   ArmKind = "fixed"   // a distribution that stays as it is
	ArmAdapted ArmKind = "adapted" // by a rule
	ArmSingle  ArmKind = "single"  // one source, fixed or adapted
	ArmCrowded ArmKind = "crowded" // half as many sources again, adapted
)

// Arm is one way to run a scenario.
type Arm struct {
	Name     string
	Kind     ArmKind
	Rule     tiering.AdaptingRule
	Scenario *testbed.Scenario
	// Placer places the workflow in a run with that seed; nil: as a mesh does.
	Placer func(seed uint64) baseline.Placer
	OnEdge bool // that puts analysis or postprocessing on the edge
	Whole  bool // all sources have the best quality, fixed
}

// The names of the arms that others are held against.
const (
	armUtility       = "utility"
	armFastest       = "fastest"
	armSingle        = "single"
	armSingleAdapted = "single adapted"
)

// armCrowded is the arm with half as many sources again, and begins the names of
// those that have further knobs: "crowded with rate".
const armCrowded = "crowded"

// withKnobs is the name of the arm that is adapted by utility with further
// knobs: "with rate and model".
func withKnobs(knobs []tiering.Knob) string {
	words := make([]string, len(knobs))
	for i, k := range knobs {
		words[i] = string(k)
	}
	return "with " + strings.Join(words, " and ")
}

// maxArms is how many distributions are run at most.
const maxArms = 500

// Arms returns all ways to run a scenario whose sources are alike: each
// distribution of the resolutions that their model offers up to theirs, fixed;
// their resolution adapted by either rule; adapted by utility with each further
// knob that the workflow has a use for, and with all of them, also with half as
// many sources again; and one source alone, fixed and adapted with all knobs.
func Arms(s *testbed.Scenario) ([]Arm, error) {
	w, err := s.WorkflowSpec(nil)
	if err != nil {
		return nil, err
	}
	for _, e := range s.Timeline {
		if e.Action == testbed.Sources {
			return nil, fmt.Errorf("%w: at %s its timeline has %s, and the distributions are over all sources; take that out", ErrArms, e.At, e)
		}
	}
	own := s.Sources[0]
	for _, x := range s.Sources {
		if x.Resolution != own.Resolution || x.FPS != own.FPS {
			return nil, fmt.Errorf("%w: its sources %s and %s differ in resolution or rate; make them alike", ErrArms, own.Name, x.Name)
		}
	}
	resolutions, err := upTo(w, own.Resolution)
	if err != nil {
		return nil, err
	}
	if len(resolutions) < 2 {
		return nil, fmt.Errorf("%w: its workflow offers one resolution up to %d; offer several", ErrArms, own.Resolution)
	}
	distributions := spread(len(s.Sources), len(resolutions))
	if len(distributions) > maxArms {
		return nil, fmt.Errorf("%w: there are %d distributions of %d resolutions over %d sources; at most %d are run, so take fewer of either",
			ErrArms, len(distributions), len(resolutions), len(s.Sources), maxArms)
	}
	var out []Arm
	add := func(name string, kind ArmKind, rule tiering.AdaptingRule, sources []testbed.Source, knobs ...tiering.Knob) error {
		variant, err := s.Adapting(sources, rule, append([]tiering.Knob{tiering.KnobResolution}, knobs...))
		out = append(out, Arm{Name: name, Kind: kind, Rule: rule, Scenario: variant})
		return err
	}
	var errs []error
	for _, n := range distributions {
		sources := distributed(s.Sources, n, resolutions)
		errs = append(errs, add(distributionName(n, resolutions), ArmFixed, tiering.AdaptOff, sources))
	}
	out[0].Whole = true
	errs = append(errs, add(armUtility, ArmAdapted, tiering.AdaptUtility, s.Sources), add(armFastest, ArmAdapted, tiering.AdaptFastest, s.Sources))
	further := furtherKnobs(w, own.Resolution)
	var sets [][]tiering.Knob
	for i := range further {
		sets = append(sets, further[i:i+1])
	}
	if len(further) > 1 {
		sets = append(sets, further)
	}
	for _, knobs := range sets {
		errs = append(errs, add(withKnobs(knobs), ArmAdapted, tiering.AdaptUtility, s.Sources, knobs...))
	}
	if len(sets) > 0 {
		more := crowd(s.Sources)
		errs = append(errs, add(armCrowded, ArmCrowded, tiering.AdaptUtility, more))
		for _, knobs := range sets {
			errs = append(errs, add(armCrowded+" "+withKnobs(knobs), ArmCrowded, tiering.AdaptUtility, more, knobs...))
		}
	}
	errs = append(errs, add(armSingle, ArmSingle, tiering.AdaptOff, s.Sources[:1]),
		add(armSingleAdapted, ArmSingle, tiering.AdaptUtility, s.Sources[:1], further...))
	return out, errors.Join(errs...)
}

// crowd returns half as many sources again, beside those that are there: so many
// that the resolution alone does not do.
func crowd(sources []testbed.Source) []testbed.Source {
	out := slices.Clone(sources)
	for i := range (len(sources) + 1) / 2 {
		x := sources[i]
		x.Name += "-more"
		out = append(out, x)
	}
	return out
}

// upTo are the resolutions up to one that a workflow offers of the model which
// sources have at that one, the highest first. Where another model has one of
// them too, a fixed distribution does not say which is meant.
func upTo(w *tiering.Workflow, most int) ([]int, error) {
	of := map[int][]string{}
	model := ""
	for _, t := range w.Tasks {
		if t.Model == nil || t.Model.Resolution > most {
			continue
		}
		of[t.Model.Resolution] = append(of[t.Model.Resolution], t.Model.Name)
		if model == "" && t.Model.Resolution == most {
			model = t.Model.Name
		}
	}
	var out []int
	for r, models := range of {
		if !slices.Contains(models, model) {
			continue
		}
		if out = append(out, r); len(models) > 1 {
			return nil, fmt.Errorf("%w: its workflow offers %d of %s, and a fixed distribution does not say which; let the variants have resolutions of their own",
				ErrArms, r, strings.Join(models, " and "))
		}
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Compare(b, a) })
	return out, nil
}

// furtherKnobs are those that can be of use beside the resolution: the rate where
// it is known what fewer frames cost, and the model where there are several.
func furtherKnobs(w *tiering.Workflow, most int) []tiering.Knob {
	rated, models := true, map[string]bool{}
	for _, t := range w.Tasks {
		if t.Model == nil {
			continue
		}
		rated = rated && len(t.Model.Rates) > 0
		if t.Model.Resolution <= most {
			models[t.Model.Name] = true
		}
	}
	var out []tiering.Knob
	if rated {
		out = append(out, tiering.KnobRate)
	}
	if len(models) > 1 {
		out = append(out, tiering.KnobModel)
	}
	return out
}

// spread are all ways to divide n among so many, those with most for the first
// to begin with.
func spread(n, among int) [][]int {
	if among == 1 {
		return [][]int{{n}}
	}
	var out [][]int
	for first := n; first >= 0; first-- {
		for _, rest := range spread(n-first, among-1) {
			out = append(out, append([]int{first}, rest...))
		}
	}
	return out
}

// distributionName says a distribution: "512-only", "8 × 512, 11 × 416".
func distributionName(n, resolutions []int) string {
	var parts []string
	for k, r := range resolutions {
		switch {
		case n[k] > 0 && len(parts) == 0 && n[k] == sumOf(n):
			return fmt.Sprintf("%d-only", r)
		case n[k] > 0:
			parts = append(parts, fmt.Sprintf("%d × %d", n[k], r))
		}
	}
	return strings.Join(parts, ", ")
}

func sumOf(n []int) (all int) {
	for _, k := range n {
		all += k
	}
	return all
}

// Only leaves the arms that have one of the names; an error says which none has.
func Only(arms, trials []Arm, names []string) (someArms, someTrials []Arm, err error) {
	var known []string
	for _, a := range slices.Concat(arms, trials) {
		known = append(known, a.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, nil, fmt.Errorf("there is no arm %q; there are %s", name, strings.Join(known, "; "))
		}
	}
	other := func(a Arm) bool { return !slices.Contains(names, a.Name) }
	return slices.DeleteFunc(slices.Clone(arms), other), slices.DeleteFunc(slices.Clone(trials), other), nil
}

// RunArms runs every arm once for each seed, from the scenario's on, with what
// runs one: a simulation or an emulation.
func RunArms(ctx context.Context, arms []Arm, seeds int, run func(ctx context.Context, a *Arm, number int) (*testbed.Recording, error)) ([][]ArmRun, error) {
	out := make([][]ArmRun, len(arms))
	for i := range arms {
		for number := 1; number <= seeds; number++ {
			rec, err := run(ctx, &arms[i], number)
			if err != nil {
				return nil, fmt.Errorf("arm %s, run %d: %w", arms[i].Name, number, err)
			}
			x, err := arms[i].Measure(rec)
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], x)
		}
	}
	return out, nil
}

// ArmsSummary is summary.json of an experiment with arms.
type ArmsSummary struct {
	Arms []ArmSummary `json:"arms"`
	// Best is the fixed distribution with the most utility, and the ratio that
	// of what the utility rule came to, to it.
	Best  string  `json:"best"`
	Ratio float64 `json:"utility_ratio_to_best"`
	// SingleUnchanged: with one source adaptation changes neither what frames
	// are analysed with, nor how long that takes by more than a twentieth.
	SingleUnchanged bool `json:"single_source_unchanged"`
	// MakespanReduction is what adaptation takes off the makespan of the best
	// quality for all, as a fraction.
	MakespanReduction float64 `json:"makespan_reduction"`
	// Compared, Reduced and Single: the arms ran that Ratio, MakespanReduction and
	// SingleUnchanged are of. What none ran for is not in the JSON.
	Compared, Reduced, Single bool `json:"-"`

	Floor   *FloorSummary   `json:"floor,omitempty"`
	Squeeze *SqueezeSummary `json:"squeeze,omitempty"`
}

// MarshalJSON leaves out what was not compared.
func (s *ArmsSummary) MarshalJSON() ([]byte, error) {
	type plain ArmsSummary
	out := struct {
		*plain
		Ratio             *float64 `json:"utility_ratio_to_best,omitempty"`
		SingleUnchanged   *bool    `json:"single_source_unchanged,omitempty"`
		MakespanReduction *float64 `json:"makespan_reduction,omitempty"`
	}{plain: (*plain)(s)}
	if s.Compared {
		out.Ratio = &s.Ratio
	}
	if s.Single {
		out.SingleUnchanged = &s.SingleUnchanged
	}
	if s.Reduced {
		out.MakespanReduction = &s.MakespanReduction
	}
	return json.Marshal(out)
}

// ArmSummary is the means of an arm over its runs.
type ArmSummary struct {
	Name      string  `json:"name"`
	Kind      ArmKind `json:"kind"`
	Sources   int     `json:"sources"`
	Makespan  float64 `json:"makespan_s_mean"`
	F1        float64 `json:"f1"`
	Utility   float64 `json:"utility"`
	Latency   float64 `json:"latency_ms_mean"`
	Stale     float64 `json:"stale_ms_mean"`      // how old the last detections are where a frame is skipped
	Delivered float64 `json:"delivered_fraction"` // of the frames asked for, those included that delivered ones stand for
}

// distributed are the sources, so many of them at each resolution.
func distributed(all []testbed.Source, n, resolutions []int) []testbed.Source {
	sources, i := slices.Clone(all), 0
	for k, r := range resolutions {
		for range n[k] {
			sources[i].Resolution = r
			i++
		}
	}
	return sources
}

// sameMakespan is by what fraction two makespans may differ and be the same.
const sameMakespan = 0.05

// SummarizeArms sets the arms against each other.
func SummarizeArms(method testbed.Method, arms []Arm, runs [][]ArmRun) *ArmsSummary {
	s := &ArmsSummary{Arms: []ArmSummary{}}
	by := map[string]*ArmSummary{}
	best := math.Inf(-1)
	for i := range arms {
		mean := func(of func(*ArmRun) float64) float64 { return armEstimate(runs[i], of).Mean }
		s.Arms = append(s.Arms, ArmSummary{
			Name: arms[i].Name, Kind: arms[i].Kind, Sources: len(arms[i].Scenario.Sources),
			Makespan: mean(func(r *ArmRun) float64 { return r.Makespan }), F1: mean(func(r *ArmRun) float64 { return r.F1 }),
			Utility: mean(func(r *ArmRun) float64 { return r.Utility }), Latency: mean(func(r *ArmRun) float64 { return 1000 * r.Latency }),
			Stale:     mean(func(r *ArmRun) float64 { return 1000 * r.Stale }),
			Delivered: mean((*ArmRun).shown),
		})
	}
	for i := range s.Arms {
		a := &s.Arms[i]
		by[a.Name] = a
		if a.Kind == ArmFixed && a.Utility > best {
			s.Best, best = a.Name, a.Utility
		}
	}
	if u := by[armUtility]; u != nil && s.Best != "" {
		s.Compared = true
		if best > 0 {
			s.Ratio = u.Utility / best
		}
	}
	if u := by[armUtility]; u != nil && arms[0].Whole {
		s.Reduced, s.MakespanReduction = true, 1-u.Makespan/s.Arms[0].Makespan
	}
	if off, on := by[armSingle], by[armSingleAdapted]; off != nil && on != nil {
		s.Single = true
		// Simulated, F1 is what the qualities promise; emulated it is of the frames that
		// happen to be seen.
		same := 1e-9
		if method == testbed.Emulated {
			same = 0.01
		}
		s.SingleUnchanged = math.Abs(on.F1-off.F1) < same && math.Abs(on.Makespan/off.Makespan-1) <= sameMakespan
	}
	return s
}

func armEstimate(runs []ArmRun, of func(*ArmRun) float64) Estimate {
	var values []Value
	for i := range runs {
		values = append(values, Value{runs[i].Run, of(&runs[i])})
	}
	return estimate(values)
}
