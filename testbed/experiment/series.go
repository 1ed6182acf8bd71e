package experiment

import (
	"image/color"
	"math"
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/weft-mesh/weft/testbed"
)

// point is a figure at one time, over the runs that have it.
type point struct {
	at           float64 // seconds
	mean, lo, hi float64
	runs         int // 0: there were samples, but none had the figure
}

// overRuns takes a figure of the time between two samples from all runs. Runs
// are lined up by sampling interval; points are in order of time.
func overRuns(recs []*testbed.Recording, every time.Duration, figure func(a, b *testbed.Sample) (float64, bool)) []point {
	if len(recs) == 0 || every <= 0 {
		return nil
	}
	by := map[int64]*point{}
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, rec := range recs {
		for i := 1; i < len(rec.Samples); i++ {
			a, b := &rec.Samples[i-1], &rec.Samples[i]
			k := int64(math.Round(float64(b.At) / float64(every)))
			p := by[k]
			if p == nil {
				p = &point{at: (time.Duration(k) * every).Seconds()}
				by[k] = p
				first, last = min(first, k), max(last, k)
			}
			x, ok := figure(a, b)
			if !ok || !finite(x) {
				continue
			}
			if p.runs == 0 {
				p.lo, p.hi = x, x
			}
			p.lo, p.hi = min(p.lo, x), max(p.hi, x)
			p.mean += x // the sum, until all runs are in
			p.runs++
		}
	}
	var out []point
	for k := first; k <= last && len(out) < len(by); k++ {
		if p := by[k]; p != nil {
			p.mean /= float64(max(p.runs, 1))
			out = append(out, *p)
		}
	}
	return out
}

// withoutZeros takes away the zeros that have no other figure beside them.
func withoutZeros(points []point) []point {
	zero := func(i int) bool { return i < 0 || i >= len(points) || points[i].hi == 0 }
	out := slices.Clone(points)
	for i := range out {
		if zero(i-1) && zero(i) && zero(i+1) {
			out[i].runs = 0
		}
	}
	return out
}

// curveStyle is how a series is drawn.
type curveStyle struct {
	color  color.NRGBA
	dashed bool
	dense  bool // so many points that a thick line would cover them
}

func (s curveStyle) line() draw.LineStyle {
	l := draw.LineStyle{Color: s.color, Width: 1.5}
	if s.dense {
		l.Width = 0.9
	}
	if s.dashed {
		l.Dashes = []vg.Length{5, 3}
	}
	return l
}

// addSeries draws points as a line, broken where nothing was measured, over a
// band from the lowest to the highest run. It reports whether there was any.
func (c *chart) addSeries(name string, points []point, every time.Duration, s curveStyle) bool {
	s.dense = len(points) > 300
	var pieces [][]point
	for i, p := range points {
		if p.runs == 0 {
			continue
		}
		// A sample may come late; two that lack are a hole.
		joined := i > 0 && points[i-1].runs > 0 && p.at-points[i-1].at < 2.5*every.Seconds()
		if !joined {
			pieces = append(pieces, nil)
		}
		pieces[len(pieces)-1] = append(pieces[len(pieces)-1], p)
	}
	for _, piece := range pieces {
		var mid, band plotter.XYs
		wide := false
		for _, p := range piece {
			mid = append(mid, plotter.XY{X: p.at, Y: p.mean})
			band = append(band, plotter.XY{X: p.at, Y: p.lo})
			wide = wide || p.hi > p.lo
		}
		if len(mid) == 1 { // a line needs two ends
			half := every.Seconds() / 2
			mid = plotter.XYs{{X: mid[0].X - half, Y: mid[0].Y}, {X: mid[0].X + half, Y: mid[0].Y}}
		}
		if wide {
			for i := len(piece) - 1; i >= 0; i-- {
				band = append(band, plotter.XY{X: piece[i].at, Y: piece[i].hi})
			}
			c.plot.Add(&plotter.Polygon{XYs: []plotter.XYs{band}, Color: withAlpha(s.color, 0x30)})
		}
		c.plot.Add(&plotter.Line{XYs: mid, LineStyle: s.line()})
	}
	if len(pieces) > 0 {
		c.legend = append(c.legend, entry{name, &plotter.Line{LineStyle: s.line()}})
	}
	return len(pieces) > 0
}

// warmUp shades the time before 0.
type warmUp struct{}

// Plot implements plot.Plotter.
func (warmUp) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	if p.X.Min >= 0 {
		return
	}
	c.FillPolygon(shade, []vg.Point{
		{X: c.Min.X, Y: c.Min.Y}, {X: x(0), Y: c.Min.Y}, {X: x(0), Y: c.Max.Y}, {X: c.Min.X, Y: c.Max.Y},
	})
	sty := style(8.5, false, faint)
	sty.YAlign = draw.YTop
	for _, name := range []string{"warm-up", "warm"} {
		if sty.Width(name)+4 < x(0)-c.Min.X {
			c.FillText(sty, vg.Point{X: c.Min.X + 3, Y: c.Max.Y - 2}, name)
			return
		}
	}
}

// newTimeChart returns a chart over the time of the scenario, with its events.
// Without a name for its y axis it has no grid.
func newTimeChart(sc *testbed.Scenario, title, y string) *chart {
	c := newChart(title, "time since the warm-up (s)", y)
	if y != "" {
		c.grid(true)
	}
	c.plot.X.Min, c.plot.X.Max = -sc.Measure.Warmup.Seconds(), max(sc.Measure.Duration.Seconds(), 1)
	c.plot.X.Tick.Marker = plot.TickerFunc(timeTicks)
	c.plot.Add(warmUp{})
	for _, in := range incidents(sc.Timeline) {
		for k, text := range in.what() {
			f := banner{at: in.at.Seconds(), text: text, number: in.number}
			if k > 0 { // one line for all of them
				c.banners[len(c.banners)-1].text += ", " + text
				continue
			}
			c.banners = append(c.banners, f)
		}
	}
	return c
}

// timeTicks are at most twelve or so, at round seconds.
func timeTicks(least, most float64) []plot.Tick {
	step := math.Inf(1)
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400} {
		if (most-least)/s <= 12 {
			step = s
			break
		}
	}
	if math.IsInf(step, 1) {
		return plot.DefaultTicks{}.Ticks(least, most)
	}
	var out []plot.Tick
	for k := math.Ceil(least / step); k*step <= most; k++ {
		out = append(out, plot.Tick{Value: k * step, Label: decimal(k*step, 0)})
	}
	return out
}

// fromZero lets the y axis begin at 0 and end above the data.
func (c *chart) fromZero() {
	y := &c.plot.Y
	y.Min = 0
	if !finite(y.Max) || y.Max <= 0 {
		y.Max = 1
		return
	}
	y.Max *= 1.05
}
