package experiment

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a plot with a title above, banners on its time axis, and its legend
// below the data. It is drawn the same as PNG and as SVG.
type chart struct {
	title   string
	plot    *plot.Plot
	legend  []entry
	banners []banner
	height  vg.Length
}

// entry is a line of the legend.
type entry struct {
	name  string
	thumb plot.Thumbnailer
}

const (
	chartWidth  = 9 * vg.Inch
	chartHeight = 4 * vg.Inch
	chartMargin = vg.Length(10)
	pixels      = 144 // an inch, of PNG
)

// palette is Okabe and Ito's, which colour-blind people can tell apart; its
// yellow is left out, for it is too light on white.
var palette = [...]color.NRGBA{
	{0x00, 0x72, 0xb2, 0xff}, // blue
	{0xd5, 0x5e, 0x00, 0xff}, // vermilion
	{0x00, 0x9e, 0x73, 0xff}, // green
	{0xcc, 0x79, 0xa7, 0xff}, // purple
	{0xe6, 0x9f, 0x00, 0xff}, // orange
	{0x56, 0xb4, 0xe9, 0xff}, // sky
	{0x00, 0x00, 0x00, 0xff}, // black
}

var (
	ink   = color.NRGBA{0x22, 0x22, 0x22, 0xff}
	faint = color.NRGBA{0x66, 0x66, 0x66, 0xff}
	line  = color.NRGBA{0xdd, 0xdd, 0xdd, 0xff}
	shade = color.NRGBA{0xf0, 0xf0, 0xf0, 0xff}
)

func colour(i int) color.NRGBA { return palette[i%len(palette)] }

func withAlpha(c color.NRGBA, a uint8) color.NRGBA {
	c.A = a
	return c
}

// style is that of text of a size.
func style(size vg.Length, bold bool, c color.Color) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: c, Font: f, Handler: plot.DefaultTextHandler, YAlign: text.YBottom}
}

// newChart returns a chart with axes and a grid, without data.
func newChart(title, x, y string) *chart {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle = keepAlign(a.Label.TextStyle, style(10, false, ink))
		a.Tick.Label = keepAlign(a.Tick.Label, style(9, false, ink))
		a.Color, a.Tick.Color = ink, ink
		a.Padding = 0
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(ticks), plot.TickerFunc(ticks)
	return &chart{title: title, plot: p, height: chartHeight}
}

// grid draws lines across the data at the ticks of one axis.
func (c *chart) grid(horizontal bool) {
	faintly := draw.LineStyle{Color: line, Width: 0.5}
	if horizontal {
		c.plot.Add(&plotter.Grid{Horizontal: faintly})
	} else {
		c.plot.Add(&plotter.Grid{Vertical: faintly})
	}
}

// ticks are some six, at 1, 2 or 5 times a power of ten.
func ticks(least, most float64) []plot.Tick {
	if !(most > least) {
		return nil
	}
	step := math.Pow10(int(math.Floor(math.Log10(most - least))))
	switch n := (most - least) / step; {
	case n < 1.5:
		step /= 5
	case n < 3.5:
		step /= 2
	case n > 7:
		step *= 2
	}
	digits := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var out []plot.Tick
	for k := math.Ceil(least/step - 1e-9); k*step <= most+step*1e-9; k++ {
		out = append(out, plot.Tick{Value: k * step, Label: decimal(k*step, digits)})
	}
	return out
}

// keepAlign is s with the rotation and alignment of an axis's own style.
func keepAlign(own, s text.Style) text.Style {
	s.Rotation, s.XAlign, s.YAlign = own.Rotation, own.XAlign, own.YAlign
	return s
}

func (c *chart) png() ([]byte, error) {
	canvas := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(chartWidth, c.height), vgimg.UseDPI(pixels))}
	c.draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("draw %q as PNG: %w", c.title, err)
	}
	return b.Bytes(), nil
}

func (c *chart) svg() ([]byte, error) {
	canvas := vgsvg.New(chartWidth, c.height)
	c.draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("draw %q as SVG: %w", c.title, err)
	}
	// Who does not have this font had better see one of the same widths.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

func (c *chart) draw(all draw.Canvas) {
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	in := draw.Crop(all, chartMargin, -chartMargin, chartMargin, -chartMargin)

	title := style(12, true, ink)
	title.YAlign = text.YTop
	in.FillText(title, vg.Point{X: in.Min.X, Y: in.Max.Y}, c.title)
	in.Max.Y -= title.Height(c.title) + 8

	// Where the banners stand depends on the width of the plot only, how high
	// they reach on how many stand beside each other.
	right := in.Max.X
	in.Max.X -= c.overhang(in)
	data := c.plot.DataCanvas(in)
	x, _ := c.plot.Transforms(&data)
	placed, levels, numbered := layout(c.banners, func(b banner) vg.Length { return x(b.at) }, data.Min.X, right)
	in.Max.Y -= bannersHeight(levels)

	legend := c.legend
	if numbered {
		legend = append(slices.Clip(legend), entry{"events, by their numbers in the report", &plotter.Line{LineStyle: bannerStroke}})
	}
	in.Min.Y += drawLegend(in, legend)

	data = c.plot.DataCanvas(in)
	c.plot.Draw(in)
	drawBanners(data, placed)
}

// overhang is how much narrower the plot has to be for the texts of the last
// banners to stand beside their lines; a fifth of it at most.
func (c *chart) overhang(in draw.Canvas) vg.Length {
	sty := style(bannerSize, false, ink)
	most, width := in.Size().X/5, vg.Length(0)
	for range 4 { // a narrower plot moves the lines
		data := c.plot.DataCanvas(draw.Crop(in, 0, -width, 0, 0))
		x, _ := c.plot.Transforms(&data)
		missing := vg.Length(0)
		for _, b := range c.banners {
			missing = max(missing, x(b.at)+bannerGap+sty.Width(b.text)-in.Max.X)
		}
		if missing <= 0 {
			break
		}
		width = min(width+missing, most)
	}
	return width
}

const (
	thumbWidth = vg.Length(24)
	entryGap   = vg.Length(16)
)

// drawLegend draws the entries in rows at the bottom, and returns their height.
func drawLegend(in draw.Canvas, legend []entry) vg.Length {
	if len(legend) == 0 {
		return 0
	}
	sty := style(9, false, ink)
	sty.YAlign = text.YCenter
	rowHeight := sty.Height("Ag") + 5
	widths := make([]vg.Length, len(legend))
	rows := [][]int{nil}
	used := vg.Length(0)
	for i, e := range legend {
		widths[i] = thumbWidth + 4 + sty.Width(e.name) + entryGap
		if last := len(rows) - 1; len(rows[last]) > 0 && used+widths[i] > in.Size().X {
			rows, used = append(rows, nil), 0
		}
		last := len(rows) - 1
		rows[last] = append(rows[last], i)
		used += widths[i]
	}
	for k, row := range rows {
		at := in.Min.X
		y := in.Min.Y + rowHeight*vg.Length(len(rows)-1-k) + rowHeight/2
		for _, i := range row {
			icon := draw.Canvas{Canvas: in.Canvas, Rectangle: vg.Rectangle{
				Min: vg.Point{X: at, Y: y - 4}, Max: vg.Point{X: at + thumbWidth, Y: y + 4},
			}}
			legend[i].thumb.Thumbnail(&icon)
			in.FillText(sty, vg.Point{X: at + thumbWidth + 4, Y: y}, legend[i].name)
			at += widths[i]
		}
	}
	return rowHeight*vg.Length(len(rows)) + 6
}
