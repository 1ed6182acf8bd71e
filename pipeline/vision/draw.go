package vision

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strings"
	"time"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/pipeline"
)

// Gallery keeps annotated pictures and shows them.
type Gallery interface {
	Add(workflow, source string, seq uint64, jpeg []byte) error
}

// The longer side of an annotated picture is within these limits, in pixels:
// labels stay legible and files small.
const (
	minDrawn = 640
	maxDrawn = 960
)

// drawnQuality is the JPEG quality of annotated pictures, which are for people.
const drawnQuality = 85

// Draw is the postprocess stage: it marks a frame's detections in its picture
// and hands that to a gallery.
type Draw struct{ gallery Gallery }

// NewDraw returns the stage.
func NewDraw(g Gallery) *Draw { return &Draw{g} }

// Process puts the annotated picture into f.Image as JPEG, in the captured
// picture's shape, with a line below it that says where and when it is from.
func (s *Draw) Process(_ context.Context, f *pipeline.Frame) error {
	img, err := annotated(f, time.Now())
	if err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	f.Image = img
	if err := s.gallery.Add(f.ID.Workflow, f.ID.Source, f.ID.Seq, img.Data); err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	return nil
}

// annotated draws f as it is now.
func annotated(f *pipeline.Frame, now time.Time) (pipeline.Image, error) {
	img, err := Codec{}.Decode(f.Image)
	if err != nil {
		return pipeline.Image{}, err
	}
	src, err := view(img.Data, img.Width, img.Height)
	if err != nil {
		return pipeline.Image{}, err
	}
	defer src.close()

	w, h := drawnSize(f, img)
	p := newPen(max(w, h))
	band := p.textHeight() * 2
	canvas := make([]byte, w*(h+band)*3)
	dst, err := view(canvas, w, h+band)
	if err != nil {
		return pipeline.Image{}, err
	}
	defer dst.close()
	at := dst.Region(image.Rect(0, 0, w, h))
	defer at.Close()
	how := gocv.InterpolationCubic
	if w < img.Width {
		how = gocv.InterpolationArea
	}
	gocv.Resize(src.Mat, &at, image.Pt(w, h), 0, 0, how)

	// The surest on top, and its label at the best place; no box crosses a label.
	for _, d := range slices.Backward(f.Detections) {
		if r, ok := rectangleOf(d.Box, w, h); ok {
			p.box(&at, r, colourOf(d.Class))
		}
	}
	for _, d := range f.Detections {
		if r, ok := rectangleOf(d.Box, w, h); ok {
			p.label(&at, r, fmt.Sprintf("%s %.0f%%", legible(d.Label), 100*d.Score), colourOf(d.Class))
		}
	}
	p.caption(&dst.Mat, image.Rect(0, h, w, h+band), caption(f, now))

	data, err := encode(dst.Mat, pipeline.JPEG, drawnQuality)
	if err != nil {
		return pipeline.Image{}, err
	}
	return pipeline.Image{Format: pipeline.JPEG, Width: w, Height: h + band, Data: data}, nil
}

// drawnSize is the annotated picture's size without its caption: the shape is
// that of the captured picture, as far as it is known, and the number of pixels
// that of the one that came. More of them would show no more.
func drawnSize(f *pipeline.Frame, img pipeline.Image) (w, h int) {
	w, h = f.SourceWidth, f.SourceHeight
	if checkSize(w, h) != nil {
		w, h = img.Width, img.Height
	}
	long := float64(max(w, h))
	same := long * min(1, math.Sqrt(float64(img.Width*img.Height)/float64(w*h)))
	by := min(max(same, minDrawn), maxDrawn) / long
	return max(1, int(math.Round(float64(w)*by))), max(1, int(math.Round(float64(h)*by)))
}

// rectangleOf returns the box in pixels of a w × h picture; ok is false when
// nothing of it is to be seen.
func rectangleOf(b pipeline.Box, w, h int) (r image.Rectangle, ok bool) {
	at := func(v float64, n int) int { return int(math.Round(clamp(v) * float64(n-1))) }
	if !(b.W > 0 && b.H > 0) || math.IsNaN(b.X+b.Y) {
		return r, false
	}
	r = image.Rect(at(b.X, w), at(b.Y, h), at(b.X+b.W, w), at(b.Y+b.H, h))
	return r, !r.Empty()
}

// caption is the line below the picture.
func caption(f *pipeline.Frame, now time.Time) []string {
	parts := []string{f.ID.Workflow + "/" + f.ID.Source, fmt.Sprintf("frame %d", f.ID.Seq)}
	if !f.Captured.IsZero() {
		parts = append(parts, fmt.Sprintf("%d ms after capture", f.Age(now).Milliseconds()))
	}
	if f.Model != "" {
		model := f.Model
		if f.Quality > 0 {
			model = fmt.Sprintf("%s at %d", f.Model, f.Quality)
		}
		parts = append(parts, model, fmt.Sprintf("%d found", len(f.Detections)))
	}
	for i, p := range parts {
		parts[i] = legible(p)
	}
	return parts
}

// legible makes s printable with OpenCV's font, which has ASCII only, and no
// longer than fits.
func legible(s string) string {
	const most = 48
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		s = s[:most-2] + ".."
	}
	return s
}

// colours are bright enough to stand out of a picture and differ in hue for
// most eyes; labels on them are black.
var colours = [...]color.RGBA{
	{R: 60, G: 220, B: 90}, {R: 255, G: 170, B: 20}, {R: 90, G: 190, B: 255}, {R: 255, G: 120, B: 160},
	{R: 250, G: 230, B: 60}, {R: 190, G: 150, B: 255}, {R: 60, G: 225, B: 210}, {R: 255, G: 130, B: 90},
}

func colourOf(class int) color.RGBA { return colours[uint(class)%uint(len(colours))] }
