package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/chaos"
	"github.com/weft-mesh/weft/testbed/emulation"
	"github.com/weft-mesh/weft/testbed/experiment"
	"github.com/weft-mesh/weft/testbed/experiment/live"
)

// chaosDisk is the disk of a node's data: Raft's log takes segments of 8 MiB.
const chaosDisk = 64 << 20

// manyRounds are more than any soak test carries out.
const manyRounds = 100_000

type chaosOptions struct {
	groundOptions
	rounds    int
	seed      uint64
	soak      time.Duration
	only      []string
	out       string
	keepGoing bool
	print     bool
	gap       time.Duration
}

func (o *chaosOptions) flags(c *cobra.Command) {
	o.groundOptions.flags(c)
	f := c.Flags()
	f.IntVar(&o.rounds, "rounds", 10, "how many rounds of faults")
	f.Uint64Var(&o.seed, "seed", 1, "of the faults: the same seed draws the same")
	f.DurationVar(&o.soak, "for", 0, "soak test: rounds until so much time is over, with what every weftd uses sampled beside them")
	f.StringSliceVar(&o.only, "only", nil, "draw these faults only")
	complete(c, "only", kindNames()...)
	f.StringVar(&o.out, "out", "chaos", "directory for the report and the records; what is in it of an earlier run is replaced")
	f.BoolVar(&o.keepGoing, "keep-going", false, "go on after a round that failed")
	f.DurationVar(&o.gap, "gap", chaos.GapWithin, "longest time without a frame of a camera where coordinators alone are hurt")
	f.BoolVar(&o.print, "print", false, "show the faults and do nothing")
}

func kindNames() []string {
	var out []string
	for _, k := range chaos.Kinds() {
		out = append(out, string(k))
	}
	return out
}

// plan draws the rounds, and those of a soak test's second half.
func (o *chaosOptions) plan(s *testbed.Scenario) (rounds, calm []chaos.Round, err error) {
	var only []chaos.Kind
	for _, k := range o.only {
		if !slices.Contains(kindNames(), k) {
			return nil, nil, wrongUsage("--only %s: there is no such fault; use %s", k, strings.Join(kindNames(), ", "))
		}
		only = append(only, chaos.Kind(k))
	}
	number := o.rounds
	switch {
	case number < 1:
		return nil, nil, wrongUsage("--rounds must be 1 or more")
	case o.gap <= 0:
		return nil, nil, wrongUsage("--gap must be above 0")
	case o.soak < 0:
		return nil, nil, wrongUsage("--for must not be negative")
	case o.soak > 0:
		number = manyRounds
	}
	p, err := chaos.NewPlant(s)
	if err != nil {
		return nil, nil, err
	}
	rounds = chaos.Plan(o.seed, number, p, only...)
	kinds := slices.DeleteFunc(chaos.CalmKinds(), func(k chaos.Kind) bool { return len(only) > 0 && !slices.Contains(only, k) })
	if o.soak > 0 && len(kinds) > 0 {
		calm = chaos.Plan(o.seed, number, p, kinds...)
	}
	return rounds, calm, nil
}

func testbedChaosCommand(env *environment) *cobra.Command {
	var o chaosOptions
	c := &cobra.Command{
		Use: "chaos SCENARIO", Short: "Break a mesh on an emulated continuum, round after round, and check what must hold", Args: exactly(1),
		Long: `Bring the scenario's continuum up and run its workflow. Then, in each round,
carry out a fault that is drawn from the seed, or two at once: a node, the
leader or all coordinators are killed, networks part, links lose packets, a
clock jumps by an hour, a machine stands still, a disk is full. Watch every node
and every coordinator by itself, wait until all is well again, and check that no
workflow was lost, no task ran twice, and every frame is accounted for.

With --for, rounds go on for so long, and memory, goroutines and file descriptors
of every weftd are sampled beside them. In the second half no weftd is started
again, so that what one gathers over an hour shows; what grows fails the test.

Writes report.md, summary.json, plots, what was seen of every round
(rounds/NNN.jsonl) and the nodes' logs. Exits with 1 if an invariant did not
hold. It needs root, and for faults of clocks a weftd that is built by
scripts/chaos-weftd: ` + "`make chaos`" + ` does all of it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := testbed.Load(args[0])
			if err != nil {
				return err
			}
			rounds, calm, err := o.plan(s)
			if err != nil {
				return err
			}
			if o.print {
				if o.soak > 0 {
					return wrongUsage("--print shows --rounds, and --for has no number of them: choose one")
				}
				return env.print(cmd.OutOrStdout(), rounds, func(p *page) {
					for _, r := range rounds {
						p.linef("%s", r)
					}
				})
			}
			return o.run(cmd, env, s, rounds, calm)
		},
	}
	o.flags(c)
	return c
}

// run brings the continuum up, breaks it, and takes it down.
func (o *chaosOptions) run(cmd *cobra.Command, env *environment, s *testbed.Scenario, rounds, calm []chaos.Round) (err error) {
	show := newProgress(cmd.ErrOrStderr())
	defer show.end()
	log := o.log(lineWriter{show})
	dir, err := os.MkdirTemp("", "weft-chaos-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o.disk = chaosDisk
	b, err := o.newBed(s, filepath.Join(dir, "bed"), show, log)
	if err != nil {
		return err
	}
	if err := chaos.Clear(o.out); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.keepLogs(filepath.Join(o.out, "logs"))) }()
	err = b.Run(cmd.Context(), func(ctx context.Context) error {
		id, addresses := b.Operator()
		client := b.connect(id, addresses)
		defer client.Close()
		each := map[string]*api.Client{}
		for _, n := range b.Nodes() {
			if a := net.JoinHostPort(n.Address.String(), emulation.APIPort); slices.Contains(addresses, a) {
				each[n.Name] = b.connect(id, []string{a})
				defer each[n.Name].Close()
			}
		}
		if err := live.AwaitNodes(ctx, &live.Config{Scenario: s, Client: client}); err != nil {
			return errors.Join(err, b.casualties())
		}
		res, err := chaos.Run(ctx, chaos.Config{
			Scenario: s, Rounds: rounds, For: o.soak, Calm: calm, Ground: chaosGround{b.Testbed}, Harm: b.Testbed,
			Client: client, Coordinators: each, Metrics: emulation.HTTPAddress, Dir: o.out, KeepGoing: o.keepGoing, Gap: o.gap,
			About: chaos.About{
				Seed: o.seed, Command: commandLine(), Version: version, Shaping: b.Shaping(), Machine: machineLine(experiment.DescribeMachine(ctx)),
			},
			Log: log, Say: show.say, Step: show.step,
		})
		if res == nil {
			return err
		}
		return errors.Join(env.print(cmd.OutOrStdout(), res.Summary(), func(p *page) { showChaos(p, res, o.out) }), err)
	})
	return err
}

func showChaos(p *page, r *chaos.Result, dir string) {
	s := r.Summary()
	p.linef("rounds     %d, %d failed", s.Rounds, s.Failures)
	p.linef("recovery   median %.1f s, longest %.1f s", s.RecoveryP50, s.RecoveryMax)
	p.linef("workflows  %d lost", s.LostWorkflows)
	p.linef("tasks      %d ran twice", s.DuplicateTasks)
	for _, t := range r.Trends {
		if t.Verdict == chaos.Grows {
			p.linef("grows      %s of %s: %+.1f an hour, at %.1f", t.Resource, t.Node, t.PerHour, t.Median)
		}
	}
	p.linef("report     %s", filepath.Join(dir, "report.md"))
}

func machineLine(m experiment.Machine) string {
	return fmt.Sprintf("%s (%s, %s, kernel %s)", count(m.Cores, "core"), m.CPU, m.OS, m.Kernel)
}

// chaosGround is a testbed as chaos looks at it.
type chaosGround struct{ *emulation.Testbed }

func (g chaosGround) Process(node string) chaos.Process {
	for _, n := range g.Nodes() {
		if n.Name == node {
			return chaos.Process{PID: n.PID, Up: n.Up, Paused: n.Paused, Exit: n.Exit}
		}
	}
	return chaos.Process{}
}
