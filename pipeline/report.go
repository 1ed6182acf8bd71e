package pipeline

import "github.com/weft-mesh/weft/tiering"

// Counts accounts for frames: Captured = Delivered + Filtered + sum(Dropped) +
// InFlight.
type Counts struct {
	Captured  uint64            `json:"captured"`
	Delivered uint64            `json:"delivered"`
	Filtered  uint64            `json:"filtered,omitempty"` // hardly differed from an earlier one
	InFlight  uint64            `json:"in_flight"`
	Dropped   map[Reason]uint64 `json:"dropped"`
}

// Lost is the sum of all drops.
func (c Counts) Lost() uint64 {
	var n uint64
	for _, v := range c.Dropped {
		n += v
	}
	return n
}

// Balanced reports whether every captured frame is accounted for.
func (c Counts) Balanced() bool { return c.Captured == c.Delivered+c.Filtered+c.Lost()+c.InFlight }

// Plus returns the sum of both.
func (c Counts) Plus(d Counts) Counts {
	out := Counts{
		Captured: c.Captured + d.Captured, Delivered: c.Delivered + d.Delivered, Filtered: c.Filtered + d.Filtered,
		InFlight: c.InFlight + d.InFlight, Dropped: map[Reason]uint64{},
	}
	for _, m := range []map[Reason]uint64{c.Dropped, d.Dropped} {
		for k, v := range m {
			out.Dropped[k] += v
		}
	}
	return out
}

// Status is how an instance is doing.
type Status string

// The statuses.
const (
	StatusStarting Status = "starting"
	StatusRunning  Status = "running"
	StatusRetrying Status = "retrying" // failed, will be tried again; Message says why
	StatusHeld     Status = "held"     // takes no frames in for now; Message says why
	StatusEnded    Status = "ended"    // a source that has no more frames
	StatusFailed   Status = "failed"   // will not be tried again; Message says why
)

// SourceReport is what an agent says of one source it runs. Counts and
// histograms grow from the start of the epoch.
type SourceReport struct {
	Instance string `json:"instance"`
	Epoch    uint32 `json:"epoch"` // random, of one start of the instance
	Workflow string `json:"workflow"`
	Source   string `json:"source"`
	Status   Status `json:"status"`
	Message  string `json:"message,omitempty"`
	// Quality is that of the frames it makes now; nil: an agent of before there
	// was more than one.
	Quality *tiering.Quality `json:"quality,omitempty"`
	Frames  Counts           `json:"frames"`
	// Skipped is the pictures that were passed over, for the quality has fewer
	// analysed.
	Skipped uint64 `json:"skipped,omitempty"`
	// RanMS is for how long the instance had run when this was counted, in
	// milliseconds; reports may be long under way. 0: an older agent.
	RanMS   int64      `json:"ran_ms,omitempty"`
	Capture *Histogram `json:"capture"` // grab and decode
	Latency *Histogram `json:"latency"` // capture to delivery, of delivered frames
}

// StageReport is what an agent says of one task instance it runs.
type StageReport struct {
	Instance   string            `json:"instance"`
	Epoch      uint32            `json:"epoch"` // random, of one start of the instance
	Workflow   string            `json:"workflow"`
	Task       string            `json:"task"`
	Status     Status            `json:"status"`
	Message    string            `json:"message,omitempty"`
	Backend    string            `json:"backend,omitempty"` // effective one of a detector
	Turns      int               `json:"turns,omitempty"`   // how many instances of the node work at a time, this one among them; 0: it waits for none
	Received   uint64            `json:"received"`
	Processed  uint64            `json:"processed"`                // and handed on
	Filtered   uint64            `json:"filtered,omitempty"`       // and not handed on, since they hardly differ
	Bytes      uint64            `json:"received_bytes,omitempty"` // of pictures that came from other nodes
	Dropped    map[Reason]uint64 `json:"dropped"`
	Queue      *Histogram        `json:"queue"`
	Transfer   *Histogram        `json:"transfer"`
	Link       *Histogram        `json:"link,omitempty"` // of the transfer what the link took; nil: an older weftd
	Reduce     *Histogram        `json:"reduce"`
	Execute    *Histogram        `json:"execute"`
	Detections map[string]uint64 `json:"detections,omitempty"` // by label
	Judged     *Judged           `json:"judged,omitempty"`     // nil: nobody knows what the frames show
	Filters    []Filtering       `json:"filters,omitempty"`    // of filters only, by source
}

// Filtering is what a filter goes by for the frames of one source.
type Filtering struct {
	Source    string  `json:"source"`
	Threshold float64 `json:"threshold"` // frames that differ by no more are skipped
	Skips     bool    `json:"skips"`     // false: none is, for too little is known or nothing may be
	// What was learnt of the threshold: the share of accuracy that it keeps, and
	// of frames that are analysed; 0: it was given.
	Accuracy float64 `json:"accuracy,omitempty"`
	Analysed float64 `json:"analysed,omitempty"`
}

// Judged counts how right detections were, in frames of which it is known what
// they show.
type Judged struct {
	Frames uint64 `json:"frames"`
	Right  uint64 `json:"right"`  // objects found
	Wrong  uint64 `json:"wrong"`  // found, and not there
	Missed uint64 `json:"missed"` // there, and not found
}

// Plus returns the sum of both.
func (j Judged) Plus(k Judged) Judged {
	return Judged{j.Frames + k.Frames, j.Right + k.Right, j.Wrong + k.Wrong, j.Missed + k.Missed}
}

// F1 is the harmonic mean of precision and recall; 1 if there was nothing to
// find and nothing was found.
func (j Judged) F1() float64 {
	if j.Right+j.Wrong+j.Missed == 0 {
		return 1
	}
	return 2 * float64(j.Right) / float64(2*j.Right+j.Wrong+j.Missed)
}

// Report is what an agent says of everything it runs, and once more of what
// has stopped since its last report.
type Report struct {
	Node string `json:"node"`
	Run  string `json:"run"` // random, of one run of the agent
	// Index is that of the state that the agent follows: what it runs, and
	// where frames go, is as the assignments of that index say. 0: it has none.
	Index   uint64         `json:"index,omitempty"`
	Sources []SourceReport `json:"sources"`
	Stages  []StageReport  `json:"stages"`
	// Lacking says of the models that the node is to have and could not get why,
	// by name.
	Lacking map[string]string `json:"lacking_models,omitempty"`
}
