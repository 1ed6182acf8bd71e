package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/experiment"
	"github.com/weft-mesh/weft/testbed/sim"
)

// errSweeps ends weft when ours comes to less than was asked for.
var errSweeps = errors.New("another arm is better")

// sweepOptions are those of sweeps over a scenario.
type sweepOptions struct {
	runOptions
	atLeast float64
	only    []string
	values  string
	optimum string
}

func testbedSweepsCommand(env *environment) *cobra.Command {
	o := sweepOptions{runOptions: runOptions{suffix: "-sweeps"}}
	c := &cobra.Command{
		Use: "sweeps SCENARIO", Short: "Simulate a scenario over a parameter, and compare ours with other placements and qualities", Args: exactly(1),
		Long: `Simulate the scenario at each value of a parameter: the number of sources, the
rate of the links between fog and cloud and between edge and fog, the accuracy
asked for, Θ. At each, run in arms: placed and adapted by this software with all
knobs of the workflow; with fewer; with fixed qualities; and placed on the cloud,
the fog or the edge only, at random, and greedily where latency is least, with
the best quality and adapted alike. Then draw where adaptation pays, over the
number of sources and a link's rate, and with --optimum hold ours against every
placement and distribution of a small scenario.

Write sweeps.md, sweeps.json, raw.csv and plots. Exits with 1 if ours comes to
less than --at-least of the utility of the best arm anywhere.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, _, err := o.load(args[0])
			if err != nil {
				return err
			}
			return o.run(cmd, env, args[0], s)
		},
	}
	o.flags(c)
	c.Flags().Lookup("repeat").DefValue = "3"
	o.repeat = 3
	c.Flags().Float64Var(&o.atLeast, "at-least", 0.95, "fraction of the best arm's utility that ours must reach at every point")
	c.Flags().StringSliceVar(&o.only, "only", nil, "parameters to sweep over, and map (default: all)")
	c.Flags().StringVar(&o.values, "values", "", "values of the one parameter that --only names: 1,5,20")
	c.Flags().StringVar(&o.optimum, "optimum", "", "a small scenario of which every placement and distribution is tried")
	return c
}

// sweeps are those that were asked for.
func (o *sweepOptions) sweeps() (sweeps []experiment.Sweep, drawMap bool, err error) {
	all := experiment.Sweeps()
	if o.values != "" {
		if len(o.only) != 1 {
			return nil, false, wrongUsage("--values needs --only with one parameter")
		}
		one := experiment.Sweep{Parameter: experiment.Parameter(o.only[0])}
		for _, word := range strings.Split(o.values, ",") {
			v, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, false, wrongUsage("--values: %q is no number", word)
			}
			one.Values = append(one.Values, v)
		}
		return []experiment.Sweep{one}, false, nil
	}
	if len(o.only) == 0 {
		return all, true, nil
	}
	for _, name := range o.only {
		i := slices.IndexFunc(all, func(s experiment.Sweep) bool { return string(s.Parameter) == name })
		switch {
		case i >= 0:
			sweeps = append(sweeps, all[i])
		case name == "map":
			drawMap = true
		case name == "optimum" && o.optimum == "":
			return nil, false, wrongUsage("--only optimum needs a small scenario: --optimum FILE")
		case name != "optimum":
			return nil, false, wrongUsage("--only: there is no sweep %q; use sources, fog-cloud, edge-fog, minAccuracy, theta, map or optimum", name)
		}
	}
	return sweeps, drawMap, nil
}

// optimumCases are the small cases, of the scenario of --optimum.
var optimumCases = []experiment.Sweep{
	{Parameter: experiment.SweepSources, Values: []float64{1, 3, 5}},
	{Parameter: experiment.SweepFogCloud, Values: []float64{1}},
	{Parameter: experiment.SweepEdgeFog, Values: []float64{2}},
}

func (o *sweepOptions) run(cmd *cobra.Command, env *environment, file string, s *testbed.Scenario) error {
	sweeps, drawMap, err := o.sweeps()
	if err != nil {
		return err
	}
	var points []*experiment.SweepPoint
	var runs []*experiment.SweepRuns
	for _, sweep := range sweeps {
		r, err := experiment.NewSweep(s, sweep)
		if err != nil {
			return err
		}
		for i := range r.Points {
			points = append(points, &r.Points[i])
		}
		runs = append(runs, r)
	}
	var m *experiment.MapRuns
	if drawMap {
		if m, err = experiment.NewMap(s, experiment.SweepFogCloud, []float64{1, 2, 4, 6, 8, 12, 16, 24, 32, 40}, []float64{1, 3, 10, 30, 100, 10000}); err != nil {
			return err
		}
		for i := range m.Points {
			for k := range m.Points[i] {
				points = append(points, &m.Points[i][k])
			}
		}
	}
	small, cases, err := o.smallCases()
	if err != nil {
		return err
	}
	show, start := newProgress(cmd.ErrOrStderr()), time.Now()
	defer show.end()
	if err := o.simulateAll(cmd.Context(), points, o.repeat, show); err != nil {
		return err
	}
	if err := o.simulateAll(cmd.Context(), cases, 1, show); err != nil {
		return err
	}
	for i, parameter := 0, 0; small != nil && parameter < len(optimumCases); parameter++ {
		for range optimumCases[parameter].Values {
			small.Cases = append(small.Cases, experiment.OptimumOf(optimumCases[parameter].Parameter, cases[i]))
			i++
		}
	}
	show.end()
	show.say(fmt.Sprintf("%s in %.1f s", count(len(points)+len(cases), "point"), time.Since(start).Seconds()))
	sum, err := experiment.WriteSweeps(o.out, experiment.About{
		ScenarioFile: file, Command: commandLine(), Version: version, Machine: experiment.DescribeMachine(cmd.Context()), Method: testbed.Simulated,
	}, s.Name, runs, m, small)
	if err != nil {
		return err
	}
	if err := env.print(cmd.OutOrStdout(), sum, func(p *page) { showSweeps(p, sum, o.out) }); err != nil {
		return err
	}
	return o.judge(sum)
}

func (o *sweepOptions) smallCases() (*experiment.Optimum, []*experiment.SweepPoint, error) {
	if o.optimum == "" || len(o.only) > 0 && !slices.Contains(o.only, "optimum") {
		return nil, nil, nil
	}
	s, err := testbed.Load(o.optimum)
	if err != nil {
		return nil, nil, err
	}
	var out []*experiment.SweepPoint
	for _, c := range optimumCases {
		for _, v := range c.Values {
			at, err := c.Parameter.Apply(s, v)
			if err != nil {
				return nil, nil, err
			}
			p, err := experiment.NewOptimum(at, v)
			if err != nil {
				return nil, nil, err
			}
			out = append(out, p)
		}
	}
	return &experiment.Optimum{Scenario: s.Name}, out, nil
}

func (o *sweepOptions) simulateAll(ctx context.Context, points []*experiment.SweepPoint, seeds int, show *progress) error {
	all, done := 0, 0
	for _, p := range points {
		all += len(p.Arms) * seeds
	}
	return experiment.RunPoints(ctx, points, seeds, simulateArm, func() {
		done++
		show.step(fmt.Sprintf("simulated  %d of %d runs", done, all))
	})
}

// simulateArm simulates one run of an arm, counted from 1.
func simulateArm(ctx context.Context, a *experiment.Arm, run int) (*testbed.Recording, error) {
	s := a.Scenario
	cfg := sim.Config{Scenario: s, Costs: s.Costs, Seed: s.Seed + uint64(run) - 1, CPUScale: s.CPUScale}
	if a.Placer != nil {
		cfg.Placer = a.Placer(cfg.Seed)
	}
	rec, err := sim.Run(ctx, cfg)
	if err == nil {
		rec.Run = run
	}
	return rec, err
}

// judge is an error of every point at which ours falls short.
func (o *sweepOptions) judge(s *experiment.SweepsSummary) error {
	var errs []error
	for _, sweep := range s.Sweeps {
		for _, p := range sweep.Points {
			if p.Ratio < o.atLeast {
				errs = append(errs, fmt.Errorf("%w: %s at %g: %s; ours comes to %.3f of its utility, less than %g", errSweeps, sweep.Parameter, p.Value, p.Best, p.Ratio, o.atLeast))
			}
		}
	}
	if s.Optimum != nil {
		for _, c := range s.Optimum.Cases {
			if c.Ratio < o.atLeast {
				errs = append(errs, fmt.Errorf("%w: of the small case with %s at %g, %s; ours comes to %.3f of its utility, less than %g", errSweeps, c.Parameter, c.Value, c.Best, c.Ratio, o.atLeast))
			}
		}
	}
	return errors.Join(errs...)
}

func showSweeps(p *page, s *experiment.SweepsSummary, dir string) {
	var rows [][]string
	for _, sweep := range s.Sweeps {
		for _, at := range sweep.Points {
			rows = append(rows, []string{string(sweep.Parameter), fmt.Sprintf("%g", at.Value), at.Best, fmt.Sprintf("%.3f", at.Ratio)})
		}
	}
	if s.Optimum != nil {
		for _, c := range s.Optimum.Cases {
			rows = append(rows, []string{"optimum, " + string(c.Parameter), fmt.Sprintf("%g", c.Value), c.Best, fmt.Sprintf("%.3f", c.Ratio)})
		}
	}
	p.table("SWEEP|>VALUE|BEST ARM|>OURS/BEST", rows)
	p.linef("")
	if s.Worst != nil {
		p.linef("least      %s", s.WorstText())
	}
	p.linef("report     %s", filepath.Join(dir, "sweeps.md"))
}
