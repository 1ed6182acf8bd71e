package experiment

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/study"
	"github.com/weft-mesh/weft/tiering"
)

// StudyJob is one run of an experiment of a study.
type StudyJob struct {
	Run        *study.Run
	Experiment study.Experiment
	Arm        Arm
	Method     testbed.Method
	Number     int // from 1: which seed
}

// String names the job: "scaled E2, run 3".
func (j *StudyJob) String() string {
	return fmt.Sprintf("%s %s, run %d", j.Run.Name, j.Experiment.Name, j.Number)
}

// StudyJobs lists what there is to do of these runs by a method, with so many
// seeds: of each run that wants the method. What is compared with each other follows
// each other: a machine that emulates is not as fast now as in half an hour.
func StudyJobs(runs []study.Run, method testbed.Method, seeds int) ([]StudyJob, error) {
	var out []StudyJob
	for i := range runs {
		r := &runs[i]
		if !slices.Contains(r.Methods, method) {
			continue
		}
		variants, err := r.Variants()
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", r.Name, err)
		}
		for n := 1; n <= seeds; n++ {
			for _, v := range variants {
				a := Arm{Name: v.Experiment.Name, Kind: ArmAdapted, Rule: v.Experiment.Rule, Scenario: v.Scenario}
				switch {
				case len(v.Scenario.Sources) == 1:
					a.Kind = ArmSingle
				case a.Rule == tiering.AdaptOff:
					a.Kind = ArmFixed
				}
				out = append(out, StudyJob{Run: r, Experiment: v.Experiment, Arm: a, Method: method, Number: n})
			}
		}
	}
	return out, nil
}

// StudyOutcome is what the runs of an experiment by a method came to, in order
// of the seeds.
type StudyOutcome struct {
	Run        *study.Run
	Experiment study.Experiment
	Method     testbed.Method
	Arm        Arm
	// MinAccuracy is what the workflow asks for.
	MinAccuracy float64
	// Correction is that of the costs which a simulation took; nil: it took what its
	// scenario says.
	Correction *Correction
	Runs       []ArmRun
	// Least is the least F1 that the sources' qualities promised in each run,
	// at any moment of the measured time.
	Least []float64

	recs []*testbed.Recording
}

// RunStudy carries the jobs out, so many at once and begun in their order, with
// what does one of them. The first that fails ends the others; what was done by
// then is returned with the error.
func RunStudy(ctx context.Context, jobs []StudyJob, atOnce int, one func(context.Context, *StudyJob) (*testbed.Recording, error)) ([]StudyOutcome, error) {
	recs := make([]*testbed.Recording, len(jobs))
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(max(1, atOnce))
	for i := range jobs {
		g.Go(func() error {
			if err := running.Err(); err != nil {
				return err
			}
			rec, err := one(running, &jobs[i])
			if err != nil {
				return fmt.Errorf("%s: %w", &jobs[i], err)
			}
			recs[i] = rec
			return nil
		})
	}
	failed := g.Wait()
	var out []StudyOutcome
	for i := range jobs {
		j := &jobs[i]
		if recs[i] == nil {
			continue
		}
		n := slices.IndexFunc(out, func(o StudyOutcome) bool { return o.Run == j.Run && o.Arm.Scenario == j.Arm.Scenario })
		if n < 0 {
			w, err := j.Arm.Scenario.WorkflowSpec(nil)
			if err != nil {
				return nil, err
			}
			n = len(out)
			out = append(out, StudyOutcome{Run: j.Run, Experiment: j.Experiment, Method: j.Method, Arm: j.Arm, MinAccuracy: w.Objectives.MinAccuracy})
		}
		if err := out[n].add(recs[i]); err != nil {
			return nil, errors.Join(failed, fmt.Errorf("%s: %w", j, err))
		}
	}
	return out, failed
}

// add measures one run.
func (o *StudyOutcome) add(rec *testbed.Recording) error {
	r, err := o.Arm.Measure(rec)
	if err != nil {
		return err
	}
	least, err := o.Arm.leastPromised(rec)
	if err != nil {
		return err
	}
	o.Runs, o.Least, o.recs = append(o.Runs, r), append(o.Least, least), append(o.recs, rec)
	return nil
}

// leastPromised is the least F1 that the qualities promised at any sample of the
// measured time, of what is seen of the sources that take frames in.
func (a *Arm) leastPromised(rec *testbed.Recording) (float64, error) {
	w, err := a.Scenario.WorkflowSpec(nil)
	if err != nil {
		return 0, err
	}
	least := 1.0
	for i := range rec.Samples {
		if rec.Samples[i].At < 0 || len(rec.Samples[i].Qualities) == 0 {
			continue
		}
		m, err := mixOf(a.Scenario, w, &testbed.Recording{Samples: rec.Samples[i : i+1]})
		if err != nil {
			return 0, err
		}
		f1, err := m.promises(w)
		if err != nil {
			return 0, err
		}
		least = min(least, f1)
	}
	return least, nil
}

func (o *StudyOutcome) estimate(of func(*ArmRun) float64) Estimate { return armEstimate(o.Runs, of) }

// makespan is in seconds.
func (o *StudyOutcome) makespan() Estimate {
	return o.estimate(func(r *ArmRun) float64 { return r.Makespan })
}

// factor is the makespan in multiples of the time that was analysed.
func (o *StudyOutcome) factor() Estimate {
	d := o.Arm.Scenario.Measure.Duration.Seconds()
	return o.estimate(func(r *ArmRun) float64 { return r.Makespan / d })
}

func (o *StudyOutcome) f1() Estimate { return o.estimate(func(r *ArmRun) float64 { return r.F1 }) }

// find is the outcome of an experiment of a run by a method; nil: there is none.
func find(all []StudyOutcome, run, name string, method testbed.Method) *StudyOutcome {
	for i := range all {
		if o := &all[i]; o.Run.Name == run && o.Experiment.Name == name && o.Method == method {
			return o
		}
	}
	return nil
}
