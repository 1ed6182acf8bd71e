package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// adapt has the leader decide about the qualities of sources if it is time to,
// and sees to the next time.
func (c *control) adapt() {
	if c.leader == none {
		return
	}
	c.listen()
	err := c.adapter.Adapt(context.Background(), c.date())
	next := c.adapter.Due()
	if next.IsZero() {
		return
	}
	at := max(next.Sub(time.Unix(0, 0)), c.now())
	if err != nil {
		at = max(at, c.now()+reconcile)
	}
	c.due++
	c.q.Add(at, evAdapt, 0, 0, c.due)
}

// listen brings the leader the reports of the agents that it hears. They report
// once a second; here they are heard when they are needed, and are as of then.
func (c *control) listen() {
	snap := c.machine.Snapshot()
	for i := range c.nodes {
		name := c.nodes[i].name
		if _, known := snap.Node(name); !known {
			continue
		}
		if n, ok := (progress{c}).hears(name); ok {
			if err := c.reports.Add(c.reportOf(n), snap); err != nil {
				c.err = err
				return
			}
		}
	}
}

// reportOf is what an agent says of what it runs. What it says of does not
// change it any more.
func (c *control) reportOf(n int32) *pipeline.Report {
	a := &c.agents[n]
	r := &pipeline.Report{Node: c.nodes[n].name, Run: fmt.Sprint(a.runs), Index: a.matched}
	for i := range c.slots { // in an order that is always the same
		id := c.slots[i].id
		x, ok := a.running[id]
		switch {
		case !ok:
		case x.feed != none:
			s := c.feeds[x.feed].report()
			s.RanMS = (c.now() - c.feeds[x.feed].made).Milliseconds()
			s.Instance, s.Epoch, s.Workflow, s.Source = id, uint32(x.feed), x.want.Placement.Workflow, x.want.Placement.Task
			r.Sources = append(r.Sources, s)
		default:
			s := c.instances[x.instance].report()
			s.Turns = c.nodes[c.instances[x.instance].node].turns.most
			s.Instance, s.Epoch, s.Workflow, s.Task = id, uint32(x.instance), x.want.Placement.Workflow, x.want.Placement.Task
			r.Stages = append(r.Stages, s)
		}
	}
	return r
}

// report is pipeline.Feed's Report.
func (f *feed) report() pipeline.SourceReport {
	quality := f.quality
	r := pipeline.SourceReport{
		Status: f.status, Quality: &quality, Frames: f.counts.export(), Skipped: f.skipped, Capture: f.grabs.Clone(), Latency: f.latency.Clone(),
	}
	if f.status == pipeline.StatusHeld {
		r.Message = f.held
	}
	return r
}

// report is pipeline.Runner's Report.
func (x *instance) report() pipeline.StageReport {
	status := pipeline.StatusStarting
	if x.ready {
		status = pipeline.StatusRunning
	}
	return pipeline.StageReport{
		Status: status, Received: x.received, Processed: x.processed, Filtered: x.filtered, Dropped: dropped(x.dropped),
		Queue: x.waits.Clone(), Transfer: x.transfers.Clone(), Link: x.links.Clone(), Execute: x.works.Clone(),
	}
}
