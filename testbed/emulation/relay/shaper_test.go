package relay

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/testbed"
)

const ms = time.Millisecond

func newShaper(l testbed.Link) *shaper {
	return &shaper{link: l, pass: true, rng: rand.New(rand.NewPCG(1, 2))}
}

// drain takes everything off the line and returns when it arrives.
func drain(s *shaper) []time.Duration {
	var out []time.Duration
	for s.line.len() > 0 {
		out = append(out, s.next().due)
	}
	return out
}

func TestShaper(t *testing.T) {
	type offer struct {
		at   time.Duration
		size int
		want verdict
	}
	for _, tt := range []struct {
		name   string
		link   testbed.Link
		cut    bool
		offers []offer
		due    []time.Duration // of those that passed
	}{
		{
			name:   "unshaped packets take the delay",
			link:   testbed.Link{Delay: 5 * ms},
			offers: []offer{{0, 1500, passed}, {0, 1500, passed}, {ms, 40, passed}},
			due:    []time.Duration{5 * ms, 5 * ms, 6 * ms},
		},
		{
			name:   "transmission takes size over rate, then the delay",
			link:   testbed.Link{Rate: 8e6, Delay: 5 * ms, Queue: 10}, // 1000 bytes a ms
			offers: []offer{{0, 1000, passed}, {10 * ms, 500, passed}},
			due:    []time.Duration{6 * ms, 15*ms + 500*time.Microsecond},
		},
		{
			name:   "packets are sent one after the other",
			link:   testbed.Link{Rate: 8e6, Queue: 10},
			offers: []offer{{0, 1000, passed}, {0, 1000, passed}, {ms / 2, 500, passed}},
			due:    []time.Duration{ms, 2 * ms, 2*ms + ms/2},
		},
		{
			name: "Queue packets wait besides the one in transmission",
			link: testbed.Link{Rate: 8e6, Queue: 2},
			offers: []offer{
				{0, 1000, passed}, {0, 1000, passed}, {0, 1000, passed}, {0, 1000, queueFull},
				{ms - 1, 1000, queueFull}, {ms, 1000, passed}, {ms, 1000, queueFull},
			},
			due: []time.Duration{ms, 2 * ms, 3 * ms, 4 * ms},
		},
		{
			name:   "packets in the delay line do not wait",
			link:   testbed.Link{Rate: 8e6, Delay: time.Second, Queue: 0},
			offers: []offer{{0, 1000, passed}, {0, 1000, queueFull}, {ms, 1000, passed}, {2 * ms, 1000, passed}},
			due:    []time.Duration{time.Second + ms, time.Second + 2*ms, time.Second + 3*ms},
		},
		{
			name:   "the rate is rounded so that it is never exceeded",
			link:   testbed.Link{Rate: 3e9, Queue: 1},
			offers: []offer{{0, 1, passed}},
			due:    []time.Duration{3}, // 2.67 ns
		},
		{
			name:   "everything is lost",
			link:   testbed.Link{Loss: 1},
			offers: []offer{{0, 1000, lost}},
		},
		{
			name:   "what is lost takes none of the rate",
			link:   testbed.Link{Loss: 1, Rate: 1},
			offers: []offer{{0, 1000, lost}, {0, 1000, lost}},
		},
		{
			name:   "no packet passes",
			link:   testbed.Link{Loss: 1},
			cut:    true,
			offers: []offer{{0, 1000, cut}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShaper(tt.link)
			s.pass = !tt.cut
			for i, o := range tt.offers {
				if got := s.admit(o.at, o.size, nil); got != o.want {
					t.Errorf("offer %d: verdict %d, want %d", i, got, o.want)
				}
			}
			due := drain(s)
			if len(due) != len(tt.due) {
				t.Fatalf("due %v, want %v", due, tt.due)
			}
			for i := range due {
				if due[i] != tt.due[i] {
					t.Errorf("due %v, want %v", due, tt.due)
				}
			}
		})
	}
}

func TestChangeOfLink(t *testing.T) {
	// 1000 bytes a millisecond; three packets, of which the first is in
	// transmission at 0.5 ms.
	for _, tt := range []struct {
		name string
		to   testbed.Link
		due  []time.Duration // of the three and a fourth, offered after the change
	}{
		{"slower", testbed.Link{Rate: 8e5, Delay: 2 * ms, Queue: 9}, []time.Duration{3 * ms, 13 * ms, 23 * ms, 33 * ms}},
		{"faster", testbed.Link{Rate: 8e7, Delay: 2 * ms, Queue: 9}, []time.Duration{3 * ms, 3*ms + ms/10, 3*ms + ms/5, 3*ms + 3*ms/10}},
		{"unshaped", testbed.Link{Delay: 2 * ms}, []time.Duration{3 * ms, 3 * ms, 3 * ms, 3 * ms}},
		{"longer", testbed.Link{Rate: 8e6, Delay: 9 * ms, Queue: 9}, []time.Duration{3 * ms, 11 * ms, 12 * ms, 13 * ms}},
		{"shorter: packets keep their order", testbed.Link{Rate: 8e6, Queue: 9}, []time.Duration{3 * ms, 3 * ms, 3 * ms, 4 * ms}},
		{"shorter queue: nothing that waits is dropped", testbed.Link{Rate: 8e6, Delay: 2 * ms, Queue: 1}, []time.Duration{3 * ms, 4 * ms, 5 * ms}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShaper(testbed.Link{Rate: 8e6, Delay: 2 * ms, Queue: 9})
			for range 3 {
				s.admit(0, 1000, nil)
			}
			s.set(ms/2, tt.to)
			s.admit(ms/2, 1000, nil)
			due := drain(s)
			if len(due) != len(tt.due) {
				t.Fatalf("due %v, want %v", due, tt.due)
			}
			for i := range due {
				if due[i] != tt.due[i] {
					t.Errorf("due %v, want %v", due, tt.due)
					break
				}
			}
		})
	}
}

// modelled is a packet that the model let pass.
type modelled struct {
	size             int
	start, done, due time.Duration
}

// model is a link by the letter of doc.go: it keeps every packet ever sent and
// looks at all of them each time.
type model struct {
	link testbed.Link
	rng  *rand.Rand
	sent []modelled
}

func (m *model) admit(now time.Duration, size int) verdict {
	if m.link.Loss > 0 && m.rng.Float64() < m.link.Loss {
		return lost
	}
	waiting := 0
	start := now
	for _, p := range m.sent {
		if p.start > now {
			waiting++
		}
		start = max(start, p.done)
	}
	if m.link.Rate > 0 && start > now && waiting >= m.link.Queue {
		return queueFull
	}
	m.sent = append(m.sent, m.send(len(m.sent), start, size))
	return passed
}

// send times the i-th packet.
func (m *model) send(i int, start time.Duration, size int) modelled {
	p := modelled{size: size, start: start, done: start}
	if m.link.Rate > 0 {
		p.done += time.Duration(math.Ceil(float64(size) * 8e9 / float64(m.link.Rate)))
	}
	p.due = p.done + m.link.Delay
	if j := int64(m.link.Jitter); j > 0 {
		p.due += time.Duration(m.rng.Int64N(2*j+1) - j)
	}
	if i > 0 {
		p.due = max(p.due, m.sent[i-1].due)
	}
	return p
}

func (m *model) set(now time.Duration, l testbed.Link) {
	m.link = l
	for i, p := range m.sent {
		if p.start > now {
			m.sent[i] = m.send(i, m.sent[i-1].done, p.size)
		}
	}
}

func drawLink(t *rapid.T) testbed.Link {
	delay := rapid.Int64Range(0, int64(20*ms)).Draw(t, "delay")
	return testbed.Link{
		Delay:  time.Duration(delay),
		Jitter: time.Duration(rapid.Int64Range(0, delay).Draw(t, "jitter")),
		Rate:   rapid.SampledFrom([]int64{0, 1e4, 1e6, 3e7, 1e9, 333_333_333}).Draw(t, "rate"),
		Loss:   rapid.SampledFrom([]float64{0, 0, 0.1, 0.9}).Draw(t, "loss"),
		Queue:  rapid.IntRange(0, 8).Draw(t, "queue"),
	}
}

func TestShaperAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		l := drawLink(t)
		s := &shaper{link: l, pass: true, rng: rand.New(rand.NewPCG(seed, 0))}
		m := &model{link: l, rng: rand.New(rand.NewPCG(seed, 0))}
		var now time.Duration
		arrived := 0
		arrive := func(until time.Duration) {
			for {
				due, ok := s.due()
				if !ok || due > until {
					return
				}
				p := s.next()
				if want := m.sent[arrived]; p.due != want.due || p.start != want.start || p.size != want.size {
					t.Fatalf("packet %d starts %s, arrives %s, want %+v", arrived, p.start, p.due, want)
				}
				arrived++
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.SampledFrom([]int64{0, 1, 1e3, 1e5, 1e6, 3e7}).Draw(t, "later"))
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				l := drawLink(t)
				s.set(now, l)
				m.set(now, l)
			case 1:
				arrive(now)
			default:
				size := rapid.IntRange(20, mtu).Draw(t, "size")
				got, want := s.admit(now, size, nil), m.admit(now, size)
				if got != want {
					t.Fatalf("at %s: verdict %d, want %d", now, got, want)
				}
			}
		}
		arrive(math.MaxInt64)
		if arrived != len(m.sent) {
			t.Fatalf("%d packets arrived of %d", arrived, len(m.sent))
		}
	})
}

// What holds of any link, whatever the model says.
func TestShaperProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLink(t)
		s := newShaper(l)
		var now, last, done time.Duration
		var verdicts [4]int
		n := rapid.IntRange(1, 100).Draw(t, "packets")
		for range n {
			now += time.Duration(rapid.Int64Range(0, int64(2*ms)).Draw(t, "later"))
			size := rapid.IntRange(20, mtu).Draw(t, "size")
			v := s.admit(now, size, nil)
			verdicts[v]++
			if v != passed {
				continue
			}
			p := s.line.at(s.line.len() - 1)
			tx := transmission(size, l.Rate)
			switch {
			case p.start < now || p.start < done:
				t.Fatalf("starts %s, before it is there (%s) or the one before is sent (%s)", p.start, now, done)
			case p.due < last:
				t.Fatalf("arrives %s, before the one sent before it, %s", p.due, last)
			case p.due < p.start+tx+l.Delay-l.Jitter:
				t.Fatalf("arrives %s, too early", p.due)
			case p.due > max(last, p.start+tx+l.Delay+l.Jitter):
				t.Fatalf("arrives %s, too late", p.due)
			case l.Rate > 0 && s.waiting(now) > l.Queue:
				t.Fatalf("%d wait, of %d that may", s.waiting(now), l.Queue)
			case l.Rate > 0 && float64(size)*8/tx.Seconds() > float64(l.Rate)*(1+1e-9):
				t.Fatalf("%d bytes in %s are faster than %d bit/s", size, tx, l.Rate)
			}
			done, last = p.start+tx, p.due
		}
		if verdicts[passed] != s.line.len() || verdicts[passed]+verdicts[lost]+verdicts[queueFull] != n {
			t.Fatalf("verdicts %v of %d packets, %d on their way", verdicts, n, s.line.len())
		}
		if l.Loss == 0 && verdicts[lost] > 0 || l.Rate == 0 && verdicts[queueFull] > 0 {
			t.Fatalf("verdicts %v on %+v", verdicts, l)
		}
	})
}

func TestRateIsUsedUp(t *testing.T) {
	for _, rate := range []int64{1e6, 3e6, 30e6, 100e6, 300e6, 1e9} {
		s := newShaper(testbed.Link{Rate: rate, Delay: ms, Queue: 10})
		const packets = 10_000
		var now, due time.Duration
		for got := 0; got < packets; {
			// Offered at 1.3 times the rate.
			now += time.Duration(1400 * 8e9 / (1.3 * float64(rate)))
			s.admit(now, 1400, nil)
			for s.line.len() > 0 && s.line.at(0).due <= now {
				due = s.next().due
				got++
			}
		}
		if got := packets * 1400 * 8 / (due - ms).Seconds(); got > float64(rate) || got < 0.999*float64(rate) {
			t.Errorf("%.0f bit/s of %d", got, rate)
		}
	}
}

func TestLossIsBernoulli(t *testing.T) {
	const n = 200_000
	for _, p := range []float64{0.001, 0.01, 0.1, 0.5} {
		s := newShaper(testbed.Link{Loss: p})
		losses, pairs, before := 0, 0, false
		for range n {
			is := s.admit(0, 100, nil) == lost
			if is {
				losses++
			}
			if is && before {
				pairs++
			}
			before = is
			drain(s)
		}
		within := func(what string, got int, p float64) {
			mean, sd := n*p, math.Sqrt(n*p*(1-p))
			if math.Abs(float64(got)-mean) > 4*sd+1 {
				t.Errorf("loss %g: %d %s, want %.0f ± %.0f", p, got, what, mean, 4*sd)
			}
		}
		within("losses", losses, p)
		within("losses after a loss", pairs, p*p)
	}
}

func TestJitterIsUniform(t *testing.T) {
	const n, bins = 100_000, 20
	s := newShaper(testbed.Link{Delay: 10 * ms, Jitter: 4 * ms})
	var hits [bins]int
	for i := range n {
		at := time.Duration(i) * time.Second // so far apart that order does not matter
		s.admit(at, 100, nil)
		d := s.next().due - at
		if d < 6*ms || d > 14*ms {
			t.Fatalf("delay %s is not in 10 ms ± 4 ms", d)
		}
		hits[min(bins-1, int(float64(d-6*ms)/float64(8*ms)*bins))]++
	}
	chi2 := 0.0
	for _, h := range hits {
		d := float64(h) - n/bins
		chi2 += d * d / (n / bins)
	}
	if chi2 > 43.8 { // 0.1 % of 19 degrees of freedom
		t.Errorf("χ² = %.1f: delays are not uniform: %v", chi2, hits)
	}
}

func BenchmarkShaper(b *testing.B) {
	s := newShaper(testbed.Link{Rate: 1e9, Delay: ms, Jitter: ms / 10, Loss: 0.01, Queue: 100})
	var now time.Duration
	b.ReportAllocs()
	for b.Loop() {
		now += 11 * time.Microsecond
		s.admit(now, 1400, nil)
		for s.line.len() > 0 && s.line.at(0).due <= now {
			s.next()
		}
	}
}
