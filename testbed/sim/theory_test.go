package sim

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

const (
	batches  = 20
	studentT = 3.88 // of 19 degrees of freedom, two-sided 99.9 %
)

// estimate is a mean by the method of batch means.
type estimate struct{ mean, half float64 }

func estimateOf(values []float64) estimate {
	n := float64(len(values))
	var sum, squares float64
	for _, v := range values {
		sum += v
	}
	mean := sum / n
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return estimate{mean, studentT * math.Sqrt(squares/(n-1)/n)}
}

// want fails if the closed form is outside of the confidence interval, or the
// interval is too wide to tell anything.
func (e estimate) want(t *testing.T, what string, value, width float64) {
	t.Helper()
	t.Logf("%s: %.5g ± %.2g, theory %.5g", what, e.mean, e.half, value)
	if math.Abs(e.mean-value) > e.half {
		t.Errorf("%s is %g ± %g, theory says %g", what, e.mean, e.half, value)
	}
	if e.half > width*value {
		t.Errorf("%s: the interval ± %g is wider than %g of the value: simulate more", what, e.half, width)
	}
}

// observe runs a lab in batches and estimates what measure returns of each.
func (l *lab) observe(warmup, batch time.Duration, measure ...func() float64) []estimate {
	l.run(warmup)
	for _, m := range measure {
		m()
	}
	values := make([][]float64, len(measure))
	for range batches {
		l.run(batch)
		for i, m := range measure {
			values[i] = append(values[i], m())
		}
	}
	out := make([]estimate, len(measure))
	for i := range values {
		out[i] = estimateOf(values[i])
	}
	return out
}

// meanOf is the mean of what a tally recorded since it was last asked, in
// seconds.
func meanOf(t *tally) func() float64 {
	var n uint64
	var sum time.Duration
	return func() float64 {
		m := (t.sum - sum).Seconds() / float64(t.n-n)
		n, sum = t.n, t.sum
		return m
	}
}

// number is the mean number in system of the watched instance.
func (l *lab) number() func() float64 {
	area, at := l.area, l.now()
	return func() float64 {
		m := (l.area - area) / float64(l.now()-at)
		area, at = l.area, l.now()
		return m
	}
}

// M/M/1: Kleinrock, Queueing Systems, volume I, section 3.2.
func TestMM1(t *testing.T) {
	for _, rho := range []float64{0.5, 0.8, 0.9} {
		t.Run(fmt.Sprint(rho), func(t *testing.T) {
			t.Parallel()
			const mu = 100.0
			l := newLab(t, 1, unbounded(), 1, free("work", timing{mean: time.Second / mu, cv: 1}))
			l.watched = l.stage(0, 0)
			l.source(0, rho*mu, 0, l.watched)
			batch := secondsOf(1.2 / (1 - rho) / (1 - rho) / rho)
			got := l.observe(batch, batch, meanOf(&l.stats.stages[0].queue), l.number(), meanOf(&l.stats.latency))
			got[0].want(t, "wait", rho/(mu-rho*mu), 0.4)
			got[1].want(t, "number in system", rho/(1-rho), 0.4)
			got[2].want(t, "time in system", 1/(mu-rho*mu), 0.4)
		})
	}
}

// M/D/1, the server a link: Pollaczek–Khinchine, Kleinrock I, section 5.6.
func TestMD1Link(t *testing.T) {
	for _, rho := range []float64{0.5, 0.8} {
		t.Run(fmt.Sprint(rho), func(t *testing.T) {
			t.Parallel()
			const d = 0.010 // seconds
			x := free("sink", timing{})
			x.bytes = 12500
			l := newLab(t, 2, unbounded(), 2, x)
			l.join(testbed.Link{Rate: 20_000_000, Loss: 0.5}) // half of it is lost
			l.source(0, rho/d, 0, l.stage(1, 0))
			got := l.observe(10*time.Second, 25*time.Second, meanOf(&l.stats.stages[0].transfer))
			got[0].want(t, "time on the link", d+rho*d/2/(1-rho), 0.15)
		})
	}
}

// The newest frame first is as good in the mean, by a conservation law
// (Kleinrock II, section 3.4).
func TestMD1LinkNewestFirst(t *testing.T) {
	const rho, d = 0.8, 0.010
	x := free("sink", timing{})
	x.bytes = 12500
	r := unbounded()
	r.senders = 1 << 20
	l := newLab(t, 3, r, 2, x)
	l.join(testbed.Link{Rate: 10_000_000})
	l.source(0, rho/d, 0, l.stage(1, 0))
	got := l.observe(10*time.Second, 25*time.Second, meanOf(&l.stats.stages[0].transfer))
	got[0].want(t, "time on the link", d+rho*d/2/(1-rho), 0.15)
}

// Two M/M/1 in tandem behave as if each had its own Poisson arrivals (Jackson,
// Operations Research 5, 1957).
func TestTandem(t *testing.T) {
	const lambda, mu1, mu2 = 70.0, 100.0, 140.0
	l := newLab(t, 4, unbounded(), 2,
		free("first", timing{mean: secondsOf(1 / mu1), cv: 1}), free("second", timing{mean: secondsOf(1 / mu2), cv: 1}))
	second := l.stage(1, 1)
	l.watched = second
	l.source(0, lambda, 0, l.stage(0, 0, second))
	got := l.observe(10*time.Second, 50*time.Second,
		meanOf(&l.stats.stages[0].queue), meanOf(&l.stats.stages[1].queue), meanOf(&l.stats.latency), l.number())
	got[0].want(t, "first wait", lambda/mu1/(mu1-lambda), 0.25)
	got[1].want(t, "second wait", lambda/mu2/(mu2-lambda), 0.25)
	got[2].want(t, "time in system", 1/(mu1-lambda)+1/(mu2-lambda), 0.25)
	got[3].want(t, "number in the second", lambda/(mu2-lambda), 0.25)
}

// M/M/1/K: the share of frames that find it full, and the number in system
// (Kleinrock I, section 3.6). Which of the frames is dropped does not matter to
// either; that a queue skips to the newest would.
func TestMM1K(t *testing.T) {
	for _, rho := range []float64{0.8, 1.5} {
		t.Run(fmt.Sprint(rho), func(t *testing.T) {
			t.Parallel()
			const mu, k = 100.0, 5.0 // four wait, one is worked on
			r := unbounded()
			r.stage = policy{limit: 4}
			l := newLab(t, 5, r, 1, free("work", timing{mean: time.Second / mu, cv: 1}))
			l.watched = l.stage(0, 0)
			l.source(0, rho*mu, 0, l.watched)
			var full, all uint64
			h := &l.stats.stages[0].handled
			loss := func() float64 {
				f, a := h.dropped[queueFull], h.received
				share := float64(f-full) / float64(a-all)
				full, all = f, a
				return share
			}
			p := (1 - rho) / (1 - math.Pow(rho, k+1))
			var in float64
			for n := 1.0; n <= k; n++ {
				in += n * p * math.Pow(rho, n)
			}
			got := l.observe(5*time.Second, 20*time.Second, loss, l.number())
			got[0].want(t, "loss", p*math.Pow(rho, k), 0.25)
			got[1].want(t, "number in system", in, 0.2)
		})
	}
}

// M/G/1 with processor sharing: the mean time in system depends on the mean of
// the work alone (Kleinrock II, section 4.4). The work is that of receiving
// frames.
func TestMG1ProcessorSharing(t *testing.T) {
	for _, cv := range []float64{0, 0.5, 1, 2} {
		t.Run(fmt.Sprint(cv), func(t *testing.T) {
			t.Parallel()
			const rho, s = 0.7, 0.010
			x := free("sink", timing{})
			x.receive = timing{mean: secondsOf(s), cv: cv}
			l := newLab(t, 6, unbounded(), 2, x)
			l.source(0, rho/s, 0, l.stage(1, 0))
			got := l.observe(10*time.Second, 25*time.Second, meanOf(&l.stats.stages[0].transfer))
			got[0].want(t, "time in system", s/(1-rho), 0.3)
		})
	}
}

// Jobs on c cores, one core each at most: exponential work makes it an M/M/c
// (Kleinrock I, section 3.5), whichever is served first.
func TestMMc(t *testing.T) {
	const c, rho, s = 3, 0.8, 0.010
	x := free("sink", timing{})
	x.receive = timing{mean: secondsOf(s), cv: 1}
	l := newLab(t, 7, unbounded(), 2, x)
	l.nodes[1].cpu = newProcessor(c, c, 0, 1)
	l.source(0, c*rho/s, 0, l.stage(1, 0))
	got := l.observe(10*time.Second, 20*time.Second, meanOf(&l.stats.stages[0].transfer))
	a := c * rho
	sum, term := 0.0, 1.0 // of a^n/n!
	for n := 1; n <= c; n++ {
		sum += term
		term *= a / float64(n)
	}
	wait := term / (term + (1-rho)*sum)
	got[0].want(t, "time in system", s+wait*s/(c*(1-rho)), 0.2)
	if used := l.busy(1).Seconds() / l.now().Seconds(); math.Abs(used-a) > 0.02*a {
		t.Errorf("%g cores are used, want %g", used, a)
	}
}

func secondsOf(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// BenchmarkMM1 is the engine with the real node and queue: three events a
// frame (captured, done, and the next).
func BenchmarkMM1(b *testing.B) {
	l := newLab(b, 1, unbounded(), 1, free("work", timing{mean: 10 * time.Millisecond, cv: 1}))
	l.source(0, 80, 0, l.stage(0, 0))
	l.run(time.Minute)
	b.ReportAllocs()
	before := l.q.Done()
	for b.Loop() {
		e, _ := l.q.Next()
		l.handle(e)
		if len(l.stats.recent) > 10_000 { // as a sample does
			l.stats.recent = l.stats.recent[:0]
		}
	}
	b.ReportMetric(float64(l.q.Done()-before)/b.Elapsed().Seconds(), "events/s")
}
