package street_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/models/street"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew")

func mustNew(t *testing.T, o street.Options) *street.Street {
	t.Helper()
	s, err := street.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The same seed and time give the same bytes on every machine.
func TestGolden(t *testing.T) {
	var got bytes.Buffer
	for seed := range uint64(16) {
		s := mustNew(t, street.Options{Seed: seed, Width: 320, Height: 240})
		dst := make([]byte, s.Bytes())
		for _, seq := range []uint64{1, 100, 4000} {
			objects := s.RenderAt(seq, dst)
			sum := sha256.New()
			sum.Write(dst)
			for _, o := range objects {
				fmt.Fprintf(sum, "%v %x %x %x %x %x %v\n", o.Class, o.Box.X, o.Box.Y, o.Box.W, o.Box.H, o.Visible, o.Ignore)
			}
			fmt.Fprintf(&got, "seed %d frame %d: %d objects, %x\n", seed, seq, len(objects), sum.Sum(nil)[:12])
		}
	}
	const file = "testdata/golden.txt"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := bytes.Split(got.Bytes(), []byte("\n")), bytes.Split(want, []byte("\n"))
	if len(gotLines) != len(wantLines) {
		t.Fatalf("%d lines, want %d", len(gotLines), len(wantLines))
	}
	for i := range gotLines {
		if !bytes.Equal(gotLines[i], wantLines[i]) {
			t.Errorf("got  %s\nwant %s", gotLines[i], wantLines[i])
		}
	}
}

// A frame does not depend on which were asked for before, and truth is what
// the picture shows.
func TestFramesStandAlone(t *testing.T) {
	const seed = 6
	small := street.Options{Seed: seed, Width: 320, Height: 240}
	s := mustNew(t, small)
	dst := make([]byte, s.Bytes())
	type shot struct {
		pix     []byte
		objects []street.Object
	}
	first := map[uint64]shot{}
	for _, seq := range []uint64{1, 2, 50, 900, 100_000} {
		objects := s.RenderAt(seq, dst)
		first[seq] = shot{slices.Clone(dst), slices.Clone(objects)}
	}
	for _, seq := range []uint64{100_000, 1, 900, 2, 50} {
		fresh := mustNew(t, small)
		if got := fresh.TruthAt(seq); !slices.Equal(got, first[seq].objects) {
			t.Errorf("frame %d: truth %v, drawn %v", seq, got, first[seq].objects)
		}
		objects := fresh.RenderAt(seq, dst)
		if !bytes.Equal(dst, first[seq].pix) || !slices.Equal(objects, first[seq].objects) {
			t.Errorf("frame %d differs by itself", seq)
		}
		if s.RenderAt(seq, dst); !bytes.Equal(dst, first[seq].pix) {
			t.Errorf("frame %d differs the second time", seq)
		}
	}
}

func TestAt(t *testing.T) {
	s := mustNew(t, street.Options{FPS: 30})
	for seq, want := range map[uint64]time.Duration{
		0: 0, 1: 0, 2: 33333333, 31: time.Second, 108001: time.Hour,
	} {
		if got := s.At(seq); got != want {
			t.Errorf("frame %d at %v, want %v", seq, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	s := mustNew(t, street.Options{})
	want := street.Options{Width: street.DefaultWidth, Height: street.DefaultHeight, FPS: street.DefaultFPS, Density: street.DefaultDensity}
	if got := s.Options(); got != want {
		t.Errorf("defaults %+v, want %+v", got, want)
	}
	for _, o := range []street.Options{
		{Width: 63, Height: 100}, {Width: 100}, {Width: 100, Height: 5000}, {FPS: -1}, {FPS: 121}, {Density: -1}, {Density: 401},
	} {
		if _, err := street.New(o); !errors.Is(err, street.ErrOptions) {
			t.Errorf("%+v: error %v, want ErrOptions", o, err)
		}
	}
}

// sample is a look at many streets, each at one moment.
func sample(t *testing.T, seeds uint64) [][]street.Object {
	t.Helper()
	var out [][]street.Object
	for seed := range seeds {
		s := mustNew(t, street.Options{Seed: 1000 + seed, Width: 320, Height: 240})
		out = append(out, s.TruthAt(1+seed%7*100))
	}
	return out
}

func TestTruth(t *testing.T) {
	var (
		heights []float64
		classes [5]int
		empty   int
		ignored int
	)
	const seeds = 150
	for _, objects := range sample(t, seeds) {
		counted := 0
		for _, o := range objects {
			b := o.Box
			if b.X < 0 || b.Y < 0 || b.W <= 0 || b.H <= 0 || b.X+b.W > 1+1e-12 || b.Y+b.H > 1+1e-12 {
				t.Errorf("box %+v is not in the picture", b)
			}
			if o.Visible <= 0 || o.Visible > 1 {
				t.Errorf("visible share %v", o.Visible)
			}
			small := b.H < street.MinHeight/512. || b.W < street.MinWidth/512. || o.Visible < street.MinVisible/100.
			if small != o.Ignore {
				t.Errorf("%+v: ignore is %v, want %v", o, o.Ignore, small)
			}
			if o.Ignore {
				ignored++
				continue
			}
			counted++
			classes[o.Class]++
			heights = append(heights, 512*b.H)
		}
		if counted == 0 {
			empty++
		}
	}
	if empty < seeds*4/100 || empty > seeds*20/100 {
		t.Errorf("%d of %d frames are empty; want about one in ten", empty, seeds)
	}
	if ignored == 0 {
		t.Error("nothing is to be ignored")
	}
	for c, n := range classes {
		if n < len(heights)*2/100 {
			t.Errorf("%d of %d objects are of class %v", n, len(heights), street.Class(c))
		}
	}
	slices.Sort(heights)
	share := func(lo, hi float64) float64 {
		n := 0
		for _, h := range heights {
			if h >= lo && h < hi {
				n++
			}
		}
		return float64(n) / float64(len(heights))
	}
	// A good part is small, so that resolution matters, and more of it is not.
	if s := share(street.MinHeight, 20); s < 0.2 || s > 0.5 {
		t.Errorf("%.0f %% of objects are %d to 20 of 512 high", 100*s, street.MinHeight)
	}
	if s := share(24, 512); s < 0.35 {
		t.Errorf("only %.0f %% of objects are 24 of 512 high or more", 100*s)
	}
}

// What is seen moves no farther between frames than things do.
func TestMotionIsContinuous(t *testing.T) {
	moved := 0
	for seed := range uint64(6) {
		s := mustNew(t, street.Options{Seed: 40 + seed, Width: 320, Height: 240, FPS: 120})
		last := s.TruthAt(1)
		for seq := uint64(2); seq < 48; seq++ {
			now := s.TruthAt(seq)
			for _, o := range now {
				if o.Ignore || o.Visible < 0.95 || o.Box.X < 0.05 || o.Box.X+o.Box.W > 0.95 || o.Box.Y+o.Box.H > 0.95 {
					continue // it may just have come into view
				}
				best := math.Inf(1)
				for _, p := range last {
					if p.Class == o.Class {
						best = min(best, math.Hypot(o.Box.X+o.Box.W/2-p.Box.X-p.Box.W/2, o.Box.Y+o.Box.H/2-p.Box.Y-p.Box.H/2))
					}
				}
				if best > 0.03 {
					t.Fatalf("seed %d frame %d: %+v came from nowhere (nearest %.3f away)", 40+seed, seq, o, best)
				}
				if best > 1e-5 {
					moved++
				}
			}
			last = now
		}
	}
	if moved < 500 {
		t.Errorf("only %d objects moved", moved)
	}
}

func TestRenderRefusesAnotherSize(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a buffer of the wrong size was taken")
		}
	}()
	mustNew(t, street.Options{}).Render(0, make([]byte, 3))
}

func TestPictures(t *testing.T) {
	seq, err := street.Pictures(5, 7, street.Options{Width: 160, Height: 120})
	if err != nil {
		t.Fatal(err)
	}
	var seeds []uint64
	for p := range seq {
		s := mustNew(t, street.Options{Seed: p.Seed, Width: 160, Height: 120})
		dst := make([]byte, s.Bytes())
		if objects := s.RenderAt(1, dst); !bytes.Equal(dst, p.BGR) || !slices.Equal(objects, p.Objects) {
			t.Errorf("seed %d is not its first frame", p.Seed)
		}
		seeds = append(seeds, p.Seed)
	}
	if !slices.Equal(seeds, []uint64{5, 6, 7}) {
		t.Errorf("seeds %v", seeds)
	}
	if _, err := street.Pictures(2, 1, street.Options{}); !errors.Is(err, street.ErrOptions) {
		t.Errorf("backwards: %v", err)
	}
}

func TestParseSeeds(t *testing.T) {
	for text, want := range map[string][2]uint64{"1-200": {1, 200}, "7": {7, 7}, "7-7": {7, 7}} {
		first, last, err := street.ParseSeeds(text)
		if err != nil || first != want[0] || last != want[1] {
			t.Errorf("%q: %d to %d, %v", text, first, last, err)
		}
	}
	for _, text := range []string{"", "-", "1-", "-2", "3-2", "a-b", "1-2-3", "1-18446744073709551616"} {
		if _, _, err := street.ParseSeeds(text); !errors.Is(err, street.ErrOptions) {
			t.Errorf("%q: %v, want ErrOptions", text, err)
		}
	}
}
