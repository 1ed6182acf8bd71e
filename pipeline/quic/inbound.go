package quic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/pipeline"
)

// errBusy reports a peer that sends more at once than is held for it.
var errBusy = errors.New("too many half-read bytes")

// inbound is a connection that a peer dialled: frames come in, outcomes go
// back.
type inbound struct {
	link      *Link
	peer      *peer
	conn      *quic.Conn
	control   *control
	name      string
	clock     pipeline.ClockSync
	answered  chan struct{} // one of the first pings
	outcomes  *outcomes
	complains complaints

	maxHeld int64 // bytes of frames being read, of all the peer's connections
	streams sync.WaitGroup
}

// serve runs a connection that a peer dialled, until it or ctx ends.
func (l *Link) serve(ctx context.Context, conn *quic.Conn) {
	defer l.inbound.Add(-1)
	if l.inbound.Add(1) > maxInbound {
		l.log.Warn("connection refused", "peer", conn.RemoteAddr(), "error", errCrowded)
		_ = conn.CloseWithError(closeBusy, errCrowded.Error()) // returns nil
		return
	}
	in := &inbound{
		link: l, peer: l.peer(peerOf(conn).String()), conn: conn, name: nameOf(conn), outcomes: newOutcomes(),
		answered: make(chan struct{}, 1),
		maxHeld:  max(maxHeld, 2*int64(l.cfg.MaxFrame+l.codec.Limits().Header)),
	}
	if err := l.watch(conn); err != nil {
		l.log.Warn("connection refused", "peer", conn.RemoteAddr(), "name", in.name, "error", err)
		return
	}
	if err := in.open(ctx); err != nil {
		l.log.Warn("connection refused", "peer", conn.RemoteAddr(), "name", in.name, "error", err)
		_ = conn.CloseWithError(closeProtocol, err.Error())
		return
	}
	if old := in.peer.addIn(in); old != nil {
		_ = old.conn.CloseWithError(closeReplaced, "replaced by a newer connection")
	}
	in.run(ctx)
	in.peer.loseIn(in)
}

// open answers the dialler's ping, the first thing on its control stream.
func (in *inbound) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	stream, err := in.conn.AcceptStream(ctx)
	if err != nil {
		return fmt.Errorf("no control stream: %w", err)
	}
	stream.SetPriority(urgencyControl, false)
	in.control = newControl(stream, in.link.codec)
	if err := stream.SetReadDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	m, err := in.control.read()
	if err != nil {
		return fmt.Errorf("first control message: %w", err)
	}
	if m.Ping == nil {
		return fmt.Errorf("first control message: %w: not a ping", pipeline.ErrMalformed)
	}
	pong := &pipeline.Pong{Sent: m.Ping.Sent, Peer: in.link.clock.Reading(time.Now())}
	if err := in.control.write(pipeline.Control{Pong: pong}); err != nil {
		return err
	}
	return stream.SetReadDeadline(time.Time{})
}

func (in *inbound) run(ctx context.Context) {
	var wg sync.WaitGroup
	ended := make(chan error, 2) // one for each goroutine
	wg.Go(func() { ended <- in.listen() })
	wg.Go(func() { ended <- in.accept() })
	code, reason := closeShutdown, "shutting down"
	err := in.tend(ctx, ended)
	switch {
	case err != nil:
		code, reason = closeCode(err)
		if code == closeProtocol {
			in.link.log.Warn("connection ended", "peer", in.conn.RemoteAddr(), "name", in.name, "cause", err)
		}
	default:
		in.sayGoodbye()
	}
	_ = in.conn.CloseWithError(code, reason) // returns nil
	wg.Wait()
	in.streams.Wait()
	in.outcomes.close()
}

// tend writes to the control stream: pings, and outcomes in batches. It
// returns nil when ctx ends.
func (in *inbound) tend(ctx context.Context, ended <-chan error) error {
	pings := time.NewTicker(pingEvery)
	defer pings.Stop()
	flush := time.NewTimer(flushEvery)
	flush.Stop()
	defer flush.Stop()
	if err := in.ping(); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err = <-ended:
		case <-pings.C:
			err = in.ping()
		case <-in.answered:
			err = in.ping()
		case <-in.outcomes.some:
			flush.Reset(flushEvery)
		case <-in.outcomes.batch:
			err = in.flush()
		case <-flush.C:
			err = in.flush()
		}
		if err != nil {
			return err
		}
	}
}

func (in *inbound) ping() error {
	return in.control.write(pipeline.Control{Ping: &pipeline.Ping{Sent: in.link.clock.Reading(time.Now())}})
}

func (in *inbound) flush() error {
	for {
		batch := in.outcomes.take()
		if len(batch) == 0 {
			return nil
		}
		if err := in.control.write(pipeline.Control{Settlements: batch}); err != nil {
			return err
		}
	}
}

// sayGoodbye sends the outcomes there are and ends the control stream, which
// the peer answers by closing the connection: then it has read them.
func (in *inbound) sayGoodbye() {
	if in.flush() != nil || in.control.stream.Close() != nil {
		return
	}
	t := time.NewTimer(goodbyeWithin)
	defer t.Stop()
	select {
	case <-in.conn.Context().Done():
	case <-t.C:
	}
}

// listen handles pongs until the control stream ends. The first few ask for
// the next ping at once: one round trip may have been slow, the best of several
// tells the peer's clock well.
func (in *inbound) listen() error {
	for n := 1; ; n++ {
		m, err := in.control.read()
		if err != nil {
			return err
		}
		if m.Pong == nil {
			return fmt.Errorf("%w: the dialler may only answer pings", pipeline.ErrMalformed)
		}
		in.clock.Observe(m.Pong.Sent, m.Pong.Peer, in.link.clock.Reading(time.Now()))
		if n < firstPings {
			signal(in.answered)
		}
	}
}

// accept reads each stream, of which QUIC lets in maxStreams at once, in a
// goroutine of its own.
func (in *inbound) accept() error {
	for {
		stream, err := in.conn.AcceptUniStream(in.conn.Context())
		if err != nil {
			return err
		}
		began := time.Now()
		in.streams.Go(func() { in.receive(stream, began) })
	}
}

// receive reads one frame and hands it on, or refuses it.
func (in *inbound) receive(stream *quic.ReceiveStream, began time.Time) {
	ref := uint64(stream.StreamID())
	m, size, err := in.read(stream, began)
	if err != nil {
		in.refuse(stream, ref, err)
		return
	}
	in.peer.counters.received(size)
	now := time.Now()
	transfer, ok := in.clock.Transfer(m.SentAt, in.link.clock.Reading(now))
	if !ok { // no pong yet: this frame is among the first
		transfer = now.Sub(began) + in.conn.ConnectionStats().SmoothedRTT/2
	}
	f := m.Arrived(now, transfer)
	f.OnSettle(func(o pipeline.Outcome) { in.outcomes.add(pipeline.Settlement{Ref: ref, Outcome: o}) })
	in.link.recv.Receive(m.Instance, f)
}

// prefixSize bytes begin a message; at lengthsAt they hold the lengths of
// what follows: see the wire format in pipeline/codec.go.
const (
	prefixSize = 16
	lengthsAt  = 8
)

// read reads the stream's one message within a time and a share of memory.
func (in *inbound) read(stream *quic.ReceiveStream, began time.Time) (*pipeline.Message, int, error) {
	if err := stream.SetReadDeadline(began.Add(in.link.cfg.Patience)); err != nil {
		return nil, 0, err
	}
	var prefix [prefixSize]byte
	if _, err := stream.Peek(prefix[:]); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	header, payload := binary.BigEndian.Uint32(prefix[lengthsAt:]), binary.BigEndian.Uint32(prefix[lengthsAt+4:])
	size := int64(prefixSize) + int64(header) + int64(payload)
	if size <= in.maxHeld { // the codec refuses anything larger
		defer in.peer.held.Add(-size)
		if in.peer.held.Add(size) > in.maxHeld {
			return nil, 0, errBusy
		}
	}
	m, err := in.link.codec.DecodeFrame(stream)
	if err == io.EOF {
		err = fmt.Errorf("%w: empty", pipeline.ErrMalformed)
	}
	if err != nil {
		return nil, 0, err
	}
	switch n, err := stream.Read(prefix[:1]); {
	case n > 0:
		return nil, 0, fmt.Errorf("%w: more than one message", pipeline.ErrMalformed)
	case err != io.EOF:
		return nil, 0, err
	}
	return m, int(size), nil
}

// refuse tells the peer, which may still be sending or be waiting for the
// outcome of all that it sent, what became of the frame.
func (in *inbound) refuse(stream *quic.ReceiveStream, ref uint64, err error) {
	var (
		cancelled *quic.StreamError
		timeout   net.Error
		reason    = pipeline.ReasonLink
		code      = cancelClosing
	)
	switch {
	case errors.As(err, &cancelled):
		if cancelled.ErrorCode == cancelLate {
			reason = pipeline.ReasonDeadline
		}
	case in.conn.Context().Err() != nil:
		return // with the connection, every frame on it is lost
	case errors.Is(err, pipeline.ErrOversized):
		reason, code = pipeline.ReasonOversized, cancelOversized
	case errors.Is(err, pipeline.ErrMalformed):
		reason, code = pipeline.ReasonMalformed, cancelMalformed
	case errors.Is(err, errBusy):
		reason, code = pipeline.ReasonQueueFull, cancelBusy
	case errors.As(err, &timeout) && timeout.Timeout():
		code = cancelSlow
	}
	stream.CancelRead(code)
	in.peer.counters.refused(reason)
	in.outcomes.add(pipeline.Settlement{Ref: ref, Outcome: pipeline.Outcome{Reason: reason}})
	if code == cancelClosing {
		return // what the sender cancels is nothing to complain about
	}
	if n, ok := in.complains.now(time.Now()); ok {
		in.link.log.Warn("frame refused", "peer", in.conn.RemoteAddr(), "name", in.name, "error", err, "not_logged_before", n)
	}
}
