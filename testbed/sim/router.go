package sim

import (
	"cmp"
	"slices"

	"github.com/weft-mesh/weft/tiering"
)

// router sends the frames of a source or an instance on, as pipeline.Router
// does: each to one instance of every group that follows, found by
// tiering.Discover.
type router struct {
	node   int32
	routes []route // in order of group
	turn   uint64  // where turns begin
	ended  bool
}

// route is where the frames for one group may go.
type route struct {
	group  string
	offers []tiering.Offer // in order of instance
	slots  []int32         // of each offer
	boxes  []int32         // that serve it; none: on this node
	picks  []picks
	turns  []uint64 // how many there were, by want
}

// next is the number of the next turn of those who take what is wanted.
func (t *route) next(want int32) uint64 {
	for len(t.turns) <= int(want) {
		t.turns = append(t.turns, 0)
	}
	t.turns[want]++
	return t.turns[want]
}

// picks is what tiering.Discover answers for what a frame asks for, whatever the turn: it
// is asked once, not for each frame.
type picks struct {
	want   int32
	wiring uint64  // that round trips are of
	offers []int32 // that take turns; empty: nothing takes the frame
}

// outbox holds the frames that wait to be sent to one instance.
type outbox struct {
	node    int32
	key     boxKey
	queue   queue
	sending int // frames that workers have
	closed  bool
}

// boxKey is what must stay the same for an outbox to serve a new offer.
type boxKey struct{ slot, peer int32 }

func (p *plane) addRouter(node int32) int32 {
	p.routers = append(p.routers, router{node: node})
	return int32(len(p.routers) - 1)
}

// redirect replaces the offers of a router and the groups that it expects.
// Frames that wait for an instance that is no longer offered are routed anew.
func (p *plane) redirect(i int32, offers []tiering.Offer, groups []string, find func(tiering.Offer) (slot, peer int32, ok bool)) {
	r := &p.routers[i]
	type held struct {
		group string
		box   int32
	}
	var old []held
	for k := range r.routes {
		for _, b := range r.routes[k].boxes {
			if b != none {
				old = append(old, held{r.routes[k].group, b})
			}
		}
	}
	sorted := slices.Clone(offers)
	slices.SortStableFunc(sorted, func(a, b tiering.Offer) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Instance, b.Instance))
	})
	all := slices.Clone(groups)
	for _, o := range sorted {
		all = append(all, o.Group)
	}
	slices.Sort(all)
	var routes []route
	for _, g := range slices.Compact(all) {
		next := route{group: g}
		if k := slices.IndexFunc(r.routes, func(t route) bool { return t.group == g }); k >= 0 {
			next.turns = r.routes[k].turns
		}
		routes = append(routes, next)
	}
	kept := map[int32]bool{}
	for _, o := range sorted {
		at, peer, ok := find(o)
		if !ok {
			continue // this node has no such link
		}
		k, _ := slices.BinarySearchFunc(routes, o.Group, func(r route, g string) int { return cmp.Compare(r.group, g) })
		box := none
		if peer != none {
			key := boxKey{at, peer}
			j := slices.IndexFunc(old, func(h held) bool { return p.boxes[h.box].key == key })
			if j >= 0 {
				box = old[j].box
			} else {
				box = int32(len(p.boxes))
				p.boxes = append(p.boxes, outbox{node: r.node, key: key, queue: queue{policy: p.rules.outbox}})
			}
			kept[box] = true
		}
		t := &routes[k]
		t.offers, t.slots, t.boxes = append(t.offers, o), append(t.slots, at), append(t.boxes, box)
	}
	r.routes = routes
	for _, h := range old {
		if kept[h.box] {
			continue
		}
		b := &p.boxes[h.box]
		b.closed = true
		for p.boxes[h.box].queue.n > 0 {
			f := p.boxes[h.box].queue.oldest().frame
			p.route(i, h.group, f)
		}
	}
}

// endRouter settles what waits in the outboxes.
func (p *plane) endRouter(i int32) {
	r := &p.routers[i]
	r.ended = true
	for k := range r.routes {
		for _, b := range r.routes[k].boxes {
			if b == none {
				continue
			}
			p.boxes[b].closed = true
			for p.boxes[b].queue.n > 0 {
				p.finish(p.boxes[b].queue.oldest().frame, shutdown)
			}
		}
	}
	r.routes = nil
}

// forward takes a frame that its source or stage is done with.
func (p *plane) forward(i, f int32) {
	r := &p.routers[i]
	switch {
	case p.frames[f].late(p.now()):
		p.finish(f, deadline)
	case r.ended:
		p.finish(f, shutdown)
	case len(r.routes) == 0:
		p.finish(f, delivered)
	default:
		p.split(f, len(r.routes), func(part int32, k int) { p.routeBy(i, k, part) })
	}
}

// route hands a frame to an instance of the group.
func (p *plane) route(i int32, group string, f int32) {
	r := &p.routers[i]
	if k := slices.IndexFunc(r.routes, func(t route) bool { return t.group == group }); k >= 0 {
		p.routeBy(i, k, f)
		return
	}
	p.finish(f, noRoute)
}

func (p *plane) routeBy(i int32, k int, f int32) {
	r := &p.routers[i]
	if k >= len(r.routes) { // the part before this one ended the router
		p.finish(f, shutdown)
		return
	}
	t := &r.routes[k]
	turn := r.turn + t.next(p.frames[f].want)
	turns := p.discover(r.node, t, p.frames[f].want)
	if len(turns) == 0 {
		p.finish(f, noRoute)
		return
	}
	at := turns[turn%uint64(len(turns))]
	p.frames[f].slot = t.slots[at]
	if t.boxes[at] == none {
		p.receive(f)
		return
	}
	p.post(t.boxes[at], f)
}

// discover asks tiering.Discover which offers of a route take turns for frames
// that ask for want, unless it is known: equals take turns as the number that it is
// given counts up, so the answers repeat from the first one on.
func (p *plane) discover(node int32, t *route, want int32) []int32 {
	at := -1
	for i := range t.picks {
		if t.picks[i].want == want {
			if t.picks[i].wiring == p.wiring {
				return t.picks[i].offers
			}
			at = i
		}
	}
	x := picks{want: want, wiring: p.wiring}
	n := &p.nodes[node]
	for turn := range len(t.offers) {
		offer, err := tiering.Discover(p.wants[want], n.name, n.tier, t.offers, p.rtt, uint64(turn))
		if err != nil {
			break
		}
		i := int32(slices.IndexFunc(t.offers, func(o tiering.Offer) bool { return o.Instance == offer.Instance }))
		if turn > 0 && i == x.offers[0] {
			break
		}
		x.offers = append(x.offers, i)
	}
	if at < 0 {
		t.picks = append(t.picks, x)
	} else {
		t.picks[at] = x
	}
	return x.offers
}

// post puts a frame into an outbox.
func (p *plane) post(b, f int32) {
	now := p.now()
	fr := &p.frames[f]
	if fr.late(now) {
		p.finish(f, deadline)
		return
	}
	fr.taken = now
	if dropped := p.boxes[b].queue.push(f, now); dropped != none {
		p.finish(dropped, queueFull)
	}
	p.pump(b)
}

// pump has the workers of an outbox send what waits, the newest first.
func (p *plane) pump(b int32) {
	for {
		box := &p.boxes[b]
		if box.closed || box.queue.n == 0 || p.rules.senders > 0 && box.sending == p.rules.senders {
			return
		}
		var f int32
		if p.rules.senders > 0 {
			f = box.queue.newest().frame
		} else {
			f = box.queue.oldest().frame
		}
		if p.frames[f].late(p.now()) {
			p.finish(f, deadline)
			continue
		}
		box.sending++
		fr := &p.frames[f]
		fr.box, fr.peer = b, box.key.peer
		t := &p.tasks[p.slots[box.key.slot].task]
		if !t.send.known() || !t.receive.known() || t.bytes < 0 {
			p.err = missingOnTheWay(t, p.nodes[box.node].name, p.nodes[p.peers[box.key.peer].to].name)
			return
		}
		p.work(box.node, t.send.draw(p.peers[box.key.peer].draws), jobSend, f, 0)
	}
}

// freed gives a worker back to the outbox of a frame.
func (p *plane) freed(f int32) {
	b := p.frames[f].box
	p.frames[f].box = none
	if b == none {
		return
	}
	p.boxes[b].sending--
	p.pump(b)
}
