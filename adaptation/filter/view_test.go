package filter

import (
	"errors"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/models/street"
)

// scene is a grey picture with noise, and with a brighter square if size > 0.
func scene(t testing.TB, w, h, noise, light, x, y, size int, seed uint64) *View {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	pix := make([]byte, 3*w*h)
	for i := range w * h {
		v := 100 + light + rng.IntN(2*noise+1) - noise
		if px, py := i%w, i/w; px >= x && px < x+size && py >= y && py < y+size {
			v += 60
		}
		for c := range 3 {
			pix[3*i+c] = byte(min(max(v, 0), 255))
		}
	}
	v, err := NewView(w, h, pix)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDifference(t *testing.T) {
	const w, h = 640, 480
	still := scene(t, w, h, 25, 0, 0, 0, 0, 1)
	for _, tc := range []struct {
		name        string
		other       *View
		least, most float64
	}{
		{"itself", still, 0, 0},
		{"noise", scene(t, w, h, 25, 0, 0, 0, 0, 2), 0, 0.0005},
		{"light", scene(t, w, h, 25, 40, 0, 0, 0, 3), 0, 0.0005},
		{"something of 40 × 40 pixels", scene(t, w, h, 25, 0, 300, 200, 40, 4), 0.9 * 1600 / (w * h), 1.4 * 1600 / (w * h)},
		{"and darker", scene(t, w, h, 25, -40, 300, 200, 40, 5), 0.9 * 1600 / (w * h), 1.4 * 1600 / (w * h)},
	} {
		if d := tc.other.Difference(still); d < tc.least || d > tc.most {
			t.Errorf("%s: %.5f, want %.5f to %.5f", tc.name, d, tc.least, tc.most)
		}
	}
}

// On a made street with noise and rain, what stands still differs less than what
// moves.
func TestDifferenceOfStreets(t *testing.T) {
	for _, seed := range []uint64{10, 13, 14, 2, 3} {
		s, err := street.New(street.Options{Seed: seed, FPS: 10})
		if err != nil {
			t.Fatal(err)
		}
		o := s.Options()
		pix := make([]byte, s.Bytes())
		at := func(n uint64) *View {
			s.RenderAt(n, pix)
			v, err := NewView(o.Width, o.Height, pix)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		first := at(1)
		next, later := at(2).Difference(first), at(11).Difference(first)
		if n := len(s.TruthAt(1)) + len(s.TruthAt(11)); n == 0 && later > 0.001 || n > 0 && later <= next {
			t.Errorf("seed %d with %d objects: %.5f to the next frame, %.5f to that after a second", seed, n, next, later)
		}
	}
}

func TestDifferenceIsSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawView(t), drawView(t)
		if x, y := a.Difference(b), b.Difference(a); x != y || x < 0 || x > 1 || a.Difference(a) != 0 {
			t.Fatalf("%g one way, %g the other", x, y)
		}
	})
}

func drawView(t *rapid.T) *View {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	base, spread, share := rng.IntN(256), 1+rng.IntN(60), rng.Float64()
	v := &View{}
	for i := range v.cells {
		if v.cells[i] = byte(base); rng.Float64() < share {
			v.cells[i] = byte(rng.IntN(256) / spread)
		}
	}
	return v
}

func TestNewView(t *testing.T) {
	for _, tc := range []struct{ w, h, n int }{{0, 0, 0}, {-1, -1, 3}, {2, 2, 11}, {1, 0, 0}} {
		if _, err := NewView(tc.w, tc.h, make([]byte, tc.n)); !errors.Is(err, ErrPicture) {
			t.Errorf("%d×%d in %d bytes: %v", tc.w, tc.h, tc.n, err)
		}
	}
	// Also pictures that have fewer pixels than a view has cells.
	v, err := NewView(2, 1, []byte{0, 0, 0, 200, 200, 200})
	if err != nil || v.cells[0] != 0 || v.cells[viewWidth-1] != 200 || v.cells[viewCells-1] != 200 {
		t.Errorf("two pixels: %d, %d, %v", v.cells[0], v.cells[viewWidth-1], err)
	}
}

func BenchmarkView(b *testing.B) {
	pix := make([]byte, 3*960*720)
	var last *View
	for b.Loop() {
		v, err := NewView(960, 720, pix)
		if err != nil {
			b.Fatal(err)
		}
		if last != nil {
			v.Difference(last)
		}
		last = v
	}
}
