package quic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// sweepEvery bounds how often flights are swept, and thereby how precisely
// deadlines are kept once a frame has been written.
const sweepEvery = 5 * time.Millisecond

// outbound is a connection that we dialled: frames go out, outcomes come back.
type outbound struct {
	peer    *peer
	conn    *quic.Conn
	control *control
	name    string // the peer's, of its certificate
	flights *flights
}

// newOutbound opens the control stream and waits for the peer's answer.
func newOutbound(ctx context.Context, p *peer, conn *quic.Conn) (*outbound, error) {
	l := p.link
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	stream.SetPriority(urgencyControl, false)
	o := &outbound{
		peer: p, conn: conn, control: newControl(stream, l.codec), name: nameOf(conn),
		flights: newFlights(l.cfg.Grace, l.cfg.Patience, p.counters.settled),
	}
	if err := o.control.write(pipeline.Control{Ping: &pipeline.Ping{Sent: l.clock.Reading(time.Now())}}); err != nil {
		return nil, err
	}
	if err := stream.SetReadDeadline(time.Now().Add(answerWithin)); err != nil {
		return nil, err
	}
	m, err := o.control.read()
	if err != nil {
		return nil, err
	}
	if m.Pong == nil {
		return nil, fmt.Errorf("first control message: %w: not a pong", pipeline.ErrMalformed)
	}
	return o, stream.SetReadDeadline(time.Time{})
}

// peerOf is who the peer's certificate says it is, and where.
func peerOf(conn *quic.Conn) tiering.Peer {
	state := conn.ConnectionState().TLS
	s, _ := pki.Peer(&state)
	return tiering.Peer{Node: s.Name, Tier: s.Tier, Address: conn.RemoteAddr().String()}
}

func nameOf(conn *quic.Conn) string { return peerOf(conn).Node }

// run serves the connection until it or ctx ends, and settles what is left.
func (o *outbound) run(ctx context.Context) {
	l := o.peer.link
	ended := make(chan error, 1)
	go func() { ended <- o.listen() }()
	code, reason := closeShutdown, "shutting down"
	replaced := false
	if err := o.tend(ctx, ended); err != nil {
		code, reason = closeCode(err)
		level := l.log.Info
		if code == closeProtocol {
			level = l.log.Warn
		}
		level("connection ended", "peer", o.peer.addr, "name", o.name, "cause", err)
		var by *quic.ApplicationError
		replaced = errors.As(err, &by) && by.Remote && by.ErrorCode == closeReplaced
	}
	o.peer.ended(o, replaced)
	_ = o.conn.CloseWithError(code, reason) // returns nil
	<-ended                                 //nolint:errcheck // why it ended has been said
	o.flights.end(time.Now())
}

// tend sweeps flights until the connection ends, is idle, or ctx ends (nil).
func (o *outbound) tend(ctx context.Context, ended chan error) error {
	idle := o.peer.link.cfg.Idle // so long until it may be
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		wait := idle
		if at := o.flights.sweepAt(); !at.IsZero() {
			wait = max(time.Until(at), sweepEvery)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			ended <- err
			return err
		case <-o.flights.kick:
		case now := <-timer.C:
			o.flights.sweep(now)
			var lost bool
			if idle, lost = o.peer.loseIdle(o, now); lost {
				return errIdle
			}
		}
	}
}

// listen handles what the peer says on the control stream, to its end.
func (o *outbound) listen() error {
	for {
		m, err := o.control.read()
		if err != nil {
			return err
		}
		switch {
		case m.Ping != nil:
			pong := &pipeline.Pong{Sent: m.Ping.Sent, Peer: o.peer.link.clock.Reading(time.Now())}
			if err := o.control.write(pipeline.Control{Pong: pong}); err != nil {
				return err
			}
		case m.Pong != nil:
			return fmt.Errorf("%w: pong to no ping", pipeline.ErrMalformed)
		}
		for _, s := range m.Settlements {
			o.flights.settle(quic.StreamID(s.Ref), s.Outcome)
		}
	}
}

// send writes the frame, whose message starts with head. errGone: nothing was
// sent and another connection may be tried.
func (o *outbound) send(ctx context.Context, urgency int8, head []byte, f *pipeline.Frame) error {
	stream, err := o.conn.OpenUniStreamSync(ctx)
	if err != nil {
		return whyNot(ctx)
	}
	stream.SetPriority(urgency, false)
	id := stream.StreamID()
	if err := o.flights.add(id, f, stream, time.Now()); err != nil {
		stream.CancelWrite(cancelAbandoned)
		return err
	}
	stop := context.AfterFunc(ctx, func() { stream.CancelWrite(cancelCode(ctx)) })
	size := len(head) + len(f.Image.Data)
	_, err = stream.Write(head)
	if err == nil {
		_, err = stream.Write(f.Image.Data)
	}
	stop()
	if err == nil {
		// Once all is written the frame is on its way, even if it was
		// cancelled just now: the peer will say whether it got it.
		_ = stream.Close()
		o.peer.counters.sent(size)
		o.flights.written(id)
		return nil
	}
	if !o.flights.remove(id) {
		return nil // the peer has settled it before it had all of it
	}
	stream.CancelWrite(cancelAbandoned)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return refusal(err)
}

// whyNot is why nothing could be sent: ctx, or the end of the connection.
func whyNot(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errGone
}

// refusal is the error of a frame that the peer stopped reading, or that the
// connection's end cut short.
func refusal(err error) error {
	var se *quic.StreamError
	if !errors.As(err, &se) {
		return fmt.Errorf("%w: %w", pipeline.ErrUnreachable, err)
	}
	switch se.ErrorCode {
	case cancelLate: // by the sweep, a moment before the context
		return pipeline.ErrLate
	case cancelOversized:
		return fmt.Errorf("%w for the peer", pipeline.ErrOversized)
	case cancelMalformed:
		return fmt.Errorf("%w for the peer", pipeline.ErrMalformed)
	case cancelBusy:
		return fmt.Errorf("%w: the peer holds all that it can of half-read frames", pipeline.ErrFull)
	}
	return fmt.Errorf("%w: %w", pipeline.ErrUnreachable, err)
}

func cancelCode(ctx context.Context) quic.StreamErrorCode {
	if errors.Is(context.Cause(ctx), pipeline.ErrLate) {
		return cancelLate
	}
	return cancelAbandoned
}

// errIdle ends a connection that nobody uses.
var errIdle = errors.New("not used")

// closeCode is what to tell the peer when a connection ends with err.
func closeCode(err error) (quic.ApplicationErrorCode, string) {
	switch {
	case errors.Is(err, errIdle):
		return closeIdle, "idle"
	case errors.Is(err, io.EOF):
		return closeDone, "goodbye"
	case errors.Is(err, pipeline.ErrMalformed), errors.Is(err, pipeline.ErrOversized):
		return closeProtocol, err.Error()
	}
	return closeDone, "" // the connection is closed already
}
