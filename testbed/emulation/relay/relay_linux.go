package relay

import (
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// Errors of the relay.
var (
	ErrClosed  = errors.New("relay is closed")
	ErrRunning = errors.New("relay runs")
	ErrNode    = errors.New("no such node in the relay")
)

// DefaultPackets is Config.Packets where it is 0. It takes some 200 MB if all
// are in use: 1 Gbit/s for a second and a half.
const DefaultPackets = 128 << 10

// Config of a Relay.
type Config struct {
	// Seed of losses and delays. Each direction of a link draws its own,
	// whatever passes on others.
	Seed uint64
	// Packets that may be on their way at once, on all links together; more
	// are dropped and counted. 0: DefaultPackets. Each takes 1.5 kB, when it is
	// first used.
	Packets int
	// Ordinary leaves the threads of the process at their priority. Otherwise
	// Run raises all of them for its time, where it may: links keep their times
	// better, and what the process computes meanwhile goes before what others do.
	Ordinary bool
	Log      *slog.Logger
}

// Relay is the links between some nodes. Its methods may be called from any
// goroutine, before and while it runs.
type Relay struct {
	cfg    Config
	base   time.Time // times in the lines are since then
	poller *poller
	pace   pace // of the pump's goroutine alone

	mu       sync.Mutex // of what is below; the pump lets go of it only to sleep
	ports    []*port
	named    map[string]*port
	lines    map[Pair]*line
	schedule schedule
	pool     pool
	scratch  packet // what is read when the pool is empty
	refused  Refused
	running  bool
	closed   bool
}

// port is a node's device.
type port struct {
	node string
	addr uint32
	tun  *TUN
	to   map[uint32]*line // by destination
}

// New returns a relay without nodes.
func New(cfg Config) (*Relay, error) {
	if cfg.Packets < 0 {
		return nil, fmt.Errorf("relay: Packets is %d; it must be positive, or 0 for %d", cfg.Packets, DefaultPackets)
	}
	if cfg.Packets == 0 {
		cfg.Packets = DefaultPackets
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return &Relay{
		cfg: cfg, base: time.Now(), poller: p,
		named: map[string]*port{}, lines: map[Pair]*line{},
		pool: pool{most: cfg.Packets},
	}, nil
}

// Attach makes a node known by its address and device. The relay owns the
// device from then on and closes it in Close.
func (r *Relay) Attach(node string, addr netip.Addr, tun *TUN) error {
	if !addr.Is4() {
		return fmt.Errorf("relay: node %s: address %s is not IPv4", node, addr)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	for _, p := range r.ports {
		if p.node == node {
			return fmt.Errorf("relay: node %s is attached already", node)
		}
		if p.addr == number(addr) {
			return fmt.Errorf("relay: nodes %s and %s have the same address, %s", p.node, node, addr)
		}
	}
	if err := r.poller.add(tun.fd, len(r.ports)); err != nil {
		return fmt.Errorf("relay: node %s: %w", node, err)
	}
	p := &port{node: node, addr: number(addr), tun: tun, to: map[uint32]*line{}}
	r.ports = append(r.ports, p)
	r.named[node] = p
	return nil
}

// Set makes the link from one node to another, in this direction only, or
// changes it: for the packets whose transmission has not begun. Where it does
// not pass, what is on its way is dropped. Between nodes without a link no
// packet passes.
func (r *Relay) Set(from, to string, l testbed.Link, pass bool) error {
	if err := valid(l); err != nil {
		return fmt.Errorf("relay: link %s→%s: %w", from, to, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	a, b := r.named[from], r.named[to]
	switch {
	case a == nil:
		return fmt.Errorf("%w: %s", ErrNode, from)
	case b == nil:
		return fmt.Errorf("%w: %s", ErrNode, to)
	case a == b:
		return fmt.Errorf("relay: a link from %s to itself: the kernel delivers that", from)
	}
	pair := Pair{from, to}
	x := r.lines[pair]
	if x == nil {
		x = &line{shaper: shaper{rng: r.rng(pair)}, to: b.tun.fd, place: -1}
		r.lines[pair] = x
		a.to[b.addr] = x
	}
	x.pass = pass
	if !pass {
		x.drop(&r.pool)
	}
	x.set(r.now(), l)
	r.schedule.update(x)
	// The first packet of a line has begun and keeps its time, unless the one
	// before was delivered a little early: then the pump sleeps for too long.
	r.poller.wake()
	return nil
}

func valid(l testbed.Link) error {
	switch {
	case l.Delay < 0:
		return fmt.Errorf("delay %s is negative", l.Delay)
	case l.Jitter < 0 || l.Jitter > l.Delay:
		return fmt.Errorf("jitter %s is not between 0 and the delay, %s", l.Jitter, l.Delay)
	case l.Rate < 0:
		return fmt.Errorf("rate %d bit/s is negative; 0 leaves it unshaped", l.Rate)
	case !(l.Loss >= 0 && l.Loss <= 1):
		return fmt.Errorf("loss %g is not a fraction, 0 to 1", l.Loss)
	case l.Queue < 0:
		return fmt.Errorf("queue of %d packets is negative", l.Queue)
	}
	return nil
}

// rng draws for one direction. It depends on nothing but the seed and the
// names, so that links can be made in any order.
func (r *Relay) rng(p Pair) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.From + "\x00" + p.To))
	return rand.New(rand.NewPCG(r.cfg.Seed, h.Sum64()))
}

// Counters returns those of all links that were set.
func (r *Relay) Counters() map[Pair]Counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[Pair]Counters, len(r.lines))
	for p, l := range r.lines {
		c := l.counters
		c.UnderWay = uint64(l.line.len())
		out[p] = c
	}
	return out
}

// Refused counts the packets that belonged to no link.
func (r *Relay) Refused() Refused {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// Close removes the devices. The error is ErrRunning where Run has not
// returned, and then nothing is closed.
func (r *Relay) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	if r.running {
		return ErrRunning
	}
	r.closed = true
	errs := []error{r.poller.close()}
	for _, p := range r.ports {
		errs = append(errs, p.tun.Close())
	}
	return errors.Join(errs...)
}

func (r *Relay) now() time.Duration { return time.Since(r.base) }
