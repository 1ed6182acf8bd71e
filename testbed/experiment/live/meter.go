package live

import (
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// meter follows what the mesh says of a workflow, so that counts never fall.
//
// They may for a while: a new leader knows of each running instance what that
// last reported, which counts from the instance's start, but nothing before the
// first report. Until it has heard of as many frames as the one before it, the
// meter stands still. What of them it never hears, since their instances have
// ended, is added to all that follows.
type meter struct {
	base    api.WorkflowStatus  // what the present leader does not know
	last    api.WorkflowStatus  // newest that was taken
	behind  time.Time           // since when the leader knows less; zero: it does not
	sampled *pipeline.Histogram // latencies up to the last sample
}

// catchUp is how long a new leader may take to hear from every agent: several
// reports.
const catchUp = 5 * time.Second

func newMeter() *meter { return &meter{sampled: pipeline.NewHistogram()} }

// add takes the newest status, at a moment.
func (m *meter) add(s api.WorkflowStatus, now time.Time) {
	switch {
	case s.Frames.Captured >= m.last.Frames.Captured:
		m.last, m.behind = s, time.Time{}
	case m.behind.IsZero():
		m.behind = now
	case now.Sub(m.behind) >= catchUp:
		unknown := less(clone(m.last), s)
		// What was in flight in instances that have ended is lost.
		f := &unknown.Frames
		f.Captured, f.InFlight = minus(m.last.Frames.Captured, s.Frames.Captured), 0
		f.Dropped[pipeline.ReasonLost] += minus(f.Captured, f.Delivered+f.Filtered+f.Lost())
		m.base, m.last, m.behind = sum(m.base, unknown), s, time.Time{}
	}
}

// reading is everything up to now.
func (m *meter) reading() *reading {
	s := sum(m.base, m.last)
	s.Frames.InFlight = m.last.Frames.InFlight
	out := &reading{frames: s.Frames, lat: s.Latency, status: m.last}
	for _, x := range s.Stages {
		work := x.Execute.Clone()
		if x.Reduce.Count() > 0 && x.Execute.Mean() < x.Reduce.Mean() {
			// A stage whose work is to reduce does next to nothing else.
			work = x.Reduce.Clone()
		}
		out.stages = append(out.stages, stageReading{
			StageSample: testbed.StageSample{Task: x.Task, Received: x.Received, Processed: x.Processed, Dropped: x.Dropped},
			queue:       x.Queue, transfer: x.Transfer, work: work,
		})
	}
	return out
}

// sourceOf is how a source is doing; one that is not there has done nothing.
func sourceOf(s api.WorkflowStatus, name string) api.SourceStatus {
	for _, x := range s.Sources {
		if x.Source == name {
			return x
		}
	}
	return api.SourceStatus{}
}

// sum adds a's counts to b's; all else is b's.
func sum(a, b api.WorkflowStatus) api.WorkflowStatus {
	out := b
	out.Frames = a.Frames.Plus(b.Frames)
	out.Latency = merged(a.Latency, b.Latency)
	out.Stages = nil
	for _, x := range b.Stages {
		if y := stageOf(a, x.Task); y != nil {
			x.Received += y.Received
			x.Processed += y.Processed
			x.Filtered += y.Filtered
			x.Bytes += y.Bytes
			x.Dropped = pipeline.Counts{Dropped: x.Dropped}.Plus(pipeline.Counts{Dropped: y.Dropped}).Dropped
			x.Queue, x.Transfer = merged(y.Queue, x.Queue), merged(y.Transfer, x.Transfer)
			x.Execute, x.Reduce = merged(y.Execute, x.Execute), merged(y.Reduce, x.Reduce)
		}
		out.Stages = append(out.Stages, x)
	}
	return out
}

// less takes from a status what an earlier one, or one that knows less, had
// counted. Nothing falls below zero.
func less(s, earlier api.WorkflowStatus) api.WorkflowStatus {
	s.Frames = since(s.Frames, earlier.Frames)
	s.Latency = s.Latency.Since(earlier.Latency)
	for i := range s.Stages {
		x := &s.Stages[i]
		y := stageOf(earlier, x.Task)
		if y == nil {
			continue
		}
		x.Received, x.Processed, x.Bytes = minus(x.Received, y.Received), minus(x.Processed, y.Processed), minus(x.Bytes, y.Bytes)
		x.Filtered = minus(x.Filtered, y.Filtered)
		x.Dropped = since(pipeline.Counts{Dropped: x.Dropped}, pipeline.Counts{Dropped: y.Dropped}).Dropped
		x.Execute, x.Reduce = x.Execute.Since(y.Execute), x.Reduce.Since(y.Reduce)
		x.Transfer, x.Queue = x.Transfer.Since(y.Transfer), x.Queue.Since(y.Queue)
	}
	for i := range s.Sources {
		x := &s.Sources[i]
		for k := range earlier.Sources {
			if y := &earlier.Sources[k]; y.Source == x.Source {
				x.Frames = since(x.Frames, y.Frames)
				x.Capture = x.Capture.Since(y.Capture)
			}
		}
	}
	return s
}

// clone copies what less changes in place.
func clone(s api.WorkflowStatus) api.WorkflowStatus {
	s.Stages = append([]api.StageStatus(nil), s.Stages...)
	s.Sources = append([]api.SourceStatus(nil), s.Sources...)
	return s
}

func stageOf(s api.WorkflowStatus, task string) *api.StageStatus {
	for i := range s.Stages {
		if s.Stages[i].Task == task {
			return &s.Stages[i]
		}
	}
	return nil
}

// since is what became of frames between two states of the accounts. Those in
// flight at the start count among the captured: they are settled in it.
func since(end, start pipeline.Counts) pipeline.Counts {
	out := pipeline.Counts{
		Captured: minus(end.Captured, start.Captured) + start.InFlight, Delivered: minus(end.Delivered, start.Delivered),
		Filtered: minus(end.Filtered, start.Filtered), InFlight: end.InFlight, Dropped: map[pipeline.Reason]uint64{},
	}
	for reason, n := range end.Dropped {
		if d := minus(n, start.Dropped[reason]); d > 0 {
			out.Dropped[reason] = d
		}
	}
	return out
}

// minus is a − b, or 0: what counts as lost may turn up again.
func minus(a, b uint64) uint64 { return a - min(a, b) }

func merged(a, b *pipeline.Histogram) *pipeline.Histogram {
	h := a.Clone()
	h.Merge(b)
	return h
}
