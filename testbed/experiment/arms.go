package experiment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/adaptation/quality"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
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
)

// Arm is one way to run a scenario.
type Arm struct {
	Name     string
	Kind     ArmKind
	Rule     tiering.AdaptingRule
	Scenario *testbed.Scenario
}

// The names of the arms that others are held against.
const (
	armUtility       = "utility"
	armFastest       = "fastest"
	armSingle        = "single"
	armSingleAdapted = "single adapted"
)

// maxArms is how many distributions are run at most.
const maxArms = 500

// Arms returns all ways to run a scenario whose sources are alike: each
// distribution of the resolutions that its workflow offers up to theirs, fixed;
// adapted by either rule; and one source alone, fixed and adapted.
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
	resolutions := upTo(w, own.Resolution)
	if len(resolutions) < 2 {
		return nil, fmt.Errorf("%w: its workflow offers one resolution up to %d; offer several", ErrArms, own.Resolution)
	}
	distributions := spread(len(s.Sources), len(resolutions))
	if len(distributions) > maxArms {
		return nil, fmt.Errorf("%w: there are %d distributions of %d resolutions over %d sources; at most %d are run, so take fewer of either",
			ErrArms, len(distributions), len(resolutions), len(s.Sources), maxArms)
	}
	var out []Arm
	add := func(name string, kind ArmKind, rule tiering.AdaptingRule, sources []testbed.Source) error {
		variant, err := s.Adapting(sources, rule)
		out = append(out, Arm{name, kind, rule, variant})
		return err
	}
	var errs []error
	for _, n := range distributions {
		sources, i := slices.Clone(s.Sources), 0
		for k, r := range resolutions {
			for range n[k] {
				sources[i].Resolution = r
				i++
			}
		}
		errs = append(errs, add(distributionName(n, resolutions), ArmFixed, tiering.AdaptOff, sources))
	}
	errs = append(errs, add(armUtility, ArmAdapted, tiering.AdaptUtility, s.Sources), add(armFastest, ArmAdapted, tiering.AdaptFastest, s.Sources),
		add(armSingle, ArmSingle, tiering.AdaptOff, s.Sources[:1]), add(armSingleAdapted, ArmSingle, tiering.AdaptUtility, s.Sources[:1]))
	return out, errors.Join(errs...)
}

// upTo are the resolutions that a workflow offers up to one, the highest first.
func upTo(w *tiering.Workflow, most int) []int {
	var out []int
	for _, t := range w.Tasks {
		if t.Model != nil && t.Model.Resolution <= most && !slices.Contains(out, t.Model.Resolution) {
			out = append(out, t.Model.Resolution)
		}
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Compare(b, a) })
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

// ArmRun is what one run of an arm came to.
type ArmRun struct {
	Run  int
	Seed uint64
	// Asked is the frames that the sources are to have analysed in the measured
	// time: rate times duration, whatever a camera, which is not held up, made
	// of it.
	Asked               float64
	Captured, Delivered uint64
	Latency             float64 // seconds, mean, of delivered frames
	P95                 float64
	F1                  float64 // mean, of the analysed frames
	Utility             float64
	// Makespan is how long, in seconds, it takes at the rate measured until as
	// many frames have been delivered as are asked for: the mean over the
	// sources, and the longest.
	Makespan, Longest float64
	Decisions         []testbed.Mark
}

// Measure computes what a run of an arm came to.
//
// Makespan is what Houmani et al. measure: the time until all frames of the run
// are analysed. Their queues hold every frame. Ours are short and drop what is
// late, so a frame that was dropped counts as one that is still to be analysed:
// sources of which half the frames were delivered take twice the time. Those of
// one resolution are taken together, for they share a queue, and which of them
// it drops more frames of is chance. If none was delivered it takes as if one
// had been.
//
// Utility is equation 5 over the frames that are asked for: F1 less Θ times the
// latency for one that was delivered; for one that was not, less Θ times the
// deadline, for it shows nothing.
func (a *Arm) Measure(rec *testbed.Recording) (ArmRun, error) {
	w, err := a.Scenario.WorkflowSpec(nil)
	if err != nil {
		return ArmRun{}, err
	}
	t := &rec.Totals
	duration := t.Duration.Seconds()
	out := ArmRun{
		Run: rec.Run, Seed: rec.Seed, Captured: t.Frames.Captured, Latency: t.Latency.Mean().Seconds(), P95: t.Latency.Quantile(0.95).Seconds(),
	}
	pools := map[int]*pool{} // by resolution
	for _, s := range a.Scenario.Sources {
		i := slices.IndexFunc(t.Sources, func(x testbed.SourceTotals) bool { return x.Source == s.Name })
		if i < 0 {
			return out, fmt.Errorf("arm %s: run %d says nothing of source %s", a.Name, rec.Run, s.Name)
		}
		p := pools[s.Resolution]
		if p == nil {
			p = &pool{}
			pools[s.Resolution] = p
		}
		p.sources++
		p.asked += s.FPS * duration
		p.delivered += t.Sources[i].Delivered
	}
	for _, r := range slices.Sorted(maps.Keys(pools)) {
		p := pools[r]
		takes := duration * max(1, p.asked/float64(max(1, p.delivered)))
		out.Asked += p.asked
		out.Delivered += p.delivered
		out.Makespan += takes * float64(p.sources) / float64(len(a.Scenario.Sources))
		out.Longest = max(out.Longest, takes)
	}
	if out.F1, err = f1(w, t); err != nil {
		return out, fmt.Errorf("arm %s: %w", a.Name, err)
	}
	theta := tiering.DefaultAdapting().Theta
	if w.Adapting != nil {
		theta = w.Adapting.Theta
	}
	share := min(1, float64(out.Delivered)/out.Asked)
	out.Utility = share*(out.F1-theta*out.Latency) - (1-share)*theta*w.Objectives.Deadline.Seconds()
	out.Decisions = adapted(rec)
	return out, nil
}

// pool is the sources of one resolution.
type pool struct {
	sources   int
	asked     float64
	delivered uint64
}

// f1 is that of the frames that were analysed: of those themselves, where it is
// known what they show; otherwise the mean of what was measured of the model at
// the resolution, or lies on the curve through that.
func f1(w *tiering.Workflow, t *testbed.Totals) (float64, error) {
	var judged pipeline.Judged
	for _, s := range t.Stages {
		judged = judged.Plus(s.Judged)
	}
	if judged.Frames > 0 {
		return judged.F1(), nil
	}
	var frames, sum float64
	for _, s := range t.Stages {
		task, ok := w.Task(s.Task)
		if !ok || task.Model == nil || s.Processed == 0 {
			continue
		}
		accuracy, err := accuracyOf(task.Model)
		if err != nil {
			return 0, err
		}
		frames += float64(s.Processed)
		sum += float64(s.Processed) * accuracy
	}
	if frames == 0 {
		return 0, nil
	}
	return sum / frames, nil
}

func accuracyOf(m *tiering.Model) (float64, error) {
	points := make([]quality.Point, 0, len(m.Measured))
	for _, p := range m.Measured {
		if p.Resolution == m.Resolution {
			return p.F1, nil
		}
		points = append(points, quality.Point{X: float64(p.Resolution), F1: p.F1})
	}
	curve, err := quality.Fit(points)
	if err != nil {
		return 0, fmt.Errorf("model %s: %w", m.Name, err)
	}
	return curve.At(float64(m.Resolution)), nil
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
	Delivered float64 `json:"delivered_fraction"` // of the frames asked for
}

// sameMakespan is by what fraction two makespans may differ and be the same.
const sameMakespan = 0.05

// SummarizeArms sets the arms against each other.
func SummarizeArms(arms []Arm, runs [][]ArmRun) *ArmsSummary {
	s := &ArmsSummary{Arms: []ArmSummary{}}
	by := map[string]*ArmSummary{}
	best := math.Inf(-1)
	for i := range arms {
		mean := func(of func(*ArmRun) float64) float64 { return armEstimate(runs[i], of).Mean }
		s.Arms = append(s.Arms, ArmSummary{
			Name: arms[i].Name, Kind: arms[i].Kind, Sources: len(arms[i].Scenario.Sources),
			Makespan: mean(func(r *ArmRun) float64 { return r.Makespan }), F1: mean(func(r *ArmRun) float64 { return r.F1 }),
			Utility: mean(func(r *ArmRun) float64 { return r.Utility }), Latency: mean(func(r *ArmRun) float64 { return 1000 * r.Latency }),
			Delivered: mean(func(r *ArmRun) float64 { return float64(r.Delivered) / r.Asked }),
		})
	}
	for i := range s.Arms {
		a := &s.Arms[i]
		by[a.Name] = a
		if a.Kind == ArmFixed && a.Utility > best {
			s.Best, best = a.Name, a.Utility
		}
	}
	if u := by[armUtility]; u != nil && best > 0 {
		s.Ratio = u.Utility / best
		s.MakespanReduction = 1 - u.Makespan/s.Arms[0].Makespan
	}
	if off, on := by[armSingle], by[armSingleAdapted]; off != nil && on != nil {
		s.SingleUnchanged = math.Abs(on.F1-off.F1) < 1e-9 && math.Abs(on.Makespan/off.Makespan-1) <= sameMakespan
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
