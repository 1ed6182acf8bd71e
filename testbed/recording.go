package testbed

import (
	"cmp"
	"slices"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// Method is how a recording came about.
type Method string

// The methods.
const (
	Emulated  Method = "emulated"
	Simulated Method = "simulated"
)

// Recording is what one run of a scenario left. Times are from the end of the
// warm-up; those before it are negative.
type Recording struct {
	Method    Method
	Scenario  string
	Seed      uint64
	Run       int           // from 1, of a repetition
	Began     time.Time     // of the warm-up; zero for a simulation
	Took      time.Duration // of real time, set-up excluded
	Shaping   string        // how links were emulated; empty for a simulation
	Links     []LinkCheck
	Costs     Costs // that the simulation used, or the emulation measured
	Samples   []Sample
	Marks     []Mark
	Totals    Totals
	Simulated uint64 // events; zero for an emulation
}

// Sample is the state at one moment. Counts and durations of work grow from
// the beginning; latencies are those of the time since the sample before.
type Sample struct {
	At      time.Duration
	Sources int // that run
	Frames  pipeline.Counts
	Latency Latency
	// Qualities says how many of the sources have which quality, the largest
	// first; those that are held have none.
	Qualities []QualitySample
	Stages    []StageSample // in order of the workflow's tasks
	Nodes     []NodeSample  // in order of the scenario's
}

// QualitySample is how many sources have a quality.
type QualitySample struct {
	Quality tiering.Quality
	Sources int
}

// CountQualities makes samples of the sources' qualities. What is not said of a
// quality is 1: every frame is analysed.
func CountQualities(of []tiering.Quality) []QualitySample {
	n := map[tiering.Quality]int{}
	for _, q := range of {
		q.Every = max(q.Every, 1)
		n[q]++
	}
	var out []QualitySample
	for q, k := range n {
		out = append(out, QualitySample{q, k})
	}
	slices.SortFunc(out, func(a, b QualitySample) int {
		x, y := a.Quality, b.Quality
		return cmp.Or(cmp.Compare(y.Resolution, x.Resolution), cmp.Compare(x.Model, y.Model), cmp.Compare(x.Every, y.Every))
	})
	return out
}

// Latency describes the frames delivered in a span of time, from capture to
// result. Without frames it is zero.
type Latency struct {
	Frames              uint64
	Mean, P50, P95, P99 time.Duration
}

// StageSample is how the instances of one task are doing.
type StageSample struct {
	Task      string
	Received  uint64
	Processed uint64
	Dropped   map[pipeline.Reason]uint64
}

// NodeSample is what a node uses.
type NodeSample struct {
	Node   string
	Up     bool
	CPU    time.Duration // of cores, since the beginning; of an emulated node: of its cgroup
	Memory int64         // bytes; zero in a simulation
}

// Mark is something that happened: an event of the timeline, or a decision of
// the coordinator.
type Mark struct {
	At      time.Duration
	Kind    MarkKind
	Type    string // an Action, or a type of the coordinator's events
	Subject string // node, workflow or placement
	Message string // for people
	Error   string // why an event could not be carried out
}

// MarkKind is who did it.
type MarkKind string

// The kinds.
const (
	Timeline MarkKind = "timeline"
	Decision MarkKind = "decision"
)

// Totals describe the measured time, without the warm-up.
type Totals struct {
	Duration   time.Duration
	Frames     pipeline.Counts     // captured in it, and what became of them as far as known
	Latency    *pipeline.Histogram // of the frames delivered in it
	Throughput float64             // frames delivered a second
	Stages     []StageTotals
	Sources    []SourceTotals      // those that run at the end, by name
	Placements []tiering.Placement // at the end
}

// SourceTotals are what became of a source's frames in the measured time,
// whenever they were captured.
type SourceTotals struct {
	Source              string
	Captured, Delivered uint64
	Filtered            uint64 // by a filter: what was found before is shown
}

// StageTotals describe one task.
type StageTotals struct {
	Task      string
	Processed uint64
	Dropped   map[pipeline.Reason]uint64
	Queue     *pipeline.Histogram
	Transfer  *pipeline.Histogram
	Work      *pipeline.Histogram // reduce and execute
	Judged    pipeline.Judged     // where it is known what frames show
}

// LinkCheck is what was asked of a link, and what was measured. Of what was
// not measured the verdict is empty.
type LinkCheck struct {
	From, To   string // one direction; round trips are checked in one of them
	Asked      Link
	RoundTrip  time.Duration // median measured
	Throughput float64       // bits a second, of packets whole
	Lost, Sent int           // packets of the loss check
	Verdicts   []Verdict
}

// Verdict is the result of one check of a link.
type Verdict struct {
	What  string // "round trip", "throughput", "loss"
	OK    bool
	Asked string // for people, with its tolerance
	Found string
}

// OK reports whether every check passed.
func (c *LinkCheck) OK() bool {
	for _, v := range c.Verdicts {
		if !v.OK {
			return false
		}
	}
	return true
}
