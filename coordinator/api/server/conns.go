package server

import (
	"log/slog"
	"net"
	"sync"
)

// boundedListener closes at once what goes beyond its bounds. To leave it in
// the backlog instead, as netutil.LimitListener does, would let one machine
// that holds many connections shut out all others.
type boundedListener struct {
	net.Listener
	total, each int
	log         *slog.Logger

	mu    sync.Mutex
	count int
	by    map[string]int // by network
}

func newBoundedListener(l net.Listener, total, each int, log *slog.Logger) *boundedListener {
	return &boundedListener{Listener: l, total: total, each: each, log: log, by: map[string]int{}}
}

// Accept implements [net.Listener].
func (b *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := network(c.RemoteAddr().String())
		if b.take(from) {
			return &boundedConn{Conn: c, release: sync.OnceFunc(func() { b.release(from) })}, nil
		}
		b.log.Debug("API connection refused: there are too many", "address", from)
		_ = c.Close()
	}
}

func (b *boundedListener) take(from string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count >= b.total || b.by[from] >= b.each {
		return false
	}
	b.count++
	b.by[from]++
	return true
}

func (b *boundedListener) release(from string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count--
	if b.by[from]--; b.by[from] == 0 {
		delete(b.by, from)
	}
}

type boundedConn struct {
	net.Conn
	release func()
}

// Close implements [net.Conn].
func (c *boundedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
