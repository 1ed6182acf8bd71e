package coordinator

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// raftProtocol keeps a certificate's other uses (API, frame links) apart
	// from Raft in the TLS handshake.
	raftProtocol     = "weft-raft/1"
	handshakeTimeout = 10 * time.Second
	rpcTimeout       = 10 * time.Second
	maxPooled        = 3 // connections kept open to each other coordinator
)

// stream carries Raft's RPCs over mutual TLS. It closes every connection that
// it made or accepted when it is closed itself, which Raft's transport leaves
// undone.
type stream struct {
	net.Listener
	addr           net.Addr
	server, client *tls.Config

	mu     sync.Mutex
	closed bool
	conns  map[*streamConn]struct{}
}

var _ raft.StreamLayer = (*stream)(nil)

func newStream(l net.Listener, addr net.Addr, server, client *tls.Config) *stream {
	s := &stream{Listener: l, addr: addr, server: server.Clone(), client: client.Clone(), conns: map[*streamConn]struct{}{}}
	s.server.NextProtos = []string{raftProtocol}
	s.client.NextProtos = []string{raftProtocol}
	return s
}

func (s *stream) transport(log hclog.Logger) (raft.Transport, error) {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: s, MaxPool: maxPooled, Timeout: rpcTimeout, Logger: log,
		// Pipelined replication in raft v1.8.0 can wait for itself for ever
		// when leadership changes, and Shutdown with it.
		MaxRPCsInFlight: 1,
	}), nil
}

// Addr is the address that others dial.
func (s *stream) Addr() net.Addr { return s.addr }

// Accept returns a connection whose handshake is still to be done, by the
// goroutine that reads from it: a slow peer must not hold up the others.
func (s *stream) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(tls.Server(c, s.server))
}

// Dial connects to another coordinator.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: timeout}, "tcp", string(address), s.client)
	if err != nil {
		return nil, err
	}
	return s.track(c)
}

func (s *stream) track(c *tls.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	sc := &streamConn{Conn: c, owner: s}
	s.conns[sc] = struct{}{}
	return sc, nil
}

// Close stops listening and breaks every connection.
func (s *stream) Close() error {
	s.mu.Lock()
	s.closed = true
	open := s.conns
	s.conns = map[*streamConn]struct{}{}
	s.mu.Unlock()
	err := s.Listener.Close()
	for c := range open {
		_ = c.Conn.NetConn().Close() // no farewell: the peer may not be reading
	}
	return err
}

type streamConn struct {
	*tls.Conn
	owner *stream
	once  sync.Once
	err   error // of the handshake
}

// Read does the handshake first, which must not take for ever.
func (c *streamConn) Read(b []byte) (int, error) {
	c.once.Do(func() {
		if c.ConnectionState().HandshakeComplete {
			return
		}
		if c.err = c.SetDeadline(time.Now().Add(handshakeTimeout)); c.err != nil {
			return
		}
		if c.err = c.Handshake(); c.err == nil {
			c.err = c.SetDeadline(time.Time{})
		}
	})
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(b)
}

func (c *streamConn) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.conns, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// hostport is an address as others dial it.
type hostport string

func (hostport) Network() string  { return "tcp" }
func (h hostport) String() string { return string(h) }

// advertised is the address to tell others, from what the user said and what
// was bound.
func advertised(said string, bound net.Addr) (net.Addr, error) {
	if said == "" {
		said = bound.String()
	}
	host, port, err := net.SplitHostPort(said)
	if err != nil {
		return nil, fmt.Errorf("%w: advertised Raft address %q: %w", ErrConfig, said, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return nil, fmt.Errorf("%w: others cannot dial %q: advertise an address of this machine for Raft", ErrConfig, said)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, fmt.Errorf("%w: advertised Raft address %q: port %q is no number from 0 to 65535", ErrConfig, said, port)
	} else if n == 0 {
		_, port, _ = net.SplitHostPort(bound.String())
	}
	return hostport(net.JoinHostPort(host, port)), nil
}
