package experiment

import (
	"slices"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// Recovery is what an event did to the frames of one run. Events at the same
// time are one. It is measured on the samples, with a window W of 5 s or five
// sampling intervals, whichever is longer; between samples, frames are taken
// to be delivered evenly.
//
// The event's span is from when it was carried out until the next event or the
// end of the run. Before is the throughput over the W before the span (less
// where an event came within it, but at least one sampling interval), After
// that over the last W of the span.
//
// The run is disturbed at time s of the span if throughput over s to s + W is
// below 90 % of the reference: of Before for an event that takes something away
// (kill, stop, pause, drain, partition, link), of After, the new steady state, for
// others (start, resume, undrain, heal, restore, sources). A disturbance that begins
// later than W after the event is not put down to it. RecoveredAfter is from
// the event until the end of the first disturbance: 0 where there was none, nil
// where it lasted to the end of the span or nothing flowed before.
//
// Gap is the longest time of the span without a delivered frame that the samples
// show; the true one may be up to two sampling intervals longer.
//
// Lost are the frames that were found lost from the event until W after it had
// recovered, or to the end of the span. They include those that would have been
// lost anyway, at overload.
type Recovery struct {
	Run            int                        `json:"run"`
	At             float64                    `json:"at_s"` // when the event was carried out
	Until          float64                    `json:"until_s"`
	Last           bool                       `json:"last"`   // the span is up to the end of the run
	Errors         []string                   `json:"errors"` // why it could not be carried out
	Before         float64                    `json:"before_fps"`
	After          float64                    `json:"after_fps"`
	Gap            float64                    `json:"gap_s"`
	RecoveredAfter *float64                   `json:"recovered_after_s,omitempty"`
	Lost           map[pipeline.Reason]uint64 `json:"lost_frames"`
	Decisions      []Decided                  `json:"decisions"` // of the coordinator, in the span
}

// Decided is a decision of the coordinator.
type Decided struct {
	At      float64 `json:"at_s"`
	Type    string  `json:"type"`
	Subject string  `json:"subject"`
	Message string  `json:"message"`
}

// Total is the number of frames lost.
func (r *Recovery) Total() uint64 { return pipeline.Counts{Dropped: r.Lost}.Lost() }

const (
	windowTime    = 5 * time.Second
	windowSamples = 5
	recoveredAt   = 0.9 // of the reference
)

// recoveries measures every incident that a run came to, by its number.
func recoveries(all []incident, rec *testbed.Recording) map[int]Recovery {
	out := map[int]Recovery{}
	if len(rec.Samples) < 2 {
		return out
	}
	c := curve(rec.Samples)
	w := window(rec.Samples)
	when := moments(all, rec.Marks)
	floor := c[0].At // Before reaches no further back
	before := 0.0
	for k, in := range all {
		from, end, last := when[k].at, c[len(c)-1].At, true
		if k+1 < len(all) && when[k+1].at < end {
			end, last = when[k+1].at, false
		}
		if from < c[0].At || from >= end {
			continue // the run did not come to it, or the next came on its heels
		}
		// Frames of the sample after the event may already lack: look back from
		// the one before.
		base := c.at(from).At
		if start := max(base-w, floor); start < base {
			before = c.throughput(start, base)
		}
		floor = max(floor, c.after(from).At)

		r := Recovery{
			Run: rec.Run, At: from.Seconds(), Until: end.Seconds(), Last: last, Errors: when[k].errors,
			Before: before, After: c.throughput(max(from, end-w), end), Gap: c.gap(from, end).Seconds(),
			Decisions: decisions(rec.Marks, from, end, last),
		}
		reference := r.After
		if in.takes() {
			reference = r.Before
		}
		counted := end
		if back, ok := c.recovered(from, end, w, recoveredAt*reference); ok && reference > 0 {
			s := (back - from).Seconds()
			r.RecoveredAfter = &s
			counted = min(end, back+w)
		}
		r.Lost = lostBetween(c.at(from), c.after(counted))
		out[in.number] = r
	}
	return out
}

// window is the W of Recovery.
func window(samples []testbed.Sample) time.Duration {
	return max(windowTime, windowSamples*interval(samples))
}

// interval is the median time between samples.
func interval(samples []testbed.Sample) time.Duration {
	var all []time.Duration
	for i := 1; i < len(samples); i++ {
		all = append(all, samples[i].At-samples[i-1].At)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// frames are samples in strict order of time.
type frames []testbed.Sample

// curve leaves out samples that do not come after the one before, and lets no
// count shrink.
func curve(samples []testbed.Sample) frames {
	var out frames
	for _, s := range samples {
		if n := len(out); n > 0 {
			if s.At <= out[n-1].At {
				continue
			}
			s.Frames.Delivered = max(s.Frames.Delivered, out[n-1].Frames.Delivered)
		}
		out = append(out, s)
	}
	return out
}

// next is the index of the first sample after t.
func (c frames) next(t time.Duration) int {
	i, found := slices.BinarySearchFunc(c, t, func(s testbed.Sample, t time.Duration) int { return int(s.At - t) })
	if found {
		i++
	}
	return i
}

// at is the last sample that is not after t, or else the first.
func (c frames) at(t time.Duration) *testbed.Sample { return &c[max(c.next(t)-1, 0)] }

// after is the first sample that is not before t, or else the last.
func (c frames) after(t time.Duration) *testbed.Sample { return &c[min(c.next(t-1), len(c)-1)] }

// delivered is how many frames were delivered until t.
func (c frames) delivered(t time.Duration) float64 {
	i := c.next(t)
	if i == 0 {
		return float64(c[0].Frames.Delivered)
	}
	if i == len(c) {
		return float64(c[i-1].Frames.Delivered)
	}
	a, b := &c[i-1], &c[i]
	return float64(a.Frames.Delivered) + float64(b.Frames.Delivered-a.Frames.Delivered)*float64(t-a.At)/float64(b.At-a.At)
}

// throughput is frames delivered a second from one time to another.
func (c frames) throughput(from, to time.Duration) float64 {
	if to <= from {
		return 0
	}
	return (c.delivered(to) - c.delivered(from)) / (to - from).Seconds()
}

// gap is the longest time between from and to in which samples show no
// delivered frame.
func (c frames) gap(from, to time.Duration) time.Duration {
	var longest, here time.Duration
	for i := max(c.next(from), 1); i < len(c) && c[i-1].At < to; i++ {
		if c[i].Frames.Delivered > c[i-1].Frames.Delivered {
			here = 0
			continue
		}
		here += min(c[i].At, to) - max(c[i-1].At, from)
		longest = max(longest, here)
	}
	return longest
}

// recovered is when throughput over w is back at least, after a disturbance
// that begins within w after from; false: not before end. A span shorter than w
// is one window.
func (c frames) recovered(from, end, w time.Duration, least float64) (time.Duration, bool) {
	disturbed := false
	for s, i := from, c.next(from); ; i++ {
		low := c.throughput(s, min(s+w, end)) < least
		switch {
		case disturbed && !low:
			return s, true
		case !disturbed && s > from+w:
			return from, true
		}
		disturbed = low
		if i >= len(c) || c[i].At+w > end {
			return from, !disturbed
		}
		s = c[i].At
	}
}

// lostBetween is what was dropped from one sample to another.
func lostBetween(a, b *testbed.Sample) map[pipeline.Reason]uint64 {
	out := map[pipeline.Reason]uint64{}
	for r, n := range b.Frames.Dropped {
		if was := a.Frames.Dropped[r]; n > was {
			out[r] = n - was
		}
	}
	return out
}

// decisions are those in the span, with those at its end if it is the last.
func decisions(marks []testbed.Mark, from, end time.Duration, last bool) []Decided {
	out := []Decided{}
	for _, m := range marks {
		if m.Kind == testbed.Decision && m.At >= from && (m.At < end || last) {
			out = append(out, Decided{m.At.Seconds(), m.Type, m.Subject, m.Message})
		}
	}
	sortBy(out, func(d Decided) float64 { return d.At })
	return out
}
