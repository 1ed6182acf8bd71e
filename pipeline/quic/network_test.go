package quic

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/weft-mesh/weft/pipeline"
)

// The tests of this file run in virtual time over a simulated network, so that
// they may be exact about time and take none.

// network has one bottleneck in front of every node, with a short queue that
// drops what does not fit.
type network struct {
	testing.TB
	mesh  *mesh
	rate  int           // bytes a second
	delay time.Duration // one way
	loss  float64

	mu    sync.Mutex
	rng   *rand.Rand
	nodes simnet.PerfectRouter
	off   map[string]bool
	free  map[string]time.Time
}

const queueing = 50 * time.Millisecond

func newNetwork(t testing.TB, rate int, delay time.Duration, loss float64) *network {
	return &network{
		TB: t, mesh: newMesh(t), rate: rate, delay: delay, loss: loss,
		rng: rand.New(rand.NewPCG(1, 2)), off: map[string]bool{}, free: map[string]time.Time{},
	}
}

func (n *network) AddNode(addr net.Addr, r simnet.PacketReceiver) { n.nodes.AddNode(addr, r) }

func (n *network) SendPacket(p simnet.Packet) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	to := p.To.String()
	departs := n.free[to]
	if departs.Before(now) {
		departs = now
	}
	if n.off[to] || n.off[p.From.String()] || departs.Sub(now) > queueing || n.rng.Float64() < n.loss {
		return nil
	}
	departs = departs.Add(time.Duration(len(p.Data)) * time.Second / time.Duration(n.rate))
	n.free[to] = departs
	time.AfterFunc(departs.Add(n.delay).Sub(now), func() { _ = n.nodes.SendPacket(p) })
	return nil
}

func (n *network) limit(rate int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rate = rate
}

// unplug takes a node off the network, or puts it back.
func (n *network) unplug(addr string, off bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.off[addr] = off
}

// config is that of the node with that address.
func (n *network) config(addr string) Config {
	n.Helper()
	cfg := n.mesh.config("n")
	cfg.Listen = addr
	return cfg
}

func (n *network) start(cfg Config, recv pipeline.Receiver) running {
	n.Helper()
	return start(n, n.make(cfg, recv))
}

func (n *network) make(cfg Config, recv pipeline.Receiver) *Link {
	n.Helper()
	l, err := newLink(cfg, n.socket(cfg.Listen), recv)
	if err != nil {
		n.Fatal(err)
	}
	return l
}

func (n *network) socket(addr string) net.PacketConn {
	n.Helper()
	a, err := resolve(n.Context(), addr)
	if err != nil {
		n.Fatal(err)
	}
	return simnet.NewBlockingSimConn(a, n)
}

const (
	edgeAddr = "10.0.0.1:7000"
	fogAddr  = "10.0.0.2:7000"
	edgePeer = "fog/n@" + edgeAddr // as network.config has it
	fogPeer  = "fog/n@" + fogAddr
	mbit     = 1_000_000 / 8
)

// inbox records arrivals and settles them as delivered.
type inbox struct {
	mu  sync.Mutex
	got []arrival
}

type arrival struct {
	*pipeline.Frame
	at time.Time
}

func (i *inbox) Receive(_ string, f *pipeline.Frame) {
	i.mu.Lock()
	i.got = append(i.got, arrival{f, time.Now()})
	i.mu.Unlock()
	deliver("", f)
}

func (i *inbox) seqs() []uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out []uint64
	for _, a := range i.got {
		out = append(out, a.ID.Seq)
	}
	return out
}

// sleep passes virtual time.
func sleep(d time.Duration) { <-time.After(d) }
