package coordinator

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

const (
	// maxDocument bounds what a workflow adds to the log, in bytes.
	maxDocument = 1 << 20
	// planAttempts bounds how often a plan is made anew because the state had
	// moved on.
	planAttempts = 5
)

// schedule is tiering.Schedule with a random source that follows from the
// state, so that a rerun reaches the same plan.
func schedule(v *tiering.View, w *tiering.Workflow) (*tiering.Plan, error) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(w.Name)) // never fails
	return tiering.Schedule(v, w, rand.New(rand.NewPCG(v.Index(), h.Sum64())))
}

// Plan says what Submit would do, from this coordinator's knowledge. The error
// is a *tiering.Refused if the mesh cannot take the workflow.
func (c *Coordinator) Plan(ctx context.Context, w *tiering.Workflow) (*tiering.Plan, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return schedule(c.Snapshot().View(c.rtt), w)
}

// Submit plans a workflow and stores it with its plan, as a new one or in
// place of the one of that name. The same again changes nothing. A workflow
// that the mesh cannot take is a *tiering.Refused and leaves no trace.
func (c *Coordinator) Submit(ctx context.Context, w *tiering.Workflow, document string) (*tiering.Plan, error) {
	if len(document) > maxDocument {
		return nil, fmt.Errorf("%w: workflow document of %s; at most %s", ErrInvalid,
			tiering.FormatBytes(int64(len(document))), tiering.FormatBytes(maxDocument))
	}
	if err := c.mustLead(); err != nil {
		return nil, err
	}
	release, err := c.plans(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	for range planAttempts {
		snap := c.Snapshot()
		plan, err := schedule(snap.View(c.rtt), w)
		if err != nil {
			return nil, err
		}
		if old, ok := snap.Workflow(w.Name); ok && old.Status != state.Stopped &&
			plan.Empty() && old.Document == document && state.Same(old.Spec, w) {
			return plan, nil
		}
		_, err = c.apply(&state.SubmitWorkflow{Workflow: w, Document: document, Plan: plan, At: now()})
		if err == nil {
			if old, ok := snap.Workflow(w.Name); ok && old.Status == state.Stopped {
				c.reports.Forget(w.Name)
			}
			return plan, nil
		}
		if !errors.Is(err, state.ErrRefused) {
			return nil, err
		}
		c.log.Info("plan overtaken, planning again", "workflow", w.Name, "error", err)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: workflow %s: %d plans in a row were overtaken by changes in the mesh; try again", ErrConflict, w.Name, planAttempts)
}

// Stop ends a workflow and releases what it has. It stays listed as stopped.
func (c *Coordinator) Stop(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.mustLead(); err != nil {
		return err
	}
	_, err := c.apply(&state.StopWorkflow{Name: name, At: now()})
	return err
}

// plans waits until nobody else plans. Plans made side by side would only
// overtake each other; the state machine would refuse all but one.
func (c *Coordinator) plans(ctx context.Context) (release func(), err error) {
	select {
	case c.planning <- struct{}{}:
		return func() { <-c.planning }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// attempt is what a workflow was when it could not be placed. While it is the
// same there is no point in trying again.
type attempt struct{ revision, version uint64 }

// replan places what is not running: tasks on dead nodes, sources that had no
// node. Live placements stay where they are, so a node that comes and goes
// moves only what it had.
func (l *leader) replan(ctx context.Context) error {
	release, err := l.plans(ctx)
	if err != nil {
		return nil // ctx is done
	}
	defer release()
	snap := l.Snapshot()
	var (
		view *tiering.View // of snap and the plans committed since
		errs []error
	)
	for _, w := range snap.Workflows() {
		if w.Status == state.Running || w.Status == state.Stopped {
			delete(l.refused, w.Name)
			continue
		}
		if l.refused[w.Name] == (attempt{snap.Revision(), w.Version}) || ctx.Err() != nil {
			continue
		}
		if view == nil {
			view = snap.View(l.rtt)
		}
		next, err := l.place(view, w)
		if err != nil {
			errs = append(errs, fmt.Errorf("workflow %s: %w", w.Name, err))
		}
		view = next
	}
	return errors.Join(errs...)
}

// place plans one workflow and commits the plan. It returns the view as it is
// then; nil if it no longer knows.
func (l *leader) place(view *tiering.View, w *state.Workflow) (*tiering.View, error) {
	for range planAttempts {
		if view == nil {
			view = l.Snapshot().View(l.rtt)
		}
		plan, err := schedule(view, w.Spec)
		var refused *tiering.Refused
		switch {
		case errors.As(err, &refused):
			return view, l.cannotPlace(w, refused)
		case err != nil:
			return view, err
		case plan.Empty() && slices.Equal(plan.Unplaced, w.Unplaced):
			l.refused[w.Name] = attempt{l.Snapshot().Revision(), w.Version}
			return view, nil
		}
		_, err = l.apply(&state.CommitPlan{Plan: plan, Version: w.Version, At: now()})
		if err == nil {
			l.log.Info("plan committed", "workflow", w.Name, "placed", len(plan.Place), "adjusted", len(plan.Adjust), "removed", len(plan.Remove))
			return view.With(plan), nil
		}
		if !errors.Is(err, state.ErrRefused) {
			return nil, err
		}
		l.log.Info("plan overtaken, planning again", "workflow", w.Name, "error", err)
		view = nil
	}
	return nil, fmt.Errorf("%w: %d plans in a row were overtaken", ErrConflict, planAttempts)
}

// cannotPlace says in the state why a workflow does not run in full. The rest
// of it goes on; it is tried again when the mesh has changed.
func (l *leader) cannotPlace(w *state.Workflow, why *tiering.Refused) error {
	snap := l.Snapshot()
	l.refused[w.Name] = attempt{snap.Revision(), w.Version}
	status := state.Pending
	for _, p := range snap.PlacementsOf(w.Name) {
		if n, _ := snap.Node(p.Node); n.Alive() {
			status = state.Degraded
			break
		}
	}
	if cur, ok := snap.Workflow(w.Name); ok && cur.Status == status && cur.Reason == why.Error() {
		return nil
	}
	_, err := l.apply(&state.SetWorkflowStatus{Name: w.Name, Status: status, Reason: why.Error(), At: now()})
	if errors.Is(err, state.ErrConflict) {
		return nil // its nodes came back meanwhile
	}
	return err
}
