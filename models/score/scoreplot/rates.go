package scoreplot

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Rates is F1 over how many frames a second are analysed, to draw.
type Rates struct {
	Title   string
	FPS, F1 []float64 // of each point
}

// PNG returns the plot as a picture.
func (r Rates) PNG() ([]byte, error) {
	out := plot.New()
	out.Title.Text = r.Title
	out.X.Label.Text, out.Y.Label.Text = "frames analysed a second", "F1 of what is seen"
	xys := make(plotter.XYs, len(r.FPS))
	for i := range r.FPS {
		xys[i] = plotter.XY{X: r.FPS[i], Y: r.F1[i]}
	}
	l, dots, err := plotter.NewLinePoints(xys)
	if err != nil {
		return nil, fmt.Errorf("draw %q: %w", r.Title, err)
	}
	l.LineStyle = draw.LineStyle{Color: palette[0], Width: 2}
	dots.GlyphStyle = draw.GlyphStyle{Color: color.Black, Radius: vg.Length(3), Shape: draw.CircleGlyph{}}
	out.Add(plotter.NewGrid(), l, dots)
	out.X.Min, out.Y.Min, out.Y.Max = 0, 0, 1
	return picture(out, r.Title)
}
