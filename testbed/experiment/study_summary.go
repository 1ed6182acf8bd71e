package experiment

import (
	"fmt"
	"math"
	"slices"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/study"
	"github.com/weft-mesh/weft/tiering"
)

// StudySummary is summary.json of a study.
type StudySummary struct {
	Study       string            `json:"study"`
	Experiments []StudyExperiment `json:"experiments"`
	Targets     []StudyTarget     `json:"targets"`
	Missed      int               `json:"targets_missed"`
}

// StudyExperiment is the means of an experiment over its seeds. Intervals are half
// the width of the 95 % confidence interval of a mean; a single seed has none.
type StudyExperiment struct {
	Name     string         `json:"name"`
	Mode     testbed.Method `json:"mode"`
	Makespan float64        `json:"makespan_s_mean"`
	P95      float64        `json:"latency_ms_p95"`
	F1       float64        `json:"f1"`
	Frames   uint64         `json:"frames"` // delivered, in all seeds

	Run        string           `json:"run"`
	Sources    int              `json:"sources"`
	Seeds      int              `json:"seeds"`
	Duration   float64          `json:"duration_s"`
	MakespanCI *float64         `json:"makespan_s_ci95,omitempty"`
	Factor     float64          `json:"makespan_per_duration"`
	P50        float64          `json:"latency_ms_p50"`
	P99        float64          `json:"latency_ms_p99"`
	P95CI      *float64         `json:"latency_ms_p95_ci95,omitempty"`
	F1CI       *float64         `json:"f1_ci95,omitempty"`
	LeastF1    float64          `json:"f1_least_promised"`
	Shown      float64          `json:"shown_fraction"` // of the frames asked for, those included that delivered ones stand for
	Utility    float64          `json:"utility"`
	Correction *Correction      `json:"costs_corrected,omitempty"` // of those that a simulation took
	Published  *study.Published `json:"-"`
}

// StudyTarget is whether one thing was reached.
type StudyTarget struct {
	Run        string         `json:"run"`
	Mode       testbed.Method `json:"mode,omitempty"` // empty: of both
	Experiment string         `json:"experiment"`
	Against    string         `json:"against,omitempty"`
	Figure     TargetFigure   `json:"figure"`
	Want       float64        `json:"want"`
	Aim        *float64       `json:"aim,omitempty"`
	Got        float64        `json:"got"`
	Met        bool           `json:"met"`
	AimMet     *bool          `json:"aim_met,omitempty"`
}

// TargetFigure is what a target is about.
type TargetFigure string

// The figures. Want and Got are: the change of the makespan as a share, which is
// to be at most that; the change of F1, which is to be at least that; the least
// F1 that was promised at any moment; by which share simulated and emulated
// makespans differ.
const (
	TargetMakespan  TargetFigure = "makespan"
	TargetF1        TargetFigure = "f1"
	TargetFloor     TargetFigure = "accuracy floor"
	TargetAgreement TargetFigure = "simulated and emulated"
)

// String says a target and what became of it, for people.
func (t *StudyTarget) String() string {
	where := t.Run
	if t.Mode != "" {
		where += ", " + string(t.Mode)
	}
	return fmt.Sprintf("%s: %s", where, t.words())
}

func (t *StudyTarget) words() string {
	switch t.Figure {
	case TargetMakespan:
		return fmt.Sprintf("makespan of %s against %s %s, at most %s is wanted", t.Experiment, t.Against, percent(t.Got), percent(t.Want))
	case TargetF1:
		return fmt.Sprintf("F1 of %s against %s %s, at least %s is wanted", t.Experiment, t.Against, signed(t.Got, 4), signed(t.Want, 4))
	case TargetFloor:
		return fmt.Sprintf("F1 of %s never below %s, at least %s is wanted", t.Experiment, decimal(t.Got, 4), decimal(t.Want, 4))
	}
	return fmt.Sprintf("simulated makespan of %s against emulated %s, within %s is wanted", t.Experiment, percent(t.Got), decimal(100*t.Want, 1)+" %")
}

// percent is a change for people: "−54.4 %".
func percent(x float64) string { return signed(100*x, 1) + " %" }

func signed(x float64, digits int) string {
	switch r := round(x, digits); {
	case r < 0:
		return "−" + decimal(-r, digits)
	case r > 0:
		return "+" + decimal(r, digits)
	}
	return "±0"
}

// SummarizeStudy says what came out, and which targets were met.
func SummarizeStudy(s *study.Study, all []StudyOutcome) *StudySummary {
	out := &StudySummary{Study: s.Name, Experiments: []StudyExperiment{}, Targets: []StudyTarget{}}
	for i := range all {
		o := &all[i]
		mean := func(of func(*ArmRun) float64) float64 { return o.estimate(of).Mean }
		p95 := o.estimate(func(r *ArmRun) float64 { return 1000 * r.P95 })
		e := StudyExperiment{
			Name: o.Experiment.Name, Mode: o.Method, Run: o.Run.Name, Sources: len(o.Arm.Scenario.Sources), Seeds: len(o.Runs),
			Duration: o.Arm.Scenario.Measure.Duration.Seconds(), Makespan: o.makespan().Mean, MakespanCI: o.makespan().CI95, Factor: o.factor().Mean,
			P50: mean(func(r *ArmRun) float64 { return 1000 * r.P50 }), P95: p95.Mean, P95CI: p95.CI95, P99: mean(func(r *ArmRun) float64 { return 1000 * r.P99 }),
			F1: o.f1().Mean, F1CI: o.f1().CI95, LeastF1: slices.Min(o.Least), Shown: mean((*ArmRun).shown),
			Utility: mean(func(r *ArmRun) float64 { return r.Utility }), Correction: o.Correction, Published: o.Experiment.Published,
		}
		for _, r := range o.Runs {
			e.Frames += r.Delivered
		}
		out.Experiments = append(out.Experiments, e)
	}
	for i := range s.Runs {
		for _, m := range []testbed.Method{testbed.Simulated, testbed.Emulated} {
			for _, t := range s.Targets {
				if t.Runs != nil && !slices.Contains(t.Runs, s.Runs[i].Name) {
					continue
				}
				out.Targets = append(out.Targets, targetsOf(&t, find(all, s.Runs[i].Name, t.Experiment, m), find(all, s.Runs[i].Name, t.Against, m))...)
			}
			for _, e := range s.Experiments {
				if o := find(all, s.Runs[i].Name, e.Name, m); o != nil && e.Rule != tiering.AdaptOff {
					least := slices.Min(o.Least)
					out.Targets = append(out.Targets, StudyTarget{
						Run: o.Run.Name, Mode: m, Experiment: e.Name, Figure: TargetFloor, Want: o.MinAccuracy, Got: least, Met: least >= o.MinAccuracy,
					})
				}
			}
		}
		for _, e := range s.Experiments {
			a, b := find(all, s.Runs[i].Name, e.Name, testbed.Simulated), find(all, s.Runs[i].Name, e.Name, testbed.Emulated)
			if a == nil || b == nil {
				continue
			}
			got := a.makespan().Mean/b.makespan().Mean - 1
			out.Targets = append(out.Targets, StudyTarget{
				Run: s.Runs[i].Name, Experiment: e.Name, Figure: TargetAgreement, Want: s.Agreement, Got: got, Met: math.Abs(got) <= s.Agreement,
			})
		}
	}
	for _, t := range out.Targets {
		if !t.Met {
			out.Missed++
		}
	}
	return out
}

// targetsOf is what became of a target where both its experiments were run.
func targetsOf(t *study.Target, o, against *StudyOutcome) []StudyTarget {
	if o == nil || against == nil {
		return nil
	}
	var out []StudyTarget
	x := StudyTarget{Run: o.Run.Name, Mode: o.Method, Experiment: t.Experiment, Against: t.Against}
	if t.Makespan != nil {
		x.Figure, x.Want, x.Aim = TargetMakespan, *t.Makespan, t.AimMakespan
		a, b := o.makespan(), against.makespan()
		x.Got = a.Mean/b.Mean - 1
		x.Met = x.Got <= x.Want
		if same := overlap(a, b); x.Want >= 0 && same != nil && *same { // it is no worse, as far as can be told
			x.Met = true
		}
		if x.Aim != nil {
			met := x.Got <= *x.Aim
			x.AimMet = &met
		}
		out = append(out, x)
	}
	if t.F1 != nil {
		x.Figure, x.Want, x.Aim, x.AimMet = TargetF1, *t.F1, t.AimF1, nil
		x.Got = o.f1().Mean - against.f1().Mean
		x.Met = x.Got >= x.Want
		if x.Aim != nil {
			met := x.Got >= *x.Aim
			x.AimMet = &met
		}
		out = append(out, x)
	}
	return out
}
