package pipeline

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// What a frame may hold, whatever the codec's limits.
const (
	maxName     = 512     // bytes of any name
	maxSide     = 1 << 16 // pixels
	maxDuration = 365 * 24 * time.Hour
)

// frameHeader is a frame message's CBOR header. The keys are for ever: a new
// field takes a new one.
type frameHeader struct {
	Instance     string       `cbor:"1,keyasint"`
	Ref          uint64       `cbor:"2,keyasint"`
	SentAt       int64        `cbor:"3,keyasint"`
	Age          int64        `cbor:"4,keyasint"`           // ns
	Left         *int64       `cbor:"5,keyasint,omitempty"` // ns; absent: no deadline
	Workflow     string       `cbor:"6,keyasint"`
	Source       string       `cbor:"7,keyasint"`
	Epoch        uint32       `cbor:"8,keyasint"`
	Seq          uint64       `cbor:"9,keyasint"`
	Quality      int          `cbor:"10,keyasint"`
	SourceWidth  int          `cbor:"11,keyasint"`
	SourceHeight int          `cbor:"12,keyasint"`
	Format       Format       `cbor:"13,keyasint"`
	Width        int          `cbor:"14,keyasint"`
	Height       int          `cbor:"15,keyasint"`
	Model        string       `cbor:"16,keyasint,omitempty"`
	Detections   []wireObject `cbor:"17,keyasint,omitempty"`
	Spans        []wireSpan   `cbor:"18,keyasint,omitempty"`
	Analyser     string       `cbor:"19,keyasint,omitempty"`
	Ask          bool         `cbor:"20,keyasint,omitempty"`
	Truth        *[]wireTruth `cbor:"21,keyasint,omitempty"` // absent: not known
}

type wireObject struct {
	_          struct{} `cbor:",toarray"`
	Label      string
	Class      int
	Score      float64
	X, Y, W, H float64
}

type wireTruth struct {
	_          struct{} `cbor:",toarray"`
	Label      string
	Ignore     bool
	X, Y, W, H float64
}

func objectOf(d Detection) wireObject {
	return wireObject{Label: d.Label, Class: d.Class, Score: d.Score, X: d.Box.X, Y: d.Box.Y, W: d.Box.W, H: d.Box.H}
}

func (d *wireObject) detection() Detection {
	return Detection{Label: d.Label, Class: d.Class, Score: d.Score, Box: Box{X: d.X, Y: d.Y, W: d.W, H: d.H}}
}

type wireSpan struct {
	_        struct{} `cbor:",toarray"`
	Stage    string
	Kind     SpanKind
	Duration int64 // ns
}

func newFrameHeader(m *Message) frameHeader {
	f := m.Frame
	h := frameHeader{
		Instance: m.Instance, Ref: m.Ref, SentAt: m.SentAt, Age: int64(m.Age),
		Workflow: f.ID.Workflow, Source: f.ID.Source, Epoch: f.ID.Epoch, Seq: f.ID.Seq,
		Quality: f.Quality, SourceWidth: f.SourceWidth, SourceHeight: f.SourceHeight,
		Format: f.Image.Format, Width: f.Image.Width, Height: f.Image.Height, Model: f.Model, Analyser: f.Analyser, Ask: f.Ask,
	}
	if m.HasDeadline {
		left := int64(m.Left)
		h.Left = &left
	}
	for _, d := range f.Detections {
		h.Detections = append(h.Detections, objectOf(d))
	}
	if f.Truth != nil {
		truth := make([]wireTruth, len(f.Truth))
		for i, t := range f.Truth {
			truth[i] = wireTruth{Label: t.Label, Ignore: t.Ignore, X: t.Box.X, Y: t.Box.Y, W: t.Box.W, H: t.Box.H}
		}
		h.Truth = &truth
	}
	for _, s := range f.Spans {
		h.Spans = append(h.Spans, wireSpan{Stage: s.Stage, Kind: s.Kind, Duration: int64(s.Duration)})
	}
	return h
}

// message is the inverse of newFrameHeader, without the picture's bytes.
func (h *frameHeader) message() *Message {
	f := &Frame{
		ID:      FrameID{Workflow: h.Workflow, Source: h.Source, Epoch: h.Epoch, Seq: h.Seq},
		Quality: h.Quality, SourceWidth: h.SourceWidth, SourceHeight: h.SourceHeight,
		Image: Image{Format: h.Format, Width: h.Width, Height: h.Height}, Model: h.Model, Analyser: h.Analyser, Ask: h.Ask,
	}
	for i := range h.Detections {
		f.Detections = append(f.Detections, h.Detections[i].detection())
	}
	if h.Truth != nil {
		f.Truth = make([]Truth, len(*h.Truth))
		for i, t := range *h.Truth {
			f.Truth[i] = Truth{Label: t.Label, Ignore: t.Ignore, Box: Box{X: t.X, Y: t.Y, W: t.W, H: t.H}}
		}
	}
	for _, s := range h.Spans {
		f.Spans = append(f.Spans, Span{Stage: s.Stage, Kind: s.Kind, Duration: time.Duration(s.Duration)})
	}
	m := &Message{Instance: h.Instance, Ref: h.Ref, SentAt: h.SentAt, Age: time.Duration(h.Age), Frame: f}
	if h.Left != nil {
		m.HasDeadline, m.Left = true, time.Duration(*h.Left)
	}
	return m
}

// check says what of the header does not make a frame with a picture of that
// many bytes.
func (h *frameHeader) check(l Limits, picture int) error {
	if n := len(h.Detections); n > l.Detections {
		return fmt.Errorf("%w: %d detections, at most %d", ErrOversized, n, l.Detections)
	}
	if h.Truth != nil && len(*h.Truth) > l.Detections {
		return fmt.Errorf("%w: %d objects are said to be there, at most %d", ErrOversized, len(*h.Truth), l.Detections)
	}
	if n := len(h.Spans); n > l.Spans {
		return fmt.Errorf("%w: %d spans, at most %d", ErrOversized, n, l.Spans)
	}
	for _, s := range []string{h.Instance, h.Workflow, h.Source, h.Model, h.Analyser} {
		if err := checkName(s); err != nil {
			return err
		}
	}
	if err := checkDuration("age", h.Age); err != nil {
		return err
	}
	if h.Left != nil {
		if err := checkDuration("time left", *h.Left); err != nil {
			return err
		}
		if *h.Left == 0 {
			return fmt.Errorf("%w: no time left", ErrMalformed)
		}
	}
	for _, n := range []int{h.Quality, h.SourceWidth, h.SourceHeight, h.Width, h.Height} {
		if n < 0 || n > maxSide {
			return fmt.Errorf("%w: %d pixels, want 0 to %d", ErrMalformed, n, maxSide)
		}
	}
	if err := checkPicture(h.Format, h.Width, h.Height, picture); err != nil {
		return err
	}
	for i := range h.Detections {
		if err := h.Detections[i].check(); err != nil {
			return fmt.Errorf("detections[%d]: %w", i, err)
		}
	}
	if h.Truth != nil {
		for i, t := range *h.Truth {
			o := wireObject{Label: t.Label, X: t.X, Y: t.Y, W: t.W, H: t.H}
			if err := o.check(); err != nil {
				return fmt.Errorf("truth[%d]: %w", i, err)
			}
		}
	}
	for i, s := range h.Spans {
		if err := checkName(s.Stage); err != nil {
			return fmt.Errorf("spans[%d]: %w", i, err)
		}
		switch s.Kind {
		case SpanCapture, SpanReduce, SpanQueue, SpanTransfer, SpanExecute:
		default:
			return fmt.Errorf("spans[%d]: %w: unknown kind %.32q", i, ErrMalformed, string(s.Kind))
		}
		if err := checkDuration("duration", s.Duration); err != nil {
			return fmt.Errorf("spans[%d]: %w", i, err)
		}
	}
	return nil
}

// checkPicture lets a frame be without a picture, so that results can travel
// alone; else the sides are positive and raw bytes are as many as they make.
func checkPicture(format Format, width, height, bytes int) error {
	switch format {
	case "":
		if width != 0 || height != 0 || bytes != 0 {
			return fmt.Errorf("%w: picture without a format", ErrMalformed)
		}
		return nil
	case BGR:
		if want := int64(width) * int64(height) * 3; want != int64(bytes) {
			return fmt.Errorf("%w: %d bytes of %s at %d×%d, want %d", ErrMalformed, bytes, format, width, height, want)
		}
	case JPEG, PNG:
	default:
		return fmt.Errorf("%w: unknown format %.32q", ErrMalformed, string(format))
	}
	if width == 0 || height == 0 || bytes == 0 {
		return fmt.Errorf("%w: %s picture of %d×%d in %d bytes", ErrMalformed, format, width, height, bytes)
	}
	return nil
}

func (d *wireObject) check() error {
	if err := checkName(d.Label); err != nil {
		return err
	}
	if d.Class < math.MinInt32 || d.Class > math.MaxInt32 {
		return fmt.Errorf("%w: class %d", ErrMalformed, d.Class)
	}
	for _, v := range []float64{d.Score, d.X, d.Y, d.W, d.H} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: %v is no number", ErrMalformed, v)
		}
	}
	if d.Score < 0 || d.Score > 1 || d.W < 0 || d.H < 0 {
		return fmt.Errorf("%w: score %v, box %v×%v", ErrMalformed, d.Score, d.W, d.H)
	}
	return nil
}

// controlHeader is a control message's CBOR header.
type controlHeader struct {
	Settlements []wireSettlement `cbor:"1,keyasint,omitempty"`
	Ping        *wirePing        `cbor:"2,keyasint,omitempty"`
	Pong        *wirePong        `cbor:"3,keyasint,omitempty"`
	Notes       []wireNote       `cbor:"4,keyasint,omitempty"` // on the settlements
}

type wireSettlement struct {
	_      struct{} `cbor:",toarray"`
	Ref    uint64
	Reason Reason
	Stage  string
	Age    int64 // ns
}

type wirePing struct {
	_    struct{} `cbor:",toarray"`
	Sent int64
}

type wirePong struct {
	_    struct{} `cbor:",toarray"`
	Sent int64
	Peer int64
}

// newControlHeader is without what was found unless findings says so.
func newControlHeader(m Control, findings bool) controlHeader {
	var h controlHeader
	for _, s := range m.Settlements {
		reason := s.Outcome.Reason
		if reason == ReasonFiltered {
			reason = ReasonNone // see wireNote
		}
		h.Settlements = append(h.Settlements, wireSettlement{
			Ref: s.Ref, Reason: reason, Stage: s.Outcome.Stage, Age: int64(max(s.Outcome.Age, 0)),
		})
	}
	h.addNotes(m.Settlements, findings)
	if m.Ping != nil {
		h.Ping = &wirePing{Sent: m.Ping.Sent}
	}
	if m.Pong != nil {
		h.Pong = &wirePong{Sent: m.Pong.Sent, Peer: m.Pong.Peer}
	}
	return h
}

// control is the inverse of newControlHeader.
func (h *controlHeader) control() Control {
	var m Control
	for _, s := range h.Settlements {
		m.Settlements = append(m.Settlements, Settlement{
			Ref: s.Ref, Outcome: Outcome{Reason: s.Reason, Stage: s.Stage, Age: time.Duration(s.Age)},
		})
	}
	h.annotate(m.Settlements)
	if h.Ping != nil {
		m.Ping = &Ping{Sent: h.Ping.Sent}
	}
	if h.Pong != nil {
		m.Pong = &Pong{Sent: h.Pong.Sent, Peer: h.Pong.Peer}
	}
	return m
}

func (h *controlHeader) check(l Limits) error {
	parts := 0
	for _, set := range []bool{len(h.Settlements) > 0, h.Ping != nil, h.Pong != nil} {
		if set {
			parts++
		}
	}
	if parts != 1 {
		return fmt.Errorf("%w: %d of settlements, ping and pong, want one", ErrMalformed, parts)
	}
	if n := len(h.Settlements); n > l.Settlements {
		return fmt.Errorf("%w: %d settlements, at most %d", ErrOversized, n, l.Settlements)
	}
	for i, s := range h.Settlements {
		if !s.Reason.known() {
			return fmt.Errorf("settlements[%d]: %w: unknown reason %.32q", i, ErrMalformed, string(s.Reason))
		}
		if err := checkName(s.Stage); err != nil {
			return fmt.Errorf("settlements[%d]: %w", i, err)
		}
		if err := checkDuration("age", s.Age); err != nil {
			return fmt.Errorf("settlements[%d]: %w", i, err)
		}
	}
	return h.checkNotes(l)
}

// known guards the counters kept by reason: a peer can't make them grow.
func (r Reason) known() bool {
	switch r {
	case ReasonNone, ReasonQueueFull, ReasonDeadline, ReasonLink, ReasonNoRoute, ReasonStage,
		ReasonOversized, ReasonMalformed, ReasonShutdown, ReasonLost:
		return true
	}
	return false
}

func checkName(s string) error {
	if len(s) > maxName {
		return fmt.Errorf("%w: name of %d bytes, at most %d", ErrMalformed, len(s), maxName)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: name %.32q is not UTF-8", ErrMalformed, s)
	}
	return nil
}

func checkDuration(what string, ns int64) error {
	if ns < 0 || ns > int64(maxDuration) {
		return fmt.Errorf("%w: %s of %s", ErrMalformed, what, time.Duration(ns))
	}
	return nil
}
