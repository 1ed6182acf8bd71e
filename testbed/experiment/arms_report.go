package experiment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/testbed"
)

// adaptations are the types of decisions about qualities.
var adaptations = []string{string(state.QualityChanged), string(state.SourceHeld), string(state.SourceAdmitted)}

// About says what an experiment was, for its report.
type About struct {
	ScenarioFile, Command, Version string
	Machine                        Machine
	Method                         testbed.Method
}

// WriteArms writes what became of the arms into a folder: table.md, raw.csv,
// plot.png and summary.json, each in place of an earlier one; with trials also
// floor.csv, floor.png, squeeze.csv and squeeze.png.
func WriteArms(dir string, about About, arms []Arm, runs [][]ArmRun, trials *TrialRuns) (*ArmsSummary, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	s := SummarizeArms(about.Method, arms, runs)
	s.Floor, s.Squeeze = trials.summary()
	summary, err := encodeJSON(s)
	if err != nil {
		return nil, err
	}
	files := []namedFile{{"table.md", armsTable(about, arms, runs, s, trials)}, {summaryFile, summary}}
	for _, picture := range []string{"plot.png", string(ArmFloor) + ".png", string(ArmSqueeze) + ".png"} { // of arms that do not run now
		if err := removeIfThere(filepath.Join(dir, picture)); err != nil {
			return nil, err
		}
	}
	if len(arms) > 0 {
		picture, err := armsChart(s).png()
		if err != nil {
			return nil, err
		}
		files = append(files, namedFile{"plot.png", picture})
	}
	more, err := trials.plots(about.Method)
	if err != nil {
		return nil, err
	}
	for _, f := range append(files, more...) {
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return nil, err
		}
	}
	return s, errors.Join(armsCSV(filepath.Join(dir, "raw.csv"), arms, runs), trials.csv(dir))
}

// namedFile is a file of a folder.
type namedFile struct {
	name string
	data []byte
}

func armsCSV(path string, arms []Arm, runs [][]ArmRun) error {
	var rows [][]string
	for i := range arms {
		for _, r := range runs[i] {
			rows = append(rows, []string{
				arms[i].Name, string(arms[i].Kind), string(arms[i].Rule), strconv.Itoa(len(arms[i].Scenario.Sources)), strconv.Itoa(r.Run), count(r.Seed),
				decimal(r.Asked, 1), count(r.Captured), count(r.Delivered), decimal(1000*r.Latency, 3), decimal(1000*r.P95, 3), decimal(r.F1, 6), decimal(r.Utility, 6),
				decimal(r.Makespan, 3), decimal(r.Longest, 3), strconv.Itoa(len(r.Decisions)), decimal(r.Stands, 3), decimal(1000*r.Stale, 3),
			})
		}
	}
	return writeTable(path, []string{
		"arm", "kind", "rule", "sources", "run", "seed", "asked", "captured", "delivered", "latency_mean_ms", "latency_p95_ms", "f1", "utility",
		"makespan_s_mean", "makespan_s_max", "decisions", "stands_for_frames", "stale_mean_ms",
	}, rows)
}

// writeTable writes a table of comma-separated values in place of an earlier one.
func writeTable(path string, header []string, rows [][]string) error {
	if err := removeIfThere(path); err != nil {
		return err
	}
	t, err := newTable(path, header)
	if err != nil {
		return err
	}
	_ = t.add(rows) // close says so again
	err = t.err
	if closed := t.close(); err == nil {
		err = closed
	}
	return err
}

func armsTable(about About, arms []Arm, runs [][]ArmRun, s *ArmsSummary, trials *TrialRuns) []byte {
	w := &markdown{}
	all := arms
	if trials != nil {
		all = slices.Concat(arms, trials.Arms)
	}
	sc := all[0].Scenario
	w.linef("# Distributions of quality: %s", safe(sc.Name))
	w.linef("")
	w.linef("%s, %s, %s frames/s each, %v after a warm-up of %v, %s.", title(string(about.Method)),
		plural(len(sc.Sources), "source"), number(sc.Sources[0].FPS), sc.Measure.Duration, sc.Measure.Warmup, safe(about.Version))
	if s.Compared {
		w.linef("Best of the fixed distributions, in %s of each: **%s**. Adapted by utility, %.1f %% of its utility is reached.",
			plural(len(runs[0]), "run"), safe(s.Best), 100*s.Ratio)
	}
	if s.Reduced {
		w.linef("Adapted by utility, the mean makespan is %.1f %% less than with %s.", 100*s.MakespanReduction, safe(arms[0].Name))
	}
	if s.Single {
		w.linef("A single source is %s by adaptation.", map[bool]string{true: "not changed", false: "**changed**"}[s.SingleUnchanged])
	}
	w.linef("")
	var rows [][]string
	for i := range arms {
		cell := func(scale float64, of func(*ArmRun) float64) string {
			e := armEstimate(runs[i], func(r *ArmRun) float64 { return scale * of(r) })
			return e.shown()
		}
		name := safe(arms[i].Name)
		if arms[i].Name == s.Best || arms[i].Kind == ArmAdapted {
			name = "**" + name + "**"
		}
		rows = append(rows, []string{
			name, strconv.Itoa(len(arms[i].Scenario.Sources)),
			cell(1, func(r *ArmRun) float64 { return r.Makespan }), cell(1, func(r *ArmRun) float64 { return r.Longest }),
			cell(100, (*ArmRun).shown), cell(1000, func(r *ArmRun) float64 { return r.Latency }), skipped(runs[i], cell),
			cell(1, func(r *ArmRun) float64 { return r.F1 }), cell(1, func(r *ArmRun) float64 { return r.Utility }),
		})
	}
	w.table("arm|>sources|>makespan (s)|>longest (s)|>delivered (%)|>latency (ms)|>stale (ms)|>F1|>utility", rows)
	w.linef("Makespan: until as many frames have been delivered as are asked for in the measured time, at the rate measured of all " +
		"sources of a resolution, mean over the sources; a dropped frame is one still to be analysed. F1: mean of the analysed frames, from " +
		"what was measured of the model at each resolution, and where frames are skipped of those that show the last detections, by what was " +
		"measured of that; stale is how much older than the frame these are. Delivered counts such frames. Utility: F1 less Θ times the latency and that age, for each frame asked for; one " +
		"that is not delivered has no F1 and the latency of the deadline. Means over the runs ± half the 95 %% confidence interval.")
	w.linef("")
	trials.write(w)
	for i := range arms {
		if arms[i].Rule == "off" || len(runs[i]) == 0 {
			continue
		}
		w.linef("## Decided: %s, seed %d", safe(arms[i].Name), runs[i][0].Seed)
		w.linef("")
		decided(w, runs[i][0].Decisions)
	}
	if about.Command != "" {
		w.linef("```sh")
		w.linef("%s", strings.ReplaceAll(about.Command, "```", "` ` `"))
		w.linef("```")
	}
	return []byte(strings.TrimRight(w.String(), "\n") + "\n")
}

// skipped is the cell of how old what skipped frames show is; empty: none was.
func skipped(runs []ArmRun, cell func(scale float64, of func(*ArmRun) float64) string) string {
	if !slices.ContainsFunc(runs, func(r ArmRun) bool { return r.Stale > 0 }) {
		return ""
	}
	return cell(1000, func(r *ArmRun) float64 { return r.Stale })
}

// adapted are the decisions about qualities of a run.
func adapted(rec *testbed.Recording) []testbed.Mark {
	var out []testbed.Mark
	for _, m := range rec.Marks {
		if m.Kind == testbed.Decision && slices.Contains(adaptations, m.Type) {
			out = append(out, m)
		}
	}
	return out
}

// decided lists decisions about qualities.
func decided(w *markdown, decisions []testbed.Mark) {
	for i, m := range decisions {
		if i == maxDecisions {
			w.linef("- and %d more", len(decisions)-i)
			break
		}
		w.linef("- %s s: %s", number(round(m.At.Seconds(), 1)), safe(m.Message))
	}
	if len(decisions) == 0 {
		w.linef("Nothing.")
	}
	w.linef("")
}

// armsChart draws utility and F1 over the fixed distributions, with those of
// the rules across them.
func armsChart(s *ArmsSummary) *chart {
	c := newChart("Utility and F1 of every distribution", "distributions, from the best quality for all to the least", "F1, utility")
	c.grid(true)
	curves := []struct {
		name string
		of   func(a *ArmSummary) float64
	}{{"utility", func(a *ArmSummary) float64 { return a.Utility }}, {"F1 of analysed frames", func(a *ArmSummary) float64 { return a.F1 }}}
	fixed := 0
	for k, curve := range curves {
		var xy plotter.XYs
		for i := range s.Arms {
			if a := &s.Arms[i]; a.Kind == ArmFixed {
				xy = append(xy, plotter.XY{X: float64(len(xy)), Y: curve.of(a)})
			}
		}
		fixed = len(xy)
		l := &plotter.Line{XYs: xy, LineStyle: curveStyle{color: colour(k)}.line()}
		c.plot.Add(l, &plotter.Scatter{XYs: xy, GlyphStyle: draw.GlyphStyle{Color: colour(k), Radius: 2, Shape: draw.CircleGlyph{}}})
		c.legend = append(c.legend, entry{curve.name, l})
	}
	for i := range s.Arms {
		a := &s.Arms[i]
		if a.Kind != ArmAdapted {
			continue
		}
		style := curveStyle{color: colour(len(c.legend)), dashed: true}.line()
		style.Width = vg.Length(1.2)
		l := &plotter.Line{XYs: plotter.XYs{{X: 0, Y: a.Utility}, {X: float64(max(1, fixed-1)), Y: a.Utility}}, LineStyle: style}
		c.plot.Add(l)
		c.legend = append(c.legend, entry{fmt.Sprintf("utility adapted: %s", a.Name), l})
	}
	c.plot.Y.Min = min(c.plot.Y.Min, 0)
	c.plot.Y.Max += 0.05 * (c.plot.Y.Max - c.plot.Y.Min)
	return c
}
