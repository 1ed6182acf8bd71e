package testbed

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/tiering"
)

// Ends names what a link or a partition is between: two nodes, two tiers, or
// the nodes of one tier.
type Ends struct {
	A, B End
}

// End is a node or a tier.
type End struct {
	Node string       `json:"node,omitempty"`
	Tier tiering.Tier `json:"tier,omitzero"` // set where Node is empty
}

func (e End) String() string {
	if e.Node != "" {
		return e.Node
	}
	return e.Tier.String()
}

func (e Ends) String() string { return e.A.String() + "–" + e.B.String() }

// Tiers reports whether both ends are tiers.
func (e Ends) Tiers() bool { return e.A.Node == "" && e.B.Node == "" }

// Network says how nodes are joined: every node of a tier with every other by
// the tiers' link, where the document gives none for the two nodes. Edge and
// cloud without a link of their own are joined through the fog (Houmani et al.,
// section V-A), which need not have a node.
type Network struct {
	Tiers []TierLink
	Pairs []PairLink
}

// TierLink is the link between any node of one tier and any of the other.
type TierLink struct {
	A, B tiering.Tier // A ≤ B
	Link Link
}

// PairLink is the link between two nodes.
type PairLink struct {
	A, B string
	Link Link
}

// Pair is two nodes, in the order of the scenario.
type Pair struct{ A, B string }

// Topology is how the nodes are joined at one moment. Apply changes it.
type Topology struct {
	nodes []Node
	tier  map[string]tiering.Tier
	was   layer // at the start
	now   layer
	cuts  []Ends // partitions
}

// layer is the links of tiers and of nodes.
type layer struct {
	tiers map[[2]tiering.Tier]Link
	pairs map[Pair]Link
}

// NewTopology returns the scenario's network as it is at the start.
func NewTopology(s *Scenario) *Topology {
	t := &Topology{nodes: s.Nodes, tier: map[string]tiering.Tier{}}
	for _, n := range s.Nodes {
		t.tier[n.Name] = n.Tier
	}
	fill := func() layer {
		l := layer{map[[2]tiering.Tier]Link{}, map[Pair]Link{}}
		for _, x := range s.Network.Tiers {
			l.tiers[tierPair(x.A, x.B)] = x.Link
		}
		for _, x := range s.Network.Pairs {
			l.pairs[t.pair(x.A, x.B)] = x.Link
		}
		return l
	}
	t.was, t.now = fill(), fill()
	return t
}

// Pairs lists every two nodes once.
func (t *Topology) Pairs() []Pair {
	var out []Pair
	for i := range t.nodes {
		for k := i + 1; k < len(t.nodes); k++ {
			out = append(out, Pair{t.nodes[i].Name, t.nodes[k].Name})
		}
	}
	return out
}

// Link is the path between two nodes; false: no packet passes. A node reaches
// itself over nothing.
func (t *Topology) Link(a, b string) (Link, bool) {
	if a == b {
		return Link{}, true
	}
	l, via, ok := t.path(a, b)
	for _, c := range t.cuts {
		if t.crosses(c, a, b, via) {
			return l, false
		}
	}
	return l, ok
}

// path is the link between two nodes and whether it leads through the fog;
// false: the document joins them by nothing.
func (t *Topology) path(a, b string) (l Link, via, ok bool) {
	if l, ok := t.now.pairs[t.pair(a, b)]; ok {
		return l, false, true
	}
	x, y := t.tier[a], t.tier[b]
	if l, ok := t.now.tiers[tierPair(x, y)]; ok {
		return l, false, true
	}
	if tierPair(x, y) != tierPair(tiering.Edge, tiering.Cloud) {
		return Link{}, false, false
	}
	up, first := t.now.tiers[tierPair(tiering.Edge, tiering.Fog)]
	on, second := t.now.tiers[tierPair(tiering.Fog, tiering.Cloud)]
	if !first || !second {
		return Link{}, false, false
	}
	return up.Then(on), true, true
}

// crosses reports whether the path between two nodes leads from one end of c
// to the other. One through the fog crosses from the edge to the fog and from
// the fog to the cloud.
func (t *Topology) crosses(c Ends, a, b string, via bool) bool {
	if c.matches(a, b, t.tier) {
		return true
	}
	if !via || !c.Tiers() {
		return false
	}
	p := tierPair(c.A.Tier, c.B.Tier)
	return p == tierPair(tiering.Edge, tiering.Fog) || p == tierPair(tiering.Fog, tiering.Cloud)
}

func (e Ends) matches(a, b string, tier map[string]tiering.Tier) bool {
	is := func(e End, n string) bool { return e.Node == n || e.Node == "" && e.Tier == tier[n] }
	return is(e.A, a) && is(e.B, b) || is(e.A, b) && is(e.B, a)
}

// Apply carries out an event on the network. Events of nodes and sources
// change nothing here. The error says what contradicts what is.
func (t *Topology) Apply(e Event) error {
	switch e.Action {
	case Partition:
		if slices.ContainsFunc(t.cuts, e.Ends.same) {
			return fmt.Errorf("%s are parted already", e.Ends)
		}
		t.cuts = append(t.cuts, e.Ends)
	case Heal:
		i := slices.IndexFunc(t.cuts, e.Ends.same)
		if i < 0 {
			return fmt.Errorf("%s are not parted", e.Ends)
		}
		t.cuts = slices.Delete(t.cuts, i, i+1)
	case Change:
		return t.edit(e.Ends, func(l, _ Link) Link { return e.Link.Apply(l) })
	case Restore:
		return t.edit(e.Ends, func(_, was Link) Link { return was })
	}
	return nil
}

// edit changes the links that ends names: the tiers' own, with those of single
// nodes between them, or those of every two nodes.
func (t *Topology) edit(ends Ends, change func(now, was Link) Link) error {
	found := false
	if ends.Tiers() {
		key := tierPair(ends.A.Tier, ends.B.Tier)
		if l, ok := t.now.tiers[key]; ok {
			t.now.tiers[key], found = change(l, t.was.tiers[key]), true
		}
	}
	for _, p := range t.Pairs() {
		if !ends.matches(p.A, p.B, t.tier) {
			continue
		}
		own, isOwn := t.now.pairs[p]
		switch {
		case isOwn:
			was, ok := t.was.pairs[p]
			if !ok {
				was, _ = t.original(p)
			}
			t.now.pairs[p], found = change(own, was), true
		case !ends.Tiers():
			l, _, ok := t.path(p.A, p.B)
			if !ok {
				continue
			}
			was, _ := t.original(p)
			t.now.pairs[p], found = change(l, was), true
		}
	}
	if !found {
		return fmt.Errorf("there is no link %s", ends)
	}
	return nil
}

// original is the path between two nodes at the start.
func (t *Topology) original(p Pair) (Link, bool) {
	start := Topology{nodes: t.nodes, tier: t.tier, now: t.was}
	l, _, ok := start.path(p.A, p.B)
	return l, ok
}

func (e Ends) same(o Ends) bool { return e == o || e == Ends{o.B, o.A} }

func tierPair(a, b tiering.Tier) [2]tiering.Tier { return [2]tiering.Tier{min(a, b), max(a, b)} }

// pair is two nodes in the order of the scenario.
func (t *Topology) pair(a, b string) Pair {
	for _, n := range t.nodes {
		switch n.Name {
		case a:
			return Pair{a, b}
		case b:
			return Pair{b, a}
		}
	}
	return Pair{a, b}
}
