package sim

import "time"

// runs notes that a node begins to run or stops.
func (p *plane) runs(n int32, up, paused bool) {
	x := &p.nodes[n]
	if x.running() {
		x.ran += p.now() - x.since
	}
	x.up, x.paused, x.since = up, paused, p.now()
}

// busy is the time of cores that a node has used.
func (p *plane) busy(n int32) time.Duration {
	x := &p.nodes[n]
	x.cpu.advance(p.now())
	ran := x.ran
	if x.running() {
		ran += p.now() - x.since
	}
	return time.Duration(x.cpu.busy + x.idle*float64(ran))
}

// pause has a node stand still, or go on. Its links are for whoever knows the
// topology to cut and heal.
func (p *plane) pause(n int32, on bool) {
	p.runs(n, p.nodes[n].up, on)
	p.nodes[n].cpu.pause(p.now(), on)
	if !on {
		p.wake(n)
		p.unpark(n)
	}
}

// kill ends everything on a node without a word: the accounts of its sources,
// what it worked on, what waited there. What it had been handed by others is
// never heard of again.
func (p *plane) kill(n int32) {
	p.runs(n, false, false)
	x := &p.nodes[n]
	x.cpu.pause(p.now(), false)
	x.cpu.clear(p.now())
	x.cpu.wake = never
	x.cpu.gen++
	for i := range p.feeds {
		if p.feeds[i].node == n {
			p.closeFeed(int32(i), lost)
		}
	}
	for i := range p.instances {
		if y := &p.instances[i]; y.node == n {
			y.ended, y.ready, y.stopping, y.queue.n = true, false, true, 0
		}
	}
	x.turns = turns{most: x.turns.most}
	for i := range x.board {
		x.board[i] = none
	}
	for i := range p.boxes {
		if b := &p.boxes[i]; b.node == n {
			b.closed, b.queue.n, b.sending = true, 0, 0
		}
	}
	for i := range p.routers {
		if r := &p.routers[i]; r.node == n {
			r.ended, r.routes = true, nil
		}
	}
	p.forget(n)
	for i := range p.frames {
		f := &p.frames[i]
		switch f.place {
		case atNode, dialling, waiting, writing:
			if f.node == n {
				f.box = none
				p.lose(int32(i))
			}
		case held:
			if p.peers[f.peer].from == n {
				p.lose(int32(i))
			}
		}
	}
}

// forget clears what a node knows of its peers.
func (p *plane) forget(n int32) {
	for i := range p.peers {
		c := &p.peers[i]
		if c.from != n {
			continue
		}
		c.linked, c.stalled, c.dials, c.failures = false, false, false, 0
		c.gen++
		c.dial++
		c.write++
		c.epoch++
		c.writer, c.queue, c.wanting = none, nil, nil
	}
}

// start runs a node again; nothing runs on it yet.
func (p *plane) start(n int32) { p.runs(n, true, false) }

// leave ends a node whose sources and instances have ended.
func (p *plane) leave(n int32) {
	for i := range p.frames {
		f := &p.frames[i]
		switch f.place {
		case atNode, dialling, waiting, writing:
			if f.node == n {
				f.box = none
				p.finish(int32(i), shutdown)
			}
		}
	}
	p.kill(n)
}

// disconnect breaks the connections of others to a node: it closed them, or it
// has forgotten them and says so when they are used (RFC 9000, section 10.3:
// stateless reset).
func (p *plane) disconnect(n int32) {
	for i := range p.peers {
		if p.peers[i].to == n {
			p.breakOff(int32(i))
		}
	}
}

// drain has everything on a node stop, as it does when it is told to.
func (p *plane) drain(n int32) {
	for i := range p.feeds {
		if p.feeds[i].node == n {
			p.stopFeed(int32(i))
		}
	}
	for i := range p.instances {
		if p.instances[i].node == n {
			p.stopInstance(int32(i))
		}
	}
}

// idle reports whether everything on a node has ended.
func (p *plane) idle(n int32) bool {
	for i := range p.feeds {
		if f := &p.feeds[i]; f.node == n && !f.closed {
			return false
		}
	}
	for i := range p.instances {
		if x := &p.instances[i]; x.node == n && !x.ended {
			return false
		}
	}
	return true
}
