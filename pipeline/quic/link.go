package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/pipeline"
)

// errCrowded reports more connections from peers than a node takes.
var errCrowded = errors.New("too many connections")

// Link is one node's end of all its QUIC connections.
type Link struct {
	cfg       Config
	serverTLS *tls.Config
	clientTLS *tls.Config
	codec     *pipeline.Codec
	clock     pipeline.Clock
	recv      pipeline.Receiver
	socket    net.PacketConn
	log       *slog.Logger

	jobs    chan job      // for Run, which owns the goroutines
	done    chan struct{} // closed when Run takes no more jobs
	ran     atomic.Bool
	inbound atomic.Int64 // connections from peers

	mu    sync.Mutex
	peers map[string]*peer // by node and address
}

// job is work that outlives the call that asked for it, such as a connection.
type job func(context.Context, *quic.Transport)

// New checks the configuration and binds the socket. Frames that arrive go to
// recv.
func New(cfg Config, recv pipeline.Receiver) (*Link, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr("udp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("quic link: listen address %q is not HOST:PORT: %w", cfg.Listen, err)
	}
	socket, err := net.ListenUDP("udp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("quic link: UDP port %d of %s is taken by another process (a second weftd?): stop it or listen on another port: %w",
			addr.Port, cfg.Listen, err)
	}
	if err != nil {
		return nil, fmt.Errorf("quic link: listen on %s: %w", cfg.Listen, err)
	}
	l, err := newLink(cfg, socket, recv)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return l, nil
}

// newLink takes the socket, which Run closes.
func newLink(cfg Config, socket net.PacketConn, recv pipeline.Receiver) (*Link, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	limits := pipeline.DefaultLimits()
	limits.Image = cfg.MaxFrame
	codec, err := pipeline.NewCodec(limits)
	if err != nil {
		return nil, fmt.Errorf("quic link: %w", err)
	}
	return &Link{
		cfg:       cfg,
		serverTLS: tlsConfig(cfg.ServerTLS),
		clientTLS: tlsConfig(cfg.ClientTLS),
		codec:     codec,
		clock:     pipeline.NewClock(time.Now()),
		recv:      recv,
		socket:    socket,
		log:       cfg.Log.With("node", cfg.Node),
		jobs:      make(chan job),
		done:      make(chan struct{}),
		peers:     map[string]*peer{},
	}, nil
}

// Addr is the address of the socket.
func (l *Link) Addr() string { return l.socket.LocalAddr().String() }

// Run serves until ctx ends, which is no error, or the socket fails. Then
// every frame in flight is settled, every connection and the socket closed.
// It can be called once.
func (l *Link) Run(ctx context.Context) (err error) {
	if l.ran.Swap(true) {
		return fmt.Errorf("quic link: run again: %w", pipeline.ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	transport := &quic.Transport{Conn: l.socket, ConnectionIDLength: 8, StatelessResetKey: resetKey(l.cfg.ServerTLS)}
	defer func() { err = errors.Join(err, transport.Close(), l.socket.Close()) }()
	listener, err := transport.Listen(l.serverTLS, l.cfg.quicConfig())
	if err != nil {
		close(l.done)
		return fmt.Errorf("quic link: listen on %s: %w", l.Addr(), err)
	}

	var wg sync.WaitGroup
	failed := make(chan error, 1)
	wg.Go(func() {
		for {
			conn, err := listener.Accept(ctx)
			if err != nil {
				failed <- err
				return
			}
			wg.Go(func() { l.serve(ctx, conn) })
		}
	})
	housekeeping := time.NewTicker(forgetAfter / 10)
	defer housekeeping.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case err = <-failed:
		case j := <-l.jobs:
			wg.Go(func() { j(ctx, transport) })
		case now := <-housekeeping.C:
			l.forget(now)
		}
	}
	close(l.done)
	stopped := ctx.Err() != nil
	cancel()
	wg.Wait()
	if stopped {
		err = nil
	} else {
		err = fmt.Errorf("quic link: %w", err)
	}
	return errors.Join(err, listener.Close())
}

// watch has the connection end with the trust in its peer, which it is to be
// told when that happened already.
func (l *Link) watch(conn *quic.Conn) error {
	end := func() { _ = conn.CloseWithError(closeDistrusted, "certificate not trusted any more") } // returns nil
	err := l.cfg.Peers.Add(conn, conn.ConnectionState().TLS, end)
	if err != nil {
		end()
		return err
	}
	context.AfterFunc(conn.Context(), func() { l.cfg.Peers.Remove(conn) })
	return nil
}

// start hands j to Run. Before Run it waits, after it there is no more.
func (l *Link) start(ctx context.Context, j job) error {
	select {
	case l.jobs <- j:
		return nil
	case <-l.done:
		return pipeline.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Send implements [pipeline.Sender]; addr is a [tiering.Peer], with the Addr of
// the peer's Link. Another node that answers there gets nothing. The first frame for a peer waits for the connection; while a peer can't be
// reached, Send says so at once.
func (l *Link) Send(ctx context.Context, addr, instance string, f *pipeline.Frame) error {
	p := l.peer(addr)
	err := l.send(ctx, p, instance, f)
	if err == nil {
		return nil
	}
	if errors.Is(err, pipeline.ErrLate) {
		p.counters.cancelled()
	}
	return fmt.Errorf("send to %s: %w", addr, err)
}

func (l *Link) send(ctx context.Context, p *peer, instance string, f *pipeline.Frame) error {
	entered := time.Now()
	if f.Late(entered) {
		return pipeline.ErrLate
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// The time at which the frame was handed to the link counts as sent, so
	// that waiting for the link is part of the transfer.
	head, err := l.codec.AppendFrameHead(nil, pipeline.NewMessage(instance, f, 0, entered, l.clock))
	if err != nil {
		return err
	}
	var cancel context.CancelFunc
	if f.Deadline.IsZero() {
		slow := fmt.Errorf("%w: the frame was not taken within %s", pipeline.ErrUnreachable, l.cfg.Patience)
		ctx, cancel = context.WithTimeoutCause(ctx, l.cfg.Patience, slow)
	} else {
		ctx, cancel = context.WithDeadlineCause(ctx, f.Deadline, pipeline.ErrLate)
	}
	defer cancel()

	err = errGone
	for try := 0; try < maxTries && errors.Is(err, errGone); try++ {
		err = p.send(ctx, head, f)
	}
	return err
}

// peer finds or makes what is known of a node at an address.
func (l *Link) peer(addr string) *peer {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.peers[addr]
	if !ok {
		p = newPeer(l, addr)
		l.peers[addr] = p
	}
	p.touch()
	return p
}

// forget drops peers that nothing has been heard of or sent to for long.
func (l *Link) forget(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for addr, p := range l.peers {
		if p.forgotten(now) {
			delete(l.peers, addr)
		}
	}
}

// Stats says how the link is doing with every peer, by address.
func (l *Link) Stats() []PeerStats {
	l.mu.Lock()
	peers := make([]*peer, 0, len(l.peers))
	for _, p := range l.peers {
		peers = append(peers, p)
	}
	l.mu.Unlock()
	out := make([]PeerStats, len(peers))
	for i, p := range peers {
		out[i] = p.stats()
	}
	slices.SortFunc(out, func(a, b PeerStats) int { return strings.Compare(a.Addr, b.Addr) })
	return out
}
