package state

import (
	"fmt"

	"github.com/weft-mesh/weft/tiering"
)

func (c *SetNodeDrain) apply(tx *change) error {
	tx.at = c.At
	old, ok := get[Node](tx.txn, tableNodes, c.Node)
	if !ok {
		return fmt.Errorf("%w: node %q", ErrNotFound, c.Node)
	}
	if old.Drain == c.Drain {
		return nil
	}
	n := *old
	n.Drain, n.ModifyIndex = c.Drain, tx.index
	tx.insert(tableNodes, &n)
	if c.Drain {
		tx.event(NodeDraining, c.Node, "%s node %s is draining: it gets nothing new, and what it runs moves away", n.Tier, c.Node)
	} else {
		tx.event(NodeUndrained, c.Node, "%s node %s takes tasks again", n.Tier, c.Node)
		tx.stay(&n)
	}
	tx.assignments = true
	tx.nodeChanged(c.Node)
	return nil
}

// stay leaves on a node what has not moved from it yet, where there is still
// room for it: the instances there serve.
func (c *change) stay(n *Node) {
	free := n.Capacity
	for _, p := range list[tiering.Placement](c.txn, tablePlacements, byNode, n.ID) {
		free = free.Sub(p.Reserved)
		if p.Stays != "" {
			next := *p
			next.Stays = ""
			c.insert(tablePlacements, &next)
		}
	}
	for _, p := range list[tiering.Placement](c.txn, tablePlacements, byFrom, n.ID) {
		if !n.Alive() || p.Switched != 0 || !p.Reserved.Fits(free) {
			continue
		}
		free = free.Sub(p.Reserved)
		next := *p
		next.Node, next.Tier, next.From, next.Stays = n.ID, n.Tier, "", ""
		next.Reason = "it was there when the drain ended"
		c.insert(tablePlacements, &next)
		c.event(TaskPlaced, p.ID, "%s placed on %s: %s", p.ID, n.ID, next.Reason)
	}
}

// restart has what moves to a node that dies, or is back, prove itself again:
// its instance there may have ended. Until it is up frames go to the old one.
func (c *change) restart(node string) {
	n, _ := get[Node](c.txn, tableNodes, node)
	for _, p := range list[tiering.Placement](c.txn, tablePlacements, byNode, node) {
		next := *p
		if next.Switched = 0; n.Alive() && p.From != "" {
			next.Stays = ""
		}
		if next != *p {
			c.insert(tablePlacements, &next)
		}
	}
}

func (c *HoldPlacement) apply(tx *change) error {
	tx.at = c.At
	old, ok := get[tiering.Placement](tx.txn, tablePlacements, c.Placement)
	if !ok {
		return fmt.Errorf("%w: placement %q", ErrNotFound, c.Placement)
	}
	if c.Reason == "" {
		return fmt.Errorf("%w: no reason why %s stays", ErrInvalid, c.Placement)
	}
	if old.Node != c.Node {
		return fmt.Errorf("%w: %s is on %s by now, not %s", ErrConflict, c.Placement, old.Node, c.Node)
	}
	if n, _ := get[Node](tx.txn, tableNodes, c.Node); n.Alive() && !n.Drain {
		return fmt.Errorf("%w: node %s is not draining", ErrConflict, c.Node)
	}
	next := *old
	next.Stays = c.Reason
	tx.insert(tablePlacements, &next)
	// Why a workflow does not run in full is the leader's to say, and matters
	// more.
	if w, ok := get[Workflow](tx.txn, tableWorkflows, old.Workflow); ok && tx.health(w).status == Running {
		tx.settle(w)
	}
	return nil
}

// moving returns the placement that moves to the node, and whether the node
// that it comes from is alive.
func (c *change) moving(placement, node string) (*tiering.Placement, bool, error) {
	p, ok := get[tiering.Placement](c.txn, tablePlacements, placement)
	switch {
	case !ok:
		return nil, false, fmt.Errorf("%w: placement %q", ErrNotFound, placement)
	case p.From == "" || p.Node != node:
		return nil, false, fmt.Errorf("%w: %s does not move to node %q", ErrConflict, placement, node)
	}
	from, _ := get[Node](c.txn, tableNodes, p.From)
	return p, from.Alive(), nil
}

func (c *SwitchMove) apply(tx *change) error {
	tx.at = c.At
	p, _, err := tx.moving(c.Placement, c.Node)
	if err != nil {
		return err
	}
	if n, _ := get[Node](tx.txn, tableNodes, c.Node); !n.Alive() {
		return fmt.Errorf("%w: node %s is not alive", ErrConflict, c.Node)
	}
	if p.Switched != 0 {
		return nil
	}
	next := *p
	next.Switched, next.Stays = tx.index, ""
	tx.insert(tablePlacements, &next)
	tx.assignments = true
	tx.nodeChanged(c.Node)
	return nil
}

func (c *FinishMove) apply(tx *change) error {
	tx.at = c.At
	p, alive, err := tx.moving(c.Placement, c.Node)
	if err != nil {
		return err
	}
	if n, _ := get[Node](tx.txn, tableNodes, c.Node); !n.Alive() {
		return fmt.Errorf("%w: node %s is not alive", ErrConflict, c.Node)
	}
	if alive && p.Switched == 0 {
		return fmt.Errorf("%w: frames of %s still go to node %s", ErrConflict, c.Placement, p.From)
	}
	next := *p
	next.From, next.Switched, next.Stays = "", 0, ""
	tx.insert(tablePlacements, &next)
	tx.event(TaskMoved, p.ID, "%s moved from %s to %s: %s", p.ID, p.From, p.Node, p.Reason)
	tx.assignments = true
	tx.nodeChanged(c.Node)
	return nil
}
