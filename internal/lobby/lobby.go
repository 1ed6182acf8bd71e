// Package lobby bounds the connections whose other end has not said who it is.
//
// Who it will be cannot be told, so a place is not kept for whoever came first:
// where there are too many, the one that has waited the longest gives way. To
// shut others out takes more new connections in the time of a handshake than
// there are places, and not merely that many which do nothing.
package lobby

import (
	"io"
	"net/netip"
	"slices"
	"sync"
)

// Lobby counts connections by network. It is safe for concurrent use.
type Lobby struct {
	total, each int

	mu      sync.Mutex
	waiting []*guest // the longest first
}

type guest struct {
	conn io.Closer
	from string
}

// New returns a lobby with so many places in all, and for each network.
func New(total, each int) *Lobby { return &Lobby{total: total, each: each} }

// Enter takes a place for a connection from an address, host:port, until leave
// is called; again does nothing. If none is left, for the network or in all, it
// closes the connection that has had one the longest, and says so.
func (l *Lobby) Enter(conn io.Closer, address string) (leave func(), full bool) {
	g := &guest{conn, Network(address)}
	out := l.enter(g)
	if out != nil {
		_ = out.conn.Close() // which may call its leave
	}
	return func() { l.leave(g) }, out != nil
}

// enter returns who has to give way, if somebody has.
func (l *Lobby) enter(g *guest) (out *guest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own, first := 0, 0
	for i, w := range l.waiting {
		if w.from == g.from {
			if own++; own == 1 {
				first = i
			}
		}
	}
	if own < l.each {
		first = 0
	}
	if own >= l.each || len(l.waiting) >= l.total {
		out = l.waiting[first]
		l.waiting = slices.Delete(l.waiting, first, first+1)
	}
	l.waiting = append(l.waiting, g)
	return out
}

func (l *Lobby) leave(g *guest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, g); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
}

// Network is the address of host:port without the port; of IPv6 the /64, which
// is what one machine has.
func Network(hostPort string) string {
	ap, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return hostPort
	}
	a := ap.Addr().Unmap()
	if a.Is4() {
		return a.String()
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a.String()
	}
	return p.String()
}
