package kernel

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestShare(t *testing.T) {
	for _, c := range []struct {
		p    float64
		want uint32
	}{
		{0, 0}, {1e-12, 1}, {0.5, 1 << 31}, {1 - 1e-12, math.MaxUint32}, {1, math.MaxUint32},
	} {
		if got := share(c.p); got != c.want {
			t.Errorf("share(%g) = %d, want %d", c.p, got, c.want)
		}
	}
}

// The kernel's units are finer than anything that is asked.
func TestUnits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.Float64Range(0, 1).Draw(t, "loss")
		if back := float64(share(p)) / (1 << 32); math.Abs(back-p) > 1.0/(1<<32) {
			t.Fatalf("loss %g became %g", p, back)
		}
		d := time.Duration(rapid.Int64Range(0, int64(maxDelay)).Draw(t, "delay"))
		if back := time.Duration(ticks(d)) * 64; (back - d).Abs() > 32 {
			t.Fatalf("delay %s became %s", d, back)
		}
		bits := rapid.Int64Range(1, 400e9).Draw(t, "rate")
		if back := int64(octets(bits)) * 8; back > max(bits, 8) || back < bits-7 {
			t.Fatalf("rate %d bit/s became %d", bits, back)
		}
	})
}
