package experiment

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// sweepCharts draws utility, makespan and F1 over the parameter, a line an arm;
// and utility with each knob, where that was asked.
func sweepCharts(s *SweepSummary) []picture {
	var out []picture
	knobs := func(a string) bool {
		return a == armOurs || a == armBest || strings.HasPrefix(a, "only ") || strings.Contains(a, "filter")
	}
	others := func(a string) bool {
		return !strings.Contains(a, "filter") && (a == "only resolution" || !strings.HasPrefix(a, "only "))
	}
	for _, x := range []struct {
		name, y string
		of      func(*ArmAtPoint) Estimate
		show    func(string) bool
	}{
		{"utility", "utility", func(a *ArmAtPoint) Estimate { return a.Utility }, others},
		{"makespan", "mean makespan (s)", func(a *ArmAtPoint) Estimate { return a.Makespan }, others},
		{"f1", "F1 of what is shown", func(a *ArmAtPoint) Estimate { return a.F1 }, others},
		{"knobs", "utility", func(a *ArmAtPoint) Estimate { return a.Utility }, knobs},
	} {
		names := slices.DeleteFunc(s.arms(), func(a string) bool { return !x.show(a) })
		if x.name == "knobs" && len(names) < 4 {
			continue
		}
		c := newChart(title(x.y)+" over the "+s.Parameter.label(), s.Parameter.label(), x.y)
		c.grid(true)
		if s.Parameter.logarithmic() && s.varies() { // a logarithmic axis needs two ends
			c.plot.X.Scale, c.plot.X.Tick.Marker = plot.LogScale{}, valueTicks(s)
		}
		for k, name := range names {
			c.addArm(s, name, x.of, armStyle(name, k), x.name == "makespan")
		}
		if x.name == "makespan" && c.plot.Y.Min > 0 { // a logarithm of nothing there is not
			c.plot.Y.Scale, c.plot.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		}
		out = append(out, picture{fmt.Sprintf("%s-%s", s.Parameter, x.name), x.y + " over the " + s.Parameter.label(), c})
	}
	return out
}

// armStyle has one colour for a placement: dashed with the best quality for all.
func armStyle(name string, k int) draw.LineStyle {
	colours := []string{armOurs, "cloud-only", "fog-only", "edge-only", "greedy", "random"}
	placed, _, adapted := strings.Cut(name, ",")
	st := curveStyle{color: colour(6)} // black: our placement, fixed qualities
	if i := slices.Index(colours, placed); i >= 0 {
		st = curveStyle{color: colour(i), dashed: i > 0 && !adapted}
	} else if name != armBest {
		st = curveStyle{color: colour(1 + k%5), dashed: true}
		if strings.HasSuffix(name, "-only") || strings.HasPrefix(name, "half") {
			st = curveStyle{color: ink}
		}
	}
	l := st.line()
	l.Width = 1
	switch {
	case name == armOurs:
		l.Width = 2.4
	case strings.HasSuffix(name, "-only") && st.color == ink:
		l.Dashes = []vg.Length{2, 2}
	case strings.HasPrefix(name, "half"):
		l.Dashes = []vg.Length{6, 2, 1, 2}
	}
	return l
}

// addArm draws an arm with the confidence interval of each point; positive: as
// far as it is above 0.
func (c *chart) addArm(s *SweepSummary, name string, of func(*ArmAtPoint) Estimate, style draw.LineStyle, positive bool) {
	var xy plotter.XYs
	var errs plotter.YErrors
	for _, p := range s.Points {
		a := p.arm(name)
		if a == nil {
			continue
		}
		e := of(a)
		if s.Parameter.logarithmic() && p.Value <= 0 {
			continue
		}
		xy = append(xy, plotter.XY{X: p.Value, Y: e.Mean})
		half := 0.0
		if e.CI95 != nil && finite(*e.CI95) {
			half = *e.CI95
		}
		low := half
		if positive {
			low = min(low, 0.9*e.Mean)
		}
		errs = append(errs, struct{ Low, High float64 }{low, half})
	}
	l := &plotter.Line{XYs: xy, LineStyle: style}
	bar := draw.LineStyle{Color: style.Color, Width: 0.6}
	c.plot.Add(l, &plotter.YErrorBars{XYs: xy, YErrors: errs, LineStyle: bar, CapWidth: 3},
		&plotter.Scatter{XYs: xy, GlyphStyle: draw.GlyphStyle{Color: style.Color, Radius: 1.6, Shape: draw.CircleGlyph{}}})
	c.legend = append(c.legend, entry{name, l})
}

func (s *SweepSummary) varies() bool {
	return slices.ContainsFunc(s.Points, func(p PointSummary) bool { return p.Value != s.Points[0].Value })
}

// valueTicks are at the values of the sweep.
func valueTicks(s *SweepSummary) plot.ConstantTicks {
	var out plot.ConstantTicks
	for _, p := range s.Points {
		out = append(out, plot.Tick{Value: p.Value, Label: s.Parameter.number(p.Value)})
	}
	return out
}

// MapSummary says where adaptation pays.
type MapSummary struct {
	Link    Parameter   `json:"link"`
	Sources []float64   `json:"sources"`
	Rates   []float64   `json:"rates_mbits"`
	Gain    [][]float64 `json:"utility_gained"` // by rate, then by sources
	// Still: adaptation changed nothing.
	Still [][]bool `json:"unchanged"`
}

func (m *MapRuns) summary() *MapSummary {
	out := &MapSummary{Link: m.Link, Sources: m.Sources, Rates: m.Rates}
	for i := range m.Points {
		var gain []float64
		var still []bool
		for k := range m.Points[i] {
			p := &m.Points[i][k]
			ours, off := p.arm(armOurs), p.arm(armBest)
			gain = append(gain, round(p.utility(ours).Mean-p.utility(off).Mean, 6))
			same := true
			for r := range p.Runs[ours] {
				same = same && math.Abs(p.Runs[ours][r].F1-p.Runs[off][r].F1) < 1e-9 && p.Runs[ours][r].Stale == 0
			}
			still = append(still, same)
		}
		out.Gain, out.Still = append(out.Gain, gain), append(out.Still, still)
	}
	return out
}

func (s *MapSummary) write(w *markdown) {
	if s == nil {
		return
	}
	w.linef("## Where adaptation pays")
	w.linef("")
	w.linef("Utility gained over the best quality for all, by the number of sources (columns) and the %s (rows). An = marks where nothing was changed.", s.Link.label())
	w.linef("")
	header := "Mbit/s"
	for _, n := range s.Sources {
		header += "|>" + decimal(n, 0)
	}
	var rows [][]string
	for i, rate := range s.Rates {
		row := []string{s.Link.number(rate)}
		for k := range s.Sources {
			row = append(row, s.cell(i, k))
		}
		rows = append(rows, row)
	}
	w.table(header, rows)
	w.linef("![map](map-%s.png)", s.Link)
	w.linef("")
}

func (s *MapSummary) cell(i, k int) string {
	if s.Still[i][k] {
		return "= " + decimal(s.Gain[i][k], 3)
	}
	return decimal(s.Gain[i][k], 3)
}

// mapChart colours each cell by what adaptation gains there: white where it
// gains nothing, red where it loses.
func mapChart(s *MapSummary) *chart {
	c := newChart("Utility that adaptation gains over the best quality for all; = where it changes nothing", SweepSources.label(), s.Link.label())
	most := 0.05
	for i := range s.Gain {
		for _, g := range s.Gain[i] {
			most = max(most, math.Abs(g))
		}
	}
	var names plotter.XYLabels
	for i := range s.Gain {
		for k, g := range s.Gain[i] {
			x, y := float64(k), float64(i)
			box, err := plotter.NewPolygon(plotter.XYs{{X: x - 0.5, Y: y - 0.5}, {X: x + 0.5, Y: y - 0.5}, {X: x + 0.5, Y: y + 0.5}, {X: x - 0.5, Y: y + 0.5}})
			if err != nil {
				continue // four corners are enough
			}
			base := colour(0)
			if g < 0 {
				base = colour(1)
			}
			box.Color, box.LineStyle = withAlpha(base, uint8(230*math.Sqrt(math.Min(1, math.Abs(g)/most)))), draw.LineStyle{Color: line, Width: 0.5}
			c.plot.Add(box)
			names.XYs, names.Labels = append(names.XYs, plotter.XY{X: x, Y: y}), append(names.Labels, s.cell(i, k))
		}
	}
	if labels, err := plotter.NewLabels(names); err == nil {
		for i := range labels.TextStyle {
			labels.TextStyle[i] = style(8, false, ink)
			labels.TextStyle[i].XAlign, labels.TextStyle[i].YAlign = -0.5, -0.5
		}
		c.plot.Add(labels)
	}
	var x, y plot.ConstantTicks
	for k, n := range s.Sources {
		x = append(x, plot.Tick{Value: float64(k), Label: decimal(n, 0)})
	}
	for i, r := range s.Rates {
		y = append(y, plot.Tick{Value: float64(i), Label: s.Link.number(r)})
	}
	c.plot.X.Tick.Marker, c.plot.Y.Tick.Marker = x, y
	return c
}
