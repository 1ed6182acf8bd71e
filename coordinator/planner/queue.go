package planner

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// Queue is the plans that are being committed, and the mesh as it will be when
// they are. So the next plan can be made while the log writes the ones before,
// and the view need not be made anew for each.
//
// The view is a guess. It holds as long as the commands that change what plans
// depend on are those of the queue, in order: each result says what it found.
// When something else came between, no plan is made before the queue is empty,
// and the next starts from the state. A plan made meanwhile is re-checked like
// any other.
type Queue struct {
	rtt tiering.RoundTrips

	mu       sync.Mutex
	view     *tiering.View // nil: to be made from the state
	revision uint64        // of the state that the view shows without the plans under way
	underWay []*Proposal   // oldest first
	empty    chan struct{} // closed when none is under way any more; nil: none is
}

// Proposal is a plan on its way into the log.
type Proposal struct {
	Plan *tiering.Plan
	Anew bool // the workflow of that name had been stopped

	workflow string
	wait     func() (state.Result, error) // nil: there is nothing to commit
	done     bool
	result   state.Result
	err      error
}

// NewQueue returns an empty queue. rtt may be nil.
func NewQueue(rtt tiering.RoundTrips) *Queue { return &Queue{rtt: rtt} }

// Proposer is a state to which commands can be proposed one after the other:
// they are carried out in that order, and wait says what became of one.
type Proposer interface {
	Snapshot() *state.Snapshot
	Propose(state.Command) (wait func() (state.Result, error), err error)
}

// Propose plans a workflow as Submit does and proposes it. The caller sees to
// it that nobody else plans meanwhile, and must call Wait, meanwhile or not.
func (q *Queue) Propose(ctx context.Context, to Proposer, w *tiering.Workflow, document string, at time.Time) (*Proposal, error) {
	snap, view, err := q.current(ctx, to, w.Name)
	if err != nil {
		return nil, err
	}
	plan, err := Schedule(view, w)
	if errors.As(err, new(*tiering.Refused)) {
		// Not for the sake of what may yet come to nothing.
		if err := q.drain(ctx); err != nil {
			return nil, err
		}
		if snap, view, err = q.current(ctx, to, w.Name); err != nil {
			return nil, err
		}
		plan, err = Schedule(view, w)
	}
	if err != nil {
		return nil, err
	}
	cmd, stopped := submission(snap, w, document, plan, at)
	p := &Proposal{Plan: plan, Anew: stopped, workflow: w.Name}
	if cmd == nil {
		return p, nil
	}
	if p.wait, err = to.Propose(cmd); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.underWay) == 0 {
		q.empty = make(chan struct{})
	}
	q.underWay = append(q.underWay, p)
	if q.view != nil {
		q.view = view.With(plan)
	}
	return p, nil
}

// current returns the state and the view to plan from.
func (q *Queue) current(ctx context.Context, from Proposer, workflow string) (*state.Snapshot, *tiering.View, error) {
	for {
		q.mu.Lock()
		busy := slices.ContainsFunc(q.underWay, func(p *Proposal) bool { return p.workflow == workflow })
		if q.empty != nil && (busy || q.view == nil) {
			q.mu.Unlock()
			if err := q.drain(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		defer q.mu.Unlock()
		snap := from.Snapshot()
		if q.view == nil || q.empty == nil && snap.Revision() != q.revision {
			q.view, q.revision = snap.View(q.rtt), snap.Revision()
		}
		q.view = q.view.At(snap.Index())
		return snap, q.view, nil
	}
}

// drain waits until no plan is under way.
func (q *Queue) drain(ctx context.Context) error {
	q.mu.Lock()
	empty := q.empty
	q.mu.Unlock()
	if empty == nil {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Commits reports whether there is something to commit.
func (p *Proposal) Commits() bool { return p.wait != nil }

// Wait waits until the proposal has been carried out or refused.
func (q *Queue) Wait(p *Proposal) error {
	if p.wait == nil {
		return nil
	}
	result, err := p.wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	p.done, p.result, p.err = true, result, err
	for len(q.underWay) > 0 && q.underWay[0].done {
		first := q.underWay[0]
		q.underWay = slices.Delete(q.underWay, 0, 1)
		if first.err != nil || first.result.Found != q.revision {
			q.view = nil
		}
		q.revision = first.result.Index
	}
	if len(q.underWay) == 0 && q.empty != nil {
		close(q.empty)
		q.empty = nil
	}
	return err
}

// submission is the command that stores a workflow with its plan; nil: it is
// stored as it is. stopped: the one of that name had been stopped.
func submission(snap *state.Snapshot, w *tiering.Workflow, document string, plan *tiering.Plan, at time.Time) (cmd *state.SubmitWorkflow, stopped bool) {
	old, known := snap.Workflow(w.Name)
	stopped = known && old.Status == state.Stopped
	if plan.Empty() && Same(snap, w, plan) {
		if _, was := old.Latest(); was == document {
			return nil, false
		}
	}
	return &state.SubmitWorkflow{Workflow: w, Document: document, Plan: plan, At: at}, stopped
}

// Same reports whether a workflow is, by its plan, what was submitted last under
// its name: what runs, unless another version waits to take its place.
func Same(snap *state.Snapshot, w *tiering.Workflow, plan *tiering.Plan) bool {
	old, ok := snap.Workflow(w.Name)
	if !ok || old.Status == state.Stopped || old.Next != nil && !plan.Awaits {
		return false
	}
	was, _ := old.Latest()
	return state.Same(was, w)
}

// Overtaken reports whether a plan was refused because the state had moved on.
func Overtaken(err error) bool { return errors.Is(err, state.ErrRefused) }
