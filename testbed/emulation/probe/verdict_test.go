package probe

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/testbed"
)

const (
	header = 28
	some   = 1e-3 / 400 // alpha of a check among many
)

func repeat(d time.Duration, n int) []time.Duration { return slices.Repeat([]time.Duration{d}, n) }

func TestJudgeTrips(t *testing.T) {
	us := time.Microsecond
	for _, c := range []struct {
		name      string
		out, back testbed.Link
		trips     []time.Duration
		ok        bool
		asked     string
		found     string
	}{
		{"exact", testbed.Link{Delay: 4 * ms1}, testbed.Link{Delay: 4 * ms1}, repeat(8*ms1, 21), true, "8 ms (7.2–8.8 ms)", "8 ms"},
		{"a tenth more", testbed.Link{Delay: 4 * ms1}, testbed.Link{Delay: 4 * ms1}, repeat(8800*us, 21), true, "8 ms (7.2–8.8 ms)", "8.8 ms"},
		{"more", testbed.Link{Delay: 4 * ms1}, testbed.Link{Delay: 4 * ms1}, repeat(8801*us, 21), false, "8 ms (7.2–8.8 ms)", "8.8 ms"},
		{"less", testbed.Link{Delay: 4 * ms1}, testbed.Link{Delay: 4 * ms1}, repeat(7199*us, 21), false, "8 ms (7.2–8.8 ms)", "7.2 ms"},
		{"short, 0.3 ms more", testbed.Link{Delay: ms1}, testbed.Link{Delay: ms1}, repeat(2300*us, 21), true, "2 ms (1.7–2.3 ms)", "2.3 ms"},
		{"no delay", testbed.Link{}, testbed.Link{}, repeat(250*us, 21), true, "0 ms (0–0.3 ms)", "0.25 ms"},
		{"no delay, slow", testbed.Link{}, testbed.Link{}, repeat(310*us, 21), false, "0 ms (0–0.3 ms)", "0.31 ms"},
		{"unequal directions", testbed.Link{Delay: ms1}, testbed.Link{Delay: 9 * ms1}, repeat(10*ms1, 21), true, "10 ms (9–11 ms)", "10 ms"},
		{"outliers", testbed.Link{Delay: 4 * ms1}, testbed.Link{Delay: 4 * ms1}, append(repeat(8*ms1, 11), repeat(80*ms1, 10)...), true, "8 ms (7.2–8.8 ms)", "8 ms"},
		// 544 bits at 100 kbit/s are 5.44 ms each way, or nothing of a token bucket.
		{"slow link", testbed.Link{Delay: 10 * ms1, Rate: 1e5}, testbed.Link{Delay: 10 * ms1, Rate: 1e5}, repeat(30880*us, 21), true, "20 ms (18–32.9 ms)", "30.9 ms"},
		{"token bucket", testbed.Link{Delay: 10 * ms1, Rate: 1e5}, testbed.Link{Delay: 10 * ms1, Rate: 1e5}, repeat(20*ms1, 21), true, "20 ms (18–32.9 ms)", "20 ms"},
		// z is 4.71 for this alpha: 4.71 × 2 ms / √100 = 0.94 ms on top.
		{"jitter", testbed.Link{Delay: 10 * ms1, Jitter: 2 * ms1}, testbed.Link{Delay: 10 * ms1, Jitter: 2 * ms1}, repeat(22900*us, 100), true, "20 ms (17.1–22.9 ms)", "22.9 ms"},
		{"beyond jitter", testbed.Link{Delay: 10 * ms1, Jitter: 2 * ms1}, testbed.Link{Delay: 10 * ms1, Jitter: 2 * ms1}, repeat(23*ms1, 100), false, "20 ms (17.1–22.9 ms)", "23 ms"},
		{"few answers", testbed.Link{Delay: 4 * ms1}, testbed.Link{Delay: 4 * ms1}, repeat(8*ms1, minAnswers-1), false, "8 ms (7.2–8.8 ms)", "4 of 21 probes answered"},
		{"none", testbed.Link{Delay: 4 * ms1}, testbed.Link{Delay: 4 * ms1}, nil, false, "8 ms (7.2–8.8 ms)", "0 of 21 probes answered"},
	} {
		median, v := judgeTrips(c.out, c.back, header, c.trips, 21, some)
		if v.What != roundTrip || v.OK != c.ok || v.Asked != c.asked || v.Found != c.found {
			t.Errorf("%s: %+v, want %v, asked %q, found %q", c.name, v, c.ok, c.asked, c.found)
		}
		if len(c.trips) >= minAnswers && median != at(c.trips, 0.5) {
			t.Errorf("%s: median %v", c.name, median)
		}
	}
}

const ms1 = time.Millisecond

// TestJitterOfUniformDelays feeds the exact quantiles of the sum of two uniform
// delays, which are ± √(2p) - 2 and so on, of several jitters.
func TestJitterOfUniformDelays(t *testing.T) {
	trips := func(j time.Duration) []time.Duration {
		var out []time.Duration
		for i := range 199 {
			p := float64(i) / 198
			x := 2*math.Sqrt(2*p) - 2 // quantile of the triangle on ±2
			if p > 0.5 {
				x = 2 - 2*math.Sqrt(2*(1-p))
			}
			out = append(out, 20*ms1+time.Duration(x*float64(j)))
		}
		return out
	}
	l := testbed.Link{Delay: 10 * ms1, Jitter: 2 * ms1}
	for _, c := range []struct {
		actual time.Duration
		ok     bool
		less   bool
		found  string
	}{
		{2 * ms1, true, false, "± 2 ms"}, {2500 * time.Microsecond, true, false, "± 2.5 ms"}, {4 * ms1, false, false, "± 4 ms"},
		{ms1 / 2, false, true, "± 0.5 ms"}, {0, false, true, "± 0 ms"},
	} {
		if v, less := judgeJitter(l, l, trips(c.actual), some); v.What != jitter || v.OK != c.ok || less != c.less || v.Found != c.found {
			t.Errorf("jitter of %v: %+v, less: %v; want %v, less: %v, found %q", c.actual, v, less, c.ok, c.less, c.found)
		}
	}
	if v, less := judgeJitter(l, l, nil, some); v.OK || less || v.Found != "0 answers" {
		t.Errorf("without answers: %+v, less: %v", v, less)
	}
}

func TestJudgeLoss(t *testing.T) {
	for _, c := range []struct {
		asked      float64
		lost, sent int
		ok         bool
		want       string
	}{
		{0, 0, 400, true, "0 % (0 of 400)"},
		{0, 2, 400, true, "0.5 % (2 of 400)"},
		{0, 3, 400, false, "0.75 % (3 of 400)"},
		{0, 20, 400, false, "5 % (20 of 400)"},
		{0, 0, 0, false, "0 % (0 of 0)"},
		{0.05, 50, 1000, true, "5 % (50 of 1000: between 2.37 % and 9 %)"},
		{0.05, 0, 1000, false, "0 % (0 of 1000: between 0 % and 1.35 %)"},
		{0.05, 100, 1000, false, "10 % (100 of 1000: between 6.1 % and 15.1 %)"},
		{0.05, 85, 1000, true, "8.5 % (85 of 1000: between 4.93 % and 13.3 %)"},
		{0.001, 0, 20000, false, "0 % (0 of 20000: between 0 % and 0.0679 %)"},
		{1, 1000, 1000, true, "100 % (1000 of 1000: between 98.6 % and 100 %)"},
		{1, 999, 1000, false, "99.9 % (999 of 1000: between 98.4 % and 100 %)"},
		{0.05, 0, 0, false, "0 % (0 of 0: between 0 % and 100 %)"},
	} {
		if v := judgeLoss(c.asked, c.lost, c.sent, some); v.What != loss || v.OK != c.ok || v.Found != c.want {
			t.Errorf("%g, %d of %d: %+v, want %v, %q", c.asked, c.lost, c.sent, v, c.ok, c.want)
		}
	}
}

// binomial is the probability of k of n.
func binomial(k, n int, p float64) float64 {
	lg := func(x int) float64 { y, _ := math.Lgamma(float64(x) + 1); return y }
	return math.Exp(lg(n) - lg(k) - lg(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

// TestIntervalIsClopperPearson compares with the definition: at the ends of the
// interval, what was seen or something more extreme has probability alpha/2.
func TestIntervalIsClopperPearson(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 500).Draw(t, "n")
		k := rapid.IntRange(0, n).Draw(t, "k")
		alpha := math.Pow(10, rapid.Float64Range(-7, -1).Draw(t, "log alpha"))
		low, high := interval(k, n, alpha)
		tail := func(from, to int, p float64) (sum float64) {
			for i := from; i <= to; i++ {
				sum += binomial(i, n, p)
			}
			return sum
		}
		if k == 0 && low != 0 || k == n && high != 1 || low > high {
			t.Fatalf("%g–%g", low, high)
		}
		if p := tail(k, n, low); k > 0 && math.Abs(p/(alpha/2)-1) > 1e-5 {
			t.Fatalf("at %g, P(X ≥ %d) = %g, want %g", low, k, p, alpha/2)
		}
		if p := tail(0, k, high); k < n && math.Abs(p/(alpha/2)-1) > 1e-5 {
			t.Fatalf("at %g, P(X ≤ %d) = %g, want %g", high, k, p, alpha/2)
		}
	})
}

// TestGoodLossyLinkFailsRarely adds up the probability of every outcome that
// is found fault with.
func TestGoodLossyLinkFailsRarely(t *testing.T) {
	for _, p := range []float64{0.02, 0.05, 0.3, 0.9} {
		n := losing(testbed.Link{Loss: p, Queue: 1000}, header).n
		wrong := 0.0
		for k := range n + 1 {
			if q := binomial(k, n, p); q > 1e-9 && !judgeLoss(p, k, n, 0.01).OK {
				wrong += q
			}
		}
		if wrong > 0.01 || wrong < 0.0005 {
			t.Errorf("loss of %g in %d: fails with probability %g, want a little less than 0.01", p, n, wrong)
		}
	}
}

func TestJudgeThroughput(t *testing.T) {
	l := testbed.Link{Rate: 30e6}
	lossy := testbed.Link{Rate: 30e6, Loss: 0.2}
	for _, c := range []struct {
		link           testbed.Link
		found, offered float64
		full, ok       bool
		want           string
	}{
		{l, 30e6, 33e6, true, true, "30 Mbit/s"},
		{l, 28.5e6, 33e6, true, true, "28.5 Mbit/s"},
		{l, 28.4e6, 33e6, true, false, "28.4 Mbit/s"},
		{l, 31.6e6, 33e6, true, false, "31.6 Mbit/s"},
		{l, 20.004e6, 22e6, true, false, "20 Mbit/s"},
		{l, 33e6, 36e6, false, false, "at least 33 Mbit/s (sent at 36 Mbit/s)"},
		{l, 30e6, 30e6, false, false, "at least 30 Mbit/s (sent at 30 Mbit/s)"},
		{l, 0, 33e6, false, false, "0 bit/s"},
		{lossy, 24e6, 41e6, true, true, "24 Mbit/s"},
		{lossy, 30e6, 41e6, true, true, "30 Mbit/s"},
		{lossy, 22e6, 41e6, true, false, "22 Mbit/s"},
	} {
		if v := judgeThroughput(c.link, c.found, c.offered, c.full); v.What != throughput || v.OK != c.ok || v.Found != c.want {
			t.Errorf("%g: %+v, want %v, %q", c.found, v, c.ok, c.want)
		}
	}
}

func TestOverflowed(t *testing.T) {
	for _, c := range []struct {
		queue      int
		loss       float64
		lost, sent int
		want       bool
	}{{5, 0, 0, 100, false}, {5, 0, 5, 100, false}, {5, 0, 6, 100, true}, {5, 0.2, 24, 100, false}, {5, 0.2, 26, 100, true}, {5, 0, 0, 0, false}, {1000, 0, 50, 100, false}} {
		if got := overflowed(testbed.Link{Rate: 1e8, Queue: c.queue, Loss: c.loss}, header, c.lost, c.sent); got != c.want {
			t.Errorf("%d of %d, asked %g, queue of %d: %v", c.lost, c.sent, c.loss, c.queue, got)
		}
	}
}

func TestUnmeasuredSaysWhy(t *testing.T) {
	for _, c := range []struct {
		link testbed.Link
		want string
	}{
		{testbed.Link{}, "not measured: unshaped"},
		{testbed.Link{Rate: 10e9}, "not measured above 1 Gbit/s"},
		{testbed.Link{Rate: 1e6, Loss: 1}, "not measured: nothing passes"},
	} {
		if v := unmeasured(c.link); measurable(c.link) || !v.OK || v.Found != c.want {
			t.Errorf("%+v: %+v, want %q", c.link, v, c.want)
		}
	}
	if l := (testbed.Link{Rate: 1e9}); !measurable(l) {
		t.Errorf("%+v is not measured", l)
	}
}

func TestJudgeCut(t *testing.T) {
	for _, c := range []struct {
		passed, sent int
		ok           bool
	}{{0, 50, true}, {1, 50, false}, {50, 50, false}, {0, 0, false}} {
		if v := judgeCut(c.passed, c.sent); v.OK != c.ok {
			t.Errorf("%d of %d: %+v, want %v", c.passed, c.sent, v, c.ok)
		}
	}
}

func TestFailedListsFigures(t *testing.T) {
	good := testbed.Verdict{What: loss, OK: true}
	checks := []testbed.LinkCheck{
		{From: "edge-1", To: "fog-1", Verdicts: []testbed.Verdict{{What: roundTrip, Asked: "8 ms (7.2–8.8 ms)", Found: "16.1 ms"}, good}},
		{From: "fog-1", To: "edge-1", Verdicts: []testbed.Verdict{good}},
		{From: "fog-1", To: "cloud", Verdicts: []testbed.Verdict{good, {What: throughput, Asked: "30 Mbit/s (28.5–31.5)", Found: "20 Mbit/s"}}},
	}
	err := Failed(checks)
	want := `links are not as asked:
  edge-1 → fog-1  round trip  asked 8 ms (7.2–8.8 ms)      found 16.1 ms
  fog-1 → cloud   throughput  asked 30 Mbit/s (28.5–31.5)  found 20 Mbit/s`
	if !errors.Is(err, ErrOutside) || err.Error() != want {
		t.Errorf("Failed = %v\nwant %s", err, want)
	}
	if err := Failed(checks[1:2]); err != nil {
		t.Errorf("Failed = %v of good links", err)
	}
	if err := Failed(slices.Repeat(checks[:1], shown+3)); !strings.HasSuffix(err.Error(), "16.1 ms\n  and 3 more") {
		t.Errorf("Failed = %v, want it cut", err)
	}
}
