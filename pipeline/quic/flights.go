package quic

import (
	"fmt"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/pipeline"
)

// errGone reports that the connection ended before anything of the frame was
// sent over it: another may be tried.
var errGone = fmt.Errorf("%w: the connection ended", pipeline.ErrUnreachable)

// flights are the frames handed to a peer over one connection and not settled,
// by the IDs of their streams. Unlike [pipeline.Pending] it also cancels the
// stream of a frame that is late, which stops its retransmissions, and lets go
// of pictures that have been written. Nothing is settled or cancelled with the
// lock held.
type flights struct {
	grace, patience time.Duration
	settled         func(pipeline.Reason) // counts

	kick chan struct{} // wake has become sooner

	mu   sync.Mutex
	by   map[quic.StreamID]*flight
	wake time.Time // of the next sweep; zero: nothing to sweep
	gone bool
}

type flight struct {
	frame  *pipeline.Frame
	stream canceller
	late   time.Time // then the stream is cancelled; zero: never or already
	due    time.Time // then the frame is settled
}

// canceller is a stream that can be given up.
type canceller interface {
	CancelWrite(quic.StreamErrorCode)
}

func newFlights(grace, patience time.Duration, settled func(pipeline.Reason)) *flights {
	return &flights{grace: grace, patience: patience, settled: settled, kick: make(chan struct{}, 1), by: map[quic.StreamID]*flight{}}
}

// add takes the frame for as long as remove does not give it back.
func (t *flights) add(id quic.StreamID, f *pipeline.Frame, s canceller, now time.Time) error {
	e := &flight{frame: f, stream: s, late: f.Deadline, due: f.Deadline.Add(t.grace)}
	if f.Deadline.IsZero() {
		e.due = now.Add(t.patience)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return errGone
	}
	if len(t.by) >= maxFlights {
		return fmt.Errorf("%w: %d await the peer's word", pipeline.ErrFull, len(t.by))
	}
	t.by[id] = e
	return nil
}

// remove gives the frame back to the sender; false: it has been settled.
func (t *flights) remove(id quic.StreamID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.by[id]
	delete(t.by, id)
	return ok
}

// written lets go of the picture, unless the frame has been settled already,
// and sees to it that the frame will be swept.
func (t *flights) written(id quic.StreamID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.by[id]
	if !ok {
		return
	}
	e.frame.Image = pipeline.Image{}
	if n := e.next(); t.wake.IsZero() || n.Before(t.wake) {
		t.wake = n
		signal(t.kick)
	}
}

// sweepAt is when the next sweep is due; zero: nothing is in flight.
func (t *flights) sweepAt() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wake
}

// settle is what the peer says of a frame. One that it does not know it was
// handed, or that was given up, is ignored.
func (t *flights) settle(id quic.StreamID, o pipeline.Outcome) {
	t.mu.Lock()
	e, ok := t.by[id]
	delete(t.by, id)
	t.mu.Unlock()
	if ok {
		t.settled(o.Reason)
		e.frame.Settle(o)
	}
}

// sweep cancels what is late and settles what is overdue.
func (t *flights) sweep(now time.Time) {
	var late, overdue []*flight
	t.mu.Lock()
	t.wake = time.Time{}
	for id, e := range t.by {
		if !now.Before(e.due) {
			overdue = append(overdue, e)
			delete(t.by, id)
			continue
		}
		if !e.late.IsZero() && !now.Before(e.late) {
			late = append(late, e)
			e.late = time.Time{}
		}
		if n := e.next(); t.wake.IsZero() || n.Before(t.wake) {
			t.wake = n
		}
	}
	t.mu.Unlock()
	for _, e := range late {
		e.stream.CancelWrite(cancelLate)
	}
	for _, e := range overdue {
		e.stream.CancelWrite(cancelAbandoned)
	}
	t.lose(overdue, now)
}

// end settles everything: the connection is gone.
func (t *flights) end(now time.Time) {
	t.mu.Lock()
	t.gone = true
	lost := make([]*flight, 0, len(t.by))
	for _, e := range t.by {
		lost = append(lost, e)
	}
	clear(t.by)
	t.mu.Unlock()
	t.lose(lost, now)
}

func (t *flights) lose(lost []*flight, now time.Time) {
	for _, e := range lost {
		t.settled(pipeline.ReasonLink)
		e.frame.Settle(pipeline.Outcome{Reason: pipeline.ReasonLink, Age: e.frame.Age(now)})
	}
}

func (t *flights) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.by)
}

func (e *flight) next() time.Time {
	if e.late.IsZero() {
		return e.due
	}
	return e.late
}
