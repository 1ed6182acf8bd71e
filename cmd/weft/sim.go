package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/experiment"
	"github.com/weft-mesh/weft/testbed/sim"
)

func simCommand(env *environment) *cobra.Command {
	return group("sim", "Simulate an experiment in virtual time", simRunCommand(env))
}

// runOptions are what a run of a scenario is told beyond the scenario.
type runOptions struct {
	out    string
	repeat int
	seed   uint64
	scale  float64
	times  float64
	costs  string
	suffix string // of the folder, where none is named
}

func (o *runOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.out, "out", "", "folder for the results (default: one with the scenario's name, under results/)")
	f.IntVar(&o.repeat, "repeat", 1, "runs, each with the next seed; the report then has means and 95 % confidence")
	f.Uint64Var(&o.seed, "seed", 0, "seed of the first run (default: the scenario's)")
	f.Float64Var(&o.scale, "cpu-scale", 0, "every node's CPU quota is its cores times this, and the scenario's overhead (default: the scenario's)")
	f.Float64Var(&o.times, "load", 1, "every source's frame rate is what the scenario says times this")
	f.StringVar(&o.costs, "costs", "", "costs of the software, as a testbed's run leaves them in costs.yaml")
}

// load reads the scenario and makes it what the options say.
func (o *runOptions) load(file string) (*testbed.Scenario, []byte, error) {
	if o.repeat < 1 {
		return nil, nil, wrongUsage("--repeat must be at least 1")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	s, err := testbed.Parse(file, text, os.ReadFile)
	if err != nil {
		return nil, nil, err
	}
	if o.scale != 0 {
		if o.scale < 0 || o.scale > 1 {
			return nil, nil, wrongUsage("--cpu-scale must be above 0 and at most 1")
		}
		s.CPUScale = o.scale
	}
	if !(o.times > 0) {
		return nil, nil, wrongUsage("--load must be above 0")
	}
	for _, sources := range [][]testbed.Source{s.Sources, s.Reserve} {
		for i := range sources {
			sources[i].FPS *= o.times
		}
	}
	if o.seed != 0 {
		s.Seed = o.seed
	}
	if o.out == "" {
		o.out = filepath.Join("results", s.Name+o.suffix)
	}
	if o.costs != "" {
		own, err := experiment.ReadCosts(o.costs)
		if err != nil {
			return nil, nil, err
		}
		s.Costs = own.Or(s.Costs)
	}
	return s, text, nil
}

func simRunCommand(env *environment) *cobra.Command {
	o := runOptions{suffix: "-sim"}
	c := &cobra.Command{
		Use: "run SCENARIO", Short: "Simulate a scenario and write a result folder", Args: exactly(1),
		Long: `Carry out a scenario in virtual time: the coordinator's own decisions on
simulated machines, links and frames. The same seed gives the same results.

How long the software takes for a frame has to be known: from "costs" in the
scenario, or from the costs.yaml that a testbed's run has left (--costs).`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, text, err := o.load(args[0])
			if err != nil {
				return err
			}
			show := newProgress(cmd.ErrOrStderr())
			res := &experiment.Result{
				Scenario: s, ScenarioFile: args[0], ScenarioText: text, Version: version, CPUScale: s.CPUScale,
				Machine: experiment.DescribeMachine(cmd.Context()), Command: commandLine(),
			}
			// The folder is made after the first run, so that a scenario that
			// cannot be simulated costs no earlier results.
			var rec *experiment.Recorder
			for run := 1; run <= o.repeat; run++ {
				one, err := simulate(cmd.Context(), s, run, show)
				if err != nil && rec == nil {
					return err
				} else if err != nil {
					return errors.Join(err, finish(cmd, env, rec, res))
				}
				if rec == nil {
					if rec, err = experiment.Create(o.out, text); err != nil {
						return err
					}
				}
				res.Recordings = append(res.Recordings, *one)
			}
			return finish(cmd, env, rec, res)
		},
	}
	o.flags(c)
	return c
}

// simulate simulates one run, counted from 1, and shows how far it is.
func simulate(ctx context.Context, s *testbed.Scenario, run int, show *progress) (*testbed.Recording, error) {
	defer show.end()
	seed := s.Seed + uint64(run) - 1
	start := time.Now()
	rec, err := sim.Run(ctx, sim.Config{
		Scenario: s, Costs: s.Costs, Seed: seed, CPUScale: s.CPUScale,
		Progress: func(at, total time.Duration) {
			show.step(fmt.Sprintf("simulated %d  %4.0f of %.0f s", run, at.Seconds(), total.Seconds()))
		},
	})
	if err != nil {
		return nil, err
	}
	rec.Run = run
	show.say(fmt.Sprintf("simulated %d  seed %d  %d events in %.1f s  %.1f frames/s delivered  p50 %s  p95 %s", run, seed, rec.Simulated,
		time.Since(start).Seconds(), rec.Totals.Throughput, ms(millisOf(rec.Totals.Latency.Quantile(0.5))), ms(millisOf(rec.Totals.Latency.Quantile(0.95)))))
	return rec, nil
}

func millisOf(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
