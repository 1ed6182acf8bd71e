package state

import (
	"fmt"

	"github.com/weft-mesh/weft/tiering"
)

// plan checks a plan for a workflow against the facts and carries it out,
// whole or not at all.
//
// That the state has moved on since plan.Index does not matter as long as what
// the plan relies on still holds: that is what the checks are.
func (c *change) plan(spec *tiering.Workflow, p *tiering.Plan) error {
	if p.Workflow != spec.Name {
		return fmt.Errorf("%w: the plan is for workflow %q, not %q", ErrInvalid, p.Workflow, spec.Name)
	}
	k := &check{change: c, spec: spec, named: map[string]bool{}, freed: map[string]tiering.Resources{}}
	k.removals(p)
	k.adjustments(p)
	for i := range p.Place {
		k.placement(&p.Place[i])
	}
	k.kept(p)
	k.capacity(p)
	if len(c.refused) > 0 {
		r := c.refused[0]
		return fmt.Errorf("%w: workflow %s: %s: %s (%d reasons in all)", ErrRefused, spec.Name, r.Placement, r.Reason, len(c.refused))
	}
	c.carryOut(p, k.removed)
	return nil
}

// check is a plan being checked.
type check struct {
	*change
	spec    *tiering.Workflow
	named   map[string]bool              // placements that the plan touches
	freed   map[string]tiering.Resources // by node: released less taken
	removed []*tiering.Placement
}

func (k *check) refuse(placement, format string, args ...any) {
	k.refused = append(k.refused, Refusal{placement, fmt.Sprintf(format, args...)})
}

// touch notes that the plan touches a placement; once is enough.
func (k *check) touch(id string) {
	if k.named[id] {
		k.refuse(id, "named twice in the plan")
	}
	k.named[id] = true
}

func (k *check) free(node string, r tiering.Resources) { k.freed[node] = k.freed[node].Add(r) }

// wanted reports whether the workflow has the source or task of a placement.
func (k *check) wanted(p *tiering.Placement) bool {
	if p.Source {
		_, ok := k.spec.Source(p.Task)
		return ok
	}
	_, ok := k.spec.Task(p.Task)
	return ok
}

func (k *check) removals(p *tiering.Plan) {
	for _, id := range p.Remove {
		k.touch(id)
		old, ok := get[tiering.Placement](k.txn, tablePlacements, id)
		switch {
		case !ok:
			k.refuse(id, "is to be removed but is not placed")
		case old.Workflow != k.spec.Name:
			k.refuse(id, "belongs to workflow %s", old.Workflow)
		default:
			k.removed = append(k.removed, old)
			k.free(old.Node, old.Reserved)
		}
	}
	// A placement of a task that an update took out must not stay behind, even
	// if the planner did not see it.
	for _, old := range list[tiering.Placement](k.txn, tablePlacements, byWorkflow, k.spec.Name) {
		if !k.wanted(old) && !k.named[old.ID] {
			k.touch(old.ID)
			k.removed = append(k.removed, old)
			k.free(old.Node, old.Reserved)
		}
	}
}

func (k *check) adjustments(p *tiering.Plan) {
	for _, a := range p.Adjust {
		k.touch(a.Placement)
		old, ok := get[tiering.Placement](k.txn, tablePlacements, a.Placement)
		switch {
		case !ok:
			k.refuse(a.Placement, "is to be adjusted but is not placed")
		case old.Reserved != a.From:
			k.refuse(a.Placement, "has %v reserved by now, not %v", old.Reserved, a.From)
		case !a.To.Fits(a.From):
			k.refuse(a.Placement, "an adjustment may only shrink")
		case !old.Requested.Half().Fits(a.To):
			k.refuse(a.Placement, "would keep less than half of what it asked for")
		default:
			k.free(old.Node, a.From.Sub(a.To))
		}
	}
}

func (k *check) placement(p *tiering.Placement) {
	k.touch(p.ID)
	if old, ok := get[tiering.Placement](k.txn, tablePlacements, p.ID); ok {
		k.free(old.Node, old.Reserved) // it moves
	}
	k.free(p.Node, tiering.Resources{}.Sub(p.Reserved))
	if p.ID != tiering.SlotID(k.spec.Name, p.Task, p.Instance) || p.Workflow != k.spec.Name || p.Instance < 0 || !k.wanted(p) {
		k.refuse(p.ID, "is no instance of workflow %s", k.spec.Name)
		return
	}
	old, _ := get[tiering.Placement](k.txn, tablePlacements, p.ID)
	here := old != nil && (old.Node == p.Node || old.From == p.Node)
	comes := old != nil && (old.Node == p.From || old.From == p.From) && p.From != p.Node && !p.Source
	n, ok := get[Node](k.txn, tableNodes, p.Node)
	switch {
	case !ok:
		k.refuse(p.ID, "there is no node %s", p.Node)
		return
	case !n.Alive():
		k.refuse(p.ID, "node %s is %s", n.ID, n.Status)
	case n.Drain && !here:
		k.refuse(p.ID, "node %s is draining", n.ID)
	case p.From != "" && !comes || p.Switched != 0 || p.Stays != "":
		k.refuse(p.ID, "does not move from node %s", p.From)
	case n.Tier != p.Tier:
		k.refuse(p.ID, "node %s is %s, not %s", n.ID, n.Tier, p.Tier)
	case n.Tier == tiering.Edge && p.Category.Intensive():
		k.refuse(p.ID, "%s tasks must stay off the edge", p.Category)
	case !(tiering.Resources{}).Fits(p.Reserved) || !p.Reserved.Fits(p.Requested):
		k.refuse(p.ID, "reserves %v of %v", p.Reserved, p.Requested)
	case p.Category.Intensive() && !p.Requested.Half().Fits(p.Reserved):
		k.refuse(p.ID, "reserves less than half of what it asks for")
	}
	k.suits(p, &n.Node)
}

// suits checks that the node can run the source or task at all.
func (k *check) suits(p *tiering.Placement, n *tiering.Node) {
	if p.Source {
		if s, _ := k.spec.Source(p.Task); s.Node != "" && s.Node != n.ID {
			k.refuse(p.ID, "is attached to node %s", s.Node)
		}
		return
	}
	t, _ := k.spec.Task(p.Task)
	if !n.HasPlatform(t.Platform) {
		k.refuse(p.ID, "node %s has no %s", n.ID, t.Platform)
	}
	if t.Model != nil && !n.HasModel(t.Model.Name) {
		k.refuse(p.ID, "node %s cannot load model %s", n.ID, t.Model.Name)
	}
}

// kept checks that what the plan counts on is still where it was.
func (k *check) kept(p *tiering.Plan) {
	for i := range p.Keep {
		old, ok := get[tiering.Placement](k.txn, tablePlacements, p.Keep[i].ID)
		if !ok || old.Node != p.Keep[i].Node {
			k.refuse(p.Keep[i].ID, "is no longer on node %s", p.Keep[i].Node)
		}
	}
}

// capacity checks the nodes that the plan puts something on.
func (k *check) capacity(p *tiering.Plan) {
	seen := map[string]bool{}
	for i := range p.Place {
		n, ok := get[Node](k.txn, tableNodes, p.Place[i].Node)
		if !ok || seen[n.ID] {
			continue
		}
		seen[n.ID] = true
		free := n.Capacity.Add(k.freed[n.ID])
		for _, used := range list[tiering.Placement](k.txn, tablePlacements, byNode, n.ID) {
			free = free.Sub(used.Reserved)
		}
		// A node that came back smaller may be overcommitted in one resource
		// already; that does not forbid a plan that asks none of it.
		if over := (tiering.Resources{}).Sub(free).Max(tiering.Resources{}); !over.IsZero() && !k.spares(p, n.ID, over) {
			k.refuse(p.Place[i].ID, "node %s would be short of %v", n.ID, over)
		}
	}
}

// spares reports whether the plan adds nothing to what a node is short of.
func (k *check) spares(p *tiering.Plan, node string, over tiering.Resources) bool {
	grows := tiering.Resources{}.Sub(k.freed[node])
	return (over.CPU == 0 || grows.CPU <= 0) && (over.Memory == 0 || grows.Memory <= 0) && (over.Disk == 0 || grows.Disk <= 0)
}

// carryOut writes a checked plan.
func (c *change) carryOut(p *tiering.Plan, removed []*tiering.Placement) {
	for _, old := range removed {
		c.remove(tablePlacements, old)
		c.event(TaskRemoved, old.ID, "%s removed from %s", old.ID, old.Node)
	}
	for _, a := range p.Adjust {
		old, _ := get[tiering.Placement](c.txn, tablePlacements, a.Placement)
		next := *old
		next.Reserved = a.To
		c.insert(tablePlacements, &next)
		c.event(ReservationAdjusted, a.Placement, "%s on %s keeps %v of %v", a.Placement, old.Node, a.To, old.Requested)
	}
	for i := range p.Place {
		next := p.Place[i]
		old, ok := get[tiering.Placement](c.txn, tablePlacements, next.ID)
		switch {
		case next.From != "":
			c.event(TaskMoving, next.ID, "%s begins to move from %s to %s: %s", next.ID, next.From, next.Node, next.Reason)
		case ok && old.Node != next.Node:
			c.event(TaskMoved, next.ID, "%s moved from %s to %s: %s", next.ID, old.Node, next.Node, next.Reason)
		default:
			c.event(TaskPlaced, next.ID, "%s placed on %s: %s", next.ID, next.Node, next.Reason)
		}
		c.insert(tablePlacements, &next)
	}
	c.assignments = c.assignments || len(removed)+len(p.Adjust)+len(p.Place) > 0
}
