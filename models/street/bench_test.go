package street_test

import (
	"testing"

	"github.com/weft-mesh/weft/models/street"
)

// BenchmarkRender is a camera's work: one frame after another of one street.
func BenchmarkRender(b *testing.B) {
	for _, seed := range []uint64{3, 6, 9} {
		b.Run("", func(b *testing.B) {
			s, err := street.New(street.Options{Seed: seed})
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, s.Bytes())
			seq := uint64(0)
			for b.Loop() {
				seq++
				s.RenderAt(seq, dst)
			}
		})
	}
}

// BenchmarkTruth is what scoring a frame costs.
func BenchmarkTruth(b *testing.B) {
	s, err := street.New(street.Options{Seed: 6})
	if err != nil {
		b.Fatal(err)
	}
	seq := uint64(0)
	for b.Loop() {
		seq++
		s.TruthAt(seq)
	}
}

// BenchmarkNewScene is a picture of a street never seen before.
func BenchmarkNewScene(b *testing.B) {
	seed := uint64(0)
	for b.Loop() {
		seed++
		s, err := street.New(street.Options{Seed: seed})
		if err != nil {
			b.Fatal(err)
		}
		s.Render(0, make([]byte, s.Bytes()))
	}
}
