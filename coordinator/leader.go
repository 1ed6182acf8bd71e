package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/adapter"
	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
)

// monitorLeadership runs one leaderLoop while this coordinator leads, and
// never two: it waits for one to end before it starts the next.
func (c *Coordinator) monitorLeadership(ctx context.Context, s *stack) error {
	r := s.raft
	var loop *term // nil while there is none
	halt := func() error {
		if loop == nil {
			return nil
		}
		loop.stop()
		err := <-loop.done
		loop = nil
		return err
	}
	for {
		select {
		case leads := <-r.LeaderCh():
			// Raft may have lost and won leadership since the last signal: a new
			// term starts with a new loop.
			if err := halt(); err != nil {
				return err
			}
			if !leads {
				c.log.Info("no longer the leader")
				continue
			}
			c.log.Info("elected leader", "mesh", c.cfg.Cluster)
			loop = c.startTerm(ctx, s)
		case err := <-loop.ended():
			loop.stop()
			loop = nil
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return halt()
		}
	}
}

// term is one running leaderLoop.
type term struct {
	stop context.CancelFunc
	done chan error
}

func (c *Coordinator) startTerm(ctx context.Context, s *stack) *term {
	ctx, stop := context.WithCancel(ctx)
	t := &term{stop: stop, done: make(chan error, 1)}
	go func() { t.done <- c.leaderLoop(ctx, s) }()
	return t
}

// ended delivers the error of a loop that ended by itself; no loop never does.
func (t *term) ended() <-chan error {
	if t == nil {
		return nil
	}
	return t.done
}

// leaderLoop keeps the state in step with the mesh until ctx is done. Hints
// make it quick, the tick makes it sure.
func (c *Coordinator) leaderLoop(ctx context.Context, s *stack) error {
	r, began := s.raft, time.Now()
	tick := time.NewTicker(c.cfg.Reconcile)
	defer tick.Stop()
	for {
		err := c.establish(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil || r.State() != raft.Leader {
			return nil // the next signal says so too
		}
		if errors.Is(err, ErrWrongMesh) {
			return err
		}
		c.log.Warn("leadership not established, trying again", "error", err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	c.leading.Store(true)
	defer c.leading.Store(false)

	lull := time.NewTimer(lullTime)
	defer lull.Stop()
	l := &leader{Coordinator: c, raft: r, contacts: s.contacts, began: began, planner: c.planner(c.log), adapter: adapter.New(raftState{c}, c.reports, c.rtt, c.log)}
	for {
		// Taken first, so that a change during the round is not missed.
		changed := c.machine.Snapshot().Changed()
		l.round(ctx)
		var soon <-chan time.Time
		if len(c.Snapshot().Moving()) > 0 {
			soon = time.After(moveEvery)
		}
		var decide <-chan time.Time
		if due := l.adapter.Due(); !due.IsZero() {
			decide = time.After(max(0, time.Until(due)))
		}
		select {
		case <-changed:
			// One round for what changes together: a round for each of many
			// submissions would take their time. A change of membership waits
			// for nothing.
			lull.Reset(lullTime)
			select {
			case <-lull.C:
			case <-c.members.Changed():
			case <-ctx.Done():
				return nil
			}
		case <-soon:
		case <-decide:
		case <-c.members.Changed():
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// lullTime is how long changes of the state are gathered.
const lullTime = 10 * time.Millisecond

// leader is what a leader keeps in mind for one term. Only leaderLoop uses it.
type leader struct {
	*Coordinator
	raft     *raft.Raft
	contacts *contacts
	began    time.Time // every timer of a term begins anew with it
	planner  *planner.Leader
	adapter  *adapter.Leader
	reported map[string]bool // what the last round could not do about a coordinator
}

const barrierTimeout = 10 * time.Second

// establish makes sure that everything committed so far has been applied, that
// this is the right mesh, and that no report of an earlier term remains.
func (c *Coordinator) establish(ctx context.Context) error {
	if err := c.gate.Load().ask(ctx, func(r *raft.Raft) raft.Future { return r.Barrier(barrierTimeout) }); err != nil {
		return raftError(err)
	}
	c.reports.Clear()
	c.adapted.Store(nil)
	name := &state.SetCluster{Name: c.cfg.Cluster, At: now()}
	if c.Snapshot().ClusterID() == "" {
		id, err := uuid.NewRandom()
		if err != nil {
			return fmt.Errorf("draw an ID for the mesh: %w", err)
		}
		name.ID = id.String()
	}
	_, err := c.apply(name)
	if errors.Is(err, state.ErrConflict) {
		return fmt.Errorf("%w: %s: %w", ErrWrongMesh, c.cfg.DataDir, err)
	}
	return err
}

// round does what is to be done now. What fails is tried again in the next.
func (l *leader) round(ctx context.Context) {
	members := l.members.Members()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"nodes", func() error { return l.planner.ReconcileNodes(ctx, members, now()) }},
		{"voters", func() error { return l.reconcileVoters(ctx, members) }},
		{"plans", func() error { return l.plan(ctx, l.planner.Behind, l.planner.Replan) }},
		{"moves", func() error { return l.plan(ctx, l.planner.Moves, l.move) }},
		{"qualities", func() error { return l.adapt(ctx) }},
	} {
		if ctx.Err() != nil {
			return
		}
		if err := step.do(); err != nil {
			l.log.Warn("leader's round incomplete, trying again", "step", step.name, "error", err)
		}
	}
	l.reports.Prune(l.Snapshot())
}

// adapt adapts the quality of sources, and lets it be seen.
func (l *leader) adapt(ctx context.Context) error {
	err := l.adapter.Adapt(ctx, now())
	status := l.adapter.Status()
	l.adapted.Store(&status)
	return err
}

// moveEvery is how often is looked whether what moves has got further, which
// reports say and no change of the state.
const moveEvery = 250 * time.Millisecond

func (l *leader) move(ctx context.Context, at time.Time) error {
	return l.planner.Move(ctx, l.reports, at)
}

// plan has the planner plan when nobody else does, if there is something to
// plan: in most rounds there is not, and they must not hold up who submits.
func (l *leader) plan(ctx context.Context, needed func() bool, do func(context.Context, time.Time) error) error {
	if !needed() {
		return nil
	}
	release, err := l.plans(ctx)
	if err != nil {
		return nil // ctx is done
	}
	defer release()
	return do(ctx, now())
}

// now is the time that commands carry.
func now() time.Time { return time.Now().UTC() }
