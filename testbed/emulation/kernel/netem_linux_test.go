package kernel

import (
	"math"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// echo sends back what a socket receives.
func (b *bed) echo(c *net.UDPConn) {
	done := make(chan struct{})
	b.Cleanup(func() {
		c.Close()
		<-done
	})
	go func() {
		defer close(done)
		for p := make([]byte, 2000); ; {
			n, from, err := c.ReadFromUDPAddrPort(p)
			if err != nil {
				return
			}
			if _, err := c.WriteToUDPAddrPort(p[:n], from); err != nil {
				return
			}
		}
	}()
}

// roundTrip is the median of n round trips to an echo.
func (b *bed) roundTrip(from, to *net.UDPConn, n int) time.Duration {
	b.Helper()
	var took []time.Duration
	p := make([]byte, 100)
	for range n {
		began := time.Now()
		if _, err := from.WriteToUDPAddrPort(p, address(to)); err != nil {
			b.Fatal(err)
		}
		from.SetReadDeadline(began.Add(10 * time.Second))
		if _, err := from.Read(p); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[n/2]
}

// A round trip takes the delays of both directions, of its own two nodes, and
// not much more; it follows when they change.
func TestDelay(t *testing.T) {
	needNetem(t)
	b := newBed(t, 3)
	b.set(1, 2, testbed.Link{Delay: 10 * time.Millisecond}, true)
	b.set(1, 3, testbed.Link{Delay: 40 * time.Millisecond, Rate: 10e6, Queue: 100}, true)
	one, two, three := b.udp(1), b.udp(2), b.udp(3)
	b.echo(two)
	b.echo(three)
	late := 20 * time.Millisecond // this machine's, when it is busy
	if slowKernel() {
		late = 100 * time.Millisecond
	}
	check := func(to *net.UDPConn, want time.Duration) time.Duration {
		t.Helper()
		got := b.roundTrip(one, to, 15)
		t.Logf("round trip %s, asked %s", got, want)
		if got < want || got > want+late {
			t.Errorf("round trip %s, want %s to %s", got, want, want+late)
		}
		return got
	}
	short, long := check(two, 20*time.Millisecond), check(three, 80*time.Millisecond)
	if long-short < 40*time.Millisecond {
		t.Errorf("the link with 30 ms more delay each way takes %s more for a round trip", long-short)
	}
	if err := b.net.Set("n2", "n1", testbed.Link{Delay: 130 * time.Millisecond}, true); err != nil {
		t.Fatal(err)
	}
	check(two, 140*time.Millisecond)
}

// Packets that are delayed do not take room in the queue for the rate.
func TestDelayedPacketsDoNotWait(t *testing.T) {
	needNetem(t)
	b := newBed(t, 2)
	b.set(1, 2, testbed.Link{Delay: 500 * time.Millisecond, Rate: 8e6, Queue: 10}, true)
	one, two := b.udp(1), b.udp(2)
	most := uint64(0)
	const sent = 100
	for range sent / 5 { // 5 of 100 bytes take 0.5 ms at this rate
		b.send(one, two, 5, 100)
		began := time.Now()
		eventually(t, "2 ms", func() bool { return time.Since(began) > 2*time.Millisecond })
		most = max(most, b.counters(1, 2).UnderWay)
	}
	if got := b.receive(two, sent, 5*time.Second); len(got) != sent {
		t.Errorf("received %d of %d packets; %+v", len(got), sent, b.counters(1, 2))
	}
	if most <= 11 {
		t.Errorf("at most %d packets were under way: the test proves nothing", most)
	}
}

// The fraction lost is the one asked for, packet by packet, and is counted.
func TestLoss(t *testing.T) {
	needNetem(t)
	b := newBed(t, 2)
	one, two := b.udp(1), b.udp(2)
	const batch, batches = 500, 12
	for _, p := range []float64{0, 0.02, 0.3, 1} {
		b.set(1, 2, testbed.Link{Loss: p}, true)
		was := b.counters(1, 2)
		received, runs := 0, 0 // runs of packets lost in a row
		for range batches {
			b.send(one, two, batch, 60)
			arrived := int(b.counters(1, 2).Packets-was.Packets) - received
			got := b.receive(two, arrived, 5*time.Second)
			if len(got) != arrived {
				t.Fatalf("loss %g: received %d packets of %d", p, len(got), arrived)
			}
			received += len(got)
			if !slices.IsSorted(got) {
				t.Errorf("loss %g: packets out of order", p)
			}
			last := -1
			for _, n := range append(got, batch) {
				if n != last+1 {
					runs++
				}
				last = n
			}
		}
		c := b.counters(1, 2)
		const sent = batch * batches
		if lost := int(c.Loss - was.Loss); lost != sent-received {
			t.Errorf("loss %g: %d of %d packets received, and %d counted as lost", p, received, sent, lost)
		}
		// 5 standard deviations: once in 1.7 million runs.
		lost := float64(sent - received)
		if d := math.Abs(lost - p*sent); d > 5*math.Sqrt(sent*p*(1-p)) {
			t.Errorf("loss %g: lost %g of %d", p, lost, sent)
		}
		// Independent losses come in runs of 1/(1-p) on average; a run's end has
		// a variance of p(1-p)·(1-…) ≤ p(1-p) per packet.
		if p < 1 {
			want := p * (1 - p) * sent
			if d := math.Abs(float64(runs) - want); d > 5*math.Sqrt(want)+batches {
				t.Errorf("loss %g: %d runs of losses among %d packets, want about %.0f", p, runs, sent, want)
			}
		}
		t.Logf("loss %g: lost %g of %d in %d runs", p, lost, sent, runs)
	}
}

// Jitter spreads the delays and leaves the order alone.
func TestJitterKeepsOrder(t *testing.T) {
	needNetem(t)
	b := newBed(t, 2)
	const delay, jitter = 60 * time.Millisecond, 50 * time.Millisecond
	b.set(1, 2, testbed.Link{Delay: delay, Jitter: jitter}, true)
	one, two := b.udp(1), b.udp(2)
	// At once, to find what would overtake …
	b.send(one, two, 500, 100)
	if got := b.receive(two, 500, 5*time.Second); len(got) != 500 || !slices.IsSorted(got) {
		t.Errorf("%d of 500 packets, in order: %t", len(got), slices.IsSorted(got))
	}
	// … and one at a time, to see each one's delay.
	var took []time.Duration
	for range 30 {
		began := time.Now()
		b.send(one, two, 1, 100)
		if len(b.receive(two, 1, 5*time.Second)) == 1 {
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	if len(took) != 30 || took[0] < delay-jitter || took[25]-took[4] < jitter/2 {
		t.Errorf("delays %v, want at least %s, and spread over %s", took, delay-jitter, 2*jitter)
	}
}

// A link that becomes shorter under packets does not let later ones overtake.
func TestShorterDelayKeepsOrder(t *testing.T) {
	needNetem(t)
	b := newBed(t, 2)
	one, two := b.udp(1), b.udp(2)
	b.set(1, 2, testbed.Link{Delay: 500 * time.Millisecond}, true)
	b.send(one, two, 50, 100)
	b.set(1, 2, testbed.Link{Delay: time.Millisecond}, true)
	p := make([]byte, 72)
	for i := 50; i < 100; i++ {
		p[2] = byte(i)
		if _, err := one.WriteToUDPAddrPort(p, address(two)); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.receive(two, 100, 5*time.Second); len(got) != 100 || !slices.IsSorted(got) {
		t.Errorf("received %v, want 0 to 99", got)
	}
}

// What is under way when a link is cut does not arrive.
func TestCutDropsWhatIsUnderWay(t *testing.T) {
	needNetem(t)
	b := newBed(t, 2)
	one, two := b.udp(1), b.udp(2)
	link := testbed.Link{Delay: 2 * time.Second}
	b.set(1, 2, link, true)
	b.send(one, two, 10, 100)
	if c := b.counters(1, 2); c.UnderWay != 10 {
		t.Fatalf("%+v, want 10 under way", c)
	}
	b.set(1, 2, link, false)
	b.set(1, 2, testbed.Link{Delay: time.Millisecond}, true)
	b.send(one, two, 1, 100)
	if got := b.receive(two, 11, 2*time.Second); len(got) != 1 {
		t.Errorf("received %v, want the one sent afterwards", got)
	}
	if c := b.counters(1, 2); c.Cut != 10 || c.Packets != 1 || c.UnderWay != 0 {
		t.Errorf("%+v, want 10 cut and 1 passed", c)
	}
}
