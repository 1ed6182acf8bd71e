package state

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/weft-mesh/weft/tiering"
)

// checkName refuses names that would not be keys or not be readable.
func checkName(what, name string) error {
	if name == "" || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%w: %s name %q", ErrInvalid, what, name)
	}
	return nil
}

func (c *RegisterNode) apply(tx *change) error {
	tx.at = c.At
	if err := checkName("node", c.Node.ID); err != nil {
		return err
	}
	if c.Node.Tier < tiering.Edge || c.Node.Tier > tiering.Cloud {
		return fmt.Errorf("%w: node %s is of no tier", ErrInvalid, c.Node.ID)
	}
	if !(tiering.Resources{}).Fits(c.Node.Capacity) {
		return fmt.Errorf("%w: node %s has a negative capacity: %v", ErrInvalid, c.Node.ID, c.Node.Capacity)
	}
	n := &Node{Node: c.Node, Status: tiering.NodeAlive, Since: c.At, CreateIndex: tx.index, ModifyIndex: tx.index}
	old, known := get[Node](tx.txn, tableNodes, c.Node.ID)
	if known {
		n.Drain = old.Drain
	}
	switch {
	case !known:
		tx.event(NodeJoined, n.ID, "%s node %s joined with %v", n.Tier, n.ID, n.Capacity)
	case !old.Alive():
		n.CreateIndex = old.CreateIndex
		tx.event(NodeReturned, n.ID, "%s node %s is back", n.Tier, n.ID)
	case Same(&old.Node, &n.Node):
		return nil
	default:
		n.CreateIndex, n.Since = old.CreateIndex, old.Since
		tx.event(NodeUpdated, n.ID, "%s node %s now has %v", n.Tier, n.ID, n.Capacity)
	}
	tx.insert(tableNodes, n)
	tx.assignments = true
	if !known || !old.Alive() {
		tx.restart(n.ID)
	}
	tx.nodeChanged(n.ID)
	return nil
}

func (c *SetNodeStatus) apply(tx *change) error {
	tx.at = c.At
	old, ok := get[Node](tx.txn, tableNodes, c.Node)
	if !ok {
		return fmt.Errorf("%w: node %q", ErrNotFound, c.Node)
	}
	if old.Status == c.Status {
		return nil
	}
	switch c.Status {
	case tiering.NodeAlive:
		tx.event(NodeReturned, c.Node, "%s node %s is back", old.Tier, c.Node)
	case tiering.NodeFailed:
		tx.event(NodeFailed, c.Node, "%s node %s stopped answering", old.Tier, c.Node)
	case tiering.NodeLeft:
		tx.event(NodeLeft, c.Node, "%s node %s left", old.Tier, c.Node)
	default:
		return fmt.Errorf("%w: node status %q", ErrInvalid, c.Status)
	}
	n := *old
	n.Status, n.Since, n.ModifyIndex = c.Status, c.At, tx.index
	tx.insert(tableNodes, &n)
	tx.assignments = true
	tx.restart(c.Node)
	tx.nodeChanged(c.Node)
	return nil
}

func (c *ForgetNode) apply(tx *change) error {
	tx.at = c.At
	n, ok := get[Node](tx.txn, tableNodes, c.Node)
	if !ok {
		return fmt.Errorf("%w: node %q", ErrNotFound, c.Node)
	}
	if n.Alive() {
		return fmt.Errorf("%w: node %s is alive", ErrConflict, c.Node)
	}
	tx.remove(tableNodes, n)
	if p, ok := get[Profiles](tx.txn, tableProfiles, c.Node); ok {
		tx.remove(tableProfiles, p)
	}
	tx.assignments = true
	tx.event(NodeForgotten, c.Node, "%s node %s is forgotten", n.Tier, c.Node)
	return nil
}

// nodeChanged brings the status of the workflows that have placements on the
// node, or moving from it, up to date.
func (c *change) nodeChanged(node string) {
	seen := map[string]bool{}
	for _, p := range slices.Concat(
		list[tiering.Placement](c.txn, tablePlacements, byNode, node), list[tiering.Placement](c.txn, tablePlacements, byFrom, node)) {
		if seen[p.Workflow] {
			continue
		}
		seen[p.Workflow] = true
		if w, ok := get[Workflow](c.txn, tableWorkflows, p.Workflow); ok {
			c.settle(w)
		}
	}
}
