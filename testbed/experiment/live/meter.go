package live

import (
	"maps"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// meter adds up what the mesh says of a workflow, so that the sums grow also
// where the mesh begins to count anew: a new leader knows what the present
// instances report, and nothing of those before them.
type meter struct {
	before  api.WorkflowStatus // sums of former countings
	last    api.WorkflowStatus // newest, of the present counting
	known   bool
	sampled *pipeline.Histogram // latencies up to the last sample
}

func newMeter() *meter { return &meter{sampled: pipeline.NewHistogram()} }

// add takes the newest status.
func (m *meter) add(s api.WorkflowStatus) {
	if m.known && settled(s.Frames) < settled(m.last.Frames) {
		m.before = sum(m.before, m.last)
	}
	m.last, m.known = s, true
}

func settled(c pipeline.Counts) uint64 { return c.Delivered + c.Lost() }

// reading is everything up to now.
func (m *meter) reading() *reading {
	s := sum(m.before, m.last)
	// What was in flight at the end of a former counting is not known.
	s.Frames.InFlight = m.last.Frames.InFlight
	s.Frames.Captured = settled(s.Frames) + s.Frames.InFlight
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

// sum adds b's counts to a's; all else is b's.
func sum(a, b api.WorkflowStatus) api.WorkflowStatus {
	out := b
	out.Frames = a.Frames.Plus(b.Frames)
	out.Latency = merged(a.Latency, b.Latency)
	out.Stages = nil
	for _, x := range b.Stages {
		for _, y := range a.Stages {
			if y.Task != x.Task {
				continue
			}
			x.Received += y.Received
			x.Processed += y.Processed
			x.Bytes += y.Bytes
			x.Dropped = maps.Clone(x.Dropped)
			for reason, n := range y.Dropped {
				if x.Dropped == nil {
					x.Dropped = map[pipeline.Reason]uint64{}
				}
				x.Dropped[reason] += n
			}
			x.Queue, x.Transfer = merged(y.Queue, x.Queue), merged(y.Transfer, x.Transfer)
			x.Execute, x.Reduce = merged(y.Execute, x.Execute), merged(y.Reduce, x.Reduce)
		}
		out.Stages = append(out.Stages, x)
	}
	return out
}

func merged(a, b *pipeline.Histogram) *pipeline.Histogram {
	h := a.Clone()
	h.Merge(b)
	return h
}
