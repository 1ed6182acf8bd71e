package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/experiment"
	"github.com/weft-mesh/weft/testbed/sim"
	"github.com/weft-mesh/weft/testbed/study"
)

// studyOptions say what of a study is done.
type studyOptions struct {
	ground   groundOptions
	out      string
	repeat   int
	only     []string
	emulated bool
}

// errStudy ends weft when what was to be reached was not.
var errStudy = errors.New("the study falls short")

func testbedStudyCommand(env *environment) *cobra.Command {
	var o studyOptions
	c := &cobra.Command{
		Use: "study FILE", Short: "Run a paper's experiments, and set what comes out beside what was published", Args: exactly(1),
		Long: `Run the experiments of a study on each of its scenarios, with several seeds, and
write report.md, summary.json, raw.csv and figures/. Simulations run side by side,
as many as there are cores.

With --emulated, what the study wants emulated is run on emulated machines and
links first, one after the other, which needs root. Before it is measured what the
software costs there, and the same scenario is simulated with that.

Exits with 1 if something that was to be reached is missed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := study.Load(args[0])
			if err != nil {
				return err
			}
			return o.run(cmd, env, args[0], s)
		},
	}
	f := c.Flags()
	f.StringVar(&o.out, "out", "", "folder for the results (default: one with the study's name, under results/)")
	f.IntVar(&o.repeat, "repeat", 0, "seeds of each experiment (default: the study's)")
	f.StringSliceVar(&o.only, "only", nil, "names of the runs that are carried out (default: all)")
	f.BoolVar(&o.emulated, "emulated", false, "also run on emulated machines and links what the study wants emulated")
	o.ground.flags(c)
	return c
}

func (o *studyOptions) run(cmd *cobra.Command, env *environment, file string, s *study.Study) error {
	runs, err := o.runs(s)
	if err != nil {
		return err
	}
	if o.out == "" {
		o.out = filepath.Join("results", s.Name)
	}
	if err := experiment.CheckStudyFolder(o.out); err != nil {
		return err
	}
	show := newProgress(cmd.ErrOrStderr())
	defer show.end()
	start := time.Now()
	known := map[string]*measured{} // by run
	var (
		all    []experiment.StudyOutcome
		failed error // of what was emulated; the rest is still worth a report
	)
	if o.emulated {
		jobs, err := experiment.StudyJobs(runs, testbed.Emulated, o.repeat)
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			return wrongUsage("--emulated: %s wants none of these runs emulated", file)
		}
		done := 0
		all, failed = experiment.RunStudy(cmd.Context(), jobs, 1, func(ctx context.Context, j *experiment.StudyJob) (*testbed.Recording, error) {
			done++
			show.say(fmt.Sprintf("emulated  %d of %d  %s  %.0f s so far", done, len(jobs), j, time.Since(start).Seconds()))
			return o.emulate(ctx, j, known, show)
		})
		if cmd.Context().Err() != nil {
			return failed
		}
		if err := o.correct(known, all, show); err != nil {
			return errors.Join(failed, err)
		}
	}
	jobs, err := experiment.StudyJobs(runs, testbed.Simulated, o.repeat)
	if err != nil {
		return err
	}
	simulated, err := o.simulate(cmd.Context(), jobs, known, show)
	if err != nil {
		if failed = errors.Join(failed, err); len(all) == 0 {
			return failed
		}
	}
	for i := range simulated {
		if m := known[simulated[i].Run.Name]; m != nil {
			simulated[i].Correction = &m.fix
		}
	}
	show.end()
	show.say(fmt.Sprintf("%s in %.0f s", count(len(simulated)+len(all), "experiment"), time.Since(start).Seconds()))
	sum, err := experiment.WriteStudy(o.out, experiment.About{
		ScenarioFile: file, Command: commandLine(), Version: version, Machine: experiment.DescribeMachine(cmd.Context()),
	}, s, append(all, simulated...))
	if err != nil {
		return errors.Join(failed, err)
	}
	if err := env.print(cmd.OutOrStdout(), sum, func(p *page) { showStudy(p, sum, o.out) }); err != nil {
		return err
	}
	errs := []error{failed}
	for i := range sum.Targets {
		if t := &sum.Targets[i]; !t.Met {
			errs = append(errs, fmt.Errorf("%w: %s", errStudy, t))
		}
	}
	return errors.Join(errs...)
}

// runs are those of the study that are to be carried out.
func (o *studyOptions) runs(s *study.Study) ([]study.Run, error) {
	switch {
	case o.repeat < 0:
		return nil, wrongUsage("--repeat must be at least 1")
	case o.repeat == 0:
		o.repeat = s.Repeat
	}
	var known []string
	for i := range s.Runs {
		known = append(known, s.Runs[i].Name)
	}
	for _, name := range o.only {
		if !slices.Contains(known, name) {
			return nil, wrongUsage("--only %s: there is no such run; there are %s", name, strings.Join(known, ", "))
		}
	}
	if len(o.only) == 0 {
		return s.Runs, nil
	}
	return slices.DeleteFunc(slices.Clone(s.Runs), func(r study.Run) bool { return !slices.Contains(o.only, r.Name) }), nil
}

// measured is what was measured of a run: its links and the software's costs before
// the first emulation, and by all of them how those costs are to be corrected.
type measured struct {
	links []testbed.LinkCheck
	costs testbed.Costs
	fix   experiment.Correction
}

// correct corrects the measured costs by what the emulated runs say about them.
func (o *studyOptions) correct(known map[string]*measured, emulated []experiment.StudyOutcome, show *progress) (err error) {
	for run, m := range known {
		if m.fix, err = experiment.Correct(m.costs, run, emulated); err != nil {
			return err
		}
		m.costs = m.fix.Apply(m.costs)
		if err := experiment.WriteCosts(experiment.StudyCosts(o.out, run), m.costs); err != nil {
			return err
		}
		show.say(run + ": " + m.fix.String())
	}
	return nil
}

// simulate carries the jobs out on all cores, with the costs that were measured
// of a run, or else those that its scenario gives.
func (o *studyOptions) simulate(ctx context.Context, jobs []experiment.StudyJob, known map[string]*measured, show *progress) ([]experiment.StudyOutcome, error) {
	var mu sync.Mutex
	done := 0
	return experiment.RunStudy(ctx, jobs, runtime.GOMAXPROCS(0), func(ctx context.Context, j *experiment.StudyJob) (*testbed.Recording, error) {
		sc := *j.Arm.Scenario
		if m := known[j.Run.Name]; m != nil {
			sc.Costs = m.costs
		}
		rec, err := sim.Run(ctx, sim.Config{Scenario: &sc, Costs: sc.Costs, Seed: sc.Seed + uint64(j.Number) - 1, CPUScale: sc.CPUScale})
		if err != nil {
			return nil, err
		}
		rec.Run = j.Number
		mu.Lock()
		defer mu.Unlock()
		done++
		show.step(fmt.Sprintf("simulated %d of %d  %s", done, len(jobs), j))
		return rec, nil
	})
}

// emulate runs a job on emulated machines; its tables and logs are in a folder of
// its own. Before the first of a run it is measured whether the links are as asked,
// and what the software costs.
func (o *studyOptions) emulate(ctx context.Context, j *experiment.StudyJob, known map[string]*measured, show *progress) (*testbed.Recording, error) {
	dir := experiment.StudyFolder(o.out, j)
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return nil, err
	}
	rec, err := experiment.Create(dir, nil)
	if err != nil {
		return nil, err
	}
	sc, ground, before := *j.Arm.Scenario, o.ground, known[j.Run.Name]
	if before == nil {
		sc.Costs = testbed.Costs{}
	} else {
		ground.linked = before.links
	}
	out, err := emulate(ctx, &sc, j.Number, ground, before == nil, rec, show, o.ground.log(lineWriter{show}))
	if err == nil && before == nil {
		known[j.Run.Name] = &measured{links: out.Links, costs: out.Costs}
		err = rec.Costs(out.Costs)
	}
	return out, errors.Join(err, rec.Close())
}

func showStudy(p *page, s *experiment.StudySummary, dir string) {
	var rows [][]string
	for _, e := range s.Experiments {
		rows = append(rows, []string{
			e.Run, e.Name, string(e.Mode), fmt.Sprintf("%.0f s", e.Makespan), fmt.Sprintf("%.2f", e.Factor), fmt.Sprintf("%.1f", 100*e.Shown), fmt.Sprintf("%.0f", e.P95), fmt.Sprintf("%.4f", e.F1),
		})
	}
	p.table("RUN|EXPERIMENT|MODE|>MAKESPAN|>MULTIPLE|>SHOWN %|>P95 MS|>F1", rows)
	p.linef("")
	for i := range s.Targets {
		t := &s.Targets[i]
		p.linef("%-6s  %s", map[bool]string{true: "met", false: "MISSED"}[t.Met], t)
	}
	p.linef("")
	p.linef("report  %s", filepath.Join(dir, "report.md"))
}
