package sim

import (
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// none is no frame, no instance, no outbox: what indexes point to nothing.
const none = int32(-1)

// reason is a pipeline.Reason by number. delivered: none.
type reason uint8

const (
	delivered reason = iota
	queueFull
	deadline
	link
	noRoute
	shutdown
	lost
	filtered // no loss
	reasons  // how many
)

var reasonNames = [reasons]pipeline.Reason{
	pipeline.ReasonNone, pipeline.ReasonQueueFull, pipeline.ReasonDeadline, pipeline.ReasonLink,
	pipeline.ReasonNoRoute, pipeline.ReasonShutdown, pipeline.ReasonLost, pipeline.ReasonFiltered,
}

// place is where a frame is.
type place uint8

const (
	nowhere   place = iota // not in use
	atNode                 // a job, in a queue or in an outbox of its node
	dialling               // waits on its node for a connection of its peer
	waiting                // waits on its node for its turn on the link
	writing                // is being written by its node
	onWire                 // is on its way to the peer
	held                   // was written while the path was cut: arrives when it heals
	unheardOf              // is gone, or done with where nobody can be told: settled when given up
	inParts                // stands for parts of it, which are elsewhere
)

// frame is a frame, or a part of one, on its way. Frames are reused; gen tells
// one use from the next.
type frame struct {
	gen      uint32
	place    place
	settled  bool // its account is closed; what is left of it ends at the next step
	timed    bool // an evLate is pending
	measured bool // captured in the measured time
	done     bool // unheardOf, but its fate is known there
	why      reason
	parts    int32 // still to be settled
	feed     int32
	parent   int32 // frame that it is a part of
	node     int32 // that has it
	peer     int32 // link that it is on or waits for
	box      int32 // outbox whose worker it has
	slot     int32 // instance that it is for
	want     int32 // what it asks instances for

	captured, due time.Duration // due: its deadline; never: none
	taken         time.Duration // by the router, to be sent to another node
	sent, way     time.Duration // when it was encoded, and from then until it arrived
	age           time.Duration // when its fate was decided
	hops          []hop         // connections it has passed
}

// hop is a connection that a frame was handed over, and by which its outcome
// is to come back.
type hop struct {
	peer  int32
	epoch uint32
}

func (f *frame) late(now time.Duration) bool { return now >= f.due }

// capture makes a frame of a feed and opens its account.
func (p *plane) capture(feed int32, captured time.Duration) int32 {
	fd := &p.feeds[feed]
	i := p.alloc()
	f := &p.frames[i]
	f.place, f.feed, f.node, f.want = atNode, feed, fd.node, fd.want
	f.captured, f.due = captured, never
	if fd.deadline > 0 {
		f.due = captured + fd.deadline
	}
	f.measured = p.stats.measuring
	fd.open++
	fd.counts.captured++
	fd.counts.open++
	p.stats.captured(f)
	if f.measured {
		fd.openMeasured++
	}
	return i
}

func (p *plane) alloc() int32 {
	var i int32
	if n := len(p.free); n > 0 {
		i = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		i = int32(len(p.frames))
		p.frames = append(p.frames, frame{})
	}
	f := &p.frames[i]
	*f = frame{gen: f.gen, parent: none, peer: none, box: none, slot: none, hops: f.hops[:0]}
	return i
}

// release ends the use of a frame that has been settled.
func (p *plane) release(i int32) {
	f := &p.frames[i]
	f.gen++
	f.place = nowhere
	p.free = append(p.free, i)
}

// split makes n parts of a frame, as pipeline.Frame.Split does; of one part
// the frame itself.
func (p *plane) split(i int32, n int, each func(part int32, k int)) {
	if n == 1 {
		each(i, 0)
		return
	}
	p.frames[i].place, p.frames[i].parts, p.frames[i].why = inParts, int32(n), filtered
	// All are made before any is handed on: the first may be settled at once.
	first := len(p.scratch)
	for range n {
		k := p.alloc()
		f, whole := &p.frames[k], &p.frames[i]
		f.place, f.feed, f.node, f.want, f.measured = atNode, whole.feed, whole.node, whole.want, whole.measured
		f.captured, f.due, f.parent = whole.captured, whole.due, i
		f.hops = append(f.hops, whole.hops...)
		p.scratch = append(p.scratch, k)
	}
	for k := range n {
		each(p.scratch[first+k], k)
	}
	p.scratch = p.scratch[:first]
}

// finish ends a frame where it is: its fate goes back along its hops to the
// source. If one of them is broken nobody hears of it.
func (p *plane) finish(i int32, why reason) {
	f := &p.frames[i]
	f.age = p.now() - f.captured
	switch {
	case f.settled:
		p.release(i)
	case p.told(f):
		p.settle(i, why)
		p.release(i)
	default:
		f.done, f.why = true, why
		p.lose(i)
	}
}

// told reports whether a frame's outcome can go back the way the frame came.
func (p *plane) told(f *frame) bool {
	for k := range f.hops {
		if c := &p.peers[f.hops[k].peer]; c.epoch != f.hops[k].epoch || c.stalled {
			return false
		}
	}
	return true
}

// lose ends a frame without an outcome. Its account stays open until the node
// that handed it on gives it up: at the frame's deadline and a grace, or when
// its connection breaks (see breakOff).
func (p *plane) lose(i int32) {
	f := &p.frames[i]
	if f.settled || p.feeds[f.feed].closed {
		p.settle(i, lost)
		p.release(i)
		return
	}
	f.place = unheardOf
	p.await(i)
}

// await sees to it that a frame that may never be heard of is given up.
func (p *plane) await(i int32) {
	f := &p.frames[i]
	at := p.now() + patience
	if f.due != never {
		at = f.due + grace
	}
	p.q.Add(at, evGiveUp, i, 0, f.gen)
}

// giveUp settles a frame that was not heard of in time.
func (p *plane) giveUp(i int32, gen uint32) {
	if f := &p.frames[i]; f.gen == gen && (f.place == unheardOf || f.place == held) {
		f.age = p.now() - f.captured
		p.settle(i, link)
		p.release(i)
	}
}

// settle closes the account of a frame, or of its part of one; once.
func (p *plane) settle(i int32, why reason) {
	f := &p.frames[i]
	if f.settled {
		return
	}
	f.settled = true
	if f.parent == none {
		p.account(f, why)
		return
	}
	whole := &p.frames[f.parent]
	if whole.why == filtered || whole.why == delivered && why != filtered {
		whole.why = why
	}
	whole.age = max(whole.age, f.age)
	if whole.parts--; whole.parts == 0 {
		p.settle(f.parent, whole.why)
		p.release(f.parent)
	}
}

// account counts the fate of a frame where it was captured, unless that
// account was closed before.
func (p *plane) account(f *frame, why reason) {
	fd := &p.feeds[f.feed]
	if fd.closed {
		return
	}
	fd.open--
	fd.counts.settle(why, 1)
	if f.measured {
		fd.openMeasured--
	}
	if why == delivered {
		fd.latency.Record(f.age)
	}
	p.stats.settled(f, why)
	if fd.stopping && fd.open == 0 {
		p.closeFeed(f.feed, shutdown)
	}
}
