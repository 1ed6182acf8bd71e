package sim

import (
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed/sim/des"
)

// instance is one run of a task's instance on a node: a queue, one worker that
// works on a frame at a time, and a router for what comes next.
type instance struct {
	node, slot, task, router int32
	after                    int32 // the one of its placement that must have ended first; none: there is none
	queue                    queue
	draws                    des.Stream
	busy                     bool
	inLine                   bool // waits for its turn
	ready                    bool // takes frames
	stopping                 bool
	ended                    bool
	quiet                    time.Duration // without frames for so long, it may stop
	received                 uint64
	seen                     uint64 // of received, when it was looked last
	seenAt, stopAt           time.Duration

	processed, filtered            uint64
	dropped                        [reasons]uint64
	waits, transfers, links, works *pipeline.Histogram
}

// startInstance has an instance get ready, which takes work; then it takes
// frames.
func (p *plane) startInstance(x instance) int32 {
	i := int32(len(p.instances))
	x.queue.policy = p.rules.stage
	x.draws = p.stream("work " + p.slots[x.slot].id)
	x.after = p.lingering(x.node, x.slot)
	x.waits, x.transfers, x.links, x.works = pipeline.NewHistogram(), pipeline.NewHistogram(), pipeline.NewHistogram(), pipeline.NewHistogram()
	p.instances = append(p.instances, x)
	if x.after == none {
		p.work(x.node, p.tasks[x.task].start, jobStart, i, 0)
	}
	return i
}

// lingering is the instance of a placement on a node that has not ended, the
// last of them; none: there is none.
func (p *plane) lingering(node, slot int32) int32 {
	for i := len(p.instances) - 1; i >= 0; i-- {
		if x := &p.instances[i]; x.node == node && x.slot == slot && !x.ended {
			return int32(i)
		}
	}
	return none
}

func (p *plane) started(i int32) {
	x := &p.instances[i]
	if x.stopping {
		p.endInstance(i)
		return
	}
	x.ready = true
	p.nodes[x.node].board[x.slot] = i
}

// stopInstance lets an instance finish what is on its way to it: until no
// frame has come for as long as one is of use, at most drain.
func (p *plane) stopInstance(i int32) {
	x := &p.instances[i]
	if x.stopping || x.ended {
		return
	}
	x.stopping = true
	if !x.ready {
		return // it ends when it would have been ready
	}
	if x.quiet <= 0 {
		x.quiet = drain
	}
	x.stopAt, x.seenAt, x.seen = p.now(), p.now(), x.received
	p.q.Add(p.now()+min(x.quiet, drain), evLinger, i, 0, 0)
}

// linger looks whether an instance that stops may end.
func (p *plane) linger(i int32) {
	x := &p.instances[i]
	now := p.now()
	switch {
	case x.ended:
	case x.received != x.seen && now < x.stopAt+drain:
		x.seen, x.seenAt = x.received, now
		p.q.Add(min(now+x.quiet, x.stopAt+drain), evLinger, i, 0, 0)
	default:
		x.ready = false
		if b := p.nodes[x.node].board; b[x.slot] == i {
			b[x.slot] = none
		}
		if !x.busy {
			p.endInstance(i)
		}
	}
}

// endInstance settles what an instance still has.
func (p *plane) endInstance(i int32) {
	x := &p.instances[i]
	if x.ended {
		return
	}
	x.ended, x.ready = true, false
	p.nodes[x.node].turns.leave(i)
	for p.instances[i].queue.n > 0 {
		p.dropAt(i, p.instances[i].queue.oldest().frame, shutdown)
	}
	p.endRouter(p.instances[i].router)
	for k := range p.instances {
		if y := &p.instances[k]; y.after == i && !y.ended {
			y.after = none
			p.work(y.node, p.tasks[y.task].start, jobStart, int32(k), 0)
		}
	}
	if p.ended != nil {
		p.ended(p.instances[i].node)
	}
}

// receive hands a frame that is on its node to the instance it is for.
func (p *plane) receive(f int32) {
	fr := &p.frames[f]
	i := p.nodes[fr.node].board[fr.slot]
	if i == none {
		p.finish(f, noRoute) // it moved, or is not ready yet
		return
	}
	x := &p.instances[i]
	x.received++
	p.stats.received(x.task)
	now := p.now()
	if fr.late(now) {
		p.dropAt(i, f, deadline)
		return
	}
	if dropped := x.queue.push(f, now); dropped != none {
		p.dropAt(i, dropped, queueFull)
	}
	p.serve(i)
}

// deliverTo is the end of receiving a frame from another node.
func (p *plane) deliverTo(f int32) {
	fr := &p.frames[f]
	if i := p.nodes[fr.node].board[fr.slot]; i != none {
		x, d := &p.instances[i], p.now()-fr.taken
		x.transfers.Record(d)
		x.links.Record(fr.way)
		p.stats.transferred(x.task, d)
	}
	p.receive(f)
}

// dropAt settles a frame that an instance does not get to.
func (p *plane) dropAt(i, f int32, why reason) {
	p.instances[i].dropped[why]++
	p.stats.dropped(p.instances[i].task, why)
	p.finish(f, why)
}

// serve begins to work on the next frame, when it is the instance's turn.
func (p *plane) serve(i int32) {
	x := &p.instances[i]
	if x.busy || x.inLine || x.ended || x.queue.n == 0 {
		return
	}
	if !p.nodes[x.node].turns.take(i) {
		x.inLine = true
		return
	}
	p.begin(i)
}

// pass gives a turn back, to whoever is next.
func (p *plane) pass(n int32) {
	next := p.nodes[n].turns.give(func(i int32) int { return p.tasks[p.instances[i].task].rank })
	if next != none {
		p.instances[next].inLine = false
		p.begin(next)
	}
}

// begin works on the next frame of an instance that has a turn, or passes it on.
func (p *plane) begin(i int32) {
	for {
		x := &p.instances[i]
		if x.ended || x.queue.n == 0 {
			p.pass(x.node)
			return
		}
		if x.queue.skips() {
			for p.instances[i].queue.n > 1 {
				p.dropAt(i, p.instances[i].queue.oldest().frame, queueFull)
			}
		}
		x = &p.instances[i]
		e := x.queue.oldest()
		now := p.now()
		if p.frames[e.frame].late(now) {
			p.dropAt(i, e.frame, deadline)
			continue
		}
		x.waits.Record(now - e.pushed)
		p.stats.queued(x.task, now-e.pushed)
		x.busy = true
		p.frames[e.frame].taken = now
		t := &p.tasks[x.task]
		if !t.work.known() {
			p.err = missingWork(t)
			return
		}
		p.work(x.node, t.work.draw(x.draws), jobWork, e.frame, i)
		return
	}
}

// worked hands on a frame that an instance is done with, and takes the next.
func (p *plane) worked(f, i int32) {
	x := &p.instances[i]
	x.busy = false
	d := p.now() - p.frames[f].taken
	x.works.Record(d)
	if t := &p.tasks[x.task]; t.filtered > 0 && x.draws.Chance(t.filtered) {
		x.filtered++
		p.finish(f, filtered)
	} else {
		x.processed++
		p.stats.processed(x.task, d)
		p.forward(x.router, f)
	}
	p.pass(p.instances[i].node)
	if x = &p.instances[i]; x.stopping && !x.ready && !x.ended {
		p.endInstance(i)
		return
	}
	p.serve(i)
}
