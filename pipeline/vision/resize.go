package vision

import (
	"context"
	"fmt"
	"image"
	"math"
	"time"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// FitFunc says how the model that is to analyse a frame wants it; ok is false
// when none does.
type FitFunc func(f *pipeline.Frame) (fit tiering.Fit, ok bool)

// Resize is the preprocess stage: it brings a frame to its quality, so that no
// more pixels travel than the detector behind looks at. It only scales, so
// fractions of the picture stay fractions of the captured one; padding is the
// detector's work. It never enlarges: that would add bytes and no detail.
type Resize struct{ fit FitFunc }

// NewResize returns the stage. Frames of a quality that fit does not know keep
// their aspect ratio.
func NewResize(fit FitFunc) *Resize { return &Resize{fit} }

// Process brings f.Image to f.Quality as BGR and adds a reduce span, to
// which the runner puts the stage's name. A frame that asks for no quality, or
// is small enough, is left as it is.
func (r *Resize) Process(_ context.Context, f *pipeline.Frame) error {
	start := time.Now()
	w, h := r.target(f)
	if w == f.Image.Width && h == f.Image.Height {
		return nil
	}
	img, err := scaled(f.Image, w, h)
	if err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	f.Image = img
	f.Add("", pipeline.SpanReduce, time.Since(start))
	return nil
}

// target is the size in pixels that f's picture should have.
func (r *Resize) target(f *pipeline.Frame) (w, h int) {
	if f.Quality <= 0 {
		return f.Image.Width, f.Image.Height
	}
	fit, ok := r.fit(f)
	if !ok {
		fit = tiering.Letterbox
	}
	w, h = fitted(f.Image.Width, f.Image.Height, f.Quality, fit)
	return min(w, f.Image.Width), min(h, f.Image.Height)
}

// scaled returns the picture as BGR of w × h pixels.
func scaled(img pipeline.Image, w, h int) (pipeline.Image, error) {
	img, err := Codec{}.Decode(img)
	if err != nil || img.Width == w && img.Height == h {
		return img, err
	}
	src, err := view(img.Data, img.Width, img.Height)
	if err != nil {
		return pipeline.Image{}, err
	}
	defer src.close()
	data := make([]byte, w*h*3)
	dst, err := view(data, w, h)
	if err != nil {
		return pipeline.Image{}, err
	}
	defer dst.close()
	resizeTo(src.Mat, &dst.Mat, w, h)
	return pipeline.Image{Format: pipeline.BGR, Width: w, Height: h, Data: data}, nil
}

// fitted is the size of a w × h picture brought to a resolution.
func fitted(w, h, resolution int, fit tiering.Fit) (int, int) {
	if fit == tiering.Stretch {
		return resolution, resolution
	}
	by := float64(resolution) / float64(max(w, h))
	return max(1, int(math.Round(float64(w)*by))), max(1, int(math.Round(float64(h)*by)))
}

// resizeTo scales src into dst, which has w × h pixels. It interpolates as
// OpenCV's blobFromImage does, so a detector sees the same pixels whether the
// picture is scaled here or there.
func resizeTo(src gocv.Mat, dst *gocv.Mat, w, h int) {
	gocv.Resize(src, dst, image.Pt(w, h), 0, 0, gocv.InterpolationLinear)
}
