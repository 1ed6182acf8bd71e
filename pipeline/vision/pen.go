package vision

import (
	"image"
	"image/color"
	"slices"
	"strings"

	"gocv.io/x/gocv"
)

// pen draws with lines and letters in proportion to the picture.
type pen struct {
	line  int     // thickness of a box in pixels
	scale float64 // of the font
	pad   int     // around text

	taken []image.Rectangle // by labels
}

const font = gocv.FontHersheySimplex

var (
	ink   = color.RGBA{R: 20, G: 20, B: 20}
	paper = color.RGBA{R: 235, G: 235, B: 235}
)

// newPen returns a pen for a picture whose longer side has so many pixels.
func newPen(side int) *pen {
	return &pen{line: max(2, side/400), scale: max(0.4, float64(side)/1700), pad: max(3, side/240)}
}

func (p *pen) textHeight() int { return gocv.GetTextSize("X", font, p.scale, 1).Y }

// box draws the outline of r, with a dark edge that keeps it visible on a
// ground of its own colour.
func (p *pen) box(m *gocv.Mat, r image.Rectangle, c color.RGBA) {
	gocv.Rectangle(m, r, ink, p.line+2)
	gocv.Rectangle(m, r, c, p.line)
}

// label writes s above r or, where that is taken or outside, in the first free
// place further down.
func (p *pen) label(m *gocv.Mat, r image.Rectangle, s string, c color.RGBA) {
	text := gocv.GetTextSize(s, font, p.scale, 1)
	size := text.Add(image.Pt(2*p.pad, 2*p.pad))
	at := image.Pt(max(0, min(r.Min.X, m.Cols()-size.X)), r.Min.Y-size.Y)
	if at.Y < 0 {
		at.Y = r.Min.Y
	}
	place := image.Rectangle{Min: at, Max: at.Add(size)}
	for p.overlaps(place) && place.Max.Y+size.Y <= m.Rows() {
		place = place.Add(image.Pt(0, size.Y))
	}
	p.taken = append(p.taken, place)
	gocv.Rectangle(m, place, c, int(gocv.Filled))
	p.write(m, s, image.Pt(place.Min.X+p.pad, place.Max.Y-p.pad), ink)
}

func (p *pen) overlaps(r image.Rectangle) bool {
	return slices.ContainsFunc(p.taken, r.Overlaps)
}

// caption writes the parts that fit into the band r on one line.
func (p *pen) caption(m *gocv.Mat, r image.Rectangle, parts []string) {
	gocv.Rectangle(m, r, ink, int(gocv.Filled))
	line := parts[0]
	for _, part := range parts[1:] {
		if s := line + "  -  " + part; gocv.GetTextSize(s, font, p.scale, 1).X+2*p.pad <= r.Dx() {
			line = s
		}
	}
	h := p.textHeight()
	p.write(m, strings.TrimSpace(line), image.Pt(r.Min.X+p.pad, r.Min.Y+(r.Dy()+h)/2), paper)
}

func (p *pen) write(m *gocv.Mat, s string, at image.Point, c color.RGBA) {
	gocv.PutTextWithParams(m, s, at, font, p.scale, c, 1, gocv.LineAA, false)
}
