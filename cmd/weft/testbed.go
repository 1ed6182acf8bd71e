package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/experiment"
	"github.com/weft-mesh/weft/testbed/mininet"
)

func testbedCommand(env *environment) *cobra.Command {
	return group("testbed", "Run experiments on an emulated continuum",
		testbedCheckCommand(env), testbedRunCommand(env), testbedCompareCommand(env), testbedAdaptationCommand(env), testbedStudyCommand(env), testbedSweepsCommand(env), testbedChaosCommand(env),
		testbedUpCommand(env), testbedHoldCommand(), testbedStatusCommand(env), testbedExecCommand(), testbedDownCommand(env),
		group("export", "Write a scenario's network for other emulators", testbedMininetCommand()))
}

func testbedCheckCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "check SCENARIO", Short: "Check a scenario without running it", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := testbed.Load(args[0])
			if err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), s, func(p *page) {
				p.linef("%s: scenario %s is sound: %s, %s, %s, %s after a warm-up of %s", args[0], s.Name, count(len(s.Nodes), "node"),
					count(len(s.Sources), "source"), count(len(s.Timeline), "event"), s.Measure.Duration, s.Measure.Warmup)
			})
		},
	}
}

func testbedMininetCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "mininet SCENARIO", Short: "Write a Mininet script of the same topology", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := testbed.Load(args[0])
			if err != nil {
				return err
			}
			script, err := mininet.Script(s)
			if err != nil {
				return err
			}
			if out == "" {
				_, err := cmd.OutOrStdout().Write(script)
				return err
			}
			return os.WriteFile(out, script, 0o755)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write to (default: standard output)")
	return c
}

// errBeyond ends weft when two results differ by more than was allowed.
var errBeyond = errors.New("the results differ")

func testbedCompareCommand(env *environment) *cobra.Command {
	within := 0.15
	c := &cobra.Command{
		Use: "compare A B", Short: "Compare two result folders, metric by metric", Args: exactly(2),
		Long: `Compare the figures of two result folders: emulated runs with emulated ones,
simulated with simulated ones; where they have no method in common, what they
have. Exits with 1 if throughput, the fraction delivered or a latency differs
by more than --within; the figures of single nodes, tasks and events may.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if within <= 0 {
				return wrongUsage("--within must be above 0: 0.15 stands for 15 %%")
			}
			a, err := experiment.Read(args[0])
			if err != nil {
				return err
			}
			b, err := experiment.Read(args[1])
			if err != nil {
				return err
			}
			d := experiment.Compare(a, b, within)
			if err := env.print(cmd.OutOrStdout(), d, func(p *page) { showComparison(p, args[0], args[1], d) }); err != nil {
				return err
			}
			for _, m := range d.Metrics {
				if m.Beyond && isHeadline(m.Metric) {
					return fmt.Errorf("%w: %s", errBeyond, m.Metric)
				}
			}
			return nil
		},
	}
	c.Flags().Float64Var(&within, "within", within, "fraction of A that B may differ by")
	return c
}

func showComparison(p *page, a, b string, d *experiment.Comparison) {
	p.linef("A  %s  %s", d.A, a)
	p.linef("B  %s  %s", d.B, b)
	for _, n := range d.Notes {
		p.linef("!  %s", n)
	}
	p.linef("")
	var rows [][]string
	for _, m := range d.Metrics {
		verdict := ""
		if m.Beyond {
			verdict = fmt.Sprintf("beyond %g %%", d.Within*100)
		}
		ratio := "-"
		if m.Ratio != nil {
			ratio = fmt.Sprintf("%.3f", *m.Ratio)
		}
		rows = append(rows, []string{m.Metric, estimate(m.A), estimate(m.B), m.Unit, ratio, verdict})
	}
	p.table("METRIC|>A|>B|UNIT|>B/A|", rows)
	p.linef("")
	p.linef("%s beyond %g %%", count(d.Beyond, "metric"), d.Within*100)
}

// estimate words a figure with its confidence.
func estimate(e *experiment.Estimate) string {
	if e == nil {
		return "-"
	}
	if e.CI95 == nil {
		return fmt.Sprintf("%.4g", e.Mean)
	}
	return fmt.Sprintf("%.4g ± %.2g", e.Mean, *e.CI95)
}

// finish writes the rest of a result folder and says what is in it.
func finish(cmd *cobra.Command, env *environment, rec *experiment.Recorder, res *experiment.Result) error {
	if err := rec.Finish(res); err != nil {
		return err
	}
	s, err := experiment.Read(rec.Dir())
	if err != nil {
		return err
	}
	return env.print(cmd.OutOrStdout(), s, func(p *page) { showSummary(p, s, rec.Dir()) })
}

// headlines are the metrics that a run shows at its end; the report has all.
var headlines = []struct{ metric, words, unit string }{
	{"throughput_fps", "delivered", "frames/s"}, {"delivered_fraction", "of those captured", ""},
	{"latency_ms.mean", "latency, mean", "ms"}, {"latency_ms.p50", "p50", "ms"}, {"latency_ms.p95", "p95", "ms"}, {"latency_ms.p99", "p99", "ms"},
}

func isHeadline(metric string) bool {
	for _, h := range headlines {
		if h.metric == metric {
			return true
		}
	}
	return false
}

func showSummary(p *page, s *experiment.Summary, dir string) {
	methods := []testbed.Method{testbed.Emulated, testbed.Simulated}
	methods = slices.DeleteFunc(methods, func(m testbed.Method) bool { return s.Methods[m] == nil })
	header := "|"
	for _, m := range methods {
		header += ">" + strings.ToUpper(string(m)) + "|"
	}
	header += ">SIMULATED/EMULATED|UNIT"
	var rows [][]string
	for _, h := range headlines {
		row := []string{h.words}
		for _, m := range methods {
			cell := "-"
			if e, ok := s.Methods[m].Metrics[h.metric]; ok {
				cell = estimate(&e)
			}
			row = append(row, cell)
		}
		ratio := ""
		if r, ok := s.Ratios[h.metric]; ok {
			ratio = fmt.Sprintf("%.3f", r.Ratio)
		}
		rows = append(rows, append(row, ratio, h.unit))
	}
	p.table(header, rows)
	p.linef("")
	p.linef("report    %s", filepath.Join(dir, "report.md"))
}

// commandLine is how weft was called, for a report.
func commandLine() string {
	out := []string{"weft"}
	for _, a := range os.Args[1:] {
		if strings.ContainsAny(a, " '\"$`\\") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}

// findWeftd finds the daemon: where it is said to be, else beside weft, else on
// the PATH.
func findWeftd(said string) (string, error) {
	if said != "" {
		return filepath.Abs(said)
	}
	if own, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(own), "weftd"); isExecutable(beside) {
			return beside, nil
		}
	}
	path, err := exec.LookPath("weftd")
	if err != nil {
		return "", wrongUsage("no weftd beside weft and none on the PATH: build it with `make build`, or give --weftd FILE")
	}
	return filepath.Abs(path)
}

func isExecutable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
