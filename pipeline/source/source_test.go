package source

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

func TestMain(m *testing.M) {
	if err := Quiet(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds how long a test waits for what should happen at once.
const patience = 20 * time.Second

// The numbered test pictures: eight vertical stripes, white where the number
// has a one. That survives JPEG.
const (
	clipWidth, clipHeight = 128, 64
	stripes               = 8
	stripe                = clipWidth / stripes
)

func lit(number, x int) bool { return number>>(x/stripe)&1 == 1 }

// number reads a numbered picture.
func number(t *testing.T, img pipeline.Image) int {
	t.Helper()
	switch img.Format {
	case pipeline.JPEG, pipeline.PNG:
		m, _, err := image.Decode(bytes.NewReader(img.Data))
		if err != nil {
			t.Fatal(err)
		}
		img = toBGR(m)
	}
	if img.Width != clipWidth || img.Height != clipHeight || len(img.Data) != 3*clipWidth*clipHeight {
		t.Fatalf("picture of %d×%d, %d bytes", img.Width, img.Height, len(img.Data))
	}
	n := 0
	for i := range stripes {
		at := 3 * (clipHeight/2*clipWidth + i*stripe + stripe/2)
		if img.Data[at+1] > 127 {
			n |= 1 << i
		}
	}
	return n
}

// numbered draws a numbered picture as JPEG.
func numbered(t *testing.T, n int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, clipWidth, clipHeight))
	for y := range clipHeight {
		for x := range clipWidth {
			if lit(n, x) {
				m.SetGray(x, y, color.Gray{Y: 255})
			}
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// writeClip makes a video of the pictures 0 to frames-1.
func writeClip(t *testing.T, path string, frames int, fps float64) {
	t.Helper()
	w, err := gocv.VideoWriterFile(path, "MJPG", fps, clipWidth, clipHeight, true)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	m := gocv.NewMatWithSize(clipHeight, clipWidth, gocv.MatTypeCV8UC3)
	defer m.Close()
	for n := range frames {
		for i := range stripes {
			v := 0.0
			if lit(n, i*stripe) {
				v = 255
			}
			part := m.Region(image.Rect(i*stripe, 0, (i+1)*stripe, clipHeight))
			part.SetTo(gocv.NewScalar(v, v, v, 0))
			if err := part.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Write(m); err != nil {
			t.Fatal(err)
		}
	}
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func mustOpen(t *testing.T, cfg Config) pipeline.Source {
	t.Helper()
	cfg.Log = logger(t)
	src, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// collect runs the source until it has emitted n frames or has ended.
func collect(t *testing.T, src pipeline.Source, n int) ([]*pipeline.Frame, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var frames []*pipeline.Frame
	err := src.Run(ctx, func(f *pipeline.Frame) {
		if len(frames) == n {
			return
		}
		if frames = append(frames, f); len(frames) == n {
			cancel()
		}
	})
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("%d frames in %s, want %d (%v)", len(frames), patience, n, err)
	}
	return frames, err
}

// checkFrames holds what Run promises of each frame.
func checkFrames(t *testing.T, frames []*pipeline.Frame) {
	t.Helper()
	for i, f := range frames {
		switch {
		case f.SourceWidth != f.Image.Width || f.SourceHeight != f.Image.Height || f.Image.Width == 0:
			t.Errorf("frame %d: source %d×%d, image %d×%d", i, f.SourceWidth, f.SourceHeight, f.Image.Width, f.Image.Height)
		case f.Captured.IsZero() || i > 0 && f.Captured.Before(frames[i-1].Captured):
			t.Errorf("frame %d captured at %v", i, f.Captured)
		case len(f.Spans) != 1 || f.Spans[0].Kind != pipeline.SpanCapture:
			t.Errorf("frame %d has the spans %v", i, f.Spans)
		}
	}
}

func numbers(t *testing.T, frames []*pipeline.Frame) []int {
	t.Helper()
	var out []int
	for _, f := range frames {
		out = append(out, number(t, f.Image))
	}
	return out
}

// eventually waits for ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// idle waits until no goroutine of the source reads any more.
func idle(t *testing.T, src pipeline.Source) {
	t.Helper()
	eventually(t, "the reading goroutine ends", func() bool { return len(src.(*video).reading) == 0 })
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	writeClip(t, filepath.Join(dir, "clip.avi"), 1, 10)
	for _, tc := range []struct {
		name string
		cfg  Config
		is   error
		want string
	}{
		{"no scheme", Config{URI: "clip.avi"}, sourceuri.ErrInvalid, "no scheme"},
		{"negative rate", Config{URI: "videotest:", FPS: -1}, nil, "0 for the input's own"},
		{"no broker", Config{URI: "mqtt:cameras/gate"}, ErrConfig, "MQTT broker"},
		{"no media directory", Config{URI: "video:clip.avi"}, ErrConfig, "media directory"},
		{"directory as video", Config{URI: "video:.", MediaDir: dir}, ErrNoVideo, "images:."},
		{"video as directory", Config{URI: "images:clip.avi", MediaDir: dir}, nil, "video:clip.avi"},
		{"odd bars", Config{URI: "videotest:?width=33&height=20"}, nil, "even"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.Log = logger(t)
			_, err := Open(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) || tc.is != nil && !errors.Is(err, tc.is) {
				t.Fatalf("got %v, want %v with %q", err, tc.is, tc.want)
			}
		})
	}
}
