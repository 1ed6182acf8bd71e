package probe

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// sent is what became of a stream at its sender.
type sent struct {
	n    int
	took time.Duration
	cut  bool  // the socket was interrupted
	err  error // of the first packet that was refused; it and others count as sent
}

// offered is what a stream was sent at, in bits a second.
func (s sent) offered(size int) float64 { return float64(s.n) * bits(size) / s.took.Seconds() }

// send sends a stream as flow id. It returns an error if ctx ends. The socket
// is for this stream alone: a link that blocks its sender must not hold up
// others.
func (n *node) send(ctx context.Context, conn *net.UDPConn, to *node, id uint32, s stream) (sent, error) {
	limited, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	stop := interrupt(limited, conn)

	pc := ipv4.NewPacketConn(conn)
	msgs := make([]ipv4.Message, min(batch, s.n))
	for i := range msgs {
		msgs[i] = ipv4.Message{Buffers: [][]byte{make([]byte, s.size)}, Addr: net.UDPAddrFromAddrPort(to.addr)}
	}
	var out sent
	began := time.Now()
	from := began // of the schedule
	for out.n < s.n && limited.Err() == nil {
		due := s.ahead + int(time.Since(from).Seconds()*s.pps) - out.n
		if due <= 0 {
			pause(limited, time.Until(from.Add(seconds(float64(out.n+1-s.ahead)/s.pps))))
			continue
		}
		if late := due - max(s.burst, s.ahead); late > 0 { // do not make up for it all at once
			from = from.Add(seconds(float64(late) / s.pps))
			due -= late
		}
		ms := msgs[:min(due, len(msgs), s.n-out.n)]
		now := time.Now().UnixNano()
		for i := range ms {
			packet{token: n.token, flow: id, seq: uint32(out.n + i), kind: s.kind, out: now}.put(ms[i].Buffers[0])
		}
		k, err := pc.WriteBatch(ms, 0)
		switch {
		case err == nil:
			out.n += k
		case errors.Is(err, os.ErrDeadlineExceeded):
		default:
			out.n++
			if out.err == nil {
				out.err = err
			}
		}
	}
	out.took = time.Since(began)
	out.cut = !stop()
	return out, ctx.Err()
}

// awaitFlow waits until a flow has arrived: all of it, or a mark behind it and
// then for linger, in which packets may yet arrive that the mark overtook. It
// gives up after limit.
func (n *node) awaitFlow(ctx context.Context, to *node, f *flow, linger, limit time.Duration) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond) // marks are lost like other packets
	defer again.Stop()
	var b [smallSize]byte
	packet{token: n.token, flow: f.id, kind: mark}.put(b[:])
	for {
		_, _ = n.conn.WriteToUDPAddrPort(b[:], to.addr)
		select {
		case <-f.done:
			if linger <= 0 || f.complete() {
				return ctx.Err()
			}
			return wait(ctx, linger)
		case <-deadline.C:
			return ctx.Err()
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// wait waits for d, or until ctx ends, which is an error.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause is a more exact wait. A Go timer may fire a millisecond late, by which
// a fast link has emptied its queue; the kernel's are good to some 60 µs.
func pause(ctx context.Context, d time.Duration) {
	const exact, least = 2 * time.Millisecond, 100 * time.Microsecond
	if d > exact {
		_ = wait(ctx, d-exact) // the caller looks at ctx
		return
	}
	t := unix.NsecToTimespec(int64(max(d, least)))
	_ = unix.Nanosleep(&t, nil) // early, on a signal, is early for the caller to see
}
