package relay

import (
	"math/rand/v2"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// verdict is what becomes of a packet that is offered to a link.
type verdict int

const (
	passed    verdict = iota
	lost              // by the link's loss
	queueFull         // too many wait for the rate
	cut               // no packet passes
)

// transit is a packet on its way. Times are since some common beginning.
type transit struct {
	packet *packet
	size   int           // bytes of IP
	start  time.Duration // when its transmission begins
	due    time.Duration // when it arrives
}

// shaper is one direction of a link in virtual time: it is told the time, and
// must be told it in order.
type shaper struct {
	link  testbed.Link
	pass  bool
	rng   *rand.Rand
	line  ring          // packets on their way, in order of start and of due
	begun int           // how many of line, from its head, are not waiting for the rate
	free  time.Duration // when the transmitter has sent all of line
	last  time.Duration // when the last packet admitted arrives
}

// admit decides on a packet of size bytes that is offered now.
func (s *shaper) admit(now time.Duration, size int, p *packet) verdict {
	if !s.pass {
		return cut
	}
	if s.link.Loss > 0 && s.rng.Float64() < s.link.Loss {
		return lost
	}
	if s.link.Rate > 0 && s.free > now && s.waiting(now) >= s.link.Queue {
		return queueFull
	}
	s.send(&transit{packet: p, size: size, start: max(now, s.free)})
	return passed
}

// send appends a packet to the line, given when it starts.
func (s *shaper) send(t *transit) {
	s.time(t)
	s.line.push(*t)
}

// time sets when a packet arrives that starts as it says, after all others.
func (s *shaper) time(t *transit) {
	s.free = t.start + transmission(t.size, s.link.Rate)
	t.due = max(s.free+s.delay(), s.last)
	s.last = t.due
}

// waiting counts the packets whose transmission has not begun.
func (s *shaper) waiting(now time.Duration) int {
	for s.begun < s.line.len() && s.line.at(s.begun).start <= now {
		s.begun++
	}
	return s.line.len() - s.begun
}

// delay draws how long a packet is under way after its transmission.
func (s *shaper) delay() time.Duration {
	d, j := s.link.Delay, s.link.Jitter
	if j > 0 {
		d += time.Duration(s.rng.Int64N(2*int64(j)+1)) - j
	}
	return max(d, 0)
}

// transmission is how long size bytes take at rate, rounded up so that the
// rate is never exceeded.
func transmission(size int, rate int64) time.Duration {
	if rate <= 0 {
		return 0
	}
	bits := int64(size) * 8
	return time.Duration((bits*int64(time.Second) + rate - 1) / rate)
}

// due is when the next packet arrives; false: none is on its way.
func (s *shaper) due() (time.Duration, bool) {
	if s.line.len() == 0 {
		return 0, false
	}
	return s.line.at(0).due, true
}

// next takes the packet that arrives next off the line.
func (s *shaper) next() transit {
	s.begun = max(0, s.begun-1)
	return s.line.pop()
}

// set changes the link. Packets that wait are timed anew; none is dropped,
// even where the queue has become shorter.
func (s *shaper) set(now time.Duration, l testbed.Link) {
	s.link = l
	if s.waiting(now) == 0 {
		return
	}
	// The transmitter is busy with the packet before until the first that
	// waits was to start.
	s.free = s.line.at(s.begun).start
	s.last = 0
	if s.begun > 0 {
		s.last = s.line.at(s.begun - 1).due
	}
	for i := s.begun; i < s.line.len(); i++ {
		t := s.line.at(i)
		t.start = s.free
		s.time(t)
	}
}

// reset forgets what is on its way, after the caller has taken it off.
func (s *shaper) reset() {
	s.begun, s.free, s.last = 0, 0, 0
}
