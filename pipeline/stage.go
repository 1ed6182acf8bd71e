package pipeline

import (
	"context"
	"errors"
)

// The conditions that links and stages report.
var (
	ErrOversized   = errors.New("frame too large")
	ErrMalformed   = errors.New("malformed frame")
	ErrUnreachable = errors.New("peer unreachable")
	ErrLate        = errors.New("deadline passed")
	ErrClosed      = errors.New("closed")
	// ErrFiltered is what a filter's Process returns of a frame that need not be
	// analysed. It may have put in the detections that are shown in its place.
	ErrFiltered = errors.New("filtered")
)

// Stage does one task's work on a frame, in place. Process is called from one
// goroutine at a time. An error drops the frame, not the stage; ErrFiltered
// ends its way without a loss. A stage that
// holds memory outside Go also has a Close method.
type Stage interface {
	Process(ctx context.Context, f *Frame) error
}

// Source produces frames until ctx ends (error nil or ctx.Err()), its input
// ends (ErrEnded) or it fails. emit takes ownership and never blocks. Run sets
// Image, Captured, SourceWidth, SourceHeight and a capture span; the caller of
// Run fills in the rest. A source whose pictures have numbers that mean
// something, and grow, sets ID.Seq too, and the caller keeps it. A Source may be run again after a failure.
type Source interface {
	Run(ctx context.Context, emit func(*Frame)) error
}

// ErrEnded is what a Source returns when its input has no more frames.
var ErrEnded = errors.New("source ended")

// Sender is the sending side of a link.
//
// Send hands a frame for the instance to the node at addr, which is what
// [tiering.Offer.To] says, and returns when it is on its way, the frame's deadline passes (ErrLate), ctx ends, or it can't
// be sent (ErrOversized, ErrUnreachable, …). After nil the link owns the frame
// and settles it exactly once: with the peer's outcome, or ReasonLink when the
// connection breaks or the peer says nothing until the deadline and a grace
// have passed. After an error the caller still owns it. Send may be called
// from several goroutines; of frames that wait, the newer and more urgent goes
// first. A frame whose deadline passes while it is being written is cancelled:
// the peer never sees it.
type Sender interface {
	Send(ctx context.Context, addr, instance string, f *Frame) error
}

// Receiver is told of every whole frame that arrives for an instance of this
// node and becomes its owner; it must not block. Settling the frame tells the
// sending node. The link sets f.Captured and f.Deadline to this process's
// clock and adds a transfer span (Stage is set by the receiver of the frame).
type Receiver interface {
	Receive(instance string, f *Frame)
}

// ReceiverFunc makes a Receiver of a function.
type ReceiverFunc func(instance string, f *Frame)

// Receive calls fn.
func (fn ReceiverFunc) Receive(instance string, f *Frame) { fn(instance, f) }
