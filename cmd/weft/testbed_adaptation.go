package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/experiment"
)

// adaptationOptions are those of an experiment with arms.
type adaptationOptions struct {
	runOptions
	ground   groundOptions
	emulated bool
	atLeast  float64
	only     []string
}

// errAdaptation ends weft when adaptation chose worse than was asked for.
var errAdaptation = errors.New("adaptation falls short")

func testbedAdaptationCommand(env *environment) *cobra.Command {
	o := adaptationOptions{runOptions: runOptions{suffix: "-adaptation"}}
	c := &cobra.Command{
		Use: "adaptation SCENARIO", Short: "Run every distribution of qualities, and compare what adaptation chooses with the best", Args: exactly(1),
		Long: `Run the scenario in arms, one after the other: with every distribution of the
resolutions that its workflow offers over its sources, fixed; adapted by utility
and by the fastest (Algorithm 1); with the frame rate and the model as further
knobs, where the workflow has a use for them, also with half as many sources
again; and with one source alone, with and without adaptation. Then let sources
come until the accuracy asked for is out of reach, and divide the bandwidth of
their uplinks by ten for a while. Write table.md, raw.csv, plot.png and
summary.json, and floor and squeeze as .csv and .png.

The arms are simulated, or with --emulated run on emulated machines and links,
which needs root and takes each arm's time. --only runs some of them, and
compares what these allow. Exits with 1 if what adaptation by
utility comes to is less than --at-least of the best, a single source is
changed, another than the newest source is refused, or the squeezed link is not
followed within two periods.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, _, err := o.load(args[0])
			if err != nil {
				return err
			}
			arms, err := experiment.Arms(s)
			if err != nil {
				return err
			}
			trials, err := experiment.Trials(s)
			if err != nil {
				return err
			}
			if len(o.only) > 0 {
				if arms, trials, err = experiment.Only(arms, trials, o.only); err != nil {
					return wrongUsage("--only: %v", err)
				}
			}
			return o.run(cmd, env, args[0], arms, trials)
		},
	}
	o.flags(c)
	o.ground.flags(c)
	c.Flags().Lookup("repeat").DefValue = "3"
	o.repeat = 3
	c.Flags().BoolVar(&o.emulated, "emulated", false, "run the arms on emulated machines and links")
	c.Flags().StringArrayVar(&o.only, "only", nil, "name of an arm that is run (may be repeated; default: all)")
	c.Flags().Float64Var(&o.atLeast, "at-least", 0.95, "fraction of the best utility that adaptation must reach")
	return c
}

func (o *adaptationOptions) run(cmd *cobra.Command, env *environment, file string, arms, trials []experiment.Arm) error {
	show := newProgress(cmd.ErrOrStderr())
	defer show.end()
	method, one := testbed.Simulated, o.simulate
	if o.emulated {
		method, one = testbed.Emulated, o.emulate
	}
	done, start, all := 0, time.Now(), len(arms)+len(trials)
	each := func(ctx context.Context, a *experiment.Arm, run int) (*testbed.Recording, error) {
		show.step(fmt.Sprintf("%s  %d of %d  %s", method, done, all*o.repeat, a.Name))
		done++
		return one(ctx, a, run, show)
	}
	runs, err := experiment.RunArms(cmd.Context(), arms, o.repeat, each)
	if err != nil {
		return err
	}
	happened, err := experiment.RunTrials(cmd.Context(), trials, o.repeat, each)
	if err != nil {
		return err
	}
	show.end()
	show.say(fmt.Sprintf("%s, %s each, in %.1f s", count(all, "arm"), count(o.repeat, "run"), time.Since(start).Seconds()))
	s, err := experiment.WriteArms(o.out, experiment.About{
		ScenarioFile: file, Command: commandLine(), Version: version, Machine: experiment.DescribeMachine(cmd.Context()), Method: method,
	}, arms, runs, happened)
	if err != nil {
		return err
	}
	if err := env.print(cmd.OutOrStdout(), s, func(p *page) { showArms(p, s, o.out) }); err != nil {
		return err
	}
	var errs []error
	if s.Compared && s.Ratio < o.atLeast {
		errs = append(errs, fmt.Errorf("%w: it reaches %.3f of the utility of %s, less than %g", errAdaptation, s.Ratio, s.Best, o.atLeast))
	}
	if s.Single && !s.SingleUnchanged {
		errs = append(errs, fmt.Errorf("%w: a single source is not left alone", errAdaptation))
	}
	if f := s.Floor; f != nil && !f.NewestRefused {
		errs = append(errs, fmt.Errorf("%w: where the accuracy asked for is out of reach, it is not the newest source that is refused", errAdaptation))
	}
	if q := s.Squeeze; q != nil && !q.Within {
		errs = append(errs, fmt.Errorf("%w: it does not follow a squeezed link both ways within two periods", errAdaptation))
	}
	return errors.Join(errs...)
}

// simulate simulates one run of an arm, counted from 1.
func (o *adaptationOptions) simulate(ctx context.Context, a *experiment.Arm, run int, _ *progress) (*testbed.Recording, error) {
	return simulateArm(ctx, a, run)
}

// emulate runs an arm on emulated machines, counted from 1. Its tables and logs
// are in a folder of the arm's.
func (o *adaptationOptions) emulate(ctx context.Context, a *experiment.Arm, run int, show *progress) (*testbed.Recording, error) {
	rec, err := experiment.Create(filepath.Join(o.out, "arms", fmt.Sprintf("%s-%d", slug(a.Name), run)), nil)
	if err != nil {
		return nil, err
	}
	out, err := emulate(ctx, a.Scenario, run, o.ground, false, rec, show, o.ground.log(lineWriter{show}))
	return out, errors.Join(err, rec.Close())
}

// slug is a name that a folder can have.
func slug(name string) string {
	out := make([]rune, 0, len(name))
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			out = append(out, r)
		case r == '×':
			out = append(out, 'x')
		case len(out) > 0 && out[len(out)-1] != '-':
			out = append(out, '-')
		}
	}
	return string(out)
}

func showArms(p *page, s *experiment.ArmsSummary, dir string) {
	for _, a := range s.Arms {
		if a.Name == s.Best || a.Kind != experiment.ArmFixed || a.Name == s.Arms[0].Name {
			p.linef("%-27s makespan %8.1f s  F1 %.3f  utility %6.3f", a.Name, a.Makespan, a.F1, a.Utility)
		}
	}
	if s.Compared {
		p.linef("%-27s %s; adapted by utility: %.3f of its utility", "best", s.Best, s.Ratio)
	}
	if f := s.Floor; f != nil {
		p.linef("%-27s an F1 of %.4f is asked for: %.1f of %d sources are admitted, with an F1 of %.4f", "accuracy floor", f.MinAccuracy, f.Admitted, f.Sources, f.F1)
	}
	if q := s.Squeeze; q != nil {
		p.linef("%-27s F1 %.3f, then %.3f, then %.3f; followed: %s, and back: %s", "squeezed link", q.Before, q.Squeezed, q.After, periods(q.Down), periods(q.Up))
	}
	p.linef("%-27s %s", "report", filepath.Join(dir, "table.md"))
}

func periods(n *float64) string {
	if n == nil {
		return "never"
	}
	return fmt.Sprintf("after %.1f periods", *n)
}
