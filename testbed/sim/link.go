package sim

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/sim/des"
)

// The limits of pipeline/quic and of QUIC itself.
const (
	grace     = time.Second      // after a frame's deadline, until it is given up
	patience  = 30 * time.Second // the same for a frame without a deadline
	silence   = 5 * time.Second  // a peer not heard of for so long is gone
	handshake = 3 * time.Second  // a dial that is not answered fails after it
	// window is what goes out unacknowledged: the congestion window that a
	// connection begins with. One that carries larger frames has a larger one,
	// of about a frame, and so lets one more out.
	window       = 40 << 10
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

// peer is one direction of a link between two nodes: what the first knows of
// the second and the connection it has dialled.
//
// One frame at a time is written to a peer; then, of those that wait, the
// newest (pipeline/quic: what goes first). The connection outlives a cut of
// the path by silence: until then what was written may still get through.
type peer struct {
	from, to int32
	via      int32 // the node of the broker; none: directly

	open          bool    // both nodes run and packets pass between them
	rate          float64 // bits a nanosecond, what losses cost taken off; 0: any number
	delay, jitter time.Duration
	draws         des.Stream

	linked  bool // connected
	stalled bool // connected, but the path is cut, or was until just now
	since   time.Duration
	gen     uint32        // of the stall
	epoch   uint32        // of the connection
	unacked int64         // bytes written while stalled
	last    time.Duration // when what was written last arrives

	dials    bool
	dial     uint32 // generation of the dial
	failures int
	retry    time.Duration // not before
	wanting  []int32       // frames that wait for the connection, in order

	writer int32 // frame being written; none
	write  uint32
	bits   float64       // of it still to be written
	from0  time.Duration // when bits was right
	queue  []int32       // frames that wait for their turn, the best last
}

// peerOf is the index of the link from one node to another, over the broker if
// it is one of MQTT.
func (p *plane) peerOf(from, to int32, broker bool) int32 {
	n := int32(len(p.nodes))
	i := from*n + to
	if broker {
		i += n * n
	}
	return i
}

// connect makes the links of all nodes, once they are all there, and all cut.
// broker is the node of the MQTT broker, or none.
func (p *plane) connect(broker int32) {
	n := int32(len(p.nodes))
	p.peers = make([]peer, 2*n*n)
	for i := range p.peers {
		c := &p.peers[i]
		c.from, c.to, c.via, c.writer = int32(i)/n%n, int32(i)%n, none, none
		c.draws = p.stream(fmt.Sprintf("link %d %s %s", int32(i)/(n*n), p.nodes[c.from].name, p.nodes[c.to].name))
		if int32(i) >= n*n {
			c.via = broker
		}
	}
}

// wire tells what a link is like from now on.
func (p *plane) wire(i int32, l testbed.Link, open bool) {
	c := &p.peers[i]
	p.progress(c)
	c.delay, c.jitter = l.Delay, l.Jitter
	c.rate = float64(l.Rate) * (1 - l.Loss) / 1e9
	was := c.open
	c.open = open
	switch {
	case was && !open:
		p.cut(i)
	case !was && open:
		p.healed(i)
	default:
		p.rewrite(i)
	}
}

// cut begins a stall: nothing gets through, but the connection stands.
func (p *plane) cut(i int32) {
	c := &p.peers[i]
	if !c.linked || c.stalled {
		return
	}
	c.stalled, c.since, c.unacked = true, p.now(), 0
	c.gen++
	p.q.Add(c.since+silence, evSilent, i, 0, c.gen)
	p.rewrite(i)
}

// healed schedules the end of a stall. What was sent in vain is sent again
// after waits that double each time, so the next try is as far away, at most,
// as the cut was long (RFC 9002, section 6.2).
func (p *plane) healed(i int32) {
	if c := &p.peers[i]; c.stalled {
		p.q.Add(p.now()+c.draws.Uniform(p.now()-c.since), evResume, i, 0, c.gen)
	}
}

// resume ends a stall: what is held goes on, and so do outcomes.
func (p *plane) resume(i int32, gen uint32) {
	c := &p.peers[i]
	if c.gen != gen || !c.stalled || !c.open {
		return
	}
	c.stalled = false
	c.gen++
	for k := range p.frames {
		if f := &p.frames[k]; f.place == held && f.peer == i {
			f.place = onWire
			p.q.Add(p.now()+c.delay, evArrive, int32(k), 0, f.gen)
		}
	}
	p.rewrite(i)
	p.admit(i)
	p.hear()
}

// hear settles the frames whose fate can be told now.
func (p *plane) hear() {
	for k := range p.frames {
		if f := &p.frames[k]; f.place == unheardOf && f.done && p.told(f) {
			p.settle(int32(k), f.why)
			p.release(int32(k))
		}
	}
}

// silent breaks a connection that has been stalled for too long.
func (p *plane) silent(i int32, gen uint32) {
	if c := &p.peers[i]; c.stalled && c.gen == gen {
		p.breakOff(i)
	}
}

// breakOff ends a connection. Everything that was handed over it and is not
// settled is settled as link. The frame being written fails; those that wait
// try another connection.
func (p *plane) breakOff(i int32) {
	c := &p.peers[i]
	if !c.linked {
		return
	}
	broken := hop{i, c.epoch}
	c.linked, c.stalled, c.failures = false, false, 0
	c.gen++
	c.write++
	c.epoch++
	writer, queue := c.writer, c.queue
	c.writer, c.queue = none, nil
	for k := range p.frames {
		f := &p.frames[k]
		if f.place == nowhere || f.place == inParts || !handedOver(f, broken) {
			continue
		}
		f.age = p.now() - f.captured
		p.settle(int32(k), link)
		if f.place == unheardOf || f.place == held && f.peer == i {
			p.release(int32(k))
		}
	}
	if writer != none {
		p.freed(writer)
		p.finish(writer, link)
	}
	for _, f := range queue {
		p.enter(f)
	}
}

func handedOver(f *frame, h hop) bool {
	for k := range f.hops {
		if f.hops[k] == h {
			return true
		}
	}
	return false
}

// encoded takes a frame that is ready to be sent.
func (p *plane) encoded(f int32) {
	if p.frames[f].late(p.now()) {
		p.freed(f)
		p.finish(f, deadline)
		return
	}
	p.frames[f].sent = p.now()
	p.enter(f)
}

// enter has a frame wait for the connection, or for its turn on it.
func (p *plane) enter(f int32) {
	i := p.frames[f].peer
	c := &p.peers[i]
	if c.linked {
		p.queueUp(i, f)
		p.admit(i)
		return
	}
	down := c.failures > 0
	if !c.dials && (!down || p.now() >= c.retry) {
		c.dials = true
		c.dial++
		answer := p.now() + handshake
		if c.open { // the handshake, and a round trip for its result
			answer = p.now() + 4*c.delay
		}
		p.q.Add(answer, evDialled, i, 0, c.dial)
	}
	if down { // a peer that is down costs its senders no time
		p.freed(f)
		p.finish(f, link)
		return
	}
	p.frames[f].place = dialling
	c.wanting = append(c.wanting, f)
	p.timeOut(f)
}

// dialled is the end of a dial.
func (p *plane) dialled(i int32, gen uint32) {
	c := &p.peers[i]
	if !c.dials || c.dial != gen {
		return
	}
	c.dials = false
	wanting := c.wanting
	c.wanting = nil
	if c.open {
		c.linked, c.failures = true, 0
		for _, f := range wanting {
			p.queueUp(i, f)
		}
		p.admit(i)
		return
	}
	backoff := min(firstBackoff<<min(c.failures, 10), maxBackoff)
	c.failures++
	c.retry = p.now() + backoff/2 + c.draws.Uniform(backoff)
	for _, f := range wanting {
		p.freed(f)
		p.finish(f, link)
	}
}

// queueUp has a frame wait for its turn: the newest is next, of equally new
// ones the one that came last.
func (p *plane) queueUp(i, f int32) {
	c := &p.peers[i]
	p.frames[f].place = waiting
	k := len(c.queue)
	if p.rules.senders > 0 {
		for k > 0 && p.frames[c.queue[k-1]].captured > p.frames[f].captured {
			k--
		}
	} else {
		k = 0 // in order
	}
	c.queue = append(c.queue, none)
	copy(c.queue[k+1:], c.queue[k:])
	c.queue[k] = f
}

// admit writes the next frame if none is being written.
func (p *plane) admit(i int32) {
	for {
		c := &p.peers[i]
		if c.writer != none || len(c.queue) == 0 {
			break
		}
		f := c.queue[len(c.queue)-1]
		c.queue = c.queue[:len(c.queue)-1]
		if p.frames[f].late(p.now()) {
			p.freed(f)
			p.finish(f, deadline)
			continue
		}
		p.frames[f].place = writing
		c.writer, c.bits, c.from0 = f, 8*float64(p.bytesOf(f)), p.now()
		p.rewrite(i)
	}
	for _, f := range p.peers[i].queue {
		p.timeOut(f)
	}
}

func (p *plane) bytesOf(f int32) int64 { return p.tasks[p.slots[p.frames[f].slot].task].bytes }

// progress brings up to date how much of a frame has been written.
func (p *plane) progress(c *peer) {
	if c.writer != none && !c.stalled && c.rate > 0 {
		c.bits = max(0, c.bits-float64(p.now()-c.from0)*c.rate)
	}
	c.from0 = p.now()
}

// rewrite says anew when the frame being written will have been.
func (p *plane) rewrite(i int32) {
	c := &p.peers[i]
	if c.writer == none {
		return
	}
	c.write++
	f := c.writer
	if c.stalled {
		if n := p.bytesOf(f); c.unacked+n <= window || c.unacked == 0 {
			c.unacked += n
			p.written(i, c.write)
			return
		}
		p.timeOut(f)
		return
	}
	var d time.Duration
	if c.rate > 0 {
		d = time.Duration(c.bits / c.rate)
	}
	if d <= 0 {
		p.written(i, c.write)
		return
	}
	if at := p.now() + d; at < p.frames[f].due {
		p.q.Add(at, evWritten, i, 0, c.write)
	} else {
		p.timeOut(f)
	}
}

// written puts a whole frame on its way and lets the next be written.
func (p *plane) written(i int32, gen uint32) {
	c := &p.peers[i]
	if c.writer == none || c.write != gen {
		return
	}
	f := c.writer
	c.writer = none
	c.write++
	fr := &p.frames[f]
	fr.hops = append(fr.hops, hop{i, c.epoch})
	if c.stalled {
		fr.place = held
		p.await(f)
	} else {
		fr.place = onWire
		at := p.now() + c.delay
		if c.jitter > 0 {
			at += c.draws.Uniform(2*c.jitter+1) - c.jitter
		}
		c.last = max(c.last, at) // packets keep their order
		p.q.Add(c.last, evArrive, f, 0, fr.gen)
	}
	p.admit(i) // of those that wait, before the worker brings another
	p.freed(f)
}

// timeOut sees to it that a frame is cancelled when it is late.
func (p *plane) timeOut(f int32) {
	fr := &p.frames[f]
	if !fr.timed && fr.due != never {
		fr.timed = true
		p.q.Add(fr.due, evLate, f, 0, fr.gen)
	}
}

// cancelLate cancels a frame that is not yet on its way.
func (p *plane) cancelLate(f int32, gen uint32) {
	fr := &p.frames[f]
	if fr.gen != gen {
		return
	}
	i := fr.peer
	switch fr.place {
	case dialling:
		p.peers[i].wanting = without(p.peers[i].wanting, f)
	case waiting:
		p.peers[i].queue = without(p.peers[i].queue, f)
	case writing:
		p.peers[i].writer = none
		p.peers[i].write++
		p.admit(i)
	default:
		return // wherever it is, it is looked at
	}
	p.freed(f)
	p.finish(f, deadline)
}

func without(list []int32, x int32) []int32 {
	for i := range list {
		if list[i] == x {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// arrive is a frame at the other end of a link.
func (p *plane) arrive(f int32, gen uint32) {
	fr := &p.frames[f]
	if fr.gen != gen || fr.place != onWire {
		return
	}
	c := &p.peers[fr.peer]
	last := fr.hops[len(fr.hops)-1]
	switch {
	case last.epoch != c.epoch:
		p.lose(f) // the connection is gone, and its packets mean nothing
	case c.stalled:
		fr.place = held
		p.await(f)
	default:
		fr.place, fr.node, fr.way = atNode, c.to, p.now()-fr.sent
		t := &p.tasks[p.slots[fr.slot].task]
		p.work(c.to, t.receive.draw(c.draws), jobReceive, f, 0)
	}
}
