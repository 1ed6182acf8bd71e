package relay

import "time"

const (
	// grain is how often the pump wakes under load. A wake-up costs tens of
	// microseconds, several times what a packet does, so it then takes what
	// has come in the meantime together, as network drivers do.
	grain = 100 * time.Microsecond
	// stint is for how long the pump may work without sleep. With a grain of
	// sleep after it, it has less than the 95 % of a core that the kernel gives
	// real-time threads before it stops them for 50 ms.
	stint = 15 * grain
	// mostEarly bounds how late a wake-up is taken to be.
	mostEarly = 100 * time.Microsecond
)

// pace decides when the pump sleeps and for how long, and makes up for waking
// late. Times are since some common beginning.
type pace struct {
	last, before time.Duration // the last two times that it woke
	late         time.Duration // a wake-up usually is
	call         time.Duration // when the packets came that woke it; 0: a timer did, or they are read
	arrived      time.Duration // the last arrival
}

// woke tells when it woke.
func (p *pace) woke(now time.Duration) { p.last, p.before, p.call = now, p.last, 0 }

// measure tells how late a timer was.
func (p *pace) measure(late time.Duration) {
	late = min(max(late, 0), mostEarly)
	p.late += (late - p.late) / 16
}

// called tells that a packet, not a timer, woke it, which takes about as long.
// It is told after woke.
func (p *pace) called(now time.Duration) { p.call = now - p.late }

// arrival is when packets arrived that are read now.
func (p *pace) arrival(now time.Duration) time.Duration {
	if p.call > 0 {
		now, p.call = p.call, 0
	}
	p.arrived = max(p.arrived, now)
	return p.arrived
}

// rest is how long the pump is to sleep whatever arrives: where it was woken
// twice within a grain, until a grain after the last time.
func (p *pace) rest(now time.Duration) time.Duration {
	if p.last-p.before > grain*3/2 {
		return 0
	}
	return p.last + grain - now
}

// tired reports whether it is to sleep though there is work.
func (p *pace) tired(now time.Duration) bool { return now-p.last > stint }

// wait is how long to sleep for a packet that is due.
func (p *pace) wait(now, due time.Duration) time.Duration { return due - p.late - now }

// horizon is until when packets count as due now: if the pump slept until they
// are, it would be late.
func (p *pace) horizon(now time.Duration) time.Duration { return now + p.late }
