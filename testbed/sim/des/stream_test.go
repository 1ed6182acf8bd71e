package des

import (
	"math"
	"testing"
	"time"
)

// The moments of what Gamma draws are those asked for.
func TestGammaMoments(t *testing.T) {
	const n = 400_000
	for _, cv := range []float64{0, 0.1, 0.5, 1, 1.5, 3} {
		s := NewStream(1, "moments")
		var sum, squares float64
		for range n {
			x := s.Gamma(time.Second, cv).Seconds()
			sum += x
			squares += x * x
		}
		mean := sum / n
		sd := math.Sqrt(max(squares/n-mean*mean, 0))
		// The standard error of the mean is cv/√n; of the deviation about
		// cv·√((kurtosis+2)/4n), where a gamma's excess kurtosis is 6·cv².
		if tol := 4 * cv / math.Sqrt(n); math.Abs(mean-1) > tol+1e-6 {
			t.Errorf("cv %g: mean %g, want 1 ± %g", cv, mean, tol)
		}
		if tol := 4 * cv * math.Sqrt((6*cv*cv+2)/(4*n)); math.Abs(sd-cv) > tol+1e-6 {
			t.Errorf("cv %g: deviation %g, want it ± %g", cv, sd, tol)
		}
	}
}

func TestUniform(t *testing.T) {
	s := NewStream(1, "uniform")
	var sum time.Duration
	for range 100_000 {
		d := s.Uniform(time.Second)
		if d < 0 || d >= time.Second {
			t.Fatalf("drew %s", d)
		}
		sum += d
	}
	if mean := sum / 100_000; (mean - time.Second/2).Abs() > 4*time.Millisecond {
		t.Errorf("mean %s, want about half a second", mean)
	}
	if d := s.Uniform(0); d != 0 {
		t.Errorf("drew %s from nothing", d)
	}
}

// A stream is told by its seed and name, and by nothing else.
func TestStreams(t *testing.T) {
	draw := func(seed uint64, name string) (out [8]time.Duration) {
		s := NewStream(seed, name)
		for i := range out {
			out[i] = s.Uniform(time.Hour)
		}
		return out
	}
	one, same := draw(1, "a"), draw(1, "a")
	if one != same {
		t.Error("the same stream differs")
	}
	if one == draw(1, "b") || one == draw(2, "a") {
		t.Error("different streams are the same")
	}
}
