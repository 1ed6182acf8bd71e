package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/weft-mesh/weft/internal/lobby"
)

// boundedListener bounds connections. They wait in the lobby, where they may
// have to give way, until a request has shown who the caller is; it keeps them
// then, so many in all and from one network. Those beyond go on waiting, and are
// served while they do. None is left in the backlog, as netutil.LimitListener
// would do: one machine that holds many would shut out all others.
type boundedListener struct {
	net.Listener
	lobby       *lobby.Lobby
	total, each int
	log         *slog.Logger

	mu    sync.Mutex
	count int            // of those that are kept
	by    map[string]int // the same by network
}

func newBoundedListener(l net.Listener, lim limits, log *slog.Logger) *boundedListener {
	return &boundedListener{
		Listener: l, lobby: lobby.New(lim.strangers, lim.strangersEach), total: lim.conns, each: lim.connsEach,
		log: log, by: map[string]int{},
	}
}

// Accept implements [net.Listener].
func (b *boundedListener) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	addr := conn.RemoteAddr().String()
	c := &boundedConn{Conn: conn, b: b, from: lobby.Network(addr)}
	var full bool
	if c.leave, full = b.lobby.Enter(c, addr); full {
		b.log.Debug("too many API connections that have not said whose they are, the oldest closed", "address", c.from)
	}
	return c, nil
}

type boundedConn struct {
	net.Conn
	b     *boundedListener
	from  string
	leave func() // the lobby

	kept, closed bool // under b.mu
}

// keep is called when the caller is known.
func (c *boundedConn) keep() {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.kept || c.closed || c.b.count >= c.b.total || c.b.by[c.from] >= c.b.each {
		return
	}
	c.kept = true
	c.b.count++
	c.b.by[c.from]++
	c.leave()
}

// Close implements [net.Conn].
func (c *boundedConn) Close() error {
	c.b.mu.Lock()
	if c.kept && !c.closed {
		c.b.count--
		if c.b.by[c.from]--; c.b.by[c.from] == 0 {
			delete(c.b.by, c.from)
		}
	}
	c.closed = true
	c.b.mu.Unlock()
	c.leave()
	return c.Conn.Close()
}

type connKey struct{}

// withConn is for [http.Server.ConnContext].
func withConn(ctx context.Context, c net.Conn) context.Context {
	for {
		over, ok := c.(interface{ NetConn() net.Conn }) // TLS, and what is below it
		if !ok {
			return context.WithValue(ctx, connKey{}, c)
		}
		c = over.NetConn()
	}
}

// keepConn keeps the connection of a caller that is known.
func keepConn(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*boundedConn); ok {
		c.keep()
	}
}
