package quic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/pipeline"
)

// peer is what the link knows of one address: at most one connection in each
// direction, and how dialling it went.
type peer struct {
	link     *Link
	addr     string
	counters counters

	mu       sync.Mutex
	out      *outbound // nil: not connected
	in       *inbound  // nil: not connected
	dialling *attempt  // nil: no dial in progress
	failures int       // dials failed since the last success
	cause    error     // of the last one
	retry    time.Time // not before
	sending  int       // Sends that hold out
	used     time.Time
}

// errNotDialled ends an attempt of a Send that gave up before Run took it;
// those that wait for it try themselves.
var errNotDialled = errors.New("not dialled")

// attempt is a dial that several Sends may wait for.
type attempt struct {
	done chan struct{}
	err  error // once done
}

func newPeer(l *Link, addr string) *peer {
	return &peer{link: l, addr: addr, counters: newCounters()}
}

// touch puts off that the peer is forgotten.
func (p *peer) touch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = time.Now()
}

// send writes a frame over the connection, dialling if there is none.
func (p *peer) send(ctx context.Context, head []byte, f *pipeline.Frame) error {
	o, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	defer p.release()
	err = o.send(ctx, head, f)
	if errors.Is(err, errGone) {
		p.lose(o)
	}
	return err
}

// acquire returns the connection, which release gives back. It dials if there
// is none, and waits for that unless the last dial failed: a peer that is down
// costs its senders no time.
func (p *peer) acquire(ctx context.Context) (*outbound, error) {
	for {
		p.mu.Lock()
		if p.out != nil {
			o := p.out
			p.sending++
			p.mu.Unlock()
			return o, nil
		}
		down := p.failures > 0
		cause := p.cause
		a := p.dialling
		begin := a == nil && (!down || !time.Now().Before(p.retry))
		if begin {
			a = &attempt{done: make(chan struct{})}
			p.dialling = a
		}
		p.mu.Unlock()

		if begin {
			if err := p.link.start(ctx, func(ctx context.Context, t *quic.Transport) { p.connect(ctx, t, a) }); err != nil {
				p.dialled(a, nil, errNotDialled)
				return nil, err
			}
		}
		if down {
			return nil, cause
		}
		select {
		case <-a.done:
			if a.err != nil && a.err != errNotDialled {
				return nil, a.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (p *peer) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sending--
	p.used = time.Now()
}

// lose stops using a connection.
func (p *peer) lose(o *outbound) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(o)
}

// loseIdle does so if the connection has not been used lately.
func (p *peer) loseIdle(o *outbound, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sending > 0 || o.flights.len() > 0 || now.Sub(p.used) < p.link.cfg.Idle {
		return false
	}
	p.drop(o)
	return true
}

// drop is called with p.mu held.
func (p *peer) drop(o *outbound) {
	if p.out == o {
		p.out = nil
		p.counters.addPackets(o.conn.ConnectionStats())
	}
}

// connect dials and, if that succeeds, serves the connection until it ends.
func (p *peer) connect(ctx context.Context, t *quic.Transport, a *attempt) {
	o, err := p.dial(ctx, t)
	if err != nil {
		if ctx.Err() != nil {
			err = pipeline.ErrClosed
		} else {
			err = fmt.Errorf("%w: %w", pipeline.ErrUnreachable, err)
		}
		p.dialled(a, nil, err)
		return
	}
	p.dialled(a, o, nil)
	o.run(ctx)
}

// dialled publishes the result of a dial.
func (p *peer) dialled(a *attempt, o *outbound, err error) {
	now := time.Now()
	p.mu.Lock()
	p.dialling = nil
	first := p.failures == 0
	switch {
	case err == nil:
		p.out, p.failures, p.cause, p.used = o, 0, nil, now
	case errors.Is(err, pipeline.ErrUnreachable):
		wait := min(firstBackoff<<min(p.failures, 10), longestBackoff)
		p.failures++
		p.cause = err
		p.retry = now.Add(wait/2 + rand.N(wait)) // peers that failed together don't retry together
	}
	p.mu.Unlock()
	a.err = err
	close(a.done)

	switch {
	case err == nil:
		p.link.log.Info("connected", "peer", p.addr, "name", o.name)
	case first && errors.Is(err, pipeline.ErrUnreachable):
		p.link.log.Warn("cannot reach peer, will try again when there are frames for it", "peer", p.addr, "error", err)
	}
}

// dial connects and waits for the peer's first word, without which it is not
// known that it took our certificate.
func (p *peer) dial(ctx context.Context, t *quic.Transport) (*outbound, error) {
	l := p.link
	ctx, cancel := context.WithTimeoutCause(ctx, 2*answerWithin, &quic.HandshakeTimeoutError{})
	defer cancel()
	addr, err := resolve(ctx, p.addr)
	if err != nil {
		return nil, err
	}
	conn, err := t.Dial(ctx, addr, l.clientTLS, l.cfg.diallerConfig())
	if err != nil {
		return nil, explain(err)
	}
	o, err := newOutbound(ctx, p, conn)
	if err != nil {
		_ = conn.CloseWithError(closeProtocol, "no answer on the control stream")
		return nil, explain(err)
	}
	return o, nil
}

// resolve turns host:port into an address, without DNS if it can.
func resolve(ctx context.Context, addr string) (*net.UDPAddr, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address is not HOST:PORT: %w", err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("address is not HOST:PORT: %w", err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	ip := ips[max(slices.IndexFunc(ips, isIPv4), 0)].Unmap() // sockets may be of IPv4 only
	return &net.UDPAddr{IP: ip.AsSlice(), Port: int(port), Zone: ip.Zone()}, nil
}

func isIPv4(a netip.Addr) bool { return a.Unmap().Is4() }

// cryptoError is the first of QUIC's error codes that carry a TLS alert
// (RFC 9000, section 20.1).
const cryptoError quic.TransportErrorCode = 0x100

// explain says in the user's terms why no connection came about.
func explain(err error) error {
	var te *quic.TransportError
	var timeout net.Error
	switch {
	case errors.As(err, &te) && te.ErrorCode >= cryptoError && te.Remote:
		return fmt.Errorf("the peer refused this node's certificate (same mesh CA? not expired?): %w", err)
	case errors.As(err, &te) && te.ErrorCode >= cryptoError:
		return fmt.Errorf("the peer's certificate was refused (same mesh CA? not expired?): %w", err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer: is weftd running there, and its UDP port open? %w", err)
	}
	return err
}

// replaceIn makes in the connection from this address and returns the one
// before: a peer dials from its one socket, so it has forgotten that one.
func (p *peer) replaceIn(in *inbound) *inbound {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.in
	p.in = in
	return old
}

func (p *peer) loseIn(in *inbound) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.in == in {
		p.in = nil
	}
	p.used = time.Now()
}

func (p *peer) forgotten(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out == nil && p.in == nil && p.dialling == nil && p.sending == 0 && now.Sub(p.used) > forgetAfter
}
