package vision

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

func TestResize(t *testing.T) {
	fits := map[int]tiering.Fit{320: tiering.Stretch, 416: tiering.Letterbox}
	resize := NewResize(func(f *pipeline.Frame) (tiering.Fit, bool) {
		fit, ok := fits[f.Quality]
		return fit, ok
	})
	for _, test := range []struct {
		name          string
		quality       int
		width, height int
		wantW, wantH  int
	}{
		{"stretched", 320, 768, 576, 320, 320},
		{"stretched, never enlarged", 320, 640, 200, 320, 200},
		{"stretched, small", 320, 160, 120, 160, 120},
		{"letterboxed", 416, 768, 576, 416, 312},
		{"letterboxed, upright", 416, 576, 768, 312, 416},
		{"letterboxed, small", 416, 160, 120, 160, 120},
		{"letterboxed, a line", 416, 5000, 1, 416, 1},
		{"unknown quality", 100, 768, 576, 100, 75},
		{"no quality", 0, 768, 576, 768, 576},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &pipeline.Frame{Quality: test.quality, Image: gradient(test.width, test.height)}
			before := f.Image
			if err := resize.Process(context.Background(), f); err != nil {
				t.Fatal(err)
			}
			if f.Image.Width != test.wantW || f.Image.Height != test.wantH || len(f.Image.Data) != test.wantW*test.wantH*3 {
				t.Errorf("%d × %d, want %d × %d", f.Image.Width, f.Image.Height, test.wantW, test.wantH)
			}
			scaled := test.width != test.wantW || test.height != test.wantH
			if same := &before.Data[0] == &f.Image.Data[0]; same == scaled {
				t.Errorf("the same bytes: %t, scaled: %t", same, scaled)
			}
			if worst(t, before, gradient(test.width, test.height)) != 0 {
				t.Error("the picture that was in the frame has been changed")
			}
			if reduced := len(f.Spans) == 1 && f.Spans[0].Kind == pipeline.SpanReduce; reduced != scaled {
				t.Errorf("spans %v, scaled: %t", f.Spans, scaled)
			}
		})
	}
	f := &pipeline.Frame{Quality: 320, Image: pipeline.Image{Format: pipeline.JPEG, Width: 999, Height: 999, Data: []byte("no")}}
	if err := resize.Process(context.Background(), f); !errors.Is(err, pipeline.ErrMalformed) {
		t.Errorf("no picture: %v", err)
	}
}

// album is a Gallery that keeps the last picture.
type album struct {
	workflow, source string
	seq              uint64
	jpeg             []byte
	err              error
}

func (a *album) Add(workflow, source string, seq uint64, jpeg []byte) error {
	a.workflow, a.source, a.seq, a.jpeg = workflow, source, seq, jpeg
	return a.err
}

func drawn(w, h int, detections ...pipeline.Detection) *pipeline.Frame {
	return &pipeline.Frame{
		ID:       pipeline.FrameID{Workflow: "people", Source: "door", Seq: 7},
		Captured: time.Now(), Quality: 416, SourceWidth: w, SourceHeight: h,
		Image: gradient(416, 416), Model: "m", Detections: detections,
	}
}

func TestDraw(t *testing.T) {
	var a album
	f := drawn(768, 576, pipeline.Detection{Label: "person", Score: 0.9, Box: pipeline.Box{X: 0.25, Y: 0.25, W: 0.5, H: 0.5}})
	if err := NewDraw(&a).Process(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	if a.workflow != "people" || a.source != "door" || a.seq != 7 || f.Image.Format != pipeline.JPEG || &a.jpeg[0] != &f.Image.Data[0] {
		t.Errorf("the gallery got %s/%s %d, the frame has %s", a.workflow, a.source, a.seq, f.Image.Format)
	}
	got := pixelsOf(t, f.Image)
	if got.Width != 640 || got.Height <= 480 || got.Height > 480+40 {
		t.Fatalf("%d × %d, want the captured shape and a caption", got.Width, got.Height)
	}
	at := func(x, y int) [3]int {
		i := (y*got.Width + x) * 3
		return [3]int{int(got.Data[i]), int(got.Data[i+1]), int(got.Data[i+2])}
	}
	c := colourOf(0)
	near := func(p, q [3]int) bool {
		return math.Abs(float64(p[0]-q[0]))+math.Abs(float64(p[1]-q[1]))+math.Abs(float64(p[2]-q[2])) < 90
	}
	colour := [3]int{int(c.B), int(c.G), int(c.R)}
	for _, p := range [][2]int{{160, 250}, {479, 250}, {333, 359}} { // left, right, bottom edge
		if !near(at(p[0], p[1]), colour) {
			t.Errorf("at %v is %v, want the box, %v", p, at(p[0], p[1]), colour)
		}
	}
	if p := at(320, 240); near(p, colour) {
		t.Errorf("the middle of the box is filled: %v", p)
	}
	if p := at(633, got.Height-3); !near(p, [3]int{20, 20, 20}) {
		t.Errorf("no dark band below: %v", p)
	}

	a.err = errors.New("disk full")
	if err := NewDraw(&a).Process(context.Background(), drawn(768, 576)); !errors.Is(err, a.err) {
		t.Errorf("the gallery's error is lost: %v", err)
	}
}

func TestDrawnSize(t *testing.T) {
	for _, test := range []struct{ sw, sh, w, h, wantW, wantH int }{
		{768, 576, 416, 416, 640, 480},
		{1920, 1080, 416, 416, 640, 360},
		{1920, 1080, 608, 608, 811, 456},
		{1920, 1080, 1920, 1080, 960, 540},
		{1080, 1920, 416, 416, 360, 640},
		{160, 120, 160, 120, 640, 480},
		{0, 0, 640, 480, 640, 480},
		{math.MaxInt, 1, 640, 480, 640, 480},
		{16384, 1, 416, 416, 960, 1},
	} {
		f := &pipeline.Frame{SourceWidth: test.sw, SourceHeight: test.sh}
		if w, h := drawnSize(f, pipeline.Image{Width: test.w, Height: test.h}); w != test.wantW || h != test.wantH {
			t.Errorf("source %d × %d, picture %d × %d: %d × %d, want %d × %d",
				test.sw, test.sh, test.w, test.h, w, h, test.wantW, test.wantH)
		}
	}
}

// Whatever another node sends as detections, drawing survives it.
func TestDrawHostileDetections(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	var all []pipeline.Detection
	for _, v := range []float64{nan, inf, -inf, 0, 1, -1e300, 1e300, 0.5} {
		for i := range 4 {
			b := [4]float64{0.1, 0.1, 0.5, 0.5}
			b[i] = v
			all = append(all, pipeline.Detection{
				Label: "größer als \x00\n erlaubt " + string(make([]byte, 1000)), Class: math.MinInt + i, Score: v,
				Box: pipeline.Box{X: b[0], Y: b[1], W: b[2], H: b[3]},
			})
		}
	}
	for _, size := range [][2]int{{768, 576}, {1, 16384}, {16384, 1}, {1, 1}} {
		var a album
		if err := NewDraw(&a).Process(context.Background(), drawn(size[0], size[1], all...)); err != nil {
			t.Errorf("%v: %v", size, err)
		}
		pixelsOf(t, pipeline.Image{Format: pipeline.JPEG, Data: a.jpeg})
	}
}
