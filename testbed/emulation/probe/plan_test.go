package probe

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/testbed"
)

func anyLink(t *rapid.T) testbed.Link {
	return testbed.Link{
		Delay:  time.Duration(rapid.IntRange(0, 200).Draw(t, "delay")) * ms1,
		Jitter: time.Duration(rapid.IntRange(0, 50).Draw(t, "jitter")) * ms1,
		Rate:   rapid.Int64Range(64e3, 1e9).Draw(t, "rate"),
		Loss:   rapid.Float64Range(0, 0.5).Draw(t, "loss"),
		Queue:  rapid.IntRange(0, 5000).Draw(t, "queue"),
	}
}

// TestPlansSuitTheLink checks of any link that losses are measured below its
// rate and throughput above it, and that neither overflows the queue by itself
// nor takes long.
func TestPlansSuitTheLink(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLink(t)
		s := losing(l, header)
		if load := s.pps * bits(s.size+header); load > lossRate*float64(l.Rate)*1.001 || s.pps > lossPPS {
			t.Errorf("loss is measured at %g bit/s, %g packets a second", load, s.pps)
		}
		if s.burst > max(1, l.Queue) || s.ahead > max(1, l.Queue) {
			t.Errorf("%d packets at once, %d ahead", s.burst, s.ahead)
		}
		if took := float64(s.n) / s.pps; took > maxLoss.Seconds()+1 {
			t.Errorf("loss takes %g s", took)
		}

		s = filling(l, header)
		if load := s.pps * bits(s.size+header) * (1 - l.Loss); load < 1.05*float64(l.Rate) {
			t.Errorf("%g bit/s do not fill the link", load)
		}
		if s.ahead > max(1, l.Queue) || s.burst > max(1, l.Queue) {
			t.Errorf("%d packets ahead, %d at once", s.ahead, s.burst)
		}
		if passed := float64(s.n) * (1 - l.Loss); passed < minPackets {
			t.Errorf("%g packets", passed)
		}
		onLine := float64(s.n) * bits(s.size+header) * (1 - l.Loss) / float64(l.Rate)
		if most := max(minPackets*bits(s.size+header)/float64(l.Rate), 2) + 0.5; onLine < 0.1 || onLine > most {
			t.Errorf("it takes %g s, want 0.1 to %g", onLine, most)
		}
		// What is in the queue when the sender ends: what went ahead, and a tenth.
		if left := float64(s.ahead) + float64(s.n)*(1-1/overload) + 1; left > float64(s.n) {
			t.Errorf("%g of %d packets are left", left, s.n)
		}
	})
}

// TestSlowLinkWithLongQueueTakesNoMinute is the case where filling the queue
// would take 12 s.
func TestSlowLinkWithLongQueueTakesNoMinute(t *testing.T) {
	l := testbed.Link{Rate: 1e6, Queue: 1000}
	s := filling(l, header)
	if took := seconds(float64(s.n) * bits(s.size+header) / float64(l.Rate)); took > time.Second {
		t.Errorf("%v of packets are sent", took)
	}
	if limit := draining(l, s, header); limit > 2*time.Second {
		t.Errorf("the rest may take %v", limit)
	}
}

func TestProbing(t *testing.T) {
	for _, c := range []struct {
		link  testbed.Link
		n     int
		every time.Duration
	}{
		{testbed.Link{Delay: 4 * ms1, Rate: 30e6}, minProbes, pairGap},
		{testbed.Link{}, minProbes, pairGap},
		{testbed.Link{Rate: 64e3}, minProbes, 34 * ms1},                          // 544 bits take 8.5 ms
		{testbed.Link{Delay: 10 * ms1, Jitter: 2 * ms1}, 88, pairGap},            // (2 z 2/2)² = 88
		{testbed.Link{Delay: 10 * ms1, Jitter: 5 * ms1}, maxProbes, 20 * ms1},    // 554
		{testbed.Link{Delay: 100 * ms1, Jitter: 50 * ms1}, minProbes, 200 * ms1}, // 4 s
		{testbed.Link{Delay: 4 * ms1, Loss: 0.5}, 4 * minProbes, pairGap},        // as many answers
		{testbed.Link{Delay: 4 * ms1, Loss: 0.99}, maxProbes, pairGap},           // no end to it
	} {
		n, every := probing(c.link, c.link, header, some)
		if n != c.n || every != c.every {
			t.Errorf("%+v: %d probes every %v, want %d, %v", c.link, n, every, c.n, c.every)
		}
	}
}
