// Package scoreplot draws precision–recall curves. It is apart from
// models/score so that who only counts needs no plots.
package scoreplot

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/weft-mesh/weft/models/score"
)

// palette is Okabe and Ito's, which colour-blind people can tell apart; black
// is for all classes together.
var palette = [...]color.NRGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff},
	{0xcc, 0x79, 0xa7, 0xff}, {0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff},
}

const (
	size   = 6 * vg.Inch
	pixels = 144 // an inch
)

// Plot is what to draw.
type Plot struct {
	Title  string
	Curves *score.Curves
	// Classes have lines of their own, as many as there are colours.
	Classes []string
	// Recall and Precision at the confidence that is used are marked.
	Recall, Precision, Confidence float64
}

// PNG returns the plot as a picture.
func (p Plot) PNG() ([]byte, error) {
	out := plot.New()
	out.Title.Text = p.Title
	out.X.Label.Text, out.Y.Label.Text = "recall", "precision"
	out.X.Min, out.X.Max, out.Y.Min, out.Y.Max = 0, 1, 0, 1
	out.Legend.Top, out.Legend.Padding = true, 1
	out.Legend.XOffs, out.Legend.YOffs = -vg.Length(6), -vg.Length(6)
	out.Add(plotter.NewGrid())
	for i, class := range p.Classes {
		if i == len(palette) {
			break
		}
		if err := add(out, class, p.Curves.Points(class), draw.LineStyle{Color: palette[i], Width: 1}); err != nil {
			return nil, err
		}
	}
	if err := add(out, "all classes pooled", p.Curves.Points(""), draw.LineStyle{Color: color.Black, Width: 2}); err != nil {
		return nil, err
	}
	mark, err := plotter.NewScatter(plotter.XYs{{X: p.Recall, Y: p.Precision}})
	if err != nil {
		return nil, fmt.Errorf("draw %q: %w", p.Title, err)
	}
	mark.GlyphStyle = draw.GlyphStyle{Color: color.Black, Radius: 5, Shape: draw.CircleGlyph{}}
	out.Add(mark)
	out.Legend.Add(fmt.Sprintf("score above %g", p.Confidence), mark)

	return picture(out, p.Title)
}

// picture makes a PNG of a plot.
func picture(p *plot.Plot, title string) ([]byte, error) {
	canvas := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(size, size), vgimg.UseDPI(pixels))}
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("draw %q: %w", title, err)
	}
	return b.Bytes(), nil
}

// add adds a line through the points, if there are any.
func add(to *plot.Plot, name string, points []score.Point, style draw.LineStyle) error {
	if len(points) == 0 {
		return nil
	}
	xys := make(plotter.XYs, len(points))
	for i, p := range points {
		xys[i] = plotter.XY{X: p.Recall, Y: p.Precision}
	}
	l, err := plotter.NewLine(xys)
	if err != nil {
		return fmt.Errorf("draw %s: %w", name, err)
	}
	l.LineStyle = style
	to.Add(l)
	to.Legend.Add(name, l)
	return nil
}
