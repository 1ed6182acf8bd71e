package probe

import (
	"math"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/weft-mesh/weft/testbed"
)

// How links are measured.
const (
	attempts = 3                      // before a link is found to be other than asked
	respite  = 250 * time.Millisecond // between them
	patience = 500 * time.Millisecond // with what the last one has left in a queue

	minProbes  = 21 // round trips of a pair
	maxProbes  = 200
	minAnswers = 5                     // round trips that say something
	maxTrips   = 4 * time.Second       // of one pair's probes
	probeGap   = time.Millisecond      // between probes of any pair
	pairGap    = 10 * time.Millisecond // between those of one

	cutPackets   = 50 // none of which may pass
	cleanPackets = 400
	minLossy     = 1000
	maxLossy     = 20000
	lossesWanted = 40              // about as many as a lossy link is to lose
	maxLoss      = 5 * time.Second // of sending
	lossRate     = 0.3             // of the link's
	lossPPS      = 5000            // packets a second, of one link
	lossPPSAll   = 40000           // and of all at once
	roomPPS      = 500             // and for each packet of room in the queue: they may come late, and together

	fastest    = 1e9 // bits a second; faster links are not measured
	fast       = 3e8 // bits a second, of links measured side by side
	overload   = 1.1 // of the rate asked
	fastSpan   = 120 * time.Millisecond
	slowSpan   = 240 * time.Millisecond
	early      = 30 * time.Millisecond // that the sender is ahead of the link, lest it be late
	minPackets = 48
	jitterSpan = 60 // times the jitter: arrivals at both ends of a measurement are off by it
	warming    = 6  // one part of so many is ignored
	surely     = 300 * time.Microsecond
	batch      = 32 // packets a system call
)

// stream is how the datagrams of a flow are sent.
type stream struct {
	kind  kind
	n     int
	size  int           // bytes, without headers
	pps   float64       // packets a second
	ahead int           // at once, at the start
	burst int           // at most, to catch up
	limit time.Duration // of sending: a socket may be blocked by a link slower than asked
}

func bits(size int) float64 { return float64(8 * size) }

// seconds converts without overflow: a packet of a link of 1 bit/s takes long.
func seconds(s float64) time.Duration {
	return time.Duration(min(s, 1e6) * float64(time.Second))
}

// room is how many packets may be sent at once without the link's queue
// dropping any.
func room(l testbed.Link) int { return max(1, l.Queue/2) }

// passing is the share of packets that are not lost.
func passing(l testbed.Link) float64 { return max(1-l.Loss, 0) }

// probing says how many probes a pair takes, and how far apart. Where there is
// jitter, as many as bring the median's error down to half of what is allowed,
// and so far apart that none waits for the one before it, which would bias
// their delay; forth and back, two probes approach by up to 4 times the jitter.
func probing(out, back testbed.Link, header int, alpha float64) (n int, every time.Duration) {
	jitter := max(out.Jitter, back.Jitter)
	every = max(pairGap, 4*jitter)
	for _, l := range []testbed.Link{out, back} {
		if l.Rate > 0 {
			every = max(every, seconds(4*bits(smallSize+header)/float64(l.Rate)))
		}
	}
	want := 2 * quantile(alpha) * float64(jitter) / float64(tolerance(out.Delay+back.Delay))
	n = int(min(max(want*want, minProbes), maxProbes))
	n = max(min(n, int(maxTrips/every)), minProbes)
	if p := passing(out) * passing(back); p > 0 {
		n = int(min(math.Ceil(float64(n)/p), maxProbes))
	}
	return n, every
}

// quantile is how many standard deviations a normal variable is off, either
// way, with probability alpha.
func quantile(alpha float64) float64 { return distuv.UnitNormal.Quantile(1 - alpha/2) }

// losing is how the loss of a link is measured.
func losing(l testbed.Link, header int) stream {
	s := stream{kind: data, size: smallSize, n: cleanPackets, pps: lossPPS, ahead: 1, burst: room(l)}
	if l.Loss > 0 {
		s.n = int(min(max(lossesWanted/l.Loss, minLossy), maxLossy))
	}
	if l.Rate > 0 {
		s.pps = min(s.pps, roomPPS*float64(room(l)), lossRate*float64(l.Rate)/bits(smallSize+header))
	}
	s.n = max(1, min(s.n, int(s.pps*maxLoss.Seconds())))
	s.limit = 2*seconds(float64(s.n)/s.pps) + time.Second
	return s
}

// cutting is how it is checked that a link passes nothing.
func cutting() stream {
	return stream{kind: data, size: smallSize, n: cutPackets, pps: 1000, ahead: 1, burst: cutPackets, limit: 2 * time.Second}
}

// filling is how the throughput of a link is measured: it is kept busy for as
// long as it takes, and what is sent too much is little, so that the queue is
// soon empty again.
func filling(l testbed.Link, header int) stream {
	size := bits(largeSize + header)
	rate := float64(l.Rate)
	span := slowSpan
	if rate >= fast {
		span = fastSpan
	}
	span = max(span, min(jitterSpan*l.Jitter, 2*time.Second))
	passes := max(passing(l), 0.01)
	n := max(span.Seconds()*rate/size, minPackets) / passes
	s := stream{
		kind:  data,
		size:  largeSize,
		n:     int(math.Ceil(n)),
		pps:   overload * rate / size / passes,
		burst: min(room(l), 256),
	}
	s.ahead = max(1, min(int(s.pps*early.Seconds()), room(l)))
	s.limit = 3*seconds(n*size/rate) + time.Second
	return s
}

// draining is how long what a stream has left in the queue may take, if the
// link is anything like asked.
func draining(l testbed.Link, s stream, header int) time.Duration {
	d := l.Delay + l.Jitter + 500*time.Millisecond
	if l.Rate > 0 {
		d += seconds(float64(min(s.n, l.Queue+1)) * bits(s.size+header) / float64(l.Rate))
	}
	return d
}

// slack is how early a packet has to have been sent for the link to have been
// busy beyond doubt when it came to it.
func slack(l testbed.Link, header int) time.Duration {
	queue := seconds(float64(room(l)) * bits(largeSize+header) / float64(l.Rate))
	return min(surely+2*l.Jitter, queue/2)
}

// measurable reports whether the throughput of a link is measured.
func measurable(l testbed.Link) bool {
	return l.Rate > 0 && l.Rate <= fastest && l.Loss < 1
}
