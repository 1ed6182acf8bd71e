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
		w.Version, w.CreateIndex = old.Version+1, old.CreateIndex
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
	tx.setStatus(old, Stopped, "")
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
	if h := tx.health(w); h.status == Running {
		return fmt.Errorf("%w: workflow %s runs in full", ErrConflict, w.Name)
	}
	tx.announce(w, c.Status, c.Reason)
	return nil
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
	var reasons []string
	if len(gone) > 0 {
		slices.Sort(gone)
		reasons = append(reasons, fmt.Sprintf("%d of %d instances are on nodes that are gone: %s",
			total-live, total, strings.Join(gone, ", ")))
	}
	for _, u := range w.Unplaced {
		reasons = append(reasons, u.Name+": "+u.Reason)
	}
	h := health{Degraded, strings.Join(append(reasons, stays...), "; ")}
	if live == 0 {
		h.status = Pending
	}
	return h
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
