package experiment

import (
	"strconv"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// banner is a labelled vertical line on the time axis.
type banner struct {
	at     float64 // seconds
	text   string
	number int // of the event, where there is no room for the text
}

// planted is where a banner stands on the canvas.
type planted struct {
	x     vg.Length
	text  string
	left  vg.Length // of the text
	level int       // above the data, from 0; −1: a line without a text
}

const (
	maxLevels  = 6
	bannerGap  = vg.Length(6)
	bannerSize = vg.Length(8.5)
	levelStep  = vg.Length(12)
)

// layout finds a level for each banner, such that no text lies over another or
// over a line that goes on to a higher level. Where even the highest level has
// no room, every banner has its number for a text; numbers without room are left
// out.
func layout(banners []banner, x func(banner) vg.Length, left, right vg.Length) (placed []planted, levels int, numbered bool) {
	if placed, levels, ok := try(banners, x, left, right, func(b banner) string { return b.text }); ok {
		return placed, levels, false
	}
	placed, levels, _ = try(banners, x, left, right, func(b banner) string { return strconv.Itoa(b.number) })
	return placed, levels, true
}

// try lays banners out from right to left, for most texts extend to the right
// of their lines. Each text goes on the lowest level where it covers no other
// text and no line that goes on upwards, and where its own line covers no text.
func try(banners []banner, x func(banner) vg.Length, left, right vg.Length, label func(banner) string) ([]planted, int, bool) {
	sty := style(bannerSize, false, ink)
	placed := make([]planted, len(banners))
	levels, fits := 0, true
	for i := len(banners) - 1; i >= 0; i-- {
		p := planted{x: x(banners[i]), text: label(banners[i])}
		width := sty.Width(p.text)
		if p.left = p.x + 3; p.left+width > right { // then on the other side of its line
			p.left = max(p.x-3-width, left)
		}
		for p.level = 0; p.level < maxLevels; p.level++ {
			free := true
			for _, o := range placed[i+1:] {
				texts := o.level == p.level && o.left < p.left+width+bannerGap && p.left < o.left+sty.Width(o.text)+bannerGap
				// o's line passes this level on its way up.
				covers := o.level > p.level && p.left-2 < o.x && o.x < p.left+width+2
				// This line passes o's level on its way up.
				crosses := o.level >= 0 && o.level < p.level && o.left-2 < p.x && p.x < o.left+sty.Width(o.text)+2
				if texts || covers || crosses {
					free = false
					break
				}
			}
			if free {
				break
			}
		}
		if p.level == maxLevels {
			p.level, p.text, fits = -1, "", false
		}
		levels = max(levels, p.level+1)
		placed[i] = p
	}
	return placed, levels, fits
}

var bannerStroke = draw.LineStyle{Color: faint, Width: 0.75, Dashes: []vg.Length{3, 2}}

func bannersHeight(levels int) vg.Length {
	if levels == 0 {
		return 0
	}
	return vg.Length(levels)*levelStep + 2
}

func drawBanners(data draw.Canvas, placed []planted) {
	sty := style(bannerSize, false, ink)
	sty.YAlign = text.YBottom
	for _, p := range placed {
		top := data.Max.Y + vg.Length(p.level+1)*levelStep
		data.StrokeLine2(bannerStroke, p.x, data.Min.Y, p.x, top)
		if p.level >= 0 {
			data.FillText(sty, vg.Point{X: p.left, Y: top - levelStep + 3}, p.text)
		}
	}
}
