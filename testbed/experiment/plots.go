package experiment

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot/plotter"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// picture is a chart and its file, without the ending.
type picture struct {
	name, caption string
	chart         *chart
}

// group is the runs of one method, and how they are drawn beside the other.
type group struct {
	method testbed.Method
	recs   []*testbed.Recording
	dashed bool
	suffix string // of names in legends
}

// groups are the methods that have runs. Simulated ones are dashed beside
// emulated ones.
func groups(r *Result) []group {
	var out []group
	for _, m := range []testbed.Method{testbed.Emulated, testbed.Simulated} {
		if recs := r.of(m); len(recs) > 0 {
			out = append(out, group{method: m, recs: recs, dashed: len(out) > 0})
		}
	}
	if len(out) > 1 {
		for i := range out {
			out[i].suffix = ", " + string(out[i].method)
		}
	}
	return out
}

// plots draws what the recordings give; what has no data is left out.
func plots(r *Result) []picture {
	gs := groups(r)
	if len(gs) == 0 {
		return nil
	}
	p := plotting{r.Scenario, gs, r.scale(), spacing(r), ""}
	for _, g := range gs {
		if len(g.recs) > 1 {
			p.note = fmt.Sprintf(" (mean of %d runs, shaded from lowest to highest)", len(g.recs))
		}
	}
	var out []picture
	for _, pic := range []picture{p.latency(), p.throughput(), p.qualities(), p.drops(), p.tiers(), p.nodes(), p.distribution()} {
		if pic.chart != nil {
			out = append(out, pic)
		}
	}
	for _, g := range gs {
		if pic := p.placements(g); pic.chart != nil {
			out = append(out, pic)
		}
	}
	return out
}

// spacing is the time between samples.
func spacing(r *Result) time.Duration {
	if r.Scenario.Measure.Every > 0 {
		return r.Scenario.Measure.Every
	}
	for i := range r.Recordings {
		if every := interval(r.Recordings[i].Samples); every > 0 {
			return every
		}
	}
	return time.Second
}

// plotting is what all plots of a result have in common.
type plotting struct {
	sc    *testbed.Scenario
	gs    []group
	scale float64
	every time.Duration
	note  string // after titles
}

// curveOf is one figure of a plot over time.
type curveOf struct {
	name   string
	color  int
	figure func(a, b *testbed.Sample) (float64, bool)
}

// overTime draws figures for each method; a nil chart: there is no data. Sparse
// figures are 0 most of the time, which is not drawn.
func (p *plotting) overTime(title, y string, sparse bool, curves []curveOf) *chart {
	c := newTimeChart(p.sc, title+p.note, y)
	found := false
	for _, cv := range curves {
		for _, g := range p.gs {
			points := overRuns(g.recs, p.every, cv.figure)
			if sparse {
				points = withoutZeros(points)
			}
			found = c.addSeries(cv.name+g.suffix, points, p.every, curveStyle{color: colour(cv.color), dashed: g.dashed}) || found
		}
	}
	if !found {
		return nil
	}
	// Bands and half intervals must not widen the scenario's time.
	c.plot.X.Min, c.plot.X.Max = -p.sc.Measure.Warmup.Seconds(), max(p.sc.Measure.Duration.Seconds(), 1)
	c.fromZero()
	return c
}

func (p *plotting) latency() picture {
	latency := func(of func(l testbed.Latency) time.Duration) func(a, b *testbed.Sample) (float64, bool) {
		return func(_, b *testbed.Sample) (float64, bool) { return inMillis(of(b.Latency)), b.Latency.Frames > 0 }
	}
	return picture{"latency", "Latency from capture to result, of the frames delivered in each sampling interval", p.overTime("Latency", "latency (ms)", false, []curveOf{
		{"p50", 0, latency(func(l testbed.Latency) time.Duration { return l.P50 })},
		{"p95", 1, latency(func(l testbed.Latency) time.Duration { return l.P95 })},
	})}
}

func (p *plotting) throughput() picture {
	return picture{"throughput", "Frames captured and delivered", p.overTime("Throughput", "frames/s", false, []curveOf{
		{"captured", 6, growth(func(s *testbed.Sample) uint64 { return s.Frames.Captured })},
		{"delivered", 0, growth(func(s *testbed.Sample) uint64 { return s.Frames.Delivered })},
	})}
}

// qualities draws at which quality frames were analysed, where there is a choice.
func (p *plotting) qualities() picture {
	spec, err := p.sc.WorkflowSpec(nil)
	if err != nil {
		return picture{}
	}
	var curves []curveOf
	for _, t := range spec.Tasks {
		analysed := func(s *testbed.Sample) uint64 {
			if i := slices.IndexFunc(s.Stages, func(x testbed.StageSample) bool { return x.Task == t.Name }); i >= 0 {
				return s.Stages[i].Processed
			}
			return 0
		}
		ever := func(rec *testbed.Recording) bool {
			n := len(rec.Samples)
			return n > 0 && analysed(&rec.Samples[n-1]) > 0
		}
		if t.Model != nil && slices.ContainsFunc(p.gs, func(g group) bool { return slices.ContainsFunc(g.recs, ever) }) {
			curves = append(curves, curveOf{t.Name, len(curves), growth(analysed)})
		}
	}
	if len(curves) < 2 {
		return picture{}
	}
	return picture{"qualities", "Frames analysed, by quality", p.overTime("Frames analysed, by quality", "frames/s", false, curves)}
}

func growth(of func(*testbed.Sample) uint64) func(a, b *testbed.Sample) (float64, bool) {
	return func(a, b *testbed.Sample) (float64, bool) {
		if b.At <= a.At {
			return 0, false
		}
		return rate(of(a), of(b), b.At-a.At), true
	}
}

func (p *plotting) drops() picture {
	var curves []curveOf
	for i, reason := range reasons {
		seen := func(rec *testbed.Recording) bool {
			n := len(rec.Samples)
			return n > 0 && dropsOf(&rec.Samples[n-1], reason) > 0
		}
		if slices.ContainsFunc(p.gs, func(g group) bool { return slices.ContainsFunc(g.recs, seen) }) {
			curves = append(curves, curveOf{string(reason), i, growth(func(s *testbed.Sample) uint64 { return dropsOf(s, reason) })})
		}
	}
	for i := range curves {
		if len(curves) <= len(palette) {
			curves[i].color = i
		}
	}
	return picture{"drops", "Frames dropped, by reason", p.overTime("Frames dropped, by reason", "frames/s", true, curves)}
}

// dropsOf is the frames dropped for a reason, as the tables count them.
func dropsOf(s *testbed.Sample, reason pipeline.Reason) uint64 {
	if reason != otherReason {
		return s.Frames.Dropped[reason]
	}
	var n uint64
	for r, k := range s.Frames.Dropped {
		if r == otherReason || !slices.Contains(reasons, r) {
			n += k
		}
	}
	return n
}

func (p *plotting) tiers() picture {
	var curves []curveOf
	for _, tier := range tiersOf(p.sc) {
		curves = append(curves, curveOf{tier.String(), tierColour(tier), func(a, b *testbed.Sample) (float64, bool) {
			sum, known := 0.0, false
			for _, n := range p.sc.Nodes {
				if used, ok := cpuBetween(a, b, n.Name); ok && n.Tier == tier {
					sum, known = sum+used, true
				}
			}
			return sum, known
		}})
	}
	return picture{"cpu-tiers", "CPU used by all nodes of a tier together", p.overTime("CPU by tier", "cores used", false, curves)}
}

// nodes draws what each node used of its CPU quota, on average.
func (p *plotting) nodes() picture {
	var rows []barRow
	for _, n := range p.sc.Nodes {
		quota := p.sc.Quota(n, p.scale)
		row := barRow{name: n.Name, bars: make([]float64, len(p.gs))}
		known := false
		for i, g := range p.gs {
			sum, runs := 0.0, 0.0
			for _, rec := range g.recs {
				figures := map[string]float64{}
				addCPU(figures, p.sc, rec.Samples)
				if x, ok := figures["cpu_cores.node."+n.Name]; ok {
					sum, runs = sum+x, runs+1
				}
			}
			if runs > 0 && quota > 0 {
				row.bars[i], known = 100*sum/runs/quota, true
			}
		}
		if known {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return picture{}
	}
	var names []string
	for _, g := range p.gs {
		names = append(names, string(g.method))
	}
	c := barChart("CPU by node, on average", "CPU used (% of the node's quota)", rows, names)
	return picture{"cpu-nodes", "CPU that each node used of its quota, on average over the measured time", c}
}

// distribution draws the cumulative distribution of latency.
func (p *plotting) distribution() picture {
	c := newChart("Distribution of latency", "latency (ms)", "fraction of delivered frames")
	c.grid(true)
	c.plot.X.Min = 0
	found := false
	var names []string
	for i, g := range p.gs {
		all := pipeline.NewHistogram()
		for _, rec := range g.recs {
			all.Merge(rec.Totals.Latency)
		}
		if all.Count() == 0 {
			continue
		}
		found = true
		// The last half percent would squeeze the rest to the left.
		const steps = 398
		xy := plotter.XYs{{X: inMillis(all.Quantile(0)), Y: 0}}
		for k := 1; k <= steps; k++ {
			q := float64(k) / 400
			xy = append(xy, plotter.XY{X: inMillis(all.Quantile(q)), Y: q})
		}
		s := curveStyle{color: colour(i), dashed: g.dashed}
		c.plot.Add(&plotter.Line{XYs: xy, LineStyle: s.line()})
		names = append(names, fmt.Sprintf("%s (%d frames)", g.method, all.Count()))
		c.legend = append(c.legend, entry{names[len(names)-1], &plotter.Line{LineStyle: s.line()}})
	}
	if !found {
		return picture{}
	}
	c.plot.Y.Min, c.plot.Y.Max = 0, 1
	return picture{"latency-distribution", "Cumulative distribution of latency, up to 99.5 %: " + strings.Join(names, ", "), c}
}
