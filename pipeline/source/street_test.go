package source

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

// film runs a street for a while of virtual time, in which drawing takes none;
// each frame is held for as long as hold says.
func film(t *testing.T, src pipeline.Source, length time.Duration, hold func(n int) time.Duration) []*pipeline.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var frames []*pipeline.Frame
	err := src.Run(ctx, func(f *pipeline.Frame) {
		frames = append(frames, f)
		if hold != nil {
			<-time.After(hold(len(frames)))
		}
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("ended with %v", err)
	}
	checkFrames(t, frames)
	return frames
}

func seqs(frames []*pipeline.Frame) []uint64 {
	var out []uint64
	for _, f := range frames {
		out = append(out, f.ID.Seq)
	}
	return out
}

func upTo(from, to uint64) []uint64 {
	var out []uint64
	for n := from; n <= to; n++ {
		out = append(out, n)
	}
	return out
}

const smallStreet = "street:?seed=6&fps=10&width=160&height=120"

func TestStreetNumbersItsFrames(t *testing.T) {
	for _, tc := range []struct {
		name string
		fps  float64
		hold func(n int) time.Duration
		want []uint64
	}{
		{"all", 0, nil, upTo(1, 20)},
		{"asked for more", 50, nil, upTo(1, 20)},
		{"asked for half", 5, nil, []uint64{1, 3, 5, 7, 9, 11, 13, 15, 17, 19}},
		{"asked for a quarter and a bit", 4, nil, []uint64{1, 4, 6, 9, 11, 14, 16, 19}},
		{"held up once", 0, func(n int) time.Duration {
			if n == 3 {
				return 450 * time.Millisecond
			}
			return 0
		}, append(upTo(1, 3), upTo(7, 20)...)},
		{"always too slow", 0, func(int) time.Duration { return 250 * time.Millisecond }, []uint64{1, 3, 6, 8, 11, 13, 16, 18}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := mustOpen(t, Config{URI: smallStreet, FPS: tc.fps})
			synctest.Test(t, func(t *testing.T) {
				frames := film(t, src, 1990*time.Millisecond, tc.hold)
				if got := seqs(frames); !slices.Equal(got, tc.want) {
					t.Errorf("frames %v, want %v", got, tc.want)
				}
				checkTruth(t, smallStreet, frames)
			})
		})
	}
}

// checkTruth holds what the package's comment says of a frame's number.
func checkTruth(t *testing.T, uri string, frames []*pipeline.Frame) {
	t.Helper()
	spec, err := sourceuri.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	camera, err := street.New(spec.StreetOptions())
	if err != nil {
		t.Fatal(err)
	}
	pix := make([]byte, camera.Bytes())
	for _, f := range frames {
		if f.Image.Format != pipeline.BGR || f.Image.Width != spec.Width || f.Image.Height != spec.Height {
			t.Fatalf("frame %d is %s of %d×%d", f.ID.Seq, f.Image.Format, f.Image.Width, f.Image.Height)
		}
		objects := camera.RenderAt(f.ID.Seq, pix)
		if !bytes.Equal(pix, f.Image.Data) {
			t.Errorf("frame %d is not the street's", f.ID.Seq)
		}
		if want := dataset.OfStreet(objects); f.Truth == nil || len(want) == 0 || !slices.Equal(f.Truth, want) {
			t.Errorf("frame %d says that it shows %+v, want %+v", f.ID.Seq, f.Truth, want)
		}
	}
}

// A source that is run again has no number twice.
func TestStreetGoesOn(t *testing.T) {
	src := mustOpen(t, Config{URI: smallStreet})
	synctest.Test(t, func(t *testing.T) {
		first := film(t, src, 490*time.Millisecond, nil)
		again := film(t, src, 490*time.Millisecond, nil)
		if got := seqs(append(first, again...)); !slices.Equal(got, upTo(1, 10)) {
			t.Errorf("frames %v", got)
		}
		checkTruth(t, smallStreet, again)
	})
}

func TestStreetInRealTime(t *testing.T) {
	frames, err := collect(t, mustOpen(t, Config{URI: "street:?seed=3"}), 3)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	checkFrames(t, frames)
	if f := frames[0]; f.SourceWidth != street.DefaultWidth || f.SourceHeight != street.DefaultHeight || f.ID.Seq != 1 {
		t.Errorf("frame %d of %d×%d", f.ID.Seq, f.SourceWidth, f.SourceHeight)
	}
}
