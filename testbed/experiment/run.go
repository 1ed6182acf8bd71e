package experiment

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// Run is the tables of one run while it goes on. It is safe for concurrent use.
// An error names the table and what is in it; the other tables go on, and the
// rows that are in stay.
type Run struct {
	mu                                   sync.Mutex
	series, stages, nodes, events, links *table
	last                                 testbed.Sample
	started                              bool // last is set
}

// reasons are the columns of drops, in the order of pipeline's; a reason that
// is none of them is counted in otherReason.
var reasons = []pipeline.Reason{
	pipeline.ReasonQueueFull, pipeline.ReasonDeadline, pipeline.ReasonLink, pipeline.ReasonNoRoute, pipeline.ReasonStage,
	pipeline.ReasonOversized, pipeline.ReasonMalformed, pipeline.ReasonShutdown, pipeline.ReasonLost, otherReason,
}

const otherReason pipeline.Reason = "other"

func newRun(dir string) (*Run, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	var drops []string
	for _, r := range reasons {
		drops = append(drops, "dropped_"+string(r))
	}
	series := []string{"t_s", "sources", "captured", "delivered", "filtered", "in_flight"}
	series = append(series, drops...)
	series = append(series, "throughput_fps", "latency_frames", "latency_mean_ms", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
	r := &Run{}
	for _, t := range []struct {
		into   **table
		name   string
		header []string
	}{
		{&r.series, "series.csv", series},
		{&r.stages, "stages.csv", append([]string{"t_s", "task", "received", "processed"}, drops...)},
		{&r.nodes, "nodes.csv", []string{"t_s", "node", "up", "cpu_cores", "memory_bytes"}},
		{&r.events, "events.csv", []string{"t_s", "kind", "type", "subject", "message", "error"}},
		{&r.links, "links.csv", []string{
			"from", "to", "asked_delay_ms", "asked_jitter_ms", "asked_rate_bps", "asked_loss", "asked_queue",
			"round_trip_ms", "throughput_bps", "sent", "lost", "check", "ok", "asked", "found",
		}},
	} {
		made, err := newTable(filepath.Join(dir, t.name), t.header)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		*t.into = made
	}
	return r, nil
}

// Sample appends a sample: a row of frames, one for each task and one for each
// node. Counts are those of the sample, throughput and CPU those since the
// sample before it, empty in the first; so are latencies without frames.
func (r *Run) Sample(s testbed.Sample) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := seconds(s.At)
	row := []string{at, strconv.Itoa(s.Sources), count(s.Frames.Captured), count(s.Frames.Delivered), count(s.Frames.Filtered), count(s.Frames.InFlight)}
	row = append(row, dropColumns(s.Frames.Dropped)...)
	since := s.At - r.last.At
	if !r.started || since <= 0 {
		row = append(row, "")
	} else {
		row = append(row, decimal(rate(r.last.Frames.Delivered, s.Frames.Delivered, since), 3))
	}
	row = append(row, count(s.Latency.Frames))
	for _, l := range []time.Duration{s.Latency.Mean, s.Latency.P50, s.Latency.P95, s.Latency.P99} {
		if s.Latency.Frames == 0 {
			row = append(row, "")
		} else {
			row = append(row, millis(l))
		}
	}
	var stages, nodes [][]string
	for _, x := range s.Stages {
		stages = append(stages, append([]string{at, x.Task, count(x.Received), count(x.Processed)}, dropColumns(x.Dropped)...))
	}
	for _, n := range s.Nodes {
		cores := ""
		if used, ok := cpuBetween(&r.last, &s, n.Node); ok && r.started {
			cores = decimal(used, 4)
		}
		nodes = append(nodes, []string{at, n.Node, strconv.FormatBool(n.Up), cores, strconv.FormatInt(n.Memory, 10)})
	}
	r.last, r.started = s, true
	return errors.Join(r.series.add([][]string{row}), r.stages.add(stages), r.nodes.add(nodes))
}

// Mark appends an event or a decision.
func (r *Run) Mark(m testbed.Mark) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events.add([][]string{{seconds(m.At), string(m.Kind), m.Type, m.Subject, m.Message, m.Error}})
}

// Links appends checks of links: a row for each verdict, and one for a link
// that was not checked.
func (r *Run) Links(checks []testbed.LinkCheck) error {
	var rows [][]string
	for _, c := range checks {
		link := []string{
			c.From, c.To, millis(c.Asked.Delay), millis(c.Asked.Jitter), strconv.FormatInt(c.Asked.Rate, 10),
			strconv.FormatFloat(c.Asked.Loss, 'g', -1, 64), strconv.Itoa(c.Asked.Queue),
			millis(c.RoundTrip), decimal(c.Throughput, 0), strconv.Itoa(c.Sent), strconv.Itoa(c.Lost),
		}
		if len(c.Verdicts) == 0 {
			rows = append(rows, append(link, "", "", "", ""))
		}
		for _, v := range c.Verdicts {
			rows = append(rows, append(slices.Clone(link), v.What, strconv.FormatBool(v.OK), v.Asked, v.Found))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.links.add(rows)
}

// write appends a whole recording.
func (r *Run) write(rec *testbed.Recording) error {
	errs := []error{r.Links(rec.Links)}
	// A table that failed says so at each row; once is enough.
	for _, s := range rec.Samples {
		if err := r.Sample(s); err != nil {
			errs = append(errs, err)
			break
		}
	}
	for _, m := range rec.Marks {
		if err := r.Mark(m); err != nil {
			errs = append(errs, err)
			break
		}
	}
	return errors.Join(errs...)
}

// Close closes the tables. What comes later is refused.
func (r *Run) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, t := range []*table{r.series, r.stages, r.nodes, r.events, r.links} {
		if t != nil {
			errs = append(errs, t.close())
		}
	}
	return errors.Join(errs...)
}

func dropColumns(dropped map[pipeline.Reason]uint64) []string {
	by := map[pipeline.Reason]uint64{}
	for r, n := range dropped {
		if !slices.Contains(reasons, r) {
			r = otherReason
		}
		by[r] += n
	}
	var out []string
	for _, r := range reasons {
		out = append(out, count(by[r]))
	}
	return out
}

// rate is how much a count grew a second. A count that shrank began anew.
func rate(before, now uint64, in time.Duration) float64 {
	if now < before {
		before = 0
	}
	return float64(now-before) / in.Seconds()
}

// cpuBetween is how many cores a node used between two samples; false: not
// known.
func cpuBetween(a, b *testbed.Sample, node string) (float64, bool) {
	x, y := nodeIn(a, node), nodeIn(b, node)
	if x == nil || y == nil || b.At <= a.At || y.CPU < x.CPU {
		return 0, false
	}
	return (y.CPU - x.CPU).Seconds() / (b.At - a.At).Seconds(), true
}

func nodeIn(s *testbed.Sample, name string) *testbed.NodeSample {
	for i := range s.Nodes {
		if s.Nodes[i].Node == name {
			return &s.Nodes[i]
		}
	}
	return nil
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

// decimal formats with at most so many digits after the point.
func decimal(x float64, digits int) string {
	return strconv.FormatFloat(round(x, digits), 'f', -1, 64)
}

func seconds(d time.Duration) string { return decimal(d.Seconds(), 6) }
func millis(d time.Duration) string  { return decimal(float64(d)/float64(time.Millisecond), 3) }
