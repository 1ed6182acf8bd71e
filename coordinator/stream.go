package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/internal/pki"
)

const (
	// raftProtocol keeps a certificate's other uses (API, frame links) apart
	// from Raft in the TLS handshake.
	raftProtocol     = "weft-raft/4"
	handshakeTimeout = 10 * time.Second
	rpcTimeout       = 10 * time.Second
	maxPooled        = 3 // connections kept open to each other coordinator
	// refusalEvery is how often one refusal is logged: Raft asks again at once.
	refusalEvery = time.Minute
	maxRefusals  = 64 // remembered
)

// acquaintance is what a stream knows of its own coordinator and of others.
type acquaintance interface {
	// hello is what this coordinator says of itself.
	hello() hello
	// elsewhere returns the address at which the node of that name is known to
	// live, if that is another than the given one.
	elsewhere(node, addr string) (string, bool)
}

// stream carries Raft's RPCs over mutual TLS, between coordinators that have
// said to each other who they are. It closes every connection that it made or
// accepted when it is closed itself, which Raft's transport leaves undone.
type stream struct {
	net.Listener
	addr           net.Addr
	server, client *tls.Config
	peers          *pki.Peers
	known          acquaintance
	log            *slog.Logger

	mu       sync.Mutex
	closed   bool
	conns    map[*streamConn]struct{}
	refusals map[string]time.Time // when each was logged last
}

var _ raft.StreamLayer = (*stream)(nil)

func newStream(l net.Listener, addr net.Addr, server, client *tls.Config, peers *pki.Peers, known acquaintance, log *slog.Logger) *stream {
	s := &stream{
		Listener: l, addr: addr, server: server.Clone(), client: client.Clone(), peers: peers, known: known, log: log,
		conns: map[*streamConn]struct{}{}, refusals: map[string]time.Time{},
	}
	s.server.NextProtos = []string{raftProtocol}
	s.client.NextProtos = []string{raftProtocol}
	return s
}

func (s *stream) transport(log hclog.Logger) transport {
	return byName{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: s, MaxPool: maxPooled, Timeout: rpcTimeout, Logger: log,
		// Pipelined replication in raft v1.8.0 can wait for itself for ever
		// when leadership changes, and Shutdown with it.
		MaxRPCsInFlight: 1,
	})}
}

// byName dials NODE@ADDRESS, so that the stream knows who is meant: Raft gives
// it an address only. (Its ServerAddressProvider would also change the
// addresses that it tells others.)
type byName struct{ *raft.NetworkTransport }

func named(id raft.ServerID, addr raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(id) + "@" + addr
}

func (t byName) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.NetworkTransport.AppendEntries(id, named(id, to), args, resp)
}

func (t byName) RequestVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, named(id, to), args, resp)
}

func (t byName) RequestPreVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, named(id, to), args, resp)
}

func (t byName) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, named(id, to), args, resp, data)
}

func (t byName) TimeoutNow(id raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, named(id, to), args, resp)
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
	return s.track(s.peers.Server(c, s.server))
}

// Dial connects to another coordinator, NODE@ADDRESS, and makes sure that it
// is the one that is meant.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	node, addr, ok := strings.Cut(string(address), "@")
	if !ok {
		node, addr = "", string(address)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := s.peers.Client(raw, s.client)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	sc, err := s.track(c)
	if err != nil {
		return nil, err
	}
	if err := sc.introduce(node, addr, timeout); err != nil {
		return nil, errors.Join(err, sc.Close())
	}
	return sc, nil
}

func (s *stream) track(c *tls.Conn) (*streamConn, error) {
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
		_ = c.NetConn().Close() // no farewell: the peer may not be reading
	}
	return err
}

// refused logs why a coordinator was turned away, once in a while.
func (s *stream) refused(from net.Addr, why error) {
	now := time.Now()
	s.mu.Lock()
	last, known := s.refusals[why.Error()]
	quiet := known && now.Sub(last) < refusalEvery
	if !quiet {
		if len(s.refusals) >= maxRefusals {
			clear(s.refusals)
		}
		s.refusals[why.Error()] = now
	}
	s.mu.Unlock()
	if !quiet {
		s.log.Error("refused a coordinator", "from", from, "error", why)
	}
}

type streamConn struct {
	*tls.Conn
	owner *stream
	once  sync.Once
	err   error // of the welcome
}

// introduce is the part of the one that dialled.
func (c *streamConn) introduce(node, addr string, timeout time.Duration) error {
	c.once.Do(func() {}) // there is no welcome to wait for
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	own := c.owner.known.hello()
	own.Want = node
	var peer hello
	if err := errors.Join(own.write(c.Conn), peer.read(c.Conn)); err != nil {
		return fmt.Errorf("no word from %s at %s: %w", node, addr, err)
	}
	own.Want = "" // check compares what the peer wants, which is to answer
	err := own.check(&peer, c.proven())
	switch {
	case err != nil:
	case node != "" && peer.Node != node:
		err = fmt.Errorf("%w: %s was to be at %s, where %s is now; a leader will look for it where gossip says it is, and if none is elected because the majority moved, see docs/recovery.md", ErrOtherNode, node, addr, peer.Node)
	case peer.Refused != "":
		err = fmt.Errorf("%w: refused by %s at %s: %s", ErrOtherNode, peer.Node, addr, peer.Refused)
	default:
		return c.SetDeadline(time.Time{})
	}
	return err
}

// welcome is the part of the one that answers.
func (c *streamConn) welcome() error {
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if err := c.Handshake(); err != nil {
		return err
	}
	var peer hello
	if err := peer.read(c.Conn); err != nil {
		return err
	}
	own := c.owner.known.hello()
	refusal := own.check(&peer, c.proven())
	if refusal == nil {
		// Two machines under one name could each get votes in one term.
		if home, ok := c.owner.known.elsewhere(peer.Node, peer.Address); ok {
			refusal = fmt.Errorf("%w: %s calls from %s, but is alive at %s; stop one of the two, or give it another `node.name` and a certificate for it",
				ErrOtherNode, peer.Node, peer.Address, home)
		}
	}
	if refusal != nil {
		own.Refused = refusal.Error()
		c.owner.refused(c.RemoteAddr(), refusal)
	}
	if err := own.write(c.Conn); err != nil {
		return err
	}
	if refusal != nil {
		return io.EOF // it has been logged
	}
	return c.SetDeadline(time.Time{})
}

// proven is the node that the peer's certificate is of.
func (c *streamConn) proven() string {
	cs := c.ConnectionState()
	who, _ := pki.Peer(&cs) // the TLS settings have verified it
	return who.Name
}

// Read does the handshake first, which must not take for ever.
func (c *streamConn) Read(b []byte) (int, error) {
	c.once.Do(func() { c.err = c.welcome() })
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
