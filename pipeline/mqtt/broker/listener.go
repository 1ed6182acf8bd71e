package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/weft-mesh/weft/internal/lobby"
	"github.com/weft-mesh/weft/internal/pki"
)

const (
	// introduction is how long a new connection has for the TLS handshake and
	// its CONNECT packet together. mochi itself would wait for ever.
	introduction = 10 * time.Second
	acceptRetry  = 100 * time.Millisecond
	// maxConnections is for those who are known, and leaves room for some that
	// are not clients yet.
	maxConnections = maxClients + 128
	// Of those whom the handshake has not made known yet, as many from one
	// network as a mesh has nodes behind one address.
	maxStrangers, maxStrangersEach = 512, 256
)

// listener is mochi's way to its connections. Unlike mochi's own listeners it
// knows of connections that have not become clients yet, so that they neither
// linger nor keep the broker from stopping, and it says who was turned away.
type listener struct {
	name    string
	tcp     net.Listener
	secure  *tls.Config // nil: plain text
	conf    Config
	trouble *limited
	failed  chan error // holds what Accept failed with
	ctx     context.Context
	stop    context.CancelFunc

	strangers *lobby.Lobby

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // below TLS; nil once closed
	known  int
	owners map[string]int // connections of each
	wg     sync.WaitGroup
}

func newListener(name string, tcp net.Listener, secure *tls.Config, conf Config, failed chan error, trouble *limited) *listener {
	ctx, stop := context.WithCancel(context.Background())
	return &listener{
		name: name, tcp: tcp, secure: secure, conf: conf, trouble: trouble, failed: failed,
		ctx: ctx, stop: stop, strangers: lobby.New(maxStrangers, maxStrangersEach), conns: map[net.Conn]struct{}{}, owners: map[string]int{},
	}
}

// errUnknown reports a certificate that names nobody.
var errUnknown = errors.New("the certificate names no member of the mesh")

var _ listeners.Listener = (*listener)(nil)

func (l *listener) Init(*slog.Logger) error { return nil }
func (l *listener) ID() string              { return l.name }
func (l *listener) Address() string         { return l.tcp.Addr().String() }
func (l *listener) Protocol() string        { return "tcp" }

// Serve accepts connections until the listener is closed.
func (l *listener) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := l.tcp.Accept()
		switch {
		case err == nil:
			if !l.add(conn) {
				_ = conn.Close()
				continue
			}
			go l.serve(conn, establish)
		case l.ctx.Err() != nil:
			return
		case errors.Is(err, net.ErrClosed):
			l.failed <- err
			return
		default: // out of file descriptors, say; others may be given back
			l.trouble.warn(time.Now(), "cannot accept connections", "error", err)
			timer := time.NewTimer(acceptRetry)
			select {
			case <-timer.C:
			case <-l.ctx.Done():
			}
			timer.Stop()
		}
	}
}

func (l *listener) serve(raw net.Conn, establish listeners.EstablishFn) {
	defer l.remove(raw)
	leave, full := l.strangers.Enter(raw, raw.RemoteAddr().String())
	defer leave()
	if full {
		l.trouble.warn(time.Now(), "too many connections that have not said whose they are, the oldest closed", "remote", raw.RemoteAddr().String())
	}
	_ = raw.SetDeadline(time.Now().Add(introduction)) // mochi sets its own after CONNECT
	var conn net.Conn = &paced{raw, l.conf.Stall}
	if l.secure != nil {
		c, err := l.handshake(conn)
		if err != nil {
			if l.ctx.Err() == nil {
				l.trouble.warn(time.Now(), "TLS handshake failed", "remote", raw.RemoteAddr().String(), "error", err)
			}
			linger(raw)
			return
		}
		conn = c
	}
	// admit is called when it is known who it is; it says whether there is room.
	entered, who := false, ""
	admit := func(owner string) bool {
		if limit := l.enter(owner); limit > 0 {
			l.trouble.warn(time.Now(), "too many connections, one turned away", "remote", raw.RemoteAddr().String(), "who", owner, "limit", limit)
			return false
		}
		entered, who = true, owner
		leave()
		return true
	}
	defer func() {
		if entered {
			l.leave(who)
		}
	}()
	switch c, certified := conn.(*known); {
	case certified:
		if !admit(owner(c.who)) {
			return
		}
	case l.conf.Users != nil:
		g, err := newGuest(l.ctx, conn, admit)
		if err != nil {
			l.trouble.warn(time.Now(), "a connection did not begin as MQTT's do", "remote", raw.RemoteAddr().String(), "error", err)
			return
		}
		conn = g
	default: // everybody may do everything
		if !admit("") {
			return
		}
	}
	if err := establish(l.ID(), conn); err != nil && l.ctx.Err() == nil {
		l.conf.Log.Debug("mqtt broker: connection ended", "remote", raw.RemoteAddr().String(), "error", err)
	}
}

// handshake returns a known connection, or one of TLS if the other end shows no
// certificate, where that is allowed.
func (l *listener) handshake(conn net.Conn) (net.Conn, error) {
	c := l.conf.Peers.Server(conn, l.secure)
	if err := c.HandshakeContext(l.ctx); err != nil {
		return nil, err
	}
	state := c.ConnectionState()
	if len(state.PeerCertificates) == 0 && l.conf.Users != nil {
		return c, nil
	}
	who, ok := pki.Peer(&state)
	if !ok {
		return nil, errUnknown
	}
	return &known{c, who}, nil
}

// enter counts a connection of an owner. If there are too many, of the owner
// or in all, it returns how many there may be.
func (l *listener) enter(owner string) (limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case owner != "" && l.owners[owner] >= l.conf.PerOwner:
		return l.conf.PerOwner
	case l.known >= maxConnections:
		return maxConnections
	}
	l.known++
	l.owners[owner]++
	return 0
}

func (l *listener) leave(owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known--
	if l.owners[owner]--; l.owners[owner] == 0 {
		delete(l.owners, owner)
	}
}

// linger reads what the peer has sent already: closing with that unread would
// reset the connection, and the alert that says why might never be seen.
func linger(raw net.Conn) {
	const most, longest = 64 << 10, time.Second
	if c, ok := raw.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
	_ = raw.SetReadDeadline(time.Now().Add(longest))
	_, _ = io.CopyN(io.Discard, raw, most)
}

// add is false when the broker stops.
func (l *listener) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		return false
	}
	l.conns[c] = struct{}{}
	l.wg.Add(1)
	return true
}

func (l *listener) remove(c net.Conn) {
	_ = c.Close()
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	l.wg.Done()
}

// Close closes the listener and every connection and waits for their
// goroutines. The connections go before mochi says good-bye to its clients,
// since one that does not read would keep it waiting.
func (l *listener) Close(closeClients listeners.CloseFn) {
	l.stop()
	_ = l.tcp.Close()
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
	closeClients(l.ID())
	l.wg.Wait()
}
