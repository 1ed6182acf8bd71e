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
		plan, err := l.schedule(snap.View(l.rtt), w)
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

// Replan places what is not running: versions whose models have come, tasks on
// dead nodes, sources that had no node. Live placements stay where they are, so a
// node that comes and goes moves only what it had. The caller sees to it that
// nobody else plans meanwhile.
func (l *Leader) Replan(ctx context.Context, at time.Time) error {
	snap := l.state.Snapshot()
	var (
		view *tiering.View // of snap and the plans committed since
		errs []error
	)
	for _, d := range l.behind(snap) {
		if ctx.Err() != nil {
			break
		}
		if view == nil {
			view = snap.View(l.rtt)
		}
		next, err := l.place(view, d, at)
		if err != nil {
			errs = append(errs, fmt.Errorf("workflow %s: %w", d.workflow, err))
		}
		view = next
	}
	return errors.Join(errs...)
}

// Behind reports whether there is something for Replan to try.
func (l *Leader) Behind() bool { return len(l.behind(l.state.Snapshot())) > 0 }

// behind are the versions that are not running and were not tried on this state
// before; of a workflow, the one that waits first. It forgets attempts at others.
func (l *Leader) behind(snap *state.Snapshot) []due {
	var out []due
	tried := map[due]uint64{}
	add := func(d due) {
		revision, ok := l.refused[d]
		if ok {
			tried[d] = revision
		}
		if !ok || revision != snap.Revision() {
			out = append(out, d)
		}
	}
	for _, w := range snap.Workflows() {
		if w.Status == state.Stopped {
			continue
		}
		if w.Next != nil {
			add(due{w.Name, w.Next.Version})
		}
		if w.Status != state.Running {
			add(due{w.Name, w.Version})
		}
	}
	l.refused = tried
	return out
}

// version returns what a version of a workflow is, and what the last plan for it
// went without; nil: there is no such version any more.
func version(snap *state.Snapshot, d due) (spec *tiering.Workflow, unplaced []tiering.Unplaced) {
	w, ok := snap.Workflow(d.workflow)
	switch {
	case !ok || w.Status == state.Stopped:
	case w.Version == d.version:
		return w.Spec, w.Unplaced
	case w.Next != nil && w.Next.Version == d.version:
		return w.Next.Spec, w.Next.Unplaced
	}
	return nil, nil
}

// place plans one workflow and commits the plan. It returns the view as it is
// then; nil if it no longer knows.
func (l *Leader) place(view *tiering.View, d due, at time.Time) (*tiering.View, error) {
	for range Attempts {
		snap := l.state.Snapshot()
		spec, unplaced := version(snap, d)
		if spec == nil {
			return view, nil
		}
		if view == nil {
			view = snap.View(l.rtt)
		}
		plan, err := l.schedule(view, spec)
		var refused *tiering.Refused
		switch {
		case errors.As(err, &refused):
			return view, l.cannotPlace(d, refused, at)
		case err != nil:
			return view, err
		case plan.Empty() && slices.Equal(plan.Unplaced, unplaced):
			l.refused[d] = snap.Revision()
			return view, nil
		}
		_, err = l.state.Apply(&state.CommitPlan{Plan: plan, Version: d.version, At: at})
		if err == nil {
			l.log.Info("plan committed", "workflow", d.workflow, "placed", len(plan.Place), "adjusted", len(plan.Adjust), "removed", len(plan.Remove))
			return view.With(plan), nil
		}
		if !errors.Is(err, state.ErrRefused) {
			return nil, err
		}
		l.log.Info("plan overtaken, planning again", "workflow", d.workflow, "error", err)
		view = nil
	}
	return nil, ErrOvertaken(d.workflow)
}

// cannotPlace says in the state why a workflow does not run in full. The rest
// of it goes on; it is tried again when the mesh has changed.
func (l *Leader) cannotPlace(d due, why *tiering.Refused, at time.Time) error {
	snap := l.state.Snapshot()
	l.refused[d] = snap.Revision()
	w, ok := snap.Workflow(d.workflow)
	cmd := &state.SetWorkflowStatus{Name: d.workflow, Status: state.Pending, Reason: why.Error(), At: at}
	switch {
	case !ok:
		return nil
	case w.Version != d.version:
		if cmd.Next = d.version; w.Next != nil && w.Next.Reason == cmd.Reason {
			return nil
		}
	default:
		for _, p := range snap.PlacementsOf(d.workflow) {
			if n, _ := snap.Node(p.Node); n.Alive() {
				cmd.Status = state.Degraded
				break
			}
		}
		if w.Status == cmd.Status && w.Reason == cmd.Reason {
			return nil
		}
	}
	_, err := l.state.Apply(cmd)
	if errors.Is(err, state.ErrConflict) {
		return nil // its nodes came back meanwhile, or it was submitted anew
	}
	return err
}

// ErrOvertaken is the ErrConflict of a workflow that was planned in vain.
func ErrOvertaken(workflow string) error {
	return fmt.Errorf("%w: workflow %s: %d plans in a row were overtaken by changes in the mesh; try again", state.ErrConflict, workflow, Attempts)
}
