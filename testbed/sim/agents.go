package sim

import (
	"reflect"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// agent is what a node's agent has of the coordinators and runs for them.
type agent struct {
	running map[string]running // by placement
	matched uint64             // revision of what runs
	asking  uint64             // revision that is on its way here
	gen     uint32             // of that
	cutOff  time.Duration      // since when no coordinator is reached; never: one is
	runs    int                // times that it was started
	leaving bool               // was told to stop
	left    bool               // did
}

// running is what runs for a placement: a feed or an instance.
type running struct {
	want     tiering.Assignment
	feed     int32
	instance int32
}

// resetAgent makes the agent of a node that has just started, or ended.
func (c *control) resetAgent(n int32) {
	c.agents[n] = agent{running: map[string]running{}, cutOff: never, gen: c.agents[n].gen + 1, runs: c.agents[n].runs + 1}
}

// distribute sends the state on its way: from the leader to the coordinators
// that it reaches, and from those to the agents.
func (c *control) distribute() {
	now := c.machine.Snapshot()
	if c.leader != none {
		for k := range c.coordinators {
			if o := &c.coordinators[k]; c.joined[c.leader][o.node] {
				o.known = now
			}
		}
	}
	for n := range c.agents {
		c.inform(int32(n))
	}
}

// inform sends an agent what the coordinators that it reaches know, if that is
// news.
func (c *control) inform(n int32) {
	a := &c.agents[n]
	if !c.nodes[n].running() || a.leaving {
		return
	}
	snap, from := c.newest(n)
	if snap == nil {
		a.cutOff = min(a.cutOff, c.now())
		return
	}
	wait := time.Duration(0)
	if a.cutOff != never { // it has been asking in vain, less and less often
		wait = c.luck.Uniform(min(c.now()-a.cutOff, maxRetry))
		a.cutOff = never
	}
	if snap.Revision() <= max(a.matched, a.asking) {
		return
	}
	delay := wait + c.trips[from][n]/2
	if c.leader != none && from != c.leader {
		delay += c.trips[c.leader][from] / 2
	}
	a.asking = snap.Revision()
	a.gen++
	c.q.Add(c.now()+delay, evAssign, n, 0, a.gen)
}

// newest is what the best informed of the coordinators knows that an agent
// reaches, and which one that is: of equals the nearest.
func (c *control) newest(n int32) (*state.Snapshot, int32) {
	var best *state.Snapshot
	from := none
	for k := range c.coordinators {
		o := &c.coordinators[k]
		if o.known == nil || !c.joined[n][o.node] {
			continue
		}
		if best == nil || o.known.Revision() > best.Revision() ||
			o.known.Revision() == best.Revision() && c.trips[n][o.node] < c.trips[n][from] {
			best, from = o.known, o.node
		}
	}
	return best, from
}

// assign has an agent match what it runs with what is wanted.
func (c *control) assign(n int32, gen uint32) {
	a := &c.agents[n]
	if a.gen != gen || a.leaving || !c.nodes[n].running() {
		return
	}
	a.asking = 0
	snap, _ := c.newest(n)
	if snap == nil || snap.Revision() <= a.matched {
		c.inform(n)
		return
	}
	a.matched = snap.Revision()
	for _, p := range snap.Placements() {
		c.slotOf(p.ID, c.taskIndex(p))
	}
	c.match(n, snap.Assignments(c.nodes[n].name))
	c.inform(n)
}

func (c *control) taskIndex(p tiering.Placement) int32 {
	if !p.Source {
		for i := range c.tasks {
			if c.tasks[i].name == p.Task {
				return int32(i)
			}
		}
	}
	return none
}

// match stops what is no longer wanted, tells the rest where frames go now, and
// starts what is missing: agent.Agent's match.
func (c *control) match(n int32, want []tiering.Assignment) {
	a := &c.agents[n]
	wanted := map[string]bool{}
	for _, w := range want {
		wanted[w.Placement.ID] = true
	}
	for i := range c.slots { // in an order that is always the same
		id := c.slots[i].id
		if r, ok := a.running[id]; ok && !wanted[id] {
			c.stop(r)
			delete(a.running, id)
		}
	}
	for _, w := range want {
		id := w.Placement.ID
		r, ok := a.running[id]
		switch {
		case ok && reflect.DeepEqual(workOf(r.want), workOf(w)):
			c.lead(c.routerOf(r), w)
			if r.feed != none {
				c.setFeed(r.feed, w.SourceQuality(), w.Held)
			}
			continue
		case ok:
			c.stop(r)
		}
		a.running[id] = c.begin(n, w)
	}
}

// workOf is what of an assignment stays the same while an instance runs.
func workOf(a tiering.Assignment) tiering.Assignment {
	w := tiering.Assignment{Objectives: a.Objectives}
	if a.Source != nil {
		s := *a.Source
		s.Resolution = 0 // see tiering.Assignment.SourceQuality
		w.Source = &s
	}
	if a.Task != nil {
		t := *a.Task
		t.Request, t.Replicas = tiering.Resources{}, 0
		w.Task = &t
	}
	return w
}

func (c *control) routerOf(r running) int32 {
	if r.feed != none {
		return c.feeds[r.feed].router
	}
	return c.instances[r.instance].router
}

func (c *control) stop(r running) {
	if r.feed != none {
		c.stopFeed(r.feed)
		return
	}
	c.stopInstance(r.instance)
}

// begin starts what an assignment asks for.
func (c *control) begin(n int32, w tiering.Assignment) running {
	r := running{want: w, feed: none, instance: none}
	router := c.addRouter(n)
	c.routers[router].turn = uint64(c.stream("turn " + w.Placement.ID).Uniform(time.Hour))
	c.lead(router, w)
	at := c.slotOf(w.Placement.ID, none)
	if s := w.Source; s != nil {
		r.feed = c.startFeed(feed{
			source: s.Name, node: n, slot: at, router: router, deadline: w.Objectives.Deadline,
			period: period(s.FPS), input: period(max(s.FPS, value(c.costs.Input))), cost: timingOf(c.costs.Capture),
		})
		c.setFeed(r.feed, w.SourceQuality(), w.Held)
		return r
	}
	r.instance = c.startInstance(instance{
		node: n, slot: at, task: c.slots[at].task, router: router, quiet: w.Objectives.Deadline,
	})
	return r
}

func period(fps float64) time.Duration { return time.Duration(float64(time.Second) / fps) }

// lead tells a router where the frames of an assignment go.
func (c *control) lead(router int32, w tiering.Assignment) {
	n := c.routers[router].node
	c.redirect(router, w.Next, w.Groups, func(o tiering.Offer) (int32, int32, bool) {
		at := c.slotOf(o.Instance, none)
		to := c.number[o.Node]
		if to == n {
			return at, none, true
		}
		mqtt := o.Link.Transport == tiering.MQTT
		peer := c.peerOf(n, to, mqtt)
		return at, peer, !mqtt || c.peers[peer].via != none
	})
}

// starting reports whether an instance is not yet ready.
func (c *control) starting() bool {
	for i := range c.instances {
		if x := &c.instances[i]; !x.ready && !x.stopping && !x.ended {
			return true
		}
	}
	return false
}
