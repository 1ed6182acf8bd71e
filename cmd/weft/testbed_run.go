package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation"
	"github.com/weft-mesh/weft/testbed/emulation/probe"
	"github.com/weft-mesh/weft/testbed/experiment"
	"github.com/weft-mesh/weft/testbed/experiment/live"
)

// groundOptions say how a testbed is brought up.
type groundOptions struct {
	name    string
	shaping string
	weftd   string
	accept  bool // links that are not as asked
	verbose bool
	disk    int64 // of each node's data; 0: none of its own
	// linked is what came of checking the links when the same network was up
	// before; they are not checked again then.
	linked []testbed.LinkCheck
}

func (o *groundOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.name, "name", "", "name of the testbed on this machine (default: the scenario's)")
	f.StringVar(&o.shaping, "links", string(emulation.Auto), "how links are emulated: auto, kernel (netem) or user (TUN)")
	complete(c, "links", string(emulation.Auto), string(emulation.Kernel), string(emulation.User))
	f.StringVar(&o.weftd, "weftd", "", "the daemon to run (default: beside weft, else on the PATH)")
	f.BoolVar(&o.accept, "accept-links", false, "go on with links that are not as the scenario asks")
	f.BoolVar(&o.verbose, "verbose", false, "also say what is done to the machine")
}

func (o *groundOptions) log(w io.Writer) *slog.Logger {
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// bed is a testbed to run scenarios on.
type bed struct {
	*emulation.Testbed
	groundOptions
	scenario *testbed.Scenario
	show     *progress
	log      *slog.Logger
	checked  []testbed.LinkCheck
	client   *api.Client // while it is up
}

// newBed prepares a testbed whose files are kept in dir.
func (o groundOptions) newBed(s *testbed.Scenario, dir string, show *progress, log *slog.Logger) (*bed, error) {
	weftd, err := findWeftd(o.weftd)
	if err != nil {
		return nil, err
	}
	if o.name == "" {
		o.name = s.Name
	}
	b := &bed{groundOptions: o, scenario: s, show: show, log: log}
	b.Testbed, err = emulation.New(emulation.Config{
		Name: o.name, Dir: dir, Weftd: weftd, Shaping: emulation.Shaping(o.shaping), CPUScale: s.CPUScale,
		Version: version, Log: log, Linked: b.checkLinks,
		Progress: func(what string, done, total int) { show.step(fmt.Sprintf("%s  %d of %d", what, done, total)) }, DataDisk: o.disk,
	}, s)
	return b, err
}

// checkLinks measures the links before anything uses them. Those that are not
// as asked end the run, unless told otherwise.
func (b *bed) checkLinks(ctx context.Context, t *emulation.Testbed) error {
	if b.checked = b.linked; b.checked != nil {
		b.show.say("links     as they were checked before")
		return nil
	}
	start := time.Now()
	checks, err := t.Check(ctx)
	if err != nil {
		return fmt.Errorf("check the links: %w", err)
	}
	b.checked = checks
	failed := probe.Failed(checks)
	switch {
	case failed == nil:
		b.show.say(fmt.Sprintf("links     %s, checked in %.1f s: round trips, rates and losses are as asked (%s)",
			count(len(checks), "direction"), time.Since(start).Seconds(), t.Shaping()))
		return nil
	case b.accept:
		b.show.say("links     not all are as asked, going on as told:\n" + failed.Error())
		return nil
	}
	return fmt.Errorf("%w\n--accept-links goes on all the same", failed)
}

// use brings the testbed up, hands it to fn, and takes it down.
func (b *bed) use(ctx context.Context, fn func(context.Context, *live.Config) error) error {
	start := time.Now()
	return b.Run(ctx, func(ctx context.Context) error {
		id, addresses := b.Operator()
		b.client = b.connect(id, addresses)
		defer b.client.Close()
		c := &live.Config{
			Scenario: b.scenario, Client: b.client, Ground: b.Testbed, Log: b.log,
			Progress: func(p live.Progress) { b.progress(p) },
		}
		if err := live.AwaitNodes(ctx, c); err != nil {
			return errors.Join(err, b.casualties())
		}
		b.show.say(fmt.Sprintf("up        %s in %.1f s", count(len(b.scenario.Nodes), "node"), time.Since(start).Seconds()))
		return errors.Join(fn(ctx, c), b.casualties())
	})
}

// connect returns a client that speaks to each coordinator from inside the
// coordinator's own node: whatever becomes of the emulated links, the one who
// watches can ask.
func (b *bed) connect(id *pki.Identity, addresses []string) *api.Client {
	nodes := map[string]string{} // by address
	for _, n := range b.Nodes() {
		nodes[n.Address.String()] = n.Name
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		node, ok := nodes[host]
		if !ok {
			return nil, fmt.Errorf("%s is no node of the testbed", host)
		}
		return b.Dial(node)(ctx, network, address)
	}
	return api.NewClientVia(dial, func() []string { return addresses }, id.ClientTLS(pki.Coordinator))
}

// casualties is an error of the nodes whose weftd ended by itself.
func (b *bed) casualties() error {
	var errs []error
	for _, n := range b.Nodes() {
		if n.Exit != "" {
			errs = append(errs, fmt.Errorf("weftd on %s ended by itself (%s); its last words:\n%s", n.Name, n.Exit, indented(n.Log)))
		}
	}
	return errors.Join(errs...)
}

func indented(lines []string) string {
	out := ""
	for _, l := range lines {
		out += "    " + clean(l) + "\n"
	}
	return out
}

func (b *bed) progress(p live.Progress) {
	if p.Sample == nil {
		b.show.step(p.Phase)
		return
	}
	f := p.Sample.Frames
	b.show.step(fmt.Sprintf("%-10s %4.0f of %.0f s  %s  %6d captured  %6d delivered  %5d dropped  p50 %8s  p95 %8s", p.Phase, p.At.Seconds(), p.Total.Seconds(),
		count(p.Sample.Sources, "source"), f.Captured, f.Delivered, f.Lost(), ms(millisOf(p.Sample.Latency.P50)), ms(millisOf(p.Sample.Latency.P95))))
}

func testbedRunCommand(env *environment) *cobra.Command {
	var (
		o      runOptions
		ground groundOptions
		within float64
		noSim  bool
	)
	c := &cobra.Command{
		Use: "run SCENARIO", Short: "Run a scenario on emulated machines and links, and simulate it", Args: exactly(1),
		Long: `Bring the scenario's continuum up on this machine, a network namespace with
limits and a real weftd for each node; check every link; measure what the
software costs; run the workflow and the timeline, and take everything down
again, whatever happens. Then simulate the same, and write a result folder:
report.md, summary.json, plots, raw tables.

It needs root. Nothing of this machine's own network is touched.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, text, err := o.load(args[0])
			if err != nil {
				return err
			}
			if within < 0 {
				return wrongUsage("--within must be above 0: 0.15 stands for 15 %%")
			}
			if within > 0 && noSim {
				return wrongUsage("--within compares with a simulation, and --no-sim leaves that out: choose one")
			}
			show := newProgress(cmd.ErrOrStderr())
			defer show.end()
			log := ground.log(lineWriter{show})
			// What the machine lacks is said before a folder is made.
			if _, err := ground.newBed(s, o.out, show, log); err != nil {
				return err
			}
			rec, err := experiment.Create(o.out, text)
			if err != nil {
				return err
			}
			res := &experiment.Result{
				Scenario: s, ScenarioFile: args[0], ScenarioText: text, Version: version, CPUScale: s.CPUScale,
				Machine: experiment.DescribeMachine(cmd.Context()), Command: commandLine(),
			}
			runErr := func() error {
				for run := 1; run <= o.repeat; run++ {
					one, err := emulate(cmd.Context(), s, run, ground, true, rec, show, log)
					if one != nil {
						res.Recordings = append(res.Recordings, *one)
					}
					if err != nil {
						return err
					}
					s.Costs = one.Costs
				}
				for run := 1; run <= o.repeat && !noSim; run++ {
					one, err := simulate(cmd.Context(), s, run, show)
					if err != nil {
						return err
					}
					res.Recordings = append(res.Recordings, *one)
				}
				return nil
			}()
			if len(res.Recordings) == 0 {
				return errors.Join(runErr, rec.Close())
			}
			if err := finish(cmd, env, rec, res); err != nil || runErr != nil {
				return errors.Join(runErr, err)
			}
			return agree(rec.Dir(), within)
		},
	}
	o.flags(c)
	ground.flags(c)
	c.Flags().BoolVar(&noSim, "no-sim", false, "do not simulate the same")
	c.Flags().Float64Var(&within, "within", 0, "exit with 1 if the simulated latency or throughput differs from the emulated by more than this fraction")
	return c
}

// agree checks that what was simulated is what was emulated, within a fraction
// of it; 0: whatever it is.
func agree(dir string, within float64) error {
	if within == 0 {
		return nil
	}
	s, err := experiment.Read(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, metric := range []string{"latency_ms.mean", "latency_ms.p50", "throughput_fps"} {
		r, ok := s.Ratios[metric]
		if !ok {
			errs = append(errs, fmt.Errorf("%w: %s was not measured on both sides", errBeyond, metric))
		} else if r.Ratio < 1-within || r.Ratio > 1+within {
			errs = append(errs, fmt.Errorf("%w: simulated over emulated %s is %.3f, not within %g %%", errBeyond, metric, r.Ratio, within*100))
		}
	}
	return errors.Join(errs...)
}

// emulate carries out one run, counted from 1. The recording has the costs
// that were measured before it, if that is asked for and the scenario does not
// state all.
func emulate(ctx context.Context, s *testbed.Scenario, run int, ground groundOptions, measure bool, rec *experiment.Recorder, show *progress, log *slog.Logger) (out *testbed.Recording, err error) {
	defer show.end()
	// Keys and pictures are not for a folder that is handed on; logs are.
	dir, err := os.MkdirTemp("", "weft-testbed-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	seeded := *s
	seeded.Seed += uint64(run) - 1
	b, err := ground.newBed(&seeded, filepath.Join(dir, "bed"), show, log)
	if err != nil {
		return nil, err
	}
	tables, err := rec.Begin(testbed.Emulated, run)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, b.keepLogs(filepath.Join(rec.Dir(), fmt.Sprintf("%s-%d", testbed.Emulated, run), "logs")))
	}()
	err = b.use(ctx, func(ctx context.Context, c *live.Config) error {
		if err := tables.Links(b.checked); err != nil {
			return err
		}
		costs := s.Costs
		if measure && !costs.Complete() {
			var err error
			if costs, err = live.Calibrate(ctx, c); err != nil {
				return err
			}
			show.say("measured  " + costs.String())
		}
		if err := b.Limit(true); err != nil {
			return err
		}
		c.Sample, c.Mark = tables.Sample, func(m testbed.Mark) error {
			if m.Kind == testbed.Timeline {
				show.say(fmt.Sprintf("%8.1f s  %s %s", m.At.Seconds(), m.Message, m.Error))
			}
			return tables.Mark(m)
		}
		var err error
		out, err = live.Run(ctx, c)
		if out != nil {
			out.Run, out.Shaping, out.Links, out.Costs = run, b.Shaping(), b.checked, costs
		}
		return err
	})
	if err == nil {
		show.say(fmt.Sprintf("emulated %d  seed %d  %.1f frames/s delivered  p50 %s  p95 %s", run, seeded.Seed, out.Totals.Throughput,
			ms(millisOf(out.Totals.Latency.Quantile(0.5))), ms(millisOf(out.Totals.Latency.Quantile(0.95)))))
	}
	return out, err
}

// keepLogs copies what the nodes have logged to a directory.
func (b *bed) keepLogs(to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, n := range b.Nodes() {
		logs, err := filepath.Glob(filepath.Join(n.Dir, "weftd.log*"))
		errs = append(errs, err)
		for _, path := range logs {
			text, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(filepath.Join(to, n.Name+strings.TrimPrefix(filepath.Base(path), "weftd")), text, 0o644)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lineWriter writes log lines between lines of progress.
type lineWriter struct{ show *progress }

func (w lineWriter) Write(b []byte) (int, error) {
	w.show.say(string(b[:max(len(b)-1, 0)]))
	return len(b), nil
}
