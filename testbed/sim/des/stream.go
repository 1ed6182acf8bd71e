package des

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// Stream is a sequence of random numbers for one purpose. Streams of one seed
// and different names are independent, so that what is added to a model under
// a new name does not change what the others draw.
type Stream struct{ rng *rand.Rand }

// NewStream returns the stream of that name.
func NewStream(seed uint64, name string) Stream {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return Stream{rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// Chance is true with that probability.
func (s Stream) Chance(p float64) bool { return s.rng.Float64() < p }

// Uniform draws from [0, d); 0 if d is not positive.
func (s Stream) Uniform(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.rng.Int64N(int64(d)))
}

// Gamma draws from the gamma distribution with a mean and a coefficient of
// variation (standard deviation over mean): constant where cv is 0,
// exponential where it is 1.
func (s Stream) Gamma(mean time.Duration, cv float64) time.Duration {
	switch {
	case cv <= 0:
		return mean
	case cv == 1:
		return time.Duration(s.rng.ExpFloat64() * float64(mean))
	}
	shape := 1 / (cv * cv)
	return time.Duration(s.gamma(shape) / shape * float64(mean))
}

// gamma draws from the gamma distribution of scale 1 by the method of
// Marsaglia and Tsang (ACM Transactions on Mathematical Software 26(3), 2000);
// shapes below 1 by their section 6.
func (s Stream) gamma(shape float64) float64 {
	if shape < 1 {
		return s.gamma(shape+1) * math.Pow(1-s.rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := s.rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		u := 1 - s.rng.Float64() // above 0
		if math.Log(u) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
