package source

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSamplerPattern(t *testing.T) {
	for _, tc := range []struct {
		in, out float64
		want    []int
	}{
		{30, 0, []int{0, 1, 2, 3, 4, 5, 6}},
		{30, 30, []int{0, 1, 2, 3, 4, 5, 6}},
		{30, 60, []int{0, 1, 2, 3, 4, 5, 6}},
		{30, 10, []int{0, 3, 6}},
		{30, 20, []int{0, 2, 3, 5, 6}},
		{100, 25, []int{0, 4}},
	} {
		s := newSampler(tc.out, recorded)
		var got []int
		for n := range 7 {
			if s.take(time.Duration(n) * interval(tc.in)) {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%g of %g frames a second: %v, want %v", tc.out, tc.in, got, tc.want)
		}
	}
}

// Over no stretch does more come out than the rate and one frame, and of a
// camera that jitters, nearly as much as it can give.
func TestSamplerRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fps := rapid.Float64Range(1, 60).Draw(t, "fps")
		in := rapid.Float64Range(1, 120).Draw(t, "camera's")
		s := newSampler(fps, jittery)
		var taken []time.Duration
		const n = 300
		for i := range n {
			// Up to a tenth of the camera's interval early or late.
			at := time.Duration((float64(i) + rapid.Float64Range(-0.1, 0.1).Draw(t, "jitter")) * float64(interval(in)))
			if at = max(at, 0); s.take(at) {
				taken = append(taken, at)
			}
		}
		for i := range taken {
			for j := i + 1; j < len(taken); j++ {
				if span := taken[j] - taken[i]; span < time.Duration(j-i-1)*s.every-s.early {
					t.Fatalf("%d frames in %s at %g a second", j-i+1, span, fps)
				}
			}
		}
		if least := int(0.9 * n * min(1, fps/in)); len(taken) < least {
			t.Fatalf("%d of %d frames taken at %g of %g a second, want %d", len(taken), n, fps, in, least)
		}
	})
}

func TestPlayback(t *testing.T) {
	begin := time.Unix(1000, 0)
	p := &playback{every: 100 * time.Millisecond, begin: begin}
	for _, step := range []struct {
		n    int
		now  time.Duration
		want time.Duration
	}{
		{0, 0, 0},
		{1, 0, 100 * time.Millisecond},
		{1, 30 * time.Millisecond, 70 * time.Millisecond},
		{2, 250 * time.Millisecond, 0}, // a little late: catches up
		{3, 260 * time.Millisecond, 40 * time.Millisecond},
		{4, 5 * time.Second, 0}, // long held up: goes on from here
		{5, 5 * time.Second, 100 * time.Millisecond},
	} {
		if got := p.wait(step.n, begin.Add(step.now)); got != step.want {
			t.Errorf("frame %d at %s: wait %s, want %s", step.n, step.now, got, step.want)
		}
	}
}

func TestBacklog(t *testing.T) {
	const quick, slow = time.Millisecond, 30 * time.Millisecond
	for _, tc := range []struct {
		name    string
		opening time.Duration
		waits   []time.Duration
		live    int // the first frame that is
	}{
		{"opened at once", quick, []time.Duration{quick, quick}, 0},
		{"until the first wait", 5 * time.Second, []time.Duration{quick, quick, quick, slow, quick, quick}, 3},
		{"no more than fit", 120 * time.Millisecond, []time.Duration{quick, quick, quick, quick, quick}, 3},
	} {
		b := newBacklog(tc.opening, 25)
		for i, waited := range tc.waits {
			if got, want := b.stale(waited), i < tc.live; got != want {
				t.Errorf("%s: frame %d: stale is %v, want %v", tc.name, i, got, want)
			}
		}
	}
}
