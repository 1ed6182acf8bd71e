package chaos

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// palette is Okabe and Ito's, which colour-blind people can tell apart.
var palette = [...]color.NRGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff}, {0x00, 0x00, 0x00, 0xff}, {0x88, 0x88, 0x88, 0xff},
}

// plotNames are those that plots may draw.
func plotNames() []string {
	out := []string{"recovery"}
	for _, k := range Resources() {
		out = append(out, "soak-"+string(k))
	}
	return out
}

// plots are the files of the plots, as SVG and PNG.
func (r *Result) plots() (map[string][]byte, error) {
	out := map[string][]byte{}
	draw := func(name string, p *plot.Plot) error {
		for _, format := range []string{"svg", "png"} {
			w, err := p.WriterTo(9*vg.Inch, 4*vg.Inch, format)
			if err != nil {
				return fmt.Errorf("draw %s: %w", name, err)
			}
			var b bytes.Buffer
			if _, err := w.WriteTo(&b); err != nil {
				return fmt.Errorf("draw %s: %w", name, err)
			}
			out[name+"."+format] = b.Bytes()
		}
		return nil
	}
	if len(r.Verdicts) > 0 {
		p, err := r.recoveries()
		if err == nil {
			err = draw("recovery", p)
		}
		if err != nil {
			return out, err
		}
	}
	if len(r.usage) > 0 {
		for _, k := range Resources() {
			p, err := r.usages(k)
			if err == nil {
				err = draw("soak-"+string(k), p)
			}
			if err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// recoveries draws every round's recovery, by the kind of its first fault.
func (r *Result) recoveries() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "Recovery", "round", "seconds"
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for i, k := range Kinds() {
		var found plotter.XYs
		for _, v := range r.Verdicts {
			if v.Round.Faults[0].Kind == k && v.Recovery != nil {
				found = append(found, plotter.XY{X: float64(v.Round.Number), Y: v.Recovery.Seconds()})
			}
		}
		if len(found) == 0 {
			continue
		}
		s, err := plotter.NewScatter(found)
		if err != nil {
			return nil, fmt.Errorf("draw recoveries: %w", err)
		}
		s.Shape, s.Radius, s.Color = draw.CircleGlyph{}, 3, palette[i%len(palette)]
		if i >= len(palette) {
			s.Shape = draw.TriangleGlyph{}
		}
		p.Add(s)
		p.Legend.Add(string(k), s)
	}
	p.X.Min, p.X.Max, p.Y.Min = 0, float64(len(r.Verdicts))*1.35+1, 0 // beside it is the legend
	return p, nil
}

// usages draws what every node uses of a resource; a restart breaks its line.
func (r *Result) usages(k Resource) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = string(k), "minutes", string(k)
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	end := 1.0
	for i, node := range r.Plant.Nodes {
		named := false
		var part plotter.XYs
		flush := func() error {
			if len(part) == 0 {
				return nil
			}
			l, err := plotter.NewLine(part)
			if err != nil {
				return fmt.Errorf("draw %s of %s: %w", k, node, err)
			}
			l.Color = palette[i%len(palette)]
			p.Add(l)
			if !named {
				p.Legend.Add(node, l)
			}
			named, part = true, nil
			return nil
		}
		pid := 0
		for _, u := range r.usage {
			if u.Node != node {
				continue
			}
			if u.PID != pid {
				if err := flush(); err != nil {
					return nil, err
				}
			}
			pid = u.PID
			end = max(end, u.At.Minutes())
			part = append(part, plotter.XY{X: u.At.Minutes(), Y: u.Of[k]})
		}
		if err := flush(); err != nil {
			return nil, err
		}
	}
	p.X.Min, p.X.Max, p.Y.Min = 0, end*1.2, 0
	return p, nil
}
