package sim

import (
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"

	"github.com/weft-mesh/weft/coordinator/state"
)

// coordinator is one coordinator's view: of the other nodes, by membership,
// and of the state, by Raft.
type coordinator struct {
	node  int32
	seen  []sighting // by node
	known *state.Snapshot
}

// sighting is what membership says of a node.
type sighting struct {
	status  tiering.NodeStatus
	answers bool // it is reached now, whatever the status says
	gen     uint32
}

func newCoordinator(node int32, nodes int) coordinator {
	c := coordinator{node: node, seen: make([]sighting, nodes)}
	for i := range c.seen {
		c.seen[i] = sighting{status: tiering.NodeAlive, answers: true}
	}
	return c
}

func (c *control) coordinator(node int32) *coordinator {
	for i := range c.coordinators {
		if c.coordinators[i].node == node {
			return &c.coordinators[i]
		}
	}
	return nil
}

// rewire works out, after something has happened to nodes or the network, who
// reaches whom.
func (c *control) rewire() {
	n := len(c.nodes)
	if c.joined == nil {
		c.joined, c.trips = make([][]bool, n), make([][]time.Duration, n)
		for a := range n {
			c.joined[a], c.trips[a] = make([]bool, n), make([]time.Duration, n)
			for b := range n {
				c.trips[a][b] = -1
			}
			c.trips[a][a] = 0
		}
	}
	links := make([]testbed.Link, n*n)
	for a := range n {
		c.joined[a][a] = c.nodes[a].running()
		for b := a + 1; b < n; b++ {
			l, ok := c.topology.Link(c.nodes[a].name, c.nodes[b].name)
			open := ok && c.nodes[a].running() && c.nodes[b].running()
			c.joined[a][b], c.joined[b][a] = open, open
			links[a*n+b], links[b*n+a] = l, l
			if open {
				c.trips[a][b] = 2*l.Delay + tripOverhead
				c.trips[b][a] = c.trips[a][b]
			}
		}
	}
	for i := range c.peers {
		p := &c.peers[i]
		a, b := int(p.from), int(p.to)
		if a == b {
			continue
		}
		l, open := links[a*n+b], c.joined[a][b]
		if i >= n*n {
			via := int(p.via)
			if via < 0 {
				continue
			}
			l, open = over(links, n, a, via, b), c.joined[a][via] && c.joined[via][b]
		}
		c.wire(int32(i), l, open)
	}
	c.wiring++
	c.watch()
	c.follow()
	c.distribute()
}

// tripOverhead is what a measured round trip takes beyond the link's delays.
const tripOverhead = 200 * time.Microsecond

// over is the way from a to b through another node, which may be one of them.
func over(links []testbed.Link, n, a, via, b int) testbed.Link {
	switch via {
	case a:
		return links[via*n+b]
	case b:
		return links[a*n+via]
	}
	return links[a*n+via].Then(links[via*n+b])
}

// roundTrip is what the nodes have measured, as Serf's coordinates have it.
func (c *control) roundTrip(a, b string) (time.Duration, bool) {
	d := c.trips[c.number[a]][c.number[b]]
	return d, d >= 0
}

// watch tells each coordinator's membership which nodes answer. SWIM asks
// others to probe what it can't reach itself, so any way over live nodes will
// do.
func (c *control) watch() {
	group := c.groups()
	for k := range c.coordinators {
		o := &c.coordinators[k]
		if !c.nodes[o.node].running() {
			continue
		}
		for n := range o.seen {
			s := &o.seen[n]
			if answers := group[n] == group[o.node]; answers != s.answers {
				s.answers = answers
				s.gen++
				after := value(c.costs.Detect)
				if answers {
					after = value(c.costs.Return)
				}
				c.q.Add(c.now()+after, evMember, int32(k), int32(n), s.gen)
			}
		}
	}
}

// groups numbers the nodes by who reaches whom; those that do not run are each
// alone.
func (c *control) groups() []int {
	out := make([]int, len(c.nodes))
	for i := range out {
		out[i] = -1
	}
	for i := range out {
		if out[i] >= 0 {
			continue
		}
		out[i] = i
		for todo := []int{i}; len(todo) > 0; todo = todo[1:] {
			for b, ok := range c.joined[todo[0]] {
				if ok && out[b] < 0 {
					out[b] = i
					todo = append(todo, b)
				}
			}
		}
	}
	return out
}

// notice changes what a coordinator's membership says of a node.
func (c *control) notice(k, n int32, gen uint32) {
	o := &c.coordinators[k]
	s := &o.seen[n]
	if s.gen != gen {
		return
	}
	switch {
	case s.answers:
		s.status = tiering.NodeAlive
	case s.status == tiering.NodeAlive:
		s.status = tiering.NodeFailed
	}
	if o.node == c.leader {
		c.look()
	}
}

// look has the leader look at once, but at all that is noticed at this moment.
func (c *control) look() {
	if !c.looking {
		c.looking = true
		c.q.Add(c.now(), evRound, 0, 0, 0)
	}
}

// sayGoodbye has a node leave membership wherever the word gets through.
func (c *control) sayGoodbye(n int32) {
	group := c.groups() // as it was while the node ran
	for k := range c.coordinators {
		if o := &c.coordinators[k]; group[o.node] == group[n] && o.node != n {
			s := &o.seen[n]
			s.status, s.answers = tiering.NodeLeft, false
			s.gen++
		}
	}
	c.look()
}

// follow notes when there is no leader any more, and has one elected.
func (c *control) follow() {
	if c.leader != none && c.leads(c.leader) {
		return
	}
	lost := c.leader
	c.leader = none
	if lost != none && c.agents[lost].left {
		c.succeed() // it handed leadership over
		return
	}
	if _, ok := c.candidate(); ok && !c.electing {
		c.electing = true
		c.q.Add(c.now()+electLeast+c.luck.Uniform(electSpread), evElect, 0, 0, 0)
	}
}

// leads reports whether a coordinator runs and reaches a majority.
func (c *control) leads(n int32) bool {
	with := 0
	for k := range c.coordinators {
		if c.joined[n][c.coordinators[k].node] {
			with++
		}
	}
	return c.nodes[n].running() && 2*with > len(c.coordinators)
}

// candidate is the first coordinator that could lead.
func (c *control) candidate() (int32, bool) {
	for k := range c.coordinators {
		if n := c.coordinators[k].node; c.leads(n) {
			return n, true
		}
	}
	return none, false
}

func (c *control) elect() {
	c.electing = false
	if c.leader == none {
		c.succeed()
	}
}

func (c *control) succeed() {
	if n, ok := c.candidate(); ok {
		c.newTerm(n)
	}
}
