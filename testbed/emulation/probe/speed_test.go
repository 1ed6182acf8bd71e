package probe

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// pipe is a model of a link: it transmits at rate what tokens do not let pass
// at once, and delays it.
type pipe struct {
	rate   float64 // bits a second; 0: at once
	delay  time.Duration
	tokens int // packets that pass at once, at first
}

// arrivals are those of packets of a size that are sent at some times.
func (p pipe) arrivals(sent []time.Duration, size int) []arrival {
	var out []arrival
	var free time.Duration // when the transmitter is
	for i, t := range sent {
		end := t
		if p.rate > 0 && i >= p.tokens {
			end = max(t, free) + seconds(bits(size)/p.rate)
			free = end
		}
		out = append(out, arrival{seq: uint32(i), sent: int64(t), at: int64(end + p.delay)})
	}
	return out
}

// schedule sends n packets at pps, the first few ahead, and stands still after
// every so many packets.
func schedule(n int, pps float64, ahead, every int, stall time.Duration) []time.Duration {
	var out []time.Duration
	var t time.Duration
	for i := range n {
		if i >= ahead {
			t += seconds(1 / pps)
		}
		if every > 0 && i > 0 && i%every == 0 {
			t += stall
		}
		out = append(out, t)
	}
	return out
}

func TestSpeed(t *testing.T) {
	const size = 1428
	pps := overload * 30e6 / bits(size)
	steady := schedule(700, pps, 20, 0, 0)
	for _, c := range []struct {
		name string
		pipe pipe
		sent []time.Duration
		want float64
		full bool
	}{
		{"as asked", pipe{rate: 30e6, delay: 4 * ms1}, steady, 30e6, true},
		{"slower", pipe{rate: 20e6, delay: 4 * ms1}, steady, 20e6, true},
		{"tokens at first", pipe{rate: 30e6, tokens: 30}, steady, 30e6, true},
		{"unshaped: as fast as was sent", pipe{delay: 4 * ms1}, steady, 33e6, false},
		{"sender stands still", pipe{rate: 30e6, delay: 4 * ms1}, schedule(700, pps, 20, 100, 30*ms1), 30e6, true},
		{"sender too slow", pipe{rate: 30e6, delay: 4 * ms1}, schedule(700, pps/2, 0, 0, 0), 16.5e6, false},
	} {
		if got, full := speed(c.pipe.arrivals(c.sent, size), size, 300*time.Microsecond); math.Abs(got/c.want-1) > 0.01 || full != c.full {
			t.Errorf("%s: %.4g bit/s, full %v, want %.4g, %v", c.name, got, full, c.want, c.full)
		}
	}
	for _, few := range [][]arrival{nil, {{at: 1}}, {{at: 1}, {at: 1}}} {
		if got, full := speed(few, size, 0); got != 0 || full {
			t.Errorf("speed(%v) = %g, want 0", few, got)
		}
	}
}

// TestSpeedIsTheLinks keeps a link busy most of the time, and expects its rate
// whatever the rate and the pauses.
func TestSpeedIsTheLinks(t *testing.T) {
	const size = 1428
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(1e6, 1e9).Draw(t, "rate")
		packet := bits(size) / rate
		sent := schedule(1000, 1.2/packet, 50, rapid.IntRange(100, 400).Draw(t, "every"),
			seconds(packet*rapid.Float64Range(0, 50).Draw(t, "stall, in packets")))
		p := pipe{rate: rate, delay: time.Duration(rapid.IntRange(0, 50).Draw(t, "delay")) * ms1}
		if got, full := speed(p.arrivals(sent, size), size, seconds(packet*5)); math.Abs(got/rate-1) > 0.01 || !full {
			t.Fatalf("%.5g bit/s, full %v, want %.5g", got, full, rate)
		}
	})
}
