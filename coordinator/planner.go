package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// maxDocument bounds what a workflow adds to the log, in bytes.
const maxDocument = 1 << 20

// Plan says what Submit would do, from this coordinator's knowledge. The error
// is a *tiering.Refused if the mesh cannot take the workflow.
func (c *Coordinator) Plan(ctx context.Context, w *tiering.Workflow) (*tiering.Plan, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return planner.Schedule(c.Snapshot().View(c.rtt), w)
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
	for range planner.Attempts {
		p, err := c.propose(ctx, w, document)
		if err != nil {
			return nil, err
		}
		if err = c.queue.Wait(p); err == nil {
			if p.Anew {
				c.reports.Forget(w.Name)
			}
			return p.Plan, nil
		}
		if !planner.Overtaken(err) {
			return nil, err
		}
		c.log.Info("plan overtaken, planning again", "workflow", w.Name, "error", err)
	}
	return nil, planner.ErrOvertaken(w.Name)
}

// propose plans a workflow while nobody else does, and lets others plan while
// it is committed.
func (c *Coordinator) propose(ctx context.Context, w *tiering.Workflow, document string) (*planner.Proposal, error) {
	release, err := c.plans(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	p, err := c.queue.Propose(ctx, raftState{c}, w, document, now())
	if err == nil && p.Commits() || err != nil && !errors.As(err, new(*tiering.Refused)) {
		return p, err
	}
	// The same again would be answered, and what does not fit refused, from
	// what this coordinator knows. A commit proves by itself that it leads.
	if err := c.Verify(ctx); err != nil {
		return nil, err
	}
	return c.queue.Propose(ctx, raftState{c}, w, document, now())
}

// planner returns a planner that decides for this coordinator, which has to
// lead.
func (c *Coordinator) planner(log *slog.Logger) *planner.Leader {
	return planner.New(raftState{c}, c.rtt, log)
}

// raftState is the state as planner wants it.
type raftState struct{ *Coordinator }

// Apply implements planner.State.
func (s raftState) Apply(cmd state.Command) (state.Result, error) { return s.apply(cmd) }

// Propose implements planner.Proposer.
func (s raftState) Propose(cmd state.Command) (func() (state.Result, error), error) {
	return s.begin(cmd)
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

// Drain begins or ends the draining of a node: what it has is moved to other
// nodes, and it gets nothing new.
func (c *Coordinator) Drain(ctx context.Context, node string, drain bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.mustLead(); err != nil {
		return err
	}
	_, err := c.apply(&state.SetNodeDrain{Node: node, Drain: drain, At: now()})
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
