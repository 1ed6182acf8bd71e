package tiering

import (
	"cmp"
	"iter"
	"slices"
)

// draft is a View that a plan in the making writes to. Dropping it undoes
// everything: that is how a refused workflow reserves nothing.
type draft struct {
	view    *View
	nodes   map[int32]*draftNode
	touched []int32 // the keys of nodes, in the order they came
	dropped map[string]bool
}

type draftNode struct {
	free   Resources
	loaded bool     // whether claims has what the view holds
	claims []*claim // intensive reservations: the view's by ID, then new ones
}

// claim is an intensive reservation as the draft has it.
type claim struct {
	hold
	node   int32
	before Resources // reserved in the view; zero for a new one
}

func newDraft(v *View) *draft {
	return &draft{view: v, nodes: map[int32]*draftNode{}, dropped: map[string]bool{}}
}

func (d *draft) node(n int32) *draftNode {
	dn, ok := d.nodes[n]
	if !ok {
		dn = &draftNode{free: d.view.loads[n].free}
		d.nodes[n] = dn
		d.touched = append(d.touched, n)
	}
	return dn
}

func (d *draft) free(n int32) Resources {
	if dn, ok := d.nodes[n]; ok {
		return dn.free
	}
	return d.view.loads[n].free
}

// drop gives back what a placement of the view has.
func (d *draft) drop(p *Placement) {
	d.dropped[p.ID] = true
	if n, ok := d.view.mesh.byID[p.Node]; ok {
		dn := d.node(n)
		dn.free = dn.free.Add(p.Reserved)
	}
}

// take uses resources on a node without a reservation that could be shrunk.
func (d *draft) take(n int32, r Resources) {
	dn := d.node(n)
	dn.free = dn.free.Sub(r)
}

// reserve makes a reservation on a node that has the room.
func (d *draft) reserve(n int32, asked, reserved Resources) *claim {
	c := &claim{hold: hold{asked: asked, reserved: reserved}, node: n}
	dn := d.node(n)
	dn.free = dn.free.Sub(reserved)
	dn.claims = append(dn.claims, c)
	return c
}

// move takes a new reservation to another node that has the room.
func (d *draft) move(c *claim, to int32) {
	from := d.node(c.node)
	from.free = from.free.Add(c.reserved)
	from.claims = slices.DeleteFunc(from.claims, func(x *claim) bool { return x == c })
	c.node = to
	dn := d.node(to)
	dn.free = dn.free.Sub(c.reserved)
	dn.claims = append(dn.claims, c)
}

// claims returns every intensive reservation on a node, of this workflow and
// of others, to be shrunk.
func (d *draft) claims(n int32) []*claim {
	dn := d.node(n)
	if !dn.loaded {
		dn.loaded = true
		var old []*claim
		for _, h := range d.view.loads[n].intensive {
			if !d.dropped[h.id] {
				old = append(old, &claim{hold: h, node: n, before: h.reserved})
			}
		}
		dn.claims = append(old, dn.claims...)
	}
	return dn.claims
}

// slack is what Algorithm 4 can take from the reservations on a node.
func (d *draft) slack(n int32) Resources {
	if _, ok := d.nodes[n]; !ok {
		return d.view.loads[n].slack
	}
	var sum Resources
	for _, c := range d.claims(n) {
		sum = sum.Add(c.slack())
	}
	return sum
}

// adjustments are the reservations of the view that the draft shrank.
func (d *draft) adjustments() []Adjustment {
	out := []Adjustment{}
	for _, n := range d.touched {
		for _, c := range d.nodes[n].claims {
			if c.id != "" && c.reserved != c.before {
				out = append(out, Adjustment{c.id, c.before, c.reserved})
			}
		}
	}
	slices.SortFunc(out, func(a, b Adjustment) int { return cmp.Compare(a.Placement, b.Placement) })
	return out
}

// roomy yields the nodes of a tier that have need free and run the class:
// first every one that the draft has touched, then up to limit others, most
// free first. The order of the view leaves off at the first untouched node
// with too little CPU.
func (d *draft) roomy(t Tier, need Resources, c *class, limit int) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for _, n := range d.touched {
			if d.view.mesh.nodes[n].Tier == t && need.Fits(d.nodes[n].free) && c.runs(n) && !yield(n) {
				return
			}
		}
		for _, n := range d.view.free[t] {
			free := d.view.loads[n].free
			if limit == 0 || free.CPU < need.CPU {
				return
			}
			if !need.Fits(free) || !c.runs(n) {
				continue
			}
			if _, ok := d.nodes[n]; ok {
				continue
			}
			if limit--; !yield(n) {
				return
			}
		}
	}
}

// snapshot returns what nodes have free now, whatever is done to the draft
// later.
func (d *draft) snapshot() func(int32) Resources {
	frozen := make(map[int32]Resources, len(d.nodes))
	for n, dn := range d.nodes {
		frozen[n] = dn.free
	}
	return func(n int32) Resources {
		if r, ok := frozen[n]; ok {
			return r
		}
		return d.view.loads[n].free
	}
}
