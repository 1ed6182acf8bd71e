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
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// peer is what the link knows of one node at one address: the connections in each
// direction, and how dialling went.
type peer struct {
	link     *Link
	addr     string // a tiering.Peer
	counters counters
	held     atomic.Int64 // bytes of frames being read from it

	mu       sync.Mutex
	lanes    lanes      // dialled by us; its lock is taken after mu
	in       []*inbound // dialled by the peer, the oldest first
	dialling *attempt   // nil: no dial in progress
	failures int        // dials failed since the last success
	cause    error      // of the last one
	retry    time.Time  // not before
	sending  int        // Sends between acquire and release
	single   bool       // the peer takes one connection from us, as the first release did
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

// send writes a frame over a connection, dialling if there is none.
func (p *peer) send(ctx context.Context, head []byte, f *pipeline.Frame) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()
	slot := p.lanes.queue(rankOf(f))
	if slot.waits() && p.lanes.wanting() {
		p.widen(ctx)
	}
	if !p.lanes.await(ctx, slot) {
		return whyNot(ctx)
	}
	defer p.lanes.leave(slot)
	err := slot.lane.out.send(ctx, slot.urgency, head, f)
	if errors.Is(err, errGone) {
		p.lose(slot.lane.out)
	}
	return err
}

// widen dials another connection beside those there are.
func (p *peer) widen(ctx context.Context) {
	p.mu.Lock()
	if p.single || p.dialling != nil || time.Now().Before(p.retry) {
		p.mu.Unlock()
		return
	}
	a := &attempt{done: make(chan struct{})}
	p.dialling = a
	p.mu.Unlock()
	_ = p.begin(ctx, a) // an error is for those who wait for the connection
}

// acquire sees to it that there is a connection, until release. It dials if
// there is none, and waits for that unless the last dial failed: a peer that is
// down costs its senders no time.
func (p *peer) acquire(ctx context.Context) error {
	for {
		p.mu.Lock()
		if p.lanes.len() > 0 {
			p.sending++
			p.mu.Unlock()
			return nil
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
			if err := p.begin(ctx, a); err != nil {
				return err
			}
		}
		if down {
			return cause
		}
		select {
		case <-a.done:
			if a.err != nil && a.err != errNotDialled {
				return a.err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// begin has Run dial.
func (p *peer) begin(ctx context.Context, a *attempt) error {
	err := p.link.start(ctx, func(ctx context.Context, t *quic.Transport) { p.connect(ctx, t, a) })
	if err != nil {
		p.dialled(a, nil, errNotDialled)
	}
	return err
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

// loseIdle does so if the connection has not been used lately; otherwise it says
// when to ask again.
func (p *peer) loseIdle(o *outbound, now time.Time) (again time.Duration, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sending > 0 && p.lanes.len() == 1 || o.flights.len() > 0 {
		return p.link.cfg.Idle, false
	}
	if again = p.link.cfg.Idle - p.lanes.unused(o, now); again > 0 {
		return again, false
	}
	p.drop(o)
	return 0, true
}

// drop is called with p.mu held.
func (p *peer) drop(o *outbound) {
	if p.lanes.remove(o) {
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
	n := p.lanes.len()
	first := p.failures == 0 && n == 0
	switch {
	case err == nil:
		p.lanes.add(&lane{out: o, stats: o.conn.ConnectionStats, used: now})
		p.failures, p.cause, p.used = 0, nil, now
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
		p.link.log.Info("connected", "peer", p.addr, "name", o.name, "connections", n+1)
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
	to, err := tiering.ParsePeer(p.addr)
	if err != nil {
		return nil, err
	}
	addr, err := resolve(ctx, to.Address)
	if err != nil {
		return nil, err
	}
	conn, err := t.Dial(ctx, addr, pki.To(l.clientTLS, to.Node, to.Tier), l.cfg.diallerConfig())
	if err != nil {
		return nil, explain(err)
	}
	if err := l.watch(conn); err != nil {
		return nil, err
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
	case errors.Is(err, pki.ErrPeer):
		return fmt.Errorf("another node answers there (it has moved, or somebody says so): %w", err)
	case errors.As(err, &te) && te.ErrorCode >= cryptoError && te.Remote:
		return fmt.Errorf("the peer refused this node's certificate (of the peer's authority? not revoked? its role agent or coordinator? within its dates by the peer's clock?): %w", err)
	case errors.As(err, &te) && te.ErrorCode >= cryptoError:
		return fmt.Errorf("the peer's certificate was refused (is this machine's clock right?): %w", err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer: is weftd running there, and its UDP port open? %w", err)
	}
	return err
}

// addIn takes in a connection from this address, and returns one that is too
// many: a peer that was started again has forgotten those it had.
func (p *peer) addIn(in *inbound) (old *inbound) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.in = append(p.in, in); len(p.in) > p.link.cfg.lanes {
		old = p.in[0]
		p.in = slices.Delete(p.in, 0, 1)
	}
	return old
}

func (p *peer) loseIn(in *inbound) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in = slices.DeleteFunc(p.in, func(o *inbound) bool { return o == in })
	p.used = time.Now()
}

// ended stops using a connection that has come to its end. One that the peer
// closed for another of ours shows that it takes one only; what it takes after
// the last has ended otherwise, as when it is started again, is not known.
func (p *peer) ended(o *outbound, replaced bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(o)
	p.single = replaced || p.single && p.lanes.len() > 0
}

func (p *peer) forgotten(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lanes.len() == 0 && len(p.in) == 0 && p.dialling == nil && p.sending == 0 && now.Sub(p.used) > forgetAfter
}
