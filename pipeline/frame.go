package pipeline

import (
	"fmt"
	"sync/atomic"
	"time"
)

// FrameID names one captured frame in the mesh.
type FrameID struct {
	Workflow string `json:"workflow"`
	Source   string `json:"source"`
	Epoch    uint32 `json:"epoch"` // random, of one run of the source
	Seq      uint64 `json:"seq"`   // from 1, in order of capture; with gaps where the source numbers its pictures
}

func (id FrameID) String() string {
	return fmt.Sprintf("%s/%s/%08x/%d", id.Workflow, id.Source, id.Epoch, id.Seq)
}

// Format is how an Image's bytes are to be read.
type Format string

// The formats.
const (
	BGR  Format = "bgr" // 8 bits, 3 channels, rows top down, no padding
	JPEG Format = "jpeg"
	PNG  Format = "png"
)

// Image is a picture. Data is never modified once the Image is in a Frame: a
// stage that changes the picture puts a new Image in.
type Image struct {
	Format        Format
	Width, Height int // pixels
	Data          []byte
}

// Box is a rectangle in fractions of the captured picture (0–1), so that it
// holds at any resolution.
type Box struct {
	X float64 `json:"x"` // left
	Y float64 `json:"y"` // top
	W float64 `json:"w"`
	H float64 `json:"h"`
}

// IoU is the intersection over union of two boxes, 0–1.
func (b Box) IoU(c Box) float64 {
	w := min(b.X+b.W, c.X+c.W) - max(b.X, c.X)
	h := min(b.Y+b.H, c.Y+c.H) - max(b.Y, c.Y)
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h / (b.W*b.H + c.W*c.H - w*h)
}

// Detection is one object found in a frame.
type Detection struct {
	Label string  `json:"label"`
	Class int     `json:"class"` // index in the model's class list
	Score float64 `json:"score"` // 0–1
	Box   Box     `json:"box"`
}

// Truth is an object that really is in a picture, which only those who made the
// picture know.
type Truth struct {
	Label string `json:"label"`
	Box   Box    `json:"box"`
	// Ignore: finding it is not right, and missing it is not wrong.
	Ignore bool `json:"ignore,omitempty"`
}

// SpanKind is what a frame's time was spent on.
type SpanKind string

// The kinds of spans. Reduce and Execute together are a stage's service time;
// Queue is the wait before it; Transfer ends at the stage that received.
const (
	SpanCapture  SpanKind = "capture"  // grab and decode at the source
	SpanReduce   SpanKind = "reduce"   // bring to the quality asked for (T_reduce of Eq. 1)
	SpanQueue    SpanKind = "queue"    // wait in a stage's queue
	SpanTransfer SpanKind = "transfer" // encode, link, decode
	SpanExecute  SpanKind = "execute"  // the stage's own work
)

// Span is a measured part of a frame's way.
type Span struct {
	Stage    string        `json:"stage"` // task group, or source name for capture
	Kind     SpanKind      `json:"kind"`
	Duration time.Duration `json:"duration"`
}

// Frame is one picture on its way through a workflow.
type Frame struct {
	ID       FrameID
	Captured time.Time // this process's clock
	Deadline time.Time // this process's clock; zero: none
	// Quality is the resolution at which the frame is to be analysed.
	Quality int
	// Analyser is the model that is to analyse it; empty: any.
	Analyser string
	// SourceWidth and SourceHeight are the captured picture's size in pixels.
	SourceWidth, SourceHeight int
	Image                     Image
	Model                     string // that made the detections, empty before analysis
	Detections                []Detection
	// Truth is what is in the picture; nil: not known, as of any real camera's. It
	// is never modified once it is in a Frame.
	Truth []Truth
	// Ask has the outcome say what was found in the frame.
	Ask   bool
	Spans []Span

	settle  func(Outcome)
	settled atomic.Bool
}

// Reason is why a frame was dropped.
type Reason string

// The reasons. ReasonNone: delivered.
const (
	ReasonNone      Reason = ""
	ReasonQueueFull Reason = "queue_full" // a newer frame took its place
	ReasonDeadline  Reason = "deadline"   // it could not be, or was not, on time
	ReasonLink      Reason = "link"       // the connection broke while it was under way
	ReasonNoRoute   Reason = "no_route"   // no instance takes it
	ReasonStage     Reason = "stage"      // a stage failed on it
	ReasonOversized Reason = "oversized"
	ReasonMalformed Reason = "malformed"
	ReasonShutdown  Reason = "shutdown" // its stage or source was stopped
	ReasonLost      Reason = "lost"     // never heard of again
	// ReasonFiltered is no loss: a filter says that what was found in an earlier
	// frame still holds.
	ReasonFiltered Reason = "filtered"
)

// Outcome is what became of a frame.
type Outcome struct {
	Reason Reason        // ReasonNone: delivered
	Stage  string        // group where it ended
	Age    time.Duration // since capture, when it ended
	// Found is set of a delivered frame that asked for it.
	Found *Finding
}

// Finding is what was found in a frame. It is not changed any more.
type Finding struct {
	Model      string // of several in the order of their instances: "a+b"
	Detections []Detection
}

// Delivered reports whether the frame reached the end of the workflow.
func (o Outcome) Delivered() bool { return o.Reason == ReasonNone }

// OnSettle sets who is told the frame's outcome. The owner sets it once,
// before handing the frame on.
func (f *Frame) OnSettle(fn func(Outcome)) { f.settle = fn }

// Follow has fn be told the frame's outcome, too, before whoever is. Only the
// owner may call it.
func (f *Frame) Follow(fn func(Outcome)) {
	before := f.settle
	f.settle = func(o Outcome) {
		fn(o)
		if before != nil {
			before(o)
		}
	}
}

// Settle says what became of the frame. Only the first call counts.
func (f *Frame) Settle(o Outcome) {
	if f.settled.Swap(true) || f.settle == nil {
		return
	}
	f.settle(o)
}

// Age is the time since capture.
func (f *Frame) Age(now time.Time) time.Duration { return now.Sub(f.Captured) }

// Late reports whether the deadline has passed.
func (f *Frame) Late(now time.Time) bool { return !f.Deadline.IsZero() && !now.Before(f.Deadline) }

// Add records a span.
func (f *Frame) Add(stage string, kind SpanKind, d time.Duration) {
	f.Spans = append(f.Spans, Span{stage, kind, d})
}
