package planner

import (
	"context"
	"errors"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

const (
	// missingGrace is how long a node may be absent from membership's list
	// before it counts as failed: a new leader's list may not be complete yet.
	missingGrace = 30 * time.Second
	// forgetAfter is how long a dead node stays listed once membership has
	// forgotten it. One that drains stays until somebody ends the drain.
	forgetAfter = 24 * time.Hour
)

// ReconcileNodes brings the recorded nodes in step with membership, at a
// moment.
func (l *Leader) ReconcileNodes(ctx context.Context, members []tiering.Member, at time.Time) error {
	snap := l.state.Snapshot()
	listed := make(map[string]bool, len(members))
	var errs []error
	do := func(cmd state.Command) {
		if ctx.Err() != nil {
			return
		}
		if _, err := l.state.Apply(cmd); err != nil {
			errs = append(errs, err)
		}
	}
	for i := range members {
		m := &members[i]
		listed[m.Node.ID] = true
		delete(l.missing, m.Node.ID)
		n, known := snap.Node(m.Node.ID)
		switch {
		case m.Status == tiering.NodeAlive && (!n.Alive() || !state.Same(&n.Node, &m.Node)):
			do(&state.RegisterNode{Node: m.Node, At: at})
		case m.Status != tiering.NodeAlive && known && n.Status != m.Status:
			do(&state.SetNodeStatus{Node: m.Node.ID, Status: m.Status, At: at})
		}
	}
	for _, n := range snap.Nodes() {
		if listed[n.ID] {
			continue
		}
		since, noted := l.missing[n.ID]
		switch {
		case !noted:
			l.missing[n.ID] = at
		case n.Alive() && at.Sub(since) >= missingGrace:
			do(&state.SetNodeStatus{Node: n.ID, Status: tiering.NodeFailed, At: at})
		case !n.Alive() && !n.Drain && at.Sub(n.Since) >= forgetAfter:
			do(&state.ForgetNode{Node: n.ID, At: at})
			delete(l.missing, n.ID)
		}
	}
	return errors.Join(errs...)
}
