package live

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// sample samples until the end, takes down marks, and adds up in the end,
// however it ends.
func (r *run) sample(ctx context.Context) error {
	m := r.Scenario.Measure
	tick := time.NewTicker(m.Every)
	defer tick.Stop()
	var start, now *reading // at the end of the warm-up, and the newest
	defer func() { r.total(start, now) }()
	for {
		now = r.read(ctx)
		if start == nil && now.at >= 0 {
			start = now
		}
		if err := r.take(now); err != nil {
			return err
		}
		if now.at >= m.Duration {
			return r.rest()
		}
		for waiting := true; waiting; {
			select {
			case mark := <-r.marks:
				if err := r.note(mark); err != nil {
					return err
				}
			case n := <-r.sources:
				r.running = n
			case <-tick.C:
				waiting = false
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// rest takes down the marks that wait.
func (r *run) rest() error {
	for {
		select {
		case mark := <-r.marks:
			if err := r.note(mark); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// note takes a mark down.
func (r *run) note(m testbed.Mark) error {
	i, _ := slices.BinarySearchFunc(r.rec.Marks, m, func(a, b testbed.Mark) int {
		if a.At <= b.At {
			return -1
		}
		return 1
	})
	r.rec.Marks = slices.Insert(r.rec.Marks, i, m)
	if r.Mark == nil {
		return nil
	}
	return r.Mark(m)
}

// reading is what is known at one moment, all of it since the beginning.
type reading struct {
	at     time.Duration
	frames pipeline.Counts
	lat    *pipeline.Histogram
	stages []stageReading
	nodes  []testbed.NodeSample
	status api.WorkflowStatus
}

type stageReading struct {
	testbed.StageSample
	queue, transfer, work *pipeline.Histogram
}

// read asks the mesh and the ground. A mesh that does not answer now has what
// it had before: agents report later what happens meanwhile.
func (r *run) read(ctx context.Context) *reading {
	ask, cancel := context.WithTimeout(ctx, min(askTimeout, max(r.Scenario.Measure.Every, time.Second)))
	defer cancel()
	s, err := r.Client.Workflow(ask, r.name)
	if err != nil {
		r.Log.Debug("no status of the workflow now", "err", err)
	} else {
		r.meter.add(s, time.Now())
	}
	now := r.meter.reading()
	now.at = time.Since(r.zero)
	if now.nodes, err = r.Ground.Usage(); err != nil {
		r.Log.Warn("cannot read what the nodes use", "err", err)
	}
	return now
}

// take adds a sample to the recording.
func (r *run) take(now *reading) error {
	x := testbed.Sample{At: now.at, Sources: r.running, Frames: now.frames, Latency: describe(now.lat.Since(r.meter.sampled)), Nodes: now.nodes}
	r.meter.sampled = now.lat
	var qualities []tiering.Quality
	for _, s := range now.status.Sources {
		if s.Quality != nil && s.Status == pipeline.StatusRunning {
			qualities = append(qualities, *s.Quality)
		}
	}
	x.Qualities = testbed.CountQualities(qualities)
	for _, s := range now.stages {
		x.Stages = append(x.Stages, s.StageSample)
	}
	r.rec.Samples = append(r.rec.Samples, x)
	if r.Progress != nil {
		phase := "running"
		if now.at < 0 {
			phase = "warming up"
		}
		r.Progress(Progress{Phase: phase, At: now.at, Total: r.Scenario.Measure.Duration, Sample: &x})
	}
	if r.Sample == nil {
		return nil
	}
	if err := r.Sample(x); err != nil {
		return fmt.Errorf("the run ends, since a sample cannot be kept: %w", err)
	}
	return nil
}

// judged is how right the detections of a task were between two moments.
func judged(end, start api.WorkflowStatus, task string) pipeline.Judged {
	of := func(s api.WorkflowStatus) (j pipeline.Judged) {
		i := slices.IndexFunc(s.Stages, func(x kpi.Stage) bool { return x.Task == task })
		if i >= 0 && s.Stages[i].Judged != nil {
			j = *s.Stages[i].Judged
		}
		return j
	}
	b, a := of(end), of(start)
	if b.Frames < a.Frames { // another leader, which counts from its start
		return b
	}
	return pipeline.Judged{Frames: b.Frames - a.Frames, Right: minus(b.Right, a.Right), Wrong: minus(b.Wrong, a.Wrong), Missed: minus(b.Missed, a.Missed)}
}

// describe sums up a histogram.
func describe(h *pipeline.Histogram) testbed.Latency {
	return testbed.Latency{
		Frames: uint64(h.Count()), Mean: h.Mean(),
		P50: h.Quantile(0.50), P95: h.Quantile(0.95), P99: h.Quantile(0.99),
	}
}

// total adds up what was measured between two readings.
func (r *run) total(start, end *reading) {
	if start == nil || end == nil || end.at <= start.at {
		return
	}
	t := &r.rec.Totals
	t.Duration = end.at - start.at
	t.Frames = since(end.frames, start.frames)
	t.Latency = end.lat.Since(start.lat)
	t.Throughput = float64(t.Frames.Delivered) / t.Duration.Seconds()
	t.Placements = end.status.Placements
	for _, s := range end.status.Sources {
		was := sourceOf(start.status, s.Source).Frames
		t.Sources = append(t.Sources, testbed.SourceTotals{
			Source: s.Source, Captured: minus(s.Frames.Captured, was.Captured), Delivered: minus(s.Frames.Delivered, was.Delivered),
			Filtered: minus(s.Frames.Filtered, was.Filtered),
		})
	}
	for i, s := range end.stages {
		was := stageReading{StageSample: testbed.StageSample{Task: s.Task}}
		if i < len(start.stages) && start.stages[i].Task == s.Task {
			was = start.stages[i]
		}
		st := testbed.StageTotals{
			Task: s.Task, Processed: minus(s.Processed, was.Processed), Dropped: map[pipeline.Reason]uint64{},
			Queue: s.queue.Since(was.queue), Transfer: s.transfer.Since(was.transfer), Work: s.work.Since(was.work),
			Judged: judged(end.status, start.status, s.Task),
		}
		for reason, n := range s.Dropped {
			st.Dropped[reason] = minus(n, was.Dropped[reason])
		}
		t.Stages = append(t.Stages, st)
	}
}
