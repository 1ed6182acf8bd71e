package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// longestStart bounds how long what was placed may take to start.
const longestStart = time.Hour

// run carries the scenario out and returns what came of it.
func (c *control) run(ctx context.Context) (*testbed.Recording, error) {
	if err := c.setUp(ctx); err != nil {
		return nil, err
	}
	m := c.scenario.Measure
	c.zero = c.now() + m.Warmup
	for i := range c.rec.Marks {
		c.rec.Marks[i].At -= c.zero // which was not known then
	}
	c.begun = true
	c.q.Add(c.zero, evMeasure, 0, 0, 0)
	for i, e := range c.scenario.Timeline {
		c.q.Add(c.zero+e.At, evTimeline, int32(i), 0, 0)
	}
	c.q.Add(c.now(), evSample, 0, 0, 0)
	c.q.Add(c.zero+m.Duration, evOver, 0, 0, 0)
	if err := c.until(ctx, func() bool { return c.over }); err != nil {
		return nil, err
	}
	if n := len(c.rec.Samples); c.rec.Samples[n-1].At < m.Duration {
		c.sample()
	}
	c.total()
	return c.rec, nil
}

// setUp submits the workflow and waits until all that is placed has started.
func (c *control) setUp(ctx context.Context) error {
	c.rewire()
	n, ok := c.candidate()
	if !ok {
		return fmt.Errorf("%w: the coordinators do not reach each other: no majority", ErrConfig)
	}
	c.newTerm(n)
	if err := c.submit(c.scenario.Sources); err != nil {
		return fmt.Errorf("workflow %s: %w", c.scenario.Workflow.Name, err)
	}
	settled := func() bool { return c.matched() && !c.starting() || c.now() > longestStart }
	if err := c.until(ctx, settled); err != nil {
		return err
	}
	if c.starting() {
		return fmt.Errorf("%w: after %s of virtual time not all instances have started: a node is overloaded; lower the sources' fps or raise the CPU scale", ErrConfig, longestStart)
	}
	return nil
}

// matched reports whether every agent runs what it is to.
func (c *control) matched() bool {
	now := c.machine.Snapshot().Revision()
	for i := range c.agents {
		if c.agents[i].matched < now {
			return false
		}
	}
	return true
}

// until handles events until something is so.
func (c *control) until(ctx context.Context, so func() bool) error {
	for i := 0; !so(); i++ {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, ok := c.q.Next()
		if !ok {
			return fmt.Errorf("%w: nothing happens any more", ErrConfig)
		}
		c.handle(e)
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

// sample records the state at this moment, and schedules the next.
func (c *control) sample() {
	at := c.now() - c.zero
	m := c.scenario.Measure
	s := testbed.Sample{
		At: at, Sources: c.plane.sources(), Frames: c.stats.all.export(), Latency: c.stats.spell(),
		Stages: make([]testbed.StageSample, len(c.tasks)), Nodes: make([]testbed.NodeSample, len(c.nodes)),
	}
	s.Qualities = testbed.CountQualities(c.plane.qualities())
	for i := range c.tasks {
		h := &c.stats.stages[i].handled
		s.Stages[i] = testbed.StageSample{Task: c.tasks[i].name, Received: h.received, Processed: h.processed, Dropped: dropped(h.dropped)}
	}
	for i := range c.nodes {
		s.Nodes[i] = testbed.NodeSample{Node: c.nodes[i].name, Up: c.nodes[i].up, CPU: c.busy(int32(i))}
	}
	c.rec.Samples = append(c.rec.Samples, s)
	if c.cfg.Progress != nil {
		c.cfg.Progress(at+m.Warmup, m.Warmup+m.Duration)
	}
	if at+m.Every <= m.Duration {
		c.q.Add(c.now()+m.Every, evSample, 0, 0, 0)
	}
}

// total sums up the measured time.
func (c *control) total() {
	d := c.scenario.Measure.Duration
	t := &c.rec.Totals
	t.Duration, t.Frames, t.Latency = d, c.stats.measured.export(), c.stats.latency.histogram
	t.Throughput = float64(c.stats.latency.n) / d.Seconds()
	for i := range c.tasks {
		x := &c.stats.stages[i]
		lost := x.handled.dropped
		for r := range lost {
			lost[r] -= x.before.dropped[r]
		}
		t.Stages = append(t.Stages, testbed.StageTotals{
			Task: c.tasks[i].name, Processed: x.handled.processed - x.before.processed, Dropped: dropped(lost),
			Queue: x.queue.histogram, Transfer: x.transfer.histogram, Work: x.work.histogram,
		})
	}
	for _, s := range c.scenario.Running(c.asked) {
		x := testbed.SourceTotals{Source: s.Name}
		for i := range c.feeds { // one for each start
			if f := &c.feeds[i]; f.source == s.Name {
				x.Captured += f.counts.captured - f.before.captured
				x.Delivered += f.counts.fates[delivered] - f.before.fates[delivered]
				x.Filtered += f.counts.fates[filtered] - f.before.fates[filtered]
			}
		}
		t.Sources = append(t.Sources, x)
	}
	t.Placements = slices.Clone(c.machine.Snapshot().Placements())
	c.rec.Simulated = c.q.Done()
}
