package planner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// Submit plans a workflow and stores it with its plan, as a new one or in
// place of the one of that name. The same again changes nothing. A workflow
// that the mesh cannot take is a *tiering.Refused and leaves no trace. anew: the
// one of that name had been stopped. The caller sees to it that nobody else
// plans meanwhile.
func (l *Leader) Submit(ctx context.Context, w *tiering.Workflow, document string, at time.Time) (plan *tiering.Plan, anew bool, err error) {
	for range attempts {
		snap := l.state.Snapshot()
		plan, err := Schedule(snap.View(l.rtt), w)
		if err != nil {
			return nil, false, err
		}
		old, known := snap.Workflow(w.Name)
		stopped := known && old.Status == state.Stopped
		if known && !stopped && plan.Empty() && old.Document == document && state.Same(old.Spec, w) {
			return plan, false, nil
		}
		_, err = l.state.Apply(&state.SubmitWorkflow{Workflow: w, Document: document, Plan: plan, At: at})
		if err == nil {
			return plan, stopped, nil
		}
		if !errors.Is(err, state.ErrRefused) {
			return nil, false, err
		}
		l.log.Info("plan overtaken, planning again", "workflow", w.Name, "error", err)
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
	}
	return nil, false, overtaken(w.Name)
}

// Replan places what is not running: tasks on dead nodes, sources that had no
// node. Live placements stay where they are, so a node that comes and goes
// moves only what it had. The caller sees to it that nobody else plans
// meanwhile.
func (l *Leader) Replan(ctx context.Context, at time.Time) error {
	snap := l.state.Snapshot()
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
		next, err := l.place(view, w, at)
		if err != nil {
			errs = append(errs, fmt.Errorf("workflow %s: %w", w.Name, err))
		}
		view = next
	}
	return errors.Join(errs...)
}

// place plans one workflow and commits the plan. It returns the view as it is
// then; nil if it no longer knows.
func (l *Leader) place(view *tiering.View, w *state.Workflow, at time.Time) (*tiering.View, error) {
	for range attempts {
		if view == nil {
			view = l.state.Snapshot().View(l.rtt)
		}
		plan, err := Schedule(view, w.Spec)
		var refused *tiering.Refused
		switch {
		case errors.As(err, &refused):
			return view, l.cannotPlace(w, refused, at)
		case err != nil:
			return view, err
		case plan.Empty() && slices.Equal(plan.Unplaced, w.Unplaced):
			l.refused[w.Name] = attempt{l.state.Snapshot().Revision(), w.Version}
			return view, nil
		}
		_, err = l.state.Apply(&state.CommitPlan{Plan: plan, Version: w.Version, At: at})
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
	return nil, overtaken(w.Name)
}

// cannotPlace says in the state why a workflow does not run in full. The rest
// of it goes on; it is tried again when the mesh has changed.
func (l *Leader) cannotPlace(w *state.Workflow, why *tiering.Refused, at time.Time) error {
	snap := l.state.Snapshot()
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
	_, err := l.state.Apply(&state.SetWorkflowStatus{Name: w.Name, Status: status, Reason: why.Error(), At: at})
	if errors.Is(err, state.ErrConflict) {
		return nil // its nodes came back meanwhile
	}
	return err
}

func overtaken(workflow string) error {
	return fmt.Errorf("%w: workflow %s: %d plans in a row were overtaken by changes in the mesh; try again", state.ErrConflict, workflow, attempts)
}
