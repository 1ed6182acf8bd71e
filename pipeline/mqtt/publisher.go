package mqtt

import (
	"context"
	"sync/atomic"
	"time"
)

// publishAll publishes what comes into the outbox until ctx ends (nil) or the
// session does (why). It is the only user of the session, and waits for paho to
// have written one message before it chooses the next.
func (l *Link) publishAll(ctx context.Context, s *session) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-l.out.wake:
		}
		for ctx.Err() == nil && s.ctx.Err() == nil {
			it, ok := l.out.take(maxBatch)
			if !ok {
				break
			}
			if err := l.publish(s, it); err != nil {
				return err
			}
		}
	}
}

// flush publishes what is left when the link is told to stop, as far as the
// session lasts.
func (l *Link) flush(s *session) {
	for {
		it, ok := l.out.take(maxBatch)
		if !ok || l.publish(s, it) != nil {
			return
		}
	}
}

// publish publishes one item. An error is the session's end.
func (l *Link) publish(s *session, it item) error {
	switch {
	case it.frame != nil:
		return l.publishFrame(s, it.frame)
	case it.result != nil:
		return l.publishData(s, *it.result, &l.counters.results)
	case it.picture != nil:
		return l.publishData(s, *it.picture, &l.counters.pictures)
	}
	return l.publishControl(s, it.control)
}

func (l *Link) publishFrame(s *session, o *outgoing) error {
	payload, ok, err := o.encode(l, s, time.Now())
	if !ok {
		return nil
	}
	if err != nil {
		o.finish(l.pending, err)
		return nil
	}
	if err := s.publish(framesTopic(o.to, l.self), payload); err != nil {
		o.finish(l.pending, notConnected(l.broker, err))
		return err
	}
	l.counters.sent.Add(1)
	o.finish(l.pending, nil)
	return nil
}

func (l *Link) publishData(s *session, p publication, published *atomic.Uint64) error {
	if err := s.publish(p.topic, p.payload); err != nil {
		return err
	}
	published.Add(1)
	return nil
}

func (l *Link) publishControl(s *session, c control) error {
	payload, err := l.codec.AppendControl(nil, c.message(l.clock.Reading(time.Now())))
	switch {
	case err != nil && len(c.settlements) > 1: // one that is no good must not cost the others
		for i := range c.settlements {
			if err := l.publishControl(s, control{to: c.to, settlements: c.settlements[i : i+1]}); err != nil {
				return err
			}
		}
		return nil
	case err != nil:
		l.log.Error("mqtt: an outcome cannot be sent", "to", c.to.node, "error", err)
		l.out.loseSettlements(len(c.settlements))
		return nil
	}
	if err := s.publish(controlTopic(c.to, l.self), payload); err != nil {
		for _, st := range c.settlements { // saying it twice does no harm
			l.out.addSettlement(c.to, st)
		}
		return err
	}
	return nil
}
