package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MemoryConfig says how a MemoryNetwork behaves.
type MemoryConfig struct {
	Limits   Limits
	Grace    time.Duration // wait for an outcome after a frame's deadline
	InFlight int           // frames a link may be owed the outcomes of
	Inbox    int           // messages that wait to be received, per link

	// Faults. Rand may be nil when Jitter and Cut are 0.
	Delay  time.Duration // one way, of frames
	Jitter time.Duration // more delay, uniform between 0 and this
	Cut    float64       // probability, 0–1, that the connection breaks after a frame was sent
	Rand   *rand.Rand

	Log *slog.Logger
}

// MemoryNetwork joins links of one process, for tests and simulations: frames
// pass through the codec, so that nothing is shared but what the wire carries.
// Any two links have one connection, which can be broken and healed.
type MemoryNetwork struct {
	cfg   MemoryConfig
	codec *Codec

	mu    sync.Mutex
	links map[string]*MemoryLink
	conns map[[2]string]*memoryConn
}

// memoryConn is one connection between two addresses; after a break there is
// another.
type memoryConn struct {
	down   chan struct{} // closed when it broke
	broken bool          // and is not to be made again until healed
}

// NewMemoryNetwork makes a network without links.
func NewMemoryNetwork(cfg MemoryConfig) (*MemoryNetwork, error) {
	codec, err := NewCodec(cfg.Limits)
	if err != nil {
		return nil, fmt.Errorf("memory network: %w", err)
	}
	switch {
	case cfg.InFlight <= 0, cfg.Inbox <= 0, cfg.Grace <= 0:
		return nil, errors.New("memory network: in-flight, inbox and grace must be positive")
	case cfg.Delay < 0, cfg.Jitter < 0, cfg.Cut < 0, cfg.Cut > 1:
		return nil, errors.New("memory network: delay and jitter must not be negative, cut within 0 to 1")
	case cfg.Rand == nil && (cfg.Jitter > 0 || cfg.Cut > 0):
		return nil, errors.New("memory network: jitter and cut need a source of randomness")
	}
	return &MemoryNetwork{
		cfg: cfg, codec: codec, links: map[string]*MemoryLink{}, conns: map[[2]string]*memoryConn{},
	}, nil
}

// Join adds a link whose frames go to recv; it leaves when its Run ends.
func (n *MemoryNetwork) Join(addr string, recv Receiver) (*MemoryLink, error) {
	l := &MemoryLink{
		net: n, addr: addr, recv: recv,
		clock:   NewClock(time.Now()),
		pending: NewPending(n.cfg.InFlight, n.cfg.Grace),
		inbox:   make(chan memoryPacket, n.cfg.Inbox),
		closed:  make(chan struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links[addr] != nil {
		return nil, fmt.Errorf("memory network: address %q is taken", addr)
	}
	n.links[addr] = l
	return l, nil
}

// Break cuts the connection between two addresses until Heal.
func (n *MemoryNetwork) Break(a, b string) { n.cut(a, b, true) }

// Heal lets the two addresses connect again.
func (n *MemoryNetwork) Heal(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.conns[pairKey(a, b)]; c != nil && c.broken {
		delete(n.conns, pairKey(a, b))
	}
}

func pairKey(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// cut breaks the connection, if there is one, and settles what was in flight.
// The channel is closed first: see MemoryLink.Send.
func (n *MemoryNetwork) cut(a, b string, stay bool) {
	key := pairKey(a, b)
	n.mu.Lock()
	c := n.conns[key]
	switch {
	case c == nil && stay:
		n.conns[key] = &memoryConn{down: make(chan struct{}), broken: true}
		close(n.conns[key].down)
		fallthrough
	case c == nil, c.broken:
		n.mu.Unlock()
		return
	}
	close(c.down)
	c.broken = stay
	if !stay {
		delete(n.conns, key)
	}
	ends := []*MemoryLink{n.links[a], n.links[b]}
	n.mu.Unlock()
	for _, l := range ends {
		if l != nil {
			l.pending.Break(c, time.Now())
		}
	}
}

// connect returns the peer at addr and the connection to it.
func (n *MemoryNetwork) connect(from, to string) (*MemoryLink, *memoryConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	peer := n.links[to]
	if peer == nil {
		return nil, nil, fmt.Errorf("%w: nobody at %q", ErrUnreachable, to)
	}
	key := pairKey(from, to)
	c := n.conns[key]
	if c == nil {
		c = &memoryConn{down: make(chan struct{})}
		n.conns[key] = c
	}
	if c.broken {
		return nil, nil, fmt.Errorf("%w: connection to %q is broken", ErrUnreachable, to)
	}
	return peer, c, nil
}

// leave removes the link and breaks its connections.
func (n *MemoryNetwork) leave(l *MemoryLink) {
	n.mu.Lock()
	delete(n.links, l.addr)
	var peers []string
	for k := range n.conns {
		switch l.addr {
		case k[0]:
			peers = append(peers, k[1])
		case k[1]:
			peers = append(peers, k[0])
		}
	}
	n.mu.Unlock()
	for _, p := range peers {
		n.cut(l.addr, p, false)
	}
}

// chance draws the delay of a frame and whether its connection breaks.
func (n *MemoryNetwork) chance() (delay time.Duration, cut bool) {
	delay = n.cfg.Delay
	if n.cfg.Rand == nil {
		return delay, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cfg.Jitter > 0 {
		delay += time.Duration(n.cfg.Rand.Int64N(int64(n.cfg.Jitter) + 1))
	}
	return delay, n.cfg.Rand.Float64() < n.cfg.Cut
}

// MemoryLink is one node's link in a MemoryNetwork.
type MemoryLink struct {
	net       *MemoryNetwork
	addr      string
	recv      Receiver
	clock     Clock
	pending   *Pending
	inbox     chan memoryPacket
	closed    chan struct{} // closed when Run ends
	malformed atomic.Uint64
}

type memoryPacket struct {
	conn *memoryConn
	from *MemoryLink
	sent time.Time
	due  time.Time
	data []byte
}

// Send implements Sender.
//
// A connection that breaks closes its channel before it settles what is
// pending, and Send looks at the channel after it made the frame pending: one
// of the two sees the other.
func (l *MemoryLink) Send(ctx context.Context, addr, instance string, f *Frame) error {
	now := time.Now()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send %s: %w", f.ID, err)
	}
	if f.Late(now) {
		return fmt.Errorf("send %s: %w", f.ID, ErrLate)
	}
	// Nobody stands in for another here, so who is meant need not be checked.
	peer, conn, err := l.net.connect(l.addr, addr[strings.LastIndexByte(addr, '@')+1:])
	if err != nil {
		return fmt.Errorf("send %s: %w", f.ID, err)
	}
	ref, err := l.pending.Add(conn, f, now)
	if err != nil {
		return fmt.Errorf("send %s: %w", f.ID, err)
	}
	if err := l.handOver(ctx, peer, conn, NewMessage(instance, f, ref, now, l.clock), now); err != nil {
		if !l.pending.Remove(ref) {
			return nil // settled meanwhile
		}
		return fmt.Errorf("send %s: %w", f.ID, err)
	}
	return nil
}

func (l *MemoryLink) handOver(ctx context.Context, peer *MemoryLink, conn *memoryConn, m *Message, now time.Time) error {
	data, err := l.net.codec.AppendFrame(nil, m)
	if err != nil {
		return err
	}
	delay, cut := l.net.chance()
	p := memoryPacket{conn: conn, from: l, sent: now, due: now.Add(delay), data: data}
	var late <-chan time.Time
	if m.HasDeadline {
		t := time.NewTimer(m.Left)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-conn.down:
		return fmt.Errorf("%w: connection broke", ErrUnreachable)
	case <-l.closed:
		return ErrClosed
	default:
	}
	select {
	case peer.inbox <- p:
	case <-conn.down:
		return fmt.Errorf("%w: connection broke", ErrUnreachable)
	case <-l.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case <-late:
		return ErrLate
	}
	if cut {
		l.net.cut(l.addr, peer.addr, false)
	}
	return nil
}

// Run receives frames and gives up on overdue ones until ctx ends.
func (l *MemoryLink) Run(ctx context.Context) error {
	defer func() {
		close(l.closed)
		l.net.leave(l)
		l.pending.Close(time.Now())
	}()
	overdue := time.NewTicker(max(l.net.cfg.Grace/4, time.Millisecond))
	defer overdue.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-overdue.C:
			l.pending.Expire(now)
		case p := <-l.inbox:
			timer.Reset(time.Until(p.due))
			for waiting := true; waiting; {
				select {
				case <-ctx.Done():
					return nil
				case now := <-overdue.C:
					l.pending.Expire(now)
				case <-timer.C:
					waiting = false
				}
			}
			l.arrive(p)
		}
	}
}

// Inject makes the link receive these bytes as if a peer had sent them. The
// link must be running.
func (l *MemoryLink) Inject(data []byte) {
	now := time.Now()
	p := memoryPacket{conn: &memoryConn{down: make(chan struct{})}, from: l, sent: now, due: now, data: data}
	select {
	case l.inbox <- p:
	case <-l.closed:
	}
}

// Malformed counts the messages that the link could not decode.
func (l *MemoryLink) Malformed() uint64 { return l.malformed.Load() }

// InFlight is the number of frames sent and not yet settled.
func (l *MemoryLink) InFlight() int { return l.pending.Len() }

func (l *MemoryLink) arrive(p memoryPacket) {
	select {
	case <-p.conn.down:
		return // lost with the connection; the sender has settled it
	default:
	}
	r := bytes.NewReader(p.data)
	m, err := l.net.codec.DecodeFrame(r)
	if err == nil && r.Len() > 0 {
		err = fmt.Errorf("%w: %d bytes too many", ErrMalformed, r.Len())
	}
	if err != nil {
		l.malformed.Add(1)
		l.net.cfg.Log.Warn("frame refused", "link", "memory", "peer", p.from.addr, "error", err)
		return
	}
	now := time.Now()
	f := m.Arrived(now, now.Sub(p.sent))
	f.OnSettle(func(o Outcome) {
		select {
		case <-p.conn.down:
		default:
			p.from.pending.Settle(p.conn, Settlement{Ref: m.Ref, Outcome: o})
		}
	})
	l.recv.Receive(m.Instance, f)
}
