package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// outbox holds the frames that wait to be sent to one instance.
type outbox struct {
	offer   tiering.Offer
	group   string // frames are from, for outcomes
	queue   *Queue
	sender  Sender
	encoder Encoder
	sending *atomic.Int64 // counts what it sends
	log     *slog.Logger
	limit   logLimit
}

// run sends frames with that many workers until the queue is shut or ctx ends.
// A worker stuck in a slow send does not keep newer frames from going out
// through the others.
func (o *outbox) run(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-o.queue.Shut():
					return
				case <-o.queue.Ready():
				}
				for ctx.Err() == nil && o.next(ctx) {
				}
			}
		})
	}
	wg.Wait()
}

// next sends the newest frame; false: none waits.
func (o *outbox) next(ctx context.Context) bool {
	o.sending.Add(1)
	defer o.sending.Add(-1)
	f, waited, ok := o.queue.PopNewest(time.Now())
	if ok {
		o.send(ctx, f, waited)
	}
	return ok
}

// send encodes and sends one frame. Its wait for a worker counts as transfer:
// a link that can't keep up is a slow link.
func (o *outbox) send(ctx context.Context, f *Frame, waited time.Duration) {
	start := time.Now()
	if err := encodeFor(o.offer.Link, o.encoder, f); err != nil {
		o.drop(f, ReasonStage, err)
		return
	}
	f.Add("", SpanTransfer, waited+time.Since(start))
	if err := o.sender.Send(ctx, o.offer.To(), o.offer.Instance, f); err != nil {
		o.drop(f, sendReason(ctx, err), err)
	}
}

func (o *outbox) drop(f *Frame, r Reason, err error) {
	now := time.Now()
	if r != ReasonShutdown && r != ReasonDeadline {
		o.limit.warn(o.log, now, "frame not sent", "to", o.offer.Instance, "node", o.offer.Node, "reason", string(r), "error", err)
	}
	f.Settle(Outcome{Reason: r, Stage: o.group, Age: f.Age(now)})
}

// sendReason is the reason that a Sender's error drops a frame for.
func sendReason(ctx context.Context, err error) Reason {
	switch {
	case errors.Is(err, ErrLate):
		return ReasonDeadline
	case errors.Is(err, ErrOversized):
		return ReasonOversized
	case errors.Is(err, ErrMalformed):
		return ReasonMalformed
	case errors.Is(err, ErrClosed), ctx.Err() != nil:
		return ReasonShutdown
	}
	return ReasonLink
}

// outboxKey is what must stay the same for an outbox to serve a new offer.
type outboxKey struct {
	instance, to string
	link         tiering.Link
}

func keyOf(o tiering.Offer) outboxKey { return outboxKey{o.Instance, o.To(), o.Link} }
