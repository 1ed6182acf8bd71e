package state

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/tiering"
)

func (c *SubmitWorkflow) apply(tx *change) error {
	tx.at = c.At
	if c.Workflow == nil || c.Plan == nil {
		return fmt.Errorf("%w: a submission needs a workflow and its plan", ErrInvalid)
	}
	if err := checkName("workflow", c.Workflow.Name); err != nil {
		return err
	}
	w := &Workflow{
		Name: c.Workflow.Name, Spec: c.Workflow, Document: c.Document, Version: 1, Submitted: c.At,
		Status: Pending, Since: c.At, CreateIndex: tx.index, ModifyIndex: tx.index,
	}
	typ := WorkflowSubmitted
	if old, ok := get[Workflow](tx.txn, tableWorkflows, w.Name); ok {
		w.Version, w.CreateIndex = old.latest()+1, old.CreateIndex
		if c.Plan.Awaits && tx.runs(old) && !Same(old.Spec, c.Workflow) {
			return tx.waits(old, &Submission{Spec: c.Workflow, Document: c.Document, Version: w.Version, Submitted: c.At}, c.Plan)
		}
		if old.Status != Stopped {
			typ = WorkflowUpdated
			w.Status, w.Reason, w.Since = old.Status, old.Reason, old.Since
		}
	}
	tx.readapt(w.Spec)
	tx.event(typ, w.Name, "workflow %s version %d: %d sources, %d tasks", w.Name, w.Version, len(w.Spec.Sources), len(w.Spec.Tasks))
	if err := tx.plan(w.Spec, c.Plan); err != nil {
		return err
	}
	w.Unplaced = c.Plan.Unplaced
	tx.insert(tableWorkflows, w)
	tx.assignments = true
	tx.settle(w)
	return nil
}

func (c *StopWorkflow) apply(tx *change) error {
	tx.at = c.At
	old, ok := get[Workflow](tx.txn, tableWorkflows, c.Name)
	if !ok {
		return fmt.Errorf("%w: workflow %q", ErrNotFound, c.Name)
	}
	if old.Status == Stopped {
		return nil
	}
	placed := list[tiering.Placement](tx.txn, tablePlacements, byWorkflow, c.Name)
	for _, p := range placed {
		tx.remove(tablePlacements, p)
	}
	tx.forget(c.Name)
	tx.assignments = true
	w := *old
	w.Version, w.Next = old.latest(), nil
	tx.setStatus(&w, Stopped, "")
	tx.event(WorkflowStopped, c.Name, "workflow %s stopped, %d instances released", c.Name, len(placed))
	return nil
}

func (c *CommitPlan) apply(tx *change) error {
	tx.at = c.At
	if c.Plan == nil {
		return fmt.Errorf("%w: no plan", ErrInvalid)
	}
	old, ok := get[Workflow](tx.txn, tableWorkflows, c.Plan.Workflow)
	if !ok {
		return fmt.Errorf("%w: workflow %q", ErrNotFound, c.Plan.Workflow)
	}
	w := *old
	if w.Status == Stopped {
		return fmt.Errorf("%w: workflow %s is stopped", ErrConflict, w.Name)
	}
	if n := w.Next; n != nil && n.Version == c.Version {
		if c.Plan.Awaits {
			return tx.waits(old, n, c.Plan)
		}
		tx.event(WorkflowUpdated, w.Name, "workflow %s version %d takes the place of version %d", w.Name, n.Version, w.Version)
		w.Spec, w.Document, w.Version, w.Submitted, w.Next = n.Spec, n.Document, n.Version, n.Submitted, nil
		tx.readapt(w.Spec)
	}
	if w.Version != c.Version {
		return fmt.Errorf("%w: workflow %s is at version %d, the plan was made for version %d", ErrConflict, w.Name, w.Version, c.Version)
	}
	if err := tx.plan(w.Spec, c.Plan); err != nil {
		return err
	}
	w.Unplaced, w.ModifyIndex = c.Plan.Unplaced, tx.index
	tx.insert(tableWorkflows, &w)
	tx.assignments = true
	tx.settle(&w)
	return nil
}

func (c *SetWorkflowStatus) apply(tx *change) error {
	tx.at = c.At
	w, ok := get[Workflow](tx.txn, tableWorkflows, c.Name)
	if !ok {
		return fmt.Errorf("%w: workflow %q", ErrNotFound, c.Name)
	}
	if w.Status == Stopped {
		return fmt.Errorf("%w: workflow %s is stopped", ErrConflict, w.Name)
	}
	switch c.Status {
	case Degraded, Pending:
	default:
		return fmt.Errorf("%w: status %q of a workflow follows from its placements", ErrInvalid, c.Status)
	}
	if c.Next != 0 {
		return tx.stuck(w, c)
	}
	if h := tx.health(w); h.status == Running {
		return fmt.Errorf("%w: workflow %s runs in full", ErrConflict, w.Name)
	}
	tx.announce(w, c.Status, c.Reason)
	return nil
}

// latest is the newest version that there is of a workflow.
func (w *Workflow) latest() uint64 {
	if w.Next != nil {
		return w.Next.Version
	}
	return w.Version
}

// runs reports whether a workflow has instances that are to go on.
func (c *change) runs(w *Workflow) bool {
	return w.Status != Stopped && len(list[tiering.Placement](c.txn, tablePlacements, byWorkflow, w.Name)) > 0
}

// waits keeps a version of a workflow beside the one that runs, in place of
// any that waited before.
func (c *change) waits(old *Workflow, n *Submission, p *tiering.Plan) error {
	if p.Workflow != old.Name || !p.Empty() {
		return fmt.Errorf("%w: a plan for workflow %q that awaits models changes something of workflow %q", ErrInvalid, p.Workflow, old.Name)
	}
	next := *n
	next.Unplaced, next.Reason = p.Unplaced, strings.Join(reasons(p.Unplaced), "; ")
	c.assignments = c.assignments || old.latest() != next.Version // there may be other models to get
	c.wait(old, &next)
	return nil
}

// stuck says why the version that waits cannot be placed, if models are not all.
func (c *change) stuck(w *Workflow, cmd *SetWorkflowStatus) error {
	if w.Next == nil || w.Next.Version != cmd.Next || cmd.Status != Pending {
		return fmt.Errorf("%w: no version %d of workflow %s is to become %s", ErrConflict, cmd.Next, w.Name, cmd.Status)
	}
	next := *w.Next
	next.Unplaced, next.Reason = nil, cmd.Reason
	c.wait(w, &next)
	return nil
}

// wait stores what a workflow is to run next, and says so if it is news.
func (c *change) wait(old *Workflow, next *Submission) {
	w := *old
	w.Next, w.ModifyIndex = next, c.index
	switch {
	case old.latest() != next.Version:
		c.event(WorkflowUpdated, w.Name, "workflow %s version %d: %d sources, %d tasks; version %d goes on until it can run: %s",
			w.Name, next.Version, len(next.Spec.Sources), len(next.Spec.Tasks), w.Version, next.Reason)
	case old.Next.Reason != next.Reason:
		c.event(WorkflowPending, w.Name, "workflow %s version %d waits: %s", w.Name, next.Version, next.Reason)
	}
	c.insert(tableWorkflows, &w)
}

// health is what the placements say of a workflow.
type health struct {
	status Status
	reason string
}

func (c *change) health(w *Workflow) health {
	total, live, gone := 0, 0, []string(nil)
	var stays []string
	alive := func(node string) bool { n, _ := get[Node](c.txn, tableNodes, node); return n.Alive() }
	for _, p := range list[tiering.Placement](c.txn, tablePlacements, byWorkflow, w.Name) {
		total++
		if alive(p.Serves(alive)) {
			live++
		} else if !slices.Contains(gone, p.Node) {
			gone = append(gone, p.Node)
		}
		if p.Stays != "" {
			stays = append(stays, fmt.Sprintf("%s stays on %s, which is draining: %s", p.Task, p.Serves(alive), p.Stays))
		}
	}
	if live == total && len(w.Unplaced) == 0 {
		return health{Running, strings.Join(stays, "; ")}
	}
	var why []string
	if len(gone) > 0 {
		slices.Sort(gone)
		why = append(why, fmt.Sprintf("%d of %d instances are on nodes that are gone: %s",
			total-live, total, strings.Join(gone, ", ")))
	}
	h := health{Degraded, strings.Join(slices.Concat(why, reasons(w.Unplaced), stays), "; ")}
	if live == 0 {
		h.status = Pending
	}
	return h
}

// reasons says why sources and tasks are on no node.
func reasons(unplaced []tiering.Unplaced) []string {
	var out []string
	for _, u := range unplaced {
		out = append(out, u.Name+": "+u.Reason)
	}
	return out
}

// settle derives a workflow's status from where its instances are.
func (c *change) settle(w *Workflow) {
	if w.Status != Stopped {
		h := c.health(w)
		c.announce(w, h.status, h.reason)
	}
}

// announce sets a status and says so, if it is news.
func (c *change) announce(w *Workflow, s Status, reason string) {
	if w.Status == s && w.Reason == reason {
		return
	}
	typ := WorkflowRunning
	switch s {
	case Degraded:
		typ = WorkflowDegraded
	case Pending:
		typ = WorkflowPending
	}
	message := fmt.Sprintf("workflow %s is %s", w.Name, s)
	if reason != "" {
		message += ": " + reason
	}
	c.event(typ, w.Name, "%s", message)
	c.setStatus(w, s, reason)
}

func (c *change) setStatus(old *Workflow, s Status, reason string) {
	w := *old
	if w.Status != s {
		w.Since = c.at
	}
	w.Status, w.Reason, w.ModifyIndex = s, reason, c.index
	c.insert(tableWorkflows, &w)
}
