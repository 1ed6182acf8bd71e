package pipeline

import (
	"sync"
	"time"
)

// Clock gives readings of this process's monotonic clock that mean nothing
// to anyone else, which is all that measuring by round trips needs.
type Clock struct{ base time.Time }

// NewClock makes a clock that reads 0 at base, a time from time.Now.
func NewClock(base time.Time) Clock { return Clock{base} }

// Reading is the clock's reading at t, in nanoseconds.
func (c Clock) Reading(t time.Time) int64 { return int64(t.Sub(c.base)) }

// The samples that a ClockSync weighs against each other. Two clocks drift
// apart by some 50 µs a second at worst, so a sample is of use for a minute.
const (
	syncSamples = 32
	syncWindow  = int64(time.Minute)
)

// ClockSync estimates the offset between this node's Clock and a peer's from
// round trips, and by it how long a message was under way. Like NTP's clock
// filter (RFC 5905, section 10) it trusts, of the recent samples, the one with
// the least round trip: half of that bounds its error (Cristian, 1989). All
// readings are in nanoseconds. It is safe for concurrent use; the zero value
// is ready.
type ClockSync struct {
	mu      sync.Mutex
	samples []clockSample // oldest first
	best    clockSample
}

type clockSample struct {
	at     int64 // own clock
	offset int64 // peer's clock - own clock
	trip   int64
}

// Observe adds a round trip: sent and received are readings of the own clock,
// peer is the peer's reading in between. A trip that ends before it began is
// ignored.
func (s *ClockSync) Observe(sent, peer, received int64) {
	trip := received - sent
	if trip < 0 {
		return
	}
	n := clockSample{at: received, offset: peer - (sent + trip/2), trip: trip}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, n)
	for len(s.samples) > syncSamples || s.samples[0].at < received-syncWindow {
		s.samples = s.samples[1:]
	}
	s.best = n
	for _, o := range s.samples {
		if o.trip < s.best.trip {
			s.best = o
		}
	}
}

// Transfer is how long a message was under way that the peer's clock says was
// sent at sentAtPeer and that arrived at now on the own clock; not negative.
// It is false, with 0, before the first round trip.
func (s *ClockSync) Transfer(sentAtPeer, now int64) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == 0 {
		return 0, false
	}
	return max(time.Duration(now-(sentAtPeer-s.best.offset)), 0), true
}

// RoundTrip is the least recent round trip, twice the bound on the error of
// Transfer; false before the first.
func (s *ClockSync) RoundTrip() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.best.trip), len(s.samples) > 0
}
