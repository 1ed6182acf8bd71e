package experiment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/study"
	"github.com/weft-mesh/weft/tiering"
)

const figuresFolder = "figures"

// WriteStudy writes what came out of a study into a folder: report.md,
// summary.json, raw.csv and figures/, each in place of an earlier one.
func WriteStudy(dir string, about About, s *study.Study, all []StudyOutcome) (*StudySummary, error) {
	if err := os.MkdirAll(filepath.Join(dir, figuresFolder), 0o777); err != nil {
		return nil, err
	}
	all = inOrder(s, all)
	sum := SummarizeStudy(s, all)
	encoded, err := encodeJSON(sum)
	if err != nil {
		return nil, err
	}
	pics := studyFigures(s, all)
	files := []namedFile{{summaryFile, encoded}, {reportFile, studyReport(about, s, all, sum, pics)}}
	for _, p := range pics {
		png, err := p.chart.png()
		if err != nil {
			return nil, err
		}
		svg, err := p.chart.svg()
		if err != nil {
			return nil, err
		}
		files = append(files, namedFile{filepath.Join(figuresFolder, p.name+".png"), png}, namedFile{filepath.Join(figuresFolder, p.name+".svg"), svg})
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return nil, err
		}
	}
	return sum, studyCSV(filepath.Join(dir, "raw.csv"), all)
}

// inOrder sorts outcomes as the study has its runs and experiments, simulated
// before emulated ones.
func inOrder(s *study.Study, all []StudyOutcome) []StudyOutcome {
	var out []StudyOutcome
	for i := range s.Runs {
		for _, e := range s.Experiments {
			for _, m := range []testbed.Method{testbed.Simulated, testbed.Emulated} {
				if o := find(all, s.Runs[i].Name, e.Name, m); o != nil {
					out = append(out, *o)
				}
			}
		}
	}
	return out
}

func studyCSV(path string, all []StudyOutcome) error {
	var rows [][]string
	for i := range all {
		o := &all[i]
		for k, r := range o.Runs {
			rows = append(rows, []string{
				o.Run.Name, string(o.Method), o.Experiment.Name, string(o.Experiment.Rule), strconv.Itoa(len(o.Arm.Scenario.Sources)), strconv.Itoa(r.Run), count(r.Seed),
				seconds(o.Arm.Scenario.Measure.Duration), decimal(r.Asked, 1), count(r.Captured), count(r.Delivered), decimal(r.Stands, 3),
				decimal(r.Makespan, 3), decimal(r.Longest, 3), decimal(1000*r.Latency, 3), decimal(1000*r.P50, 3), decimal(1000*r.P95, 3), decimal(1000*r.P99, 3),
				decimal(r.F1, 6), decimal(o.Least[k], 6), decimal(r.Utility, 6), strconv.Itoa(len(r.Decisions)),
			})
		}
	}
	return writeTable(path, []string{
		"run", "mode", "experiment", "rule", "sources", "number", "seed", "duration_s", "asked", "captured", "delivered", "stands_for_frames",
		"makespan_s_mean", "makespan_s_max", "latency_mean_ms", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "f1", "f1_least_promised", "utility", "decisions",
	}, rows)
}

// takes is a time for people: "5.7 h", "22 min", "90 s".
func takes(seconds float64) string { return takesOf(Estimate{Mean: seconds}) }

// takesOf is an estimate of a time, in the unit that suits its mean.
func takesOf(e Estimate) string {
	unit, scale, digits := "s", 1.0, 1
	switch {
	case e.Mean >= 5400:
		unit, scale, digits = "h", 3600, 2
	case e.Mean >= 600:
		unit, scale = "min", 60
	}
	words := decimal(e.Mean/scale, digits)
	if e.CI95 != nil {
		words += " ± " + decimal(*e.CI95/scale, digits)
	}
	return words + " " + unit
}

func studyReport(about About, s *study.Study, all []StudyOutcome, sum *StudySummary, pics []picture) []byte {
	w := &markdown{}
	w.linef("# %s", safe(s.Title))
	w.linef("")
	if s.Paper != nil {
		w.linef("Published: %s, of %s of the sources. Beside it what %s came to, on %s.", safe(s.Paper.Cite), takes(s.Paper.Duration.Seconds()), safe(about.Version), safe(machineWords(&about.Machine)))
		w.linef("")
	}
	targetsTable(w, sum)
	experimentsTable(w, s, all)
	for _, p := range pics {
		if slices.ContainsFunc(s.Figures, func(f study.Figure) bool { return f.Name == p.name }) {
			p.write(w)
		}
	}
	for i := range s.Runs {
		runSection(w, &s.Runs[i], s, all, pics)
	}
	if len(s.Remarks) > 0 {
		w.linef("## Where it is not as published, and why")
		w.linef("")
		for _, r := range s.Remarks {
			w.linef("- %s", safe(r))
		}
		w.linef("")
	}
	w.linef("## How it was measured")
	w.linef("")
	w.linef("Makespan: the time until as many frames are analysed as the sources have in the measured time, at the rate that was measured: a frame that " +
		"was dropped is one still to be analysed. As a multiple it is by how much more than the sources' own time it takes; 1 is as fast as they come. " +
		"Latency is from capture to result, of the frames delivered. F1 is of the analysed frames: emulated, where it is known what cameras show, of these very " +
		"detections; simulated, of what was measured of the model at each resolution. *Never below* is the least F1 that the qualities of all sources promised at any moment. " +
		"Means over the seeds ± half the 95 %% confidence interval (Student's t).")
	w.linef("")
	if about.Command != "" {
		w.linef("```sh")
		w.linef("%s", strings.ReplaceAll(about.Command, "```", "` ` `"))
		w.linef("```")
	}
	return []byte(strings.TrimRight(w.String(), "\n") + "\n")
}

// write shows a figure.
func (p *picture) write(w *markdown) {
	w.linef("![%s](%s/%s.svg)", safe(p.caption), figuresFolder, p.name)
	w.linef("")
	w.linef("*%s*", safe(p.caption))
	w.linef("")
}

func machineWords(m *Machine) string {
	if m.CPU == "" {
		return plural(m.Cores, "core")
	}
	return plural(m.Cores, "core") + " of " + m.CPU
}

func targetsTable(w *markdown, sum *StudySummary) {
	if len(sum.Targets) == 0 {
		return
	}
	w.linef("## What was to be reached")
	w.linef("")
	if sum.Missed == 0 {
		w.linef("All of it was.")
	} else {
		w.linef("**%d of %d were missed.**", sum.Missed, len(sum.Targets))
	}
	w.linef("")
	var rows [][]string
	for i := range sum.Targets {
		t := &sum.Targets[i]
		verdict := map[bool]string{true: "met", false: "**missed**"}[t.Met]
		if t.AimMet != nil && t.Met {
			how := percent(*t.Aim)
			if t.Figure == TargetF1 {
				how = signed(*t.Aim, 4)
			}
			verdict += map[bool]string{true: ", and so is the aim of ", false: "; the aim of "}[*t.AimMet] + how
			if !*t.AimMet {
				verdict += " is not"
			}
		}
		rows = append(rows, []string{safe(t.Run), string(t.Mode), safe(t.words()), verdict})
	}
	w.table("run|mode|target|", rows)
}

// experimentsTable sets the published figures, the simulated and the emulated
// ones beside each other.
func experimentsTable(w *markdown, s *study.Study, all []StudyOutcome) {
	w.linef("## Side by side")
	w.linef("")
	var rows [][]string
	for _, e := range s.Experiments {
		if p := e.Published; p != nil {
			row := []string{"**" + safe(e.Name) + "**", "published", "", "", "", "", "", "", "", ""}
			if p.Makespan != nil {
				row[3] = takes(p.Makespan.Seconds())
				row[4] = "× " + number(p.Makespan.Seconds()/s.Paper.Duration.Seconds())
			}
			if p.F1 != nil {
				row[9] = decimal(*p.F1, 4)
			}
			rows = append(rows, row)
		}
		for i := range all {
			o := &all[i]
			if o.Experiment.Name != e.Name {
				continue
			}
			cell := func(scale float64, of func(*ArmRun) float64) string {
				x := o.estimate(func(r *ArmRun) float64 { return scale * of(r) })
				return x.shown()
			}
			f1 := o.f1()
			rows = append(rows, []string{
				"**" + safe(e.Name) + "**", safe(o.Run.Name), string(o.Method), takesOf(o.makespan()), "× " + number(o.factor().Mean),
				cell(1000, func(r *ArmRun) float64 { return r.P50 }), cell(1000, func(r *ArmRun) float64 { return r.P95 }), cell(1000, func(r *ArmRun) float64 { return r.P99 }),
				cell(100, (*ArmRun).shown), fourDigits(f1),
			})
		}
	}
	w.table("|run|mode|>makespan|>multiple|>p50 (ms)|>p95 (ms)|>p99 (ms)|>shown (%)|>F1", rows)
	for _, e := range s.Experiments {
		if e.About != "" {
			w.linef("- **%s**: %s", safe(e.Name), safe(e.About))
		}
	}
	w.linef("")
}

func fourDigits(e Estimate) string {
	if e.CI95 == nil || round(*e.CI95, 4) == 0 {
		return decimal(e.Mean, 4)
	}
	return decimal(e.Mean, 4) + " ± " + decimal(*e.CI95, 4)
}

// runSection says what a run is, and what it says beside what was published.
func runSection(w *markdown, r *study.Run, s *study.Study, all []StudyOutcome, pics []picture) {
	var mine []*StudyOutcome
	for i := range all {
		if all[i].Run.Name == r.Name {
			mine = append(mine, &all[i])
		}
	}
	if len(mine) == 0 {
		return
	}
	w.linef("## %s: %s", safe(r.Name), safe(r.Title))
	w.linef("")
	if r.About != "" {
		w.linef("%s", safe(r.About))
		w.linef("")
	}
	sc := r.Scenario
	w.linef("%s: %s, %s, %v after a warm-up of %v, %s. CPU: %s.", code(r.File), plural(len(sc.Nodes), "node"), plural(len(sc.Sources), "source"), sc.Measure.Duration, sc.Measure.Warmup,
		plural(len(mine[0].Runs), "seed"), cpuWords(sc))
	w.linef("")
	if i := slices.IndexFunc(mine, func(o *StudyOutcome) bool { return o.Correction != nil }); i >= 0 {
		w.linef("The simulation takes the costs that were measured before the emulation, corrected: %s.", mine[i].Correction)
		w.linef("")
	}
	var rows [][]string
	for _, m := range r.Methods {
		for _, t := range s.Targets {
			a, b := find(all, r.Name, t.Experiment, m), find(all, r.Name, t.Against, m)
			if a == nil || b == nil {
				continue
			}
			rows = append(rows, comparison(m, "makespan", a, b, a.makespan().Mean/b.makespan().Mean-1, publishedChange(s, &t), percent))
			if t.F1 != nil {
				rows = append(rows, comparison(m, "F1", a, b, a.f1().Mean-b.f1().Mean, publishedLoss(s, &t), func(x float64) string { return signed(x, 4) }))
			}
		}
	}
	w.table("|mode|published|ours|", rows)
	for _, p := range pics {
		if slices.ContainsFunc(r.Methods, func(m testbed.Method) bool { return strings.HasSuffix(p.name, paceName(r, m)) }) {
			p.write(w)
		}
	}
	for _, o := range mine {
		if len(o.Runs) == 0 || o.Experiment.Rule == "off" {
			continue
		}
		w.linef("<details><summary>What was decided: %s, %s, seed %d</summary>", safe(o.Experiment.Name), o.Method, o.Runs[0].Seed)
		w.linef("")
		decided(w, o.Runs[0].Decisions)
		w.linef("</details>")
		w.linef("")
	}
}

func cpuWords(sc *testbed.Scenario) string {
	cores, quotas := 0.0, 0.0
	for _, n := range sc.Nodes {
		cores += float64(n.Cores) / 1000
		quotas += sc.Quota(n, sc.CPUScale)
	}
	if sc.CPUScale == 1 {
		return number(cores) + " cores"
	}
	words := fmt.Sprintf("%s of %s cores", number(quotas), number(cores))
	if sc.CPUOverhead > 0 {
		words += fmt.Sprintf(", %s of each node for weftd and cameras", tiering.FormatCPU(sc.CPUOverhead))
	}
	if sc.SlowCores {
		words += fmt.Sprintf(", a stage on %s of a core", number(sc.CPUScale))
	}
	return words
}

// comparison is a row that says whether two experiments differ as published.
func comparison(m testbed.Method, what string, a, b *StudyOutcome, got float64, published *float64, show func(float64) string) []string {
	row := []string{fmt.Sprintf("%s of %s against %s", what, a.Experiment.Name, b.Experiment.Name), string(m), "", show(got), ""}
	if published == nil {
		return row
	}
	row[2] = show(*published)
	const alike = 0.05 // of whichever it is a share of
	switch d := got - *published; {
	case d >= -alike && d <= alike && got**published >= 0 && (what != "F1" || d >= -0.01 && d <= 0.01):
		row[4] = "agrees"
	case what == "makespan" && d < 0:
		row[4] = "ours is less"
	case what == "makespan":
		row[4] = "**ours is more**"
	case d > 0:
		row[4] = "ours loses less"
	default:
		row[4] = "**ours loses more**"
	}
	return row
}

// publishedOf are the published figures of two experiments; nil: not both have some.
func publishedOf(s *study.Study, t *study.Target) (a, b *study.Published) {
	for _, e := range s.Experiments {
		switch e.Name {
		case t.Experiment:
			a = e.Published
		case t.Against:
			b = e.Published
		}
	}
	if a == nil || b == nil {
		return nil, nil
	}
	return a, b
}

func publishedChange(s *study.Study, t *study.Target) *float64 {
	a, b := publishedOf(s, t)
	if a == nil || a.Makespan == nil || b.Makespan == nil {
		return nil
	}
	x := float64(*a.Makespan)/float64(*b.Makespan) - 1
	return &x
}

func publishedLoss(s *study.Study, t *study.Target) *float64 {
	a, b := publishedOf(s, t)
	if a == nil || a.F1 == nil || b.F1 == nil {
		return nil
	}
	x := *a.F1 - *b.F1
	return &x
}

// StudyFolder is the folder of one emulated run within that of a study.
func StudyFolder(dir string, j *StudyJob) string {
	return filepath.Join(dir, "runs", fmt.Sprintf("%s-%s-%d", j.Run.Name, strings.ToLower(j.Experiment.Name), j.Number))
}

// StudyCosts is the file of the costs that the simulation of an emulated run takes,
// within the folder of a study.
func StudyCosts(dir, run string) string { return filepath.Join(dir, "runs", run+"-"+costsYAML) }

// ErrStudyFolder reports a folder that is no place for a study.
var ErrStudyFolder = errors.New("no folder for a study")

// CheckStudyFolder says why results can't be written into a folder, before hours
// are spent on them.
func CheckStudyFolder(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, figuresFolder), 0o777); err != nil {
		return fmt.Errorf("%w: %w", ErrStudyFolder, err)
	}
	f, err := os.CreateTemp(dir, "*"+temporary)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStudyFolder, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
