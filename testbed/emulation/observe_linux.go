package emulation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
	"github.com/weft-mesh/weft/testbed/emulation/probe"
)

// Nodes says how every node is doing, in the order of the scenario. It does not
// wait for what is being done to a node just now.
func (t *Testbed) Nodes() []NodeState {
	seen := t.seen.Load()
	if seen == nil {
		return nil
	}
	out := slices.Clone(*seen)
	for i := range out {
		out[i].Log = slices.Clone(out[i].Log)
	}
	return out
}

// Usage reads what every node used, in the order of the scenario.
func (t *Testbed) Usage() ([]testbed.NodeSample, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []testbed.NodeSample
	var errs []error
	for _, n := range t.nodes {
		u, err := n.group.Usage()
		errs = append(errs, err)
		out = append(out, testbed.NodeSample{Node: n.spec.Name, Up: n.state.Up, CPU: u.CPU, Memory: u.Memory})
	}
	return out, errors.Join(errs...)
}

// Dial returns a function that connects from inside a node's namespace, to IP
// addresses only: names would be looked up outside.
func (t *Testbed) Dial(node string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n, err := t.node(node)
		if err != nil {
			return nil, err
		}
		if _, err := netip.ParseAddrPort(addr); err != nil {
			return nil, fmt.Errorf("connect from node %s: %w: use an IP address and a port", node, err)
		}
		var c net.Conn
		err = ns.Do(n.state.Namespace, func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("connect from node %s: %w", node, err)
		}
		return c, nil
	}
}

// Operator returns the certificate of an operator and the addresses of the
// coordinators' APIs. They are reached from inside a node only, see Dial. The
// same is in DIR/weft.yaml for the weft command.
func (t *Testbed) Operator() (*pki.Identity, []string) { return t.operator, slices.Clone(t.apis) }

// Shaping says how links are emulated, and why so.
func (t *Testbed) Shaping() string { return t.shaping }

// Link is the path from one node to another as it is now; false: no packet
// passes.
func (t *Testbed) Link(from, to string) (testbed.Link, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.topology.Link(from, to)
}

// Links returns both directions between every two nodes, with their counters.
func (t *Testbed) Links() ([]LinkState, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.net == nil {
		return nil, fmt.Errorf("%w: the testbed is down", ErrState)
	}
	counters, err := t.net.counters()
	if err != nil {
		return nil, err
	}
	var out []LinkState
	for _, p := range t.topology.Pairs() {
		link, pass := t.topology.Link(p.A, p.B)
		for _, d := range []direction{{p.A, p.B}, {p.B, p.A}} {
			out = append(out, LinkState{From: d.from, To: d.to, Link: link, Pass: pass, Counters: counters[d]})
		}
	}
	return out, nil
}

// Check measures every link: round trips, rates and losses. Other traffic
// disturbs it, that of idle nodes hardly. Links that are not as asked are no
// error, see [probe.Failed].
func (t *Testbed) Check(ctx context.Context) ([]testbed.LinkCheck, error) {
	var peers []probe.Peer
	for _, n := range t.Nodes() {
		peers = append(peers, probe.Peer{
			Node: n.Name, Addr: n.Address,
			In: func(fn func() error) error { return ns.Do(n.Namespace, fn) },
		})
	}
	if len(peers) < 2 {
		return nil, nil // no links
	}
	p, err := probe.New(probe.Config{
		Peers: peers, Link: t.Link, Seed: t.s.Seed, Log: t.cfg.Log.With("part", "probe"),
		Progress: func(done, total int, what string) { t.cfg.Progress(what, done, total) },
	})
	if err != nil {
		return nil, err
	}
	return p.Run(ctx)
}
