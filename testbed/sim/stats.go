package sim

import (
	"slices"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// stats is what is counted of a run.
type stats struct {
	measuring bool // the warm-up is over

	all, measured counts
	latency       tally           // of frames delivered in the measured time
	recent        []time.Duration // ages of frames delivered since the last sample
	stages        []stageStats    // by task
}

// counts accounts for frames.
type counts struct {
	captured, open uint64
	fates          [reasons]uint64
}

// stageStats counts what the instances of a task do; the tallies only of the
// measured time.
type stageStats struct {
	handled               handled
	before                handled // the measured time
	queue, transfer, work tally
}

type handled struct {
	received, processed uint64
	dropped             [reasons]uint64
}

// tally is a histogram with an exact mean.
type tally struct {
	histogram *pipeline.Histogram
	n         uint64
	sum       time.Duration
}

func (t *tally) record(d time.Duration) {
	t.histogram.Record(d)
	t.n++
	t.sum += d
}

func newTally() tally { return tally{histogram: pipeline.NewHistogram()} }

func newStats(tasks int) *stats {
	s := &stats{latency: newTally(), stages: make([]stageStats, tasks)}
	for i := range s.stages {
		s.stages[i].queue, s.stages[i].transfer, s.stages[i].work = newTally(), newTally(), newTally()
	}
	return s
}

// measure ends the warm-up.
func (s *stats) measure() {
	s.measuring = true
	for i := range s.stages {
		s.stages[i].before = s.stages[i].handled
	}
}

func (s *stats) captured(f *frame) {
	s.all.captured++
	s.all.open++
	if f.measured {
		s.measured.captured++
		s.measured.open++
	}
}

func (s *stats) settled(f *frame, why reason) {
	s.all.settle(why, 1)
	if f.measured {
		s.measured.settle(why, 1)
	}
	if why != delivered {
		return
	}
	s.recent = append(s.recent, f.age)
	if s.measuring {
		s.latency.record(f.age)
	}
}

// wroteOff settles the frames of a source that has ended, of which so many
// were captured in the measured time.
func (s *stats) wroteOff(why reason, n, measured int) {
	s.all.settle(why, uint64(n))
	s.measured.settle(why, uint64(measured))
}

func (c *counts) settle(why reason, n uint64) {
	c.open -= n
	c.fates[why] += n
}

func (c *counts) export() pipeline.Counts {
	return pipeline.Counts{
		Captured: c.captured, Delivered: c.fates[delivered], Filtered: c.fates[filtered], InFlight: c.open, Dropped: dropped(c.fates),
	}
}

func dropped(fates [reasons]uint64) map[pipeline.Reason]uint64 {
	out := map[pipeline.Reason]uint64{}
	for r, n := range fates {
		if reason(r) != delivered && reason(r) != filtered && n > 0 {
			out[reasonNames[r]] = n
		}
	}
	return out
}

func (s *stats) received(task int32)            { s.stages[task].handled.received++ }
func (s *stats) dropped(task int32, why reason) { s.stages[task].handled.dropped[why]++ }
func (s *stats) queued(task int32, d time.Duration) {
	if s.measuring {
		s.stages[task].queue.record(d)
	}
}

func (s *stats) transferred(task int32, d time.Duration) {
	if s.measuring {
		s.stages[task].transfer.record(d)
	}
}

func (s *stats) processed(task int32, d time.Duration) {
	s.stages[task].handled.processed++
	if s.measuring {
		s.stages[task].work.record(d)
	}
}

// spell describes the frames delivered since it was asked last.
func (s *stats) spell() testbed.Latency {
	defer func() { s.recent = s.recent[:0] }()
	n := len(s.recent)
	if n == 0 {
		return testbed.Latency{}
	}
	var sum time.Duration
	for _, d := range s.recent {
		sum += d
	}
	slices.Sort(s.recent)
	at := func(percent int) time.Duration { return s.recent[(n*percent+99)/100-1] } // nearest rank
	return testbed.Latency{Frames: uint64(n), Mean: sum / time.Duration(n), P50: at(50), P95: at(95), P99: at(99)}
}
