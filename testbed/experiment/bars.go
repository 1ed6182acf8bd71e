package experiment

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// barRow is a name with one bar for each method.
type barRow struct {
	name string
	bars []float64
}

// bars are rows of horizontal bars, the first on top.
type bars []barRow

// barChart returns a chart of rows; names are those of the bars of a row.
func barChart(title, x string, rows []barRow, names []string) *chart {
	c := newChart(title, x, "")
	c.grid(false)
	var labels []string
	c.plot.X.Min, c.plot.X.Max = 0, 1
	for _, r := range rows {
		labels = append(labels, r.name)
		for _, b := range r.bars {
			c.plot.X.Max = max(c.plot.X.Max, b*1.08) // its figure stands beside it
		}
	}
	c.rows(labels, vg.Length(8+10*len(names)))
	c.plot.Add(bars(rows))
	if len(names) > 1 {
		for i, name := range names {
			c.legend = append(c.legend, entry{name, swatch{colour(i)}})
		}
	}
	return c
}

// rows makes the y axis one of names, from top to bottom, each so high.
func (c *chart) rows(names []string, height vg.Length) {
	y := &c.plot.Y
	y.Min, y.Max = -0.5, float64(len(names))-0.5
	var labels []plot.Tick
	for i, name := range names {
		labels = append(labels, plot.Tick{Value: float64(len(names) - 1 - i), Label: name})
	}
	y.Tick.Marker = plot.ConstantTicks(labels)
	y.Tick.Length, y.Width = 0, 0
	c.height = vg.Length(len(names))*height + 110
}

// Plot implements plot.Plotter.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	sty := style(8, false, faint)
	sty.YAlign = text.YCenter
	for i, row := range b {
		step := (y(1) - y(0)) * 0.8 / vg.Length(len(row.bars))
		top := y(float64(len(b)-1-i)) + (y(1)-y(0))*0.4
		for k, v := range row.bars {
			from, to := top-step*vg.Length(k), top-step*vg.Length(k+1)
			fillRect(c, colour(k), x(0), to+0.5, x(v), from-0.5)
			c.FillText(sty, vg.Point{X: x(v) + 3, Y: (from + to) / 2}, decimal(v, 0)+" %")
		}
	}
}

func fillRect(c draw.Canvas, col color.Color, x0, y0, x1, y1 vg.Length) {
	c.FillPolygon(col, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
}

// swatch is a filled square of a legend.
type swatch struct{ color color.Color }

// Thumbnail implements plot.Thumbnailer.
func (s swatch) Thumbnail(c *draw.Canvas) {
	fillRect(*c, s.color, c.Min.X, c.Min.Y, c.Max.X, c.Max.Y)
}

// tierColour is a tier's place in the palette.
func tierColour(t tiering.Tier) int { return max(int(t)-1, 0) }

// maxRows is how many slots a plot of placements shows.
const maxRows = 48

// placements draws where the tasks of a method's first run were.
func (p *plotting) placements(g group) picture {
	rec := g.recs[0]
	all := stints(p.sc, rec)
	if len(all) == 0 {
		return picture{}
	}
	tier := map[string]tiering.Tier{}
	for _, n := range p.sc.Nodes {
		tier[n.Name] = n.Tier
	}
	var slots []string
	for _, s := range all {
		if len(slots) == 0 || slots[len(slots)-1] != s.slot {
			slots = append(slots, s.slot)
		}
	}
	more := ""
	if n := len(slots) - maxRows; n > 0 {
		slots, more = slots[:maxRows], fmt.Sprintf(", the first %d of %d", maxRows, len(slots))
	}
	title := "Placements" + more
	if len(p.gs) > 1 || len(g.recs) > 1 {
		title += fmt.Sprintf(" (%s, run %d)", g.method, rec.Run)
	}
	c := newTimeChart(p.sc, title, "")
	c.rows(slots, 20)
	c.plot.Add(&gantt{all, slots, tier, rec.Samples})
	c.height += bannersHeight(maxLevels) / 2
	for _, t := range tiersOf(p.sc) {
		c.legend = append(c.legend, entry{t.String(), swatch{colour(tierColour(t))}})
	}
	c.legend = append(c.legend, entry{"node down", hatch{}})
	return picture{"placements-" + string(g.method), "Which node ran each instance of a task" + more, c}
}

// gantt is rows of stints.
type gantt struct {
	stints  []stint
	slots   []string
	tier    map[string]tiering.Tier
	samples []testbed.Sample
}

// Plot implements plot.Plotter.
func (g *gantt) Plot(c draw.Canvas, p *plot.Plot) {
	tx, y := p.Transforms(&c)
	x := func(s float64) vg.Length { return max(min(tx(s), c.Max.X), c.Min.X) }
	row := map[string]int{}
	for i, s := range g.slots {
		row[s] = len(g.slots) - 1 - i
	}
	half := (y(1) - y(0)) * 0.38
	for _, s := range g.stints {
		k, ok := row[s.slot]
		if !ok {
			continue
		}
		from, to, mid := x(s.from.Seconds()), x(s.to.Seconds()), y(float64(k))
		back := faint // a node that the scenario does not have
		if t, ok := g.tier[s.node]; ok {
			back = colour(tierColour(t))
		}
		fillRect(c, back, from+0.5, mid-half, to-0.5, mid+half)
		for _, d := range downtimes(g.samples, s.node) {
			if a, b := max(d[0], s.from), min(d[1], s.to); a < b {
				hatchRect(c, x(a.Seconds()), mid-half, x(b.Seconds()), mid+half)
			}
		}
		sty := style(8.5, true, color.White)
		sty.YAlign = text.YCenter
		if sty.Width(s.node)+8 < to-from {
			c.FillText(sty, vg.Point{X: from + 4, Y: mid}, s.node)
		}
	}
}

// hatchRect covers a rectangle with slanted lines.
func hatchRect(c draw.Canvas, x0, y0, x1, y1 vg.Length) {
	fillRect(c, color.NRGBA{0xff, 0xff, 0xff, 0xb0}, x0, y0, x1, y1)
	in := draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: x0, Y: y0}, Max: vg.Point{X: x1, Y: y1}}}
	for x := x0 - (y1 - y0); x < x1; x += 4 {
		in.StrokeLines(draw.LineStyle{Color: ink, Width: 0.6}, in.ClipLinesXY([]vg.Point{{X: x, Y: y0}, {X: x + y1 - y0, Y: y1}})...)
	}
}

// hatch is the legend's sample of it.
type hatch struct{}

// Thumbnail implements plot.Thumbnailer.
func (hatch) Thumbnail(c *draw.Canvas) { hatchRect(*c, c.Min.X, c.Min.Y, c.Max.X, c.Max.Y) }
