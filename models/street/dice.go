package street

import (
	"math/bits"
	"math/rand/v2"
)

// dice gives the random numbers of one thing. The same parts give the same
// numbers on every machine: only PCG's raw output is used, whose algorithm is
// fixed, and everything made of it is in integers.
type dice struct{ pcg rand.PCG }

// roll returns the dice of what the parts name.
func roll(parts ...uint64) *dice {
	var a, b uint64 = 0x9e3779b97f4a7c15, 0xd1b54a32d192ed03
	for _, p := range parts {
		a = mix(a ^ p)
		b = mix(b + a)
	}
	d := &dice{}
	d.pcg.Seed(a, b)
	return d
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// below returns 0 to n-1.
func (d *dice) below(n int64) int64 {
	hi, _ := bits.Mul64(d.pcg.Uint64(), uint64(n))
	return int64(hi)
}

// between returns lo to hi, both included.
func (d *dice) between(lo, hi int64) int64 { return lo + d.below(hi-lo+1) }

// percent is true p times in a hundred.
func (d *dice) percent(p int64) bool { return d.below(100) < p }

// one returns one of the list.
func one[T any](d *dice, list []T) T { return list[d.below(int64(len(list)))] }

// The geometry is in integers throughout, because Go may fuse x*y+z of floats
// on one machine and not on another: lengths are millimetres, directions and
// ratios are in units of 1/unit, angles in turns/circle, and points of the
// picture in 1/sub of a pixel.
const (
	unit   = 1 << 16
	circle = 1 << 12
	sub    = 1 << 8
)

// sine is that of an angle, in units of 1/unit, by Bhaskara's formula (within
// 0.2 %, which no eye sees).
func sine(angle int64) int64 {
	angle &= circle - 1
	const half = circle / 2
	h := angle & (half - 1)
	p := h * (half - h)
	v := 16 * p * unit / (5*half*half - 4*p)
	if angle >= half {
		return -v
	}
	return v
}

func cosine(angle int64) int64 { return sine(angle + circle/4) }
