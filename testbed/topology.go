package testbed

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/tiering"
)

// ErrContradiction reports an event that does not fit what is: a partition of
// what is parted, a change of links that there are not.
var ErrContradiction = errors.New("contradiction")

// Ends names what a link or a partition is between: two nodes, two tiers, a
// node and a tier, or the nodes of one tier.
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

func (e Ends) same(o Ends) bool { return e == o || e == Ends{o.B, o.A} }

func (e End) holds(n Node) bool {
	if e.Node != "" {
		return e.Node == n.Name
	}
	return e.Tier == n.Tier
}

// between reports whether one of the nodes is at one end and the other at the
// other. A node without a name stands for the network of its tier.
func (e Ends) between(a, b Node) bool {
	return e.A.holds(a) && e.B.holds(b) || e.A.holds(b) && e.B.holds(a)
}

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
	index map[string]int // in nodes
	paths []path         // of every two nodes, in the order of Pairs
	cuts  []Ends         // partitions
}

// path joins two nodes, by a link or through the fog. What an event says of the
// edge and the fog, or of the fog and the cloud, holds for that part of a path
// through the fog, too.
type path struct {
	a, b     int // nodes
	kind     kind
	was, now [2]Link    // the links on the way: one, or edge–fog and fog–cloud
	over     LinkChange // what events said of a path through the fog as a whole
	cuts     int        // partitions that part it
}

type kind uint8

const (
	none   kind = iota // the document does not join the two
	direct             // one link
	viaFog             // from the edge through the fog to the cloud
)

// NewTopology returns the scenario's network as it is at the start.
func NewTopology(s *Scenario) *Topology {
	t := &Topology{nodes: s.Nodes, index: map[string]int{}}
	for i, n := range s.Nodes {
		t.index[n.Name] = i
	}
	tiers := map[[2]tiering.Tier]Link{}
	for _, l := range s.Network.Tiers {
		tiers[tierPair(l.A, l.B)] = l.Link
	}
	n := len(t.nodes)
	t.paths = make([]path, 0, n*(n-1)/2)
	for a := range t.nodes {
		for b := a + 1; b < len(t.nodes); b++ {
			p := path{a: a, b: b}
			p.kind, p.was = between(t.nodes[a].Tier, t.nodes[b].Tier, tiers)
			t.paths = append(t.paths, p)
		}
	}
	for _, l := range s.Network.Pairs {
		if p := t.find(l.A, l.B); p != nil {
			p.kind, p.was = direct, [2]Link{l.Link}
		}
	}
	for i := range t.paths {
		t.paths[i].now = t.paths[i].was
	}
	return t
}

// between is how the tiers' links join a node of one tier with one of another.
func between(x, y tiering.Tier, tiers map[[2]tiering.Tier]Link) (kind, [2]Link) {
	if l, ok := tiers[tierPair(x, y)]; ok {
		return direct, [2]Link{l}
	}
	up, first := tiers[tierPair(tiering.Edge, tiering.Fog)]
	on, second := tiers[tierPair(tiering.Fog, tiering.Cloud)]
	if first && second && tierPair(x, y) == tierPair(tiering.Edge, tiering.Cloud) {
		return viaFog, [2]Link{up, on}
	}
	return none, [2]Link{}
}

func tierPair(a, b tiering.Tier) [2]tiering.Tier { return [2]tiering.Tier{min(a, b), max(a, b)} }

// Pairs lists every two nodes once.
func (t *Topology) Pairs() []Pair {
	var out []Pair
	for _, p := range t.paths {
		out = append(out, t.pair(&p))
	}
	return out
}

func (t *Topology) pair(p *path) Pair { return Pair{t.nodes[p.a].Name, t.nodes[p.b].Name} }

// Link is the path between two nodes; false: no packet passes. A node reaches
// itself over nothing.
func (t *Topology) Link(a, b string) (Link, bool) {
	if a == b {
		return Link{}, true
	}
	p := t.find(a, b)
	if p == nil {
		return Link{}, false
	}
	return p.link(), p.kind != none && p.cuts == 0
}

func (p *path) link() Link {
	if p.kind == viaFog {
		return p.over.Apply(p.now[0].Then(p.now[1]))
	}
	return p.now[0]
}

// find returns the path of two nodes that there are; of others, nil.
func (t *Topology) find(a, b string) *path {
	i, ok := t.index[a]
	k, also := t.index[b]
	if !ok || !also || i == k {
		return nil
	}
	i, k = min(i, k), max(i, k)
	return &t.paths[i*(2*len(t.nodes)-i-1)/2+k-i-1] // before row i are n-1, n-2, … paths
}

// covers reports which part of the path ends are about: all of it, or one of
// the links on the way.
func (t *Topology) covers(ends Ends, p *path) (whole bool, part int) {
	a, b := t.nodes[p.a], t.nodes[p.b]
	if ends.between(a, b) {
		return true, 0
	}
	if p.kind != viaFog {
		return false, -1
	}
	if a.Tier == tiering.Cloud {
		a, b = b, a
	}
	fog := Node{Tier: tiering.Fog}
	switch {
	case ends.between(a, fog):
		return false, 0
	case ends.between(fog, b):
		return false, 1
	}
	return false, -1
}

// Apply carries out an event on the network. Events of nodes and sources
// change nothing here. The error, an ErrContradiction, says what the event
// contradicts; nothing has changed then.
func (t *Topology) Apply(e Event) error {
	i := slices.IndexFunc(t.cuts, e.Ends.same)
	switch {
	case e.Action == Partition && i >= 0:
		return fmt.Errorf("%w: %s are parted already", ErrContradiction, e.Ends)
	case e.Action == Heal && i < 0:
		return fmt.Errorf("%w: %s are not parted", ErrContradiction, e.Ends)
	case e.Action == Heal:
		t.cuts = slices.Delete(t.cuts, i, i+1)
		t.each(e.Ends, func(p *path, _ bool, _ int) { p.cuts-- })
		return nil
	case e.Action != Partition && e.Action != Change && e.Action != Restore:
		return nil
	case !t.each(e.Ends, func(*path, bool, int) {}):
		return fmt.Errorf("%w: there is no link %s", ErrContradiction, e.Ends)
	case e.Action == Partition:
		t.cuts = append(t.cuts, e.Ends)
		t.each(e.Ends, func(p *path, _ bool, _ int) { p.cuts++ })
	case e.Action == Change:
		t.each(e.Ends, func(p *path, whole bool, part int) { p.change(e.Link, whole, part) })
	case e.Action == Restore:
		t.each(e.Ends, (*path).restore)
	}
	return nil
}

// each calls do for every path that ends are about in whole or in part, and
// reports whether there are any.
func (t *Topology) each(ends Ends, do func(p *path, whole bool, part int)) bool {
	found := false
	visit := func(p *path) {
		if p == nil || p.kind == none {
			return
		}
		if whole, part := t.covers(ends, p); part >= 0 {
			found = true
			do(p, whole, part)
		}
	}
	if node := cmp.Or(ends.A.Node, ends.B.Node); node != "" {
		for _, n := range t.nodes {
			visit(t.find(node, n.Name))
		}
		return found
	}
	for i := range t.paths {
		visit(&t.paths[i])
	}
	return found
}

func (p *path) change(c LinkChange, whole bool, part int) {
	if whole && p.kind == viaFog {
		p.over = p.over.Then(c)
		return
	}
	p.now[part] = c.Apply(p.now[part])
}

func (p *path) restore(whole bool, part int) {
	if whole {
		p.now, p.over = p.was, LinkChange{}
		return
	}
	p.now[part] = p.was[part]
}

// changed reports whether a link that ends are about is not what it was at the
// start.
func (t *Topology) changed(ends Ends) bool {
	found := false
	t.each(ends, func(p *path, whole bool, part int) {
		if whole {
			found = found || p.now != p.was || p.over != LinkChange{}
			return
		}
		found = found || p.now[part] != p.was[part]
	})
	return found
}

// touch reports whether some path is about both, in whole or in the same part.
func (t *Topology) touch(a, b Ends) bool {
	found := false
	t.each(a, func(p *path, whole bool, part int) {
		if also, same := t.covers(b, p); same >= 0 {
			found = found || whole || also || part == same
		}
	})
	return found
}
