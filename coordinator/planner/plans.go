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
	for range Attempts {
		snap := l.state.Snapshot()
		plan, err := Schedule(snap.View(l.rtt), w)
		if err != nil {
			return nil, false, err
		}
		cmd, stopped := submission(snap, w, document, plan, at)
		if cmd == nil {
			return plan, false, nil
		}
		if _, err = l.state.Apply(cmd); err == nil {
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
	return nil, false, ErrOvertaken(w.Name)
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
	for _, w := range l.behind(snap) {
		if ctx.Err() != nil {
			break
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

// Behind reports whether there is something for Replan to try.
func (l *Leader) Behind() bool { return len(l.behind(l.state.Snapshot())) > 0 }

// behind are the workflows that are not running and were not tried on this
// state before. It forgets attempts at those that are.
func (l *Leader) behind(snap *state.Snapshot) []*state.Workflow {
	var out []*state.Workflow
	for _, w := range snap.Workflows() {
		switch {
		case w.Status == state.Running || w.Status == state.Stopped:
			delete(l.refused, w.Name)
		case l.refused[w.Name] != (attempt{snap.Revision(), w.Version}):
			out = append(out, w)
		}
	}
	return out
}

// place plans one workflow and commits the plan. It returns the view as it is
// then; nil if it no longer knows.
func (l *Leader) place(view *tiering.View, w *state.Workflow, at time.Time) (*tiering.View, error) {
	for range Attempts {
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
	return nil, ErrOvertaken(w.Name)
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

// ErrOvertaken is the ErrConflict of a workflow that was planned in vain.
func ErrOvertaken(workflow string) error {
	return fmt.Errorf("%w: workflow %s: %d plans in a row were overtaken by changes in the mesh; try again", state.ErrConflict, workflow, Attempts)
}
