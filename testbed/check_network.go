package testbed

import (
	"slices"
	"time"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/tiering"
)

// network makes the links and checks that they join every two nodes; false: the
// timeline can't be checked on them.
func (c *checker) network() bool {
	before := len(c.problems)
	for i := range c.in.Spec.Network.Tiers {
		c.tierLink(i)
	}
	tiersOnly := NewTopology(c.s) // what the nodes' own links refine
	for i := range c.in.Spec.Network.Links {
		c.pairLink(i, tiersOnly)
	}
	if len(c.problems) > before {
		return false
	}
	return c.joined()
}

func (c *checker) tierLink(i int) {
	in, field := &c.in.Spec.Network.Tiers[i], yamlfile.Item("spec.network.tiers", i)
	link := c.link(field, in, Link{Queue: defaultQueue})
	ends, ok := c.ends(field+".between", in.Between)
	if !ok {
		return
	}
	if !ends.Tiers() {
		c.add(field+".between", "%s are no two tiers; put a link between two nodes under network.links", ends)
		return
	}
	key := tierPair(ends.A.Tier, ends.B.Tier)
	if j := slices.IndexFunc(c.s.Network.Tiers, func(l TierLink) bool { return tierPair(l.A, l.B) == key }); j >= 0 {
		c.add(field+".between", "there is a link %s already (spec.network.tiers[%d]); keep one", ends, j)
		return
	}
	c.s.Network.Tiers = append(c.s.Network.Tiers, TierLink{A: key[0], B: key[1], Link: link})
}

func (c *checker) pairLink(i int, tiersOnly *Topology) {
	in, field := &c.in.Spec.Network.Links[i], yamlfile.Item("spec.network.links", i)
	ends, ok := c.ends(field+".between", in.Between)
	if !ok {
		c.linkValues(field, in)
		return
	}
	a, b := ends.A.Node, ends.B.Node
	switch {
	case a == "" || b == "":
		c.add(field+".between", "%s are no two nodes; put a link between two tiers under network.tiers", ends)
		return
	case a == b:
		c.add(field+".between", "a node needs no link to itself; name two nodes")
		return
	}
	if j := slices.IndexFunc(c.s.Network.Pairs, func(l PairLink) bool { return l.A == a && l.B == b || l.A == b && l.B == a }); j >= 0 {
		c.add(field+".between", "there is a link %s already (spec.network.links[%d]); keep one", ends, j)
		return
	}
	base, ok := tiersOnly.Link(a, b)
	if !ok {
		base = Link{Queue: defaultQueue}
	}
	c.s.Network.Pairs = append(c.s.Network.Pairs, PairLink{A: a, B: b, Link: c.link(field, in, base)})
}

// link is base with what the document says of it.
func (c *checker) link(field string, in *linkForm, base Link) Link {
	c.linkValues(field, in)
	l := in.change().Apply(base)
	if l.Jitter > l.Delay && l.Delay >= 0 {
		c.jitter(field, in, l)
	}
	return l
}

func (c *checker) jitter(field string, in *linkForm, l Link) {
	at := field + ".delay"
	if in.Jitter != nil {
		at = field + ".jitter"
	}
	c.add(at, "a jitter of %v at a delay of %v would have packets arrive before they leave; use a jitter of at most the delay", l.Jitter, l.Delay)
}

// linkValues checks the properties that are given; rate and loss were checked
// when they were read.
func (c *checker) linkValues(field string, in *linkForm) {
	for _, p := range []struct {
		key string
		d   *time.Duration
	}{{".delay", in.Delay}, {".jitter", in.Jitter}} {
		if p.d != nil && (*p.d < 0 || *p.d > maxDelay) {
			c.add(field+p.key, "%v is out of range; use 0s to %v", *p.d, maxDelay)
		}
	}
	if q := in.Queue; q != nil && (*q < 1 || *q > maxQueue) {
		c.add(field+".queue", "%d is out of range; use 1 to %d packets", *q, maxQueue)
	}
}

// ends finds the two nodes or tiers of those names.
func (c *checker) ends(field string, words []string) (Ends, bool) {
	if len(words) != 2 {
		c.add(field, "%d names; give the two ends, such as [edge, fog] or [edge-1, fog-1]", len(words))
		return Ends{}, false
	}
	a, first := c.end(yamlfile.Item(field, 0), words[0])
	b, second := c.end(yamlfile.Item(field, 1), words[1])
	return Ends{A: a, B: b}, first && second
}

func (c *checker) end(field, word string) (End, bool) {
	if tier, err := tiering.ParseTier(word); err == nil {
		return End{Tier: tier}, true
	}
	if c.has(word) {
		return End{Node: word}, true
	}
	c.unknown(field, "node or tier", word, append(tierNames(), c.nodeNames()...))
	return End{}, false
}

// joined checks that there is a path between every two nodes. Nodes of the same
// two tiers lack the same entry, so one of them is named.
func (c *checker) joined() bool {
	t := NewTopology(c.s)
	seen := map[[2]tiering.Tier]bool{}
	for i := range t.paths {
		p := &t.paths[i]
		a, b := t.nodes[p.a], t.nodes[p.b]
		key := tierPair(a.Tier, b.Tier)
		if p.kind != none || seen[key] {
			continue
		}
		seen[key] = true
		remedy := ""
		if key == tierPair(tiering.Edge, tiering.Cloud) {
			remedy = ", or between [edge, fog] and [fog, cloud] for a path through the fog,"
		}
		c.add("spec.network.tiers", "nothing joins %s and %s; add a link between [%s, %s]%s with its delay and rate",
			a.Name, b.Name, key[0], key[1], remedy)
	}
	return len(seen) == 0
}
