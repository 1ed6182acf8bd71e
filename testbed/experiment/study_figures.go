package experiment

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/study"
)

// column is a bar that stands.
type column struct {
	value, half float64 // half: of the confidence interval; 0: none is known
	label       string
	colour      int
}

// cluster is columns beside each other, with a name below.
type cluster struct {
	name    string
	columns []column
	faded   bool // others' figures
}

// clusters draws clusters of columns.
type clusters []cluster

// Plot implements plot.Plotter.
func (cs clusters) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	sty := style(8.5, false, ink)
	sty.XAlign, sty.YAlign = text.XCenter, text.YBottom
	for i, cl := range cs {
		n := len(cl.columns)
		step := (tx(1) - tx(0)) * 0.78 / vg.Length(n)
		left := tx(float64(i)) - step*vg.Length(n)/2
		for k, col := range cl.columns {
			if !finite(col.value) {
				continue
			}
			x0, x1 := left+step*vg.Length(k)+1, left+step*vg.Length(k+1)-1
			top := ty(col.value)
			fill := colour(col.colour)
			if cl.faded {
				fill = withAlpha(fill, 0x70)
			}
			fillRect(c, fill, x0, ty(0), x1, top)
			if col.half > 0 {
				mid, lo, hi := (x0+x1)/2, ty(max(col.value-col.half, 0)), ty(col.value+col.half)
				whisker := draw.LineStyle{Color: ink, Width: 1}
				c.StrokeLine2(whisker, mid, lo, mid, hi)
				for _, y := range []vg.Length{lo, hi} {
					c.StrokeLine2(whisker, mid-3, y, mid+3, y)
				}
				top = max(top, hi)
			}
			c.FillText(sty, vg.Point{X: (x0 + x1) / 2, Y: top + 2}, col.label)
		}
	}
}

// level is a dashed line across the data, with its name.
type level struct {
	at   float64
	name string
}

// Plot implements plot.Plotter.
func (l level) Plot(c draw.Canvas, p *plot.Plot) {
	_, ty := p.Transforms(&c)
	y := ty(l.at)
	c.StrokeLine2(draw.LineStyle{Color: ink, Width: 1, Dashes: []vg.Length{5, 3}}, c.Min.X, y, c.Max.X, y)
	sty := style(8.5, false, ink)
	sty.XAlign, sty.YAlign = text.XRight, text.YBottom
	// Legible also where a column is behind it.
	width, height := sty.Width(l.name), sty.Height(l.name)
	fillRect(c, color.NRGBA{0xff, 0xff, 0xff, 0xd0}, c.Max.X-width-4, y+1, c.Max.X, y+height+4)
	c.FillText(sty, vg.Point{X: c.Max.X - 2, Y: y + 2}, l.name)
}

// studyFigures draws the study's figures of what there is: the published values,
// and those of each run by each method; and how the makespan went over time.
func studyFigures(s *study.Study, all []StudyOutcome) []picture {
	var out []picture
	for i := range s.Figures {
		f := &s.Figures[i]
		if p := studyFigure(s, f, all); p.chart != nil {
			out = append(out, p)
		}
		if f.Shows != study.ShowMakespan {
			continue
		}
		for k := range s.Runs {
			for _, m := range s.Runs[k].Methods {
				if p := paceFigure(f, &s.Runs[k], m, all); p.chart != nil {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

func studyFigure(s *study.Study, f *study.Figure, all []StudyOutcome) picture {
	var cs clusters
	published := cluster{name: "published", faded: true}
	for k, name := range f.Experiments {
		col := column{value: math.NaN(), colour: k}
		i := slices.IndexFunc(s.Experiments, func(e study.Experiment) bool { return e.Name == name })
		if p := s.Experiments[i].Published; p != nil && f.Shows == study.ShowMakespan && p.Makespan != nil {
			col.value, col.label = p.Makespan.Seconds()/s.Paper.Duration.Seconds(), takes(p.Makespan.Seconds())
		} else if p != nil && f.Shows == study.ShowF1 && p.F1 != nil {
			col.value, col.label = *p.F1, decimal(*p.F1, 4)
		}
		published.columns = append(published.columns, col)
	}
	if slices.ContainsFunc(published.columns, func(c column) bool { return finite(c.value) }) {
		cs = append(cs, published)
	}
	floor, most := 0.0, 0.0
	for i := range s.Runs {
		for _, m := range s.Runs[i].Methods {
			cl, found := cluster{name: s.Runs[i].Name + "\n" + string(m)}, false
			for k, name := range f.Experiments {
				col := column{value: math.NaN(), colour: k}
				if o := find(all, s.Runs[i].Name, name, m); o != nil {
					found = true
					e := o.factor()
					if f.Shows == study.ShowF1 {
						e = o.f1()
						col.label, floor = decimal(e.Mean, 3), o.MinAccuracy
					} else {
						col.label = takes(o.makespan().Mean)
					}
					col.value = e.Mean
					if e.CI95 != nil {
						col.half = *e.CI95
					}
				}
				cl.columns = append(cl.columns, col)
			}
			if found {
				cs = append(cs, cl)
			}
		}
	}
	if len(cs) == 0 {
		return picture{}
	}
	y, caption := "makespan, in multiples of the sources' time", ", in multiples of the sources' time"
	if f.Shows == study.ShowF1 {
		y, caption = "F1", ""
	}
	c := newChart(f.Title, "", y)
	c.grid(true)
	c.plot.Add(cs)
	if floor > 0 {
		c.plot.Add(level{floor, fmt.Sprintf("asked for: %s", number(floor))})
	}
	var names []plot.Tick
	for i, cl := range cs {
		names = append(names, plot.Tick{Value: float64(i), Label: cl.name})
		for _, col := range cl.columns {
			if finite(col.value) {
				most = max(most, col.value+col.half)
			}
		}
	}
	c.plot.X.Min, c.plot.X.Max, c.plot.Y.Min, c.plot.Y.Max = -0.5, float64(len(cs))-0.5, 0, most*1.08
	c.plot.X.Tick.Marker, c.plot.X.Tick.Length = plot.ConstantTicks(names), 0
	for k, name := range f.Experiments {
		i := slices.IndexFunc(s.Experiments, func(e study.Experiment) bool { return e.Name == name })
		if about := s.Experiments[i].About; about != "" {
			name += ": " + about
		}
		c.legend = append(c.legend, entry{name, swatch{colour(k)}})
	}
	return picture{f.Name, fmt.Sprintf("%s%s. Published values are pale; whiskers are 95 %% confidence intervals.", f.Title, caption), c}
}

// paceName ends the names of figures over the time of a run.
func paceName(r *study.Run, m testbed.Method) string { return fmt.Sprintf("-%s-%s", r.Name, m) }

// paceFigure draws, over the time of a run, how long it would take at the rate of
// each moment.
func paceFigure(f *study.Figure, r *study.Run, m testbed.Method, all []StudyOutcome) picture {
	sc := r.Scenario
	every := sc.Measure.Every
	c := newTimeChart(sc, fmt.Sprintf("%s, over time: %s, %s", f.Title, r.Name, m), "multiples of the sources' time")
	found := false
	for k, name := range f.Experiments {
		o := find(all, r.Name, name, m)
		if o == nil {
			continue
		}
		fps := 0.0
		for _, x := range o.Arm.Scenario.Sources {
			fps += x.FPS
		}
		stands := o.estimate(func(r *ArmRun) float64 { return r.Stands }).Mean
		points := overRuns(o.recs, every, func(a, b *testbed.Sample) (float64, bool) {
			asked := fps * (b.At - a.At).Seconds()
			shown := float64(b.Frames.Delivered+b.Frames.Filtered-a.Frames.Delivered-a.Frames.Filtered) * stands
			return max(1, asked/max(1, shown)), asked > 0 && b.At > 0
		})
		found = c.addSeries(name, points, every, curveStyle{color: colour(k)}) || found
	}
	if !found {
		return picture{}
	}
	c.plot.X.Min, c.plot.X.Max = 0, max(sc.Measure.Duration.Seconds(), 1)
	c.fromZero()
	return picture{f.Name + paceName(r, m), fmt.Sprintf("%s, at the rate of each moment: %s, %s. Shaded from the lowest to the highest of the seeds.", f.Title, r.Name, m), c}
}
