package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/sim/des"
	"github.com/weft-mesh/weft/tiering"
)

// lab is a data plane built by hand: the parts of the real model, joined as a
// test likes.
type lab struct {
	*plane
	t testing.TB

	over bool // the time that run lets pass

	// watched is the instance whose number in system is integrated over time.
	watched int32
	area    float64
}

// newLab makes a lab of nodes with one core each, joined by links that take no
// time.
func newLab(t testing.TB, seed uint64, r rules, nodes int, tasks ...task) *lab {
	t.Helper()
	l := &lab{plane: newPlane(seed, r, newStats(len(tasks))), t: t, watched: none}
	for i := range nodes {
		l.addNode(fmt.Sprintf("n%d", i), tiering.Fog, newProcessor(1, 1, 0, 1), 0)
	}
	l.tasks = tasks
	l.other = func(des.Event) { l.over = true }
	l.connect(none)
	l.stats.measure()
	l.join(testbed.Link{})
	return l
}

// join joins all nodes by links of one kind, over which they are connected.
func (l *lab) join(link testbed.Link) {
	for i := range l.peers {
		if p := &l.peers[i]; p.from != p.to && i < len(l.peers)/2 {
			l.wire(int32(i), link, true)
			p.linked = true
		}
	}
}

// free is a task whose frames cost nothing to move.
func free(name string, work timing) task { return task{name: name, work: work} }

// stage starts an instance of a task on a node, which takes frames at once and
// sends them on to those given.
func (l *lab) stage(node, task int32, next ...int32) int32 {
	r := l.addRouter(node)
	id := tiering.SlotID("w", l.tasks[task].name, len(l.instances))
	i := l.startInstance(instance{node: node, slot: l.slotOf(id, task), task: task, router: r})
	l.lead(r, next...)
	return i
}

// source starts a source with that many frames a second.
func (l *lab) source(node int32, fps float64, deadline time.Duration, next ...int32) int32 {
	r := l.addRouter(node)
	l.lead(r, next...)
	id := tiering.SlotID("w", fmt.Sprintf("src-%d", len(l.feeds)), 0)
	return l.startFeed(feed{
		node: node, slot: l.slotOf(id, none), router: r, deadline: deadline,
		period: period(fps), input: period(fps),
	})
}

// lead points a router at instances.
func (l *lab) lead(router int32, next ...int32) {
	var offers []tiering.Offer
	for _, i := range next {
		x := &l.instances[i]
		offers = append(offers, tiering.Offer{
			Instance: l.slots[x.slot].id, Group: l.tasks[x.task].name, Node: l.nodes[x.node].name, Tier: tiering.Fog,
			Accepts: tiering.Data{Type: "image"},
		})
	}
	from := l.routers[router].node
	l.redirect(router, offers, nil, func(o tiering.Offer) (int32, int32, bool) {
		at := l.slotOf(o.Instance, none)
		for i := range l.nodes {
			if l.nodes[i].name == o.Node && int32(i) != from {
				return at, l.peerOf(from, int32(i), false), true
			}
		}
		return at, none, true
	})
}

// run lets virtual time pass.
func (l *lab) run(d time.Duration) {
	l.t.Helper()
	l.q.Add(l.now()+d, evControl, 0, 0, 0)
	last := l.now()
	for l.over = false; !l.over; {
		e, ok := l.q.Next()
		if !ok {
			l.t.Fatal("nothing happens any more")
		}
		if l.watched != none {
			l.area += float64(l.inSystem(l.watched)) * float64(e.At-last)
			last = e.At
		}
		l.handle(e)
		if l.err != nil {
			l.t.Fatal(l.err)
		}
	}
}

// inSystem is how many frames an instance has.
func (l *lab) inSystem(i int32) int {
	n := l.instances[i].queue.n
	if l.instances[i].busy {
		n++
	}
	return n
}

// unbounded are the rules of queueing theory: nothing is dropped, everything
// in order, arrivals at random.
func unbounded() rules { return rules{poisson: true} }
