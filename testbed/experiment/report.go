package experiment

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// report writes report.md.
func report(r *Result, s *Summary, drawn []picture) []byte {
	w := &writer{r: r, s: s, gs: groups(r)}
	w.linef("# %s", safe(s.Scenario))
	w.linef("")
	if len(w.gs) == 0 {
		w.linef("Nothing was recorded.")
		return []byte(w.String())
	}
	w.what()
	w.results()
	w.stages()
	w.qualities()
	w.faults()
	w.pictures(drawn)
	w.links()
	w.caveats()
	w.again()
	return []byte(strings.TrimRight(w.String(), "\n") + "\n")
}

// writer is a report that is being written.
type writer struct {
	markdown
	r  *Result
	s  *Summary
	gs []group
}

func (w *writer) heading(title string) {
	w.linef("## %s", title)
	w.linef("")
}

// what says what was run, on what.
func (w *writer) what() {
	sc := w.r.Scenario
	w.heading("What was run")
	var rows [][]string
	row := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	if w.r.ScenarioFile != "" {
		row("Scenario", code(w.r.ScenarioFile)+", a copy is [scenario.yaml](scenario.yaml)")
	}
	row("Workflow", safe(sc.Workflow.Name))
	fps := 0.0
	for _, x := range sc.Sources {
		fps += x.FPS
	}
	if n := len(sc.Sources); n > 0 {
		row("Sources", fmt.Sprintf("%s, %s frames/s together", plural(n, "source"), number(fps)))
	}
	row("Measured", fmt.Sprintf("%v after a warm-up of %v, a sample every %v", sc.Measure.Duration, sc.Measure.Warmup, sc.Measure.Every))
	for _, g := range w.gs {
		m := w.s.Methods[g.method]
		var seeds []string
		var took time.Duration
		for i, x := range m.Runs {
			seeds = append(seeds, fmt.Sprint(x.Seed))
			took += g.recs[i].Took
		}
		seeds = slices.Compact(seeds)
		text := fmt.Sprintf("%s, %s %s", plural(len(m.Runs), "run"), strings.TrimLeft(plural(len(seeds), "seed"), "0123456789 "), strings.Join(seeds, ", "))
		if took > 0 {
			text += fmt.Sprintf("; took %v", took.Round(10*time.Millisecond))
		}
		if m.Runs[0].Began != "" {
			text += ", began " + m.Runs[0].Began
		}
		row(title(string(g.method)), text)
		if m.Runs[0].Shaping != "" {
			row("Links", safe(m.Runs[0].Shaping))
		}
	}
	if scale := w.r.scale(); scale != 1 {
		text := fmt.Sprintf("%s: each node's quota is its cores times this", number(scale))
		if o := w.r.Scenario.CPUOverhead; o > 0 {
			text += ", and " + tiering.FormatCPU(o) + " for weftd and cameras"
		}
		if w.r.Scenario.SlowCores {
			text += "; an instance works as a core of that fraction of the speed does"
		}
		row("CPU scale", text)
	}
	row("Weft", safe(w.r.Version))
	row("Machine", w.machine())
	w.table("|", rows)

	rows = nil
	for i := 0; i < len(sc.Nodes); {
		k := i + 1
		for k < len(sc.Nodes) && sameKind(sc.Nodes[i], sc.Nodes[k]) {
			k++
		}
		n := sc.Nodes[i]
		name := safe(n.Name)
		if k-i > 1 {
			name += " … " + safe(sc.Nodes[k-1].Name)
		}
		rows = append(rows, []string{name, fmt.Sprint(k - i), n.Tier.String(), number(float64(n.Cores) / 1000), mebibytes(uint64(max(n.Memory, 0))), roles(n)})
		i = k
	}
	w.table("nodes|>count|tier|>cores|>memory|also", rows)

	if len(sc.Timeline) > 0 {
		var events []string
		for _, e := range sc.Timeline {
			events = append(events, fmt.Sprintf("%v %s", e.At, safe(e.String())))
		}
		w.linef("Timeline: %s.", strings.Join(events, "; "))
		w.linef("")
	}
}

func sameKind(a, b testbed.Node) bool {
	a.Name = b.Name
	return a == b
}

func roles(n testbed.Node) string {
	var out []string
	switch {
	case n.Dedicated:
		out = append(out, "coordinator only")
	case n.Coordinator:
		out = append(out, "coordinator")
	}
	if n.Broker {
		out = append(out, "broker")
	}
	return strings.Join(out, ", ")
}

func (w *writer) machine() string {
	m := w.r.Machine
	var parts []string
	for _, p := range []string{m.CPU, plural(m.Cores, "core"), mebibytes(m.Memory), m.OS, kernel(m.Kernel), m.Arch, m.Go} {
		if p != "" && p != "0 cores" && p != "0 MiB" {
			parts = append(parts, safe(p))
		}
	}
	return strings.Join(parts, ", ")
}

func kernel(version string) string {
	if version == "" {
		return ""
	}
	return "kernel " + version
}

func mebibytes(b uint64) string {
	const mebi = 1 << 20
	if b >= 1024*mebi {
		return decimal(float64(b)/(1024*mebi), 1) + " GiB"
	}
	return decimal(float64(b)/mebi, 0) + " MiB"
}

// results is the table of both methods side by side.
func (w *writer) results() {
	w.heading("Results")
	w.metricsTable(func(name string) string {
		for _, part := range []string{"stage.", "event.", "cpu_cores.node."} {
			if strings.HasPrefix(name, part) {
				return ""
			}
		}
		return label(name)
	})
	if w.repeated() {
		w.linef("Means over the runs ± half the 95 %% confidence interval (Student's t).")
		w.linef("")
	}
}

// metricsTable is a row for each metric that shown gives a name.
func (w *writer) metricsTable(shown func(name string) string) {
	names := map[string]bool{}
	for _, g := range w.gs {
		for name := range w.s.Methods[g.method].Metrics {
			names[name] = true
		}
	}
	var rows [][]string
	for _, name := range slices.SortedFunc(maps.Keys(names), byImportance) {
		text := shown(name)
		if text == "" {
			continue
		}
		row := []string{text}
		for _, g := range w.gs {
			cell := "–"
			if e, ok := w.s.Methods[g.method].Metrics[name]; ok {
				cell = e.shown()
			}
			row = append(row, cell)
		}
		if len(w.gs) == 2 {
			x, ok := w.s.Ratios[name]
			cell, agree := "–", ""
			if ok {
				cell = decimal(x.Ratio, 3)
				if x.Overlap != nil {
					agree = map[bool]string{true: "yes", false: "no"}[*x.Overlap]
				}
			}
			row = append(row, cell, agree)
		}
		rows = append(rows, row)
	}
	header := ""
	for _, g := range w.gs {
		header += "|>" + string(g.method)
	}
	if len(w.gs) == 2 {
		header += "|>simulated / emulated|intervals overlap"
	}
	w.table(header, rows)
}

func (w *writer) repeated() bool {
	return slices.ContainsFunc(w.gs, func(g group) bool { return len(g.recs) > 1 })
}

// label says a metric's name for people, with its unit.
func label(name string) string {
	what := name
	if unit := unitOf(name); unit != "" {
		what = strings.NewReplacer("_frames", "", "_fps", "", "_ms", "", "cpu_cores", "CPU").Replace(name)
		what = strings.NewReplacer(".", " ", "_", " ").Replace(strings.Replace(what, "tier.", "", 1)) + " (" + unit + ")"
	}
	if reason, ok := strings.CutPrefix(name, "dropped_frames."); ok {
		return "Dropped: " + safe(reason) + " (frames)"
	}
	return title(safe(strings.ReplaceAll(what, "_", " ")))
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// stages is the table of tasks.
func (w *writer) stages() {
	var tasks []string
	for _, g := range w.gs {
		for _, t := range g.recs[0].Totals.Stages {
			if !slices.Contains(tasks, t.Task) {
				tasks = append(tasks, t.Task)
			}
		}
	}
	var rows [][]string
	for _, task := range tasks {
		for _, g := range w.gs {
			m := w.s.Methods[g.method].Metrics
			mean := func(name string) string {
				if e, ok := m["stage."+task+"."+name]; ok {
					return number(e.Mean)
				}
				return ""
			}
			pair := func(name string) string {
				a, b := mean(name+".p50"), mean(name+".p95")
				if a == "" {
					return ""
				}
				return a + " / " + b
			}
			if mean("processed_frames") != "" {
				rows = append(rows, []string{
					safe(task), string(g.method), mean("processed_frames"), mean("dropped_frames"),
					pair("transfer_ms"), pair("queue_ms"), pair("work_ms"),
				})
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	w.heading("Stages")
	w.table("task||>processed|>dropped|>transfer p50 / p95 (ms)|>queue (ms)|>work (ms)", rows)
}

// qualities lists what was decided about the qualities of sources.
func (w *writer) qualities() {
	for _, g := range w.gs {
		rec := g.recs[0]
		if made := adapted(rec); len(made) > 0 {
			w.heading(fmt.Sprintf("Qualities, %s %d", g.method, rec.Run))
			decided(&w.markdown, made)
		}
	}
}

func (w *writer) pictures(drawn []picture) {
	if len(drawn) == 0 {
		return
	}
	w.heading("Plots")
	for _, p := range drawn {
		w.linef("![%s](%s/%s.png)", safe(p.caption), plotsFolder, p.name)
		w.linef("")
		w.linef("%s. [SVG](%s/%s.svg)", safe(p.caption), plotsFolder, p.name)
		w.linef("")
	}
}

// again says how to run it once more.
func (w *writer) again() {
	w.heading("Files, and how to run it again")
	if w.r.Command != "" {
		w.linef("```sh")
		w.linef("%s", strings.ReplaceAll(w.r.Command, "```", "` ` `"))
		w.linef("```")
		w.linef("")
	}
	var runs []string
	for _, g := range w.gs {
		for _, rec := range g.recs {
			runs = append(runs, runName(rec.Method, rec.Run)+"/")
		}
	}
	w.linef("The raw tables of each run are in %s; all figures, for scripts, in [summary.json](summary.json). "+
		"A simulation takes the costs in [costs.yaml](costs.yaml).", strings.Join(runs, ", "))
}
