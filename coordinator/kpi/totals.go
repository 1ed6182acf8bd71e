package kpi

import (
	"maps"

	"github.com/weft-mesh/weft/pipeline"
)

// totals sums up reports of one workflow.
type totals struct {
	sources map[string]*sourceTotals // by source name
	tasks   map[string]*taskTotals   // by task name
}

type sourceTotals struct {
	frames           pipeline.Counts
	capture, latency *pipeline.Histogram // nil: empty, here and below
}

type taskTotals struct {
	received, processed, bytes       uint64
	filtered                         uint64
	dropped                          map[pipeline.Reason]uint64
	queue, transfer, reduce, execute *pipeline.Histogram
	detections                       map[string]uint64
	judged                           pipeline.Judged
}

func newTotals() *totals {
	return &totals{sources: map[string]*sourceTotals{}, tasks: map[string]*taskTotals{}}
}

func (t *totals) source(name string) *sourceTotals {
	s := t.sources[name]
	if s == nil {
		s = &sourceTotals{frames: pipeline.Counts{Dropped: map[pipeline.Reason]uint64{}}}
		t.sources[name] = s
	}
	return s
}

func (t *totals) task(name string) *taskTotals {
	s := t.tasks[name]
	if s == nil {
		s = &taskTotals{dropped: map[pipeline.Reason]uint64{}, detections: map[string]uint64{}}
		t.tasks[name] = s
	}
	return s
}

// add adds one report; gone: its frames in flight are lost.
func (t *totals) add(e *reported, gone bool) {
	if r := e.source; r != nil {
		s := t.source(r.Source)
		frames := r.Frames
		if gone {
			frames = lost(frames)
		}
		s.frames = s.frames.Plus(frames)
		s.capture = merge(s.capture, r.Capture)
		s.latency = merge(s.latency, r.Latency)
	}
	if r := e.stage; r != nil {
		s := t.task(r.Task)
		s.received += r.Received
		s.processed += r.Processed
		s.filtered += r.Filtered
		s.bytes += r.Bytes
		accumulate(s.dropped, r.Dropped)
		accumulate(s.detections, r.Detections)
		if r.Judged != nil {
			s.judged = s.judged.Plus(*r.Judged)
		}
		s.queue = merge(s.queue, r.Queue)
		s.transfer = merge(s.transfer, r.Transfer)
		s.reduce = merge(s.reduce, r.Reduce)
		s.execute = merge(s.execute, r.Execute)
	}
}

// merge adds other totals.
func (t *totals) merge(o *totals) {
	for name, x := range o.sources {
		s := t.source(name)
		s.frames = s.frames.Plus(x.frames)
		s.capture = merge(s.capture, x.capture)
		s.latency = merge(s.latency, x.latency)
	}
	for name, x := range o.tasks {
		s := t.task(name)
		s.received += x.received
		s.processed += x.processed
		s.filtered += x.filtered
		s.bytes += x.bytes
		accumulate(s.dropped, x.dropped)
		accumulate(s.detections, x.detections)
		s.judged = s.judged.Plus(x.judged)
		s.queue = merge(s.queue, x.queue)
		s.transfer = merge(s.transfer, x.transfer)
		s.reduce = merge(s.reduce, x.reduce)
		s.execute = merge(s.execute, x.execute)
	}
}

// merge returns the sum of two histograms, of which into may be changed. Nil is
// empty: most instances never report some of theirs.
func merge(into, add *pipeline.Histogram) *pipeline.Histogram {
	if add.Count() == 0 {
		return into
	}
	if into == nil {
		return add.Clone()
	}
	into.Merge(add)
	return into
}

func accumulate[K comparable](into, add map[K]uint64) {
	for k, v := range add {
		into[k] += v
	}
}

// lost settles the frames in flight of a source that will never hear of them.
func lost(c pipeline.Counts) pipeline.Counts {
	if c.InFlight == 0 {
		return c
	}
	dropped := maps.Clone(c.Dropped)
	if dropped == nil {
		dropped = map[pipeline.Reason]uint64{}
	}
	dropped[pipeline.ReasonLost] += c.InFlight
	c.Dropped, c.InFlight = dropped, 0
	return c
}
