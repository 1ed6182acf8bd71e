package planner

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// Progress is what agents say of moves. It is soft state: what is not known is
// waited for.
type Progress interface {
	// Up reports whether a node that follows the state at the index or later
	// says that it runs an instance of the placement that takes frames. What it
	// said before may be of an instance that has ended since.
	Up(placement, node string, since uint64) bool
	// Follows reports whether a node says that what it runs, and where its
	// frames go, is as the state has it at the index or later.
	Follows(node string, index uint64) bool
}

// Move moves what draining nodes have, and takes what moves a step further:
// the new instance is made before the old one is broken.
//
//  1. A plan places the slot on another node. Both nodes run it, and frames go
//     to the old one.
//  2. The new instance is up: frames go there (SwitchMove).
//  3. Every live node that has a part in the workflow sends them there: the old
//     instance ends, once it has let go of its frames (FinishMove).
//
// Nothing is given up for taking long: until the last step the old instance
// serves, or would again if the new node died. If the old node dies the move is
// over; if the new one does, it is planned anew. What cannot be moved stays, and
// is tried again when the state has changed. The caller sees to it that nobody
// else plans meanwhile.
func (l *Leader) Move(ctx context.Context, progress Progress, at time.Time) error {
	m := &mover{Leader: l, at: at}
	moving := l.state.Snapshot().Moving()
	l.sight(moving)
	for _, p := range moving {
		if ctx.Err() != nil {
			return nil
		}
		m.advance(&p, progress)
	}
	for _, n := range l.state.Snapshot().Nodes() {
		if !n.Drain || !n.Alive() {
			continue
		}
		for _, p := range l.state.Snapshot().PlacementsOn(n.ID) {
			if ctx.Err() != nil {
				return nil
			}
			// What frames go to already moves on when it has arrived.
			if p.Switched == 0 {
				m.leave(&p)
			}
		}
	}
	return errors.Join(m.errs...)
}

// Moves reports whether there is something for Move to do.
func (l *Leader) Moves() bool {
	snap := l.state.Snapshot()
	return len(snap.Moving()) > 0 || slices.ContainsFunc(snap.Nodes(), func(n *state.Node) bool { return n.Drain && n.Alive() })
}

// mover is one round of Move.
type mover struct {
	*Leader
	at   time.Time
	view *tiering.View // of the state as the last plan left it; nil: to be made
	errs []error
}

// apply commits a command. That the state has moved on meanwhile is no error:
// the next round sees what is then.
func (m *mover) apply(cmd state.Command) bool {
	_, err := m.state.Apply(cmd)
	switch {
	case err == nil:
		return true
	case errors.Is(err, state.ErrConflict), errors.Is(err, state.ErrNotFound), errors.Is(err, state.ErrRefused):
		m.log.Info("move overtaken", "error", err)
		m.view = nil
	default:
		m.errs = append(m.errs, err)
	}
	return false
}

// aMove is one move of one instance. A workflow that is submitted anew is to
// run other instances.
type aMove struct {
	placement, node, from string
	version               uint64
}

func (l *Leader) moveOf(p *tiering.Placement, snap *state.Snapshot) aMove {
	w, _ := snap.Workflow(p.Workflow)
	return aMove{p.ID, p.Node, p.From, w.Version}
}

// sight notes as of when, at the latest, there are the moves that were not
// there before.
func (l *Leader) sight(moving []tiering.Placement) {
	snap := l.state.Snapshot()
	began := make(map[aMove]uint64, len(moving))
	for i := range moving {
		key := l.moveOf(&moving[i], snap)
		if began[key] = l.began[key]; began[key] == 0 {
			began[key] = snap.Revision()
		}
	}
	l.began = began
}

// advance takes a move a step further.
func (m *mover) advance(p *tiering.Placement, progress Progress) {
	snap := m.state.Snapshot()
	alive := func(id string) bool { n, _ := snap.Node(id); return n.Alive() }
	// A node that was away since may have lost what it ran.
	up := func() bool {
		n, _ := snap.Node(p.Node)
		return progress.Up(p.ID, p.Node, max(m.began[m.moveOf(p, snap)], n.ModifyIndex, p.Switched))
	}
	switch {
	case !alive(p.Node):
		if alive(p.From) { // else a plan places it anew, or the first that returns serves
			m.leave(p)
		}
	case !alive(p.From):
		m.apply(&state.FinishMove{Placement: p.ID, Node: p.Node, At: m.at})
	case !up():
	case p.Switched == 0:
		m.apply(&state.SwitchMove{Placement: p.ID, Node: p.Node, At: m.at})
	case m.known(snap, p, alive, progress):
		if m.apply(&state.FinishMove{Placement: p.ID, Node: p.Node, At: m.at}) {
			m.log.Info("moved", "placement", p.ID, "from", p.From, "to", p.Node)
		}
	}
}

// known reports whether every live node that runs part of the workflow sends
// its frames to the new instance. One that cannot be reached still sends them
// to the old one.
func (m *mover) known(snap *state.Snapshot, p *tiering.Placement, alive func(string) bool, progress Progress) bool {
	for _, other := range snap.PlacementsOf(p.Workflow) {
		for _, id := range []string{other.Node, other.From} {
			if alive(id) && !progress.Follows(id, p.Switched) {
				return false
			}
		}
	}
	return true
}

// leave plans for a placement to leave its node, or says why it stays.
func (m *mover) leave(p *tiering.Placement) {
	snap := m.state.Snapshot()
	w, ok := snap.Workflow(p.Workflow)
	if !ok || w.Status == state.Stopped || m.stuck[p.ID] == snap.Revision() || w.Attached(p) {
		return
	}
	if m.view == nil {
		m.view = snap.View(m.rtt)
	}
	plan, why := tiering.Move(m.view, w.Spec, p.ID, source(m.view, w.Name))
	if plan == nil {
		if p.Stays == why || m.apply(&state.HoldPlacement{Placement: p.ID, Node: p.Node, Reason: why, At: m.at}) {
			m.stuck[p.ID] = snap.Revision()
		}
		return
	}
	delete(m.stuck, p.ID)
	plan.Unplaced = w.Unplaced // which this is not about
	if m.apply(&state.CommitPlan{Plan: plan, Version: w.Version, At: m.at}) {
		m.log.Info("moving", "placement", p.ID, "from", p.Node, "to", plan.Place[0].Node)
		m.view = m.view.With(plan)
	}
}
