package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"sync"
	"time"
)

// Peers are the connections that are open to others, so that they end when a
// [Follower] reads that a certificate is not to be trusted any more. TLS looks
// at certificates when a connection begins, and never again.
//
// Whoever holds a connection has it made by Server, Client or Listener, or calls
// Add and Remove where it is not one of TCP. A nil Peers ends none.
type Peers struct {
	trust func() *credentials
	mu    sync.Mutex
	open  map[any]*peer
}

// peer is the other end of a connection.
type peer struct {
	leaf  *x509.Certificate
	since time.Time
	end   func()
}

// trusted says why a peer's certificate would not be accepted any more. Its
// dates were right when the connection began: that it has expired meanwhile
// ends no connection, since no file says when that is.
func (p *peer) trusted(by *credentials) error {
	return by.verify(p.leaf, x509.ExtKeyUsageAny, p.since)
}

// Add has end called, once, when the certificate that the peer has shown is not
// trusted any more, until conn is removed. An error is that it is not trusted
// already. A conn that is known, and a peer that has shown none, change nothing.
// end must not block.
func (p *Peers) Add(conn any, cs tls.ConnectionState, end func()) error {
	if p == nil || len(cs.PeerCertificates) == 0 {
		return nil
	}
	one := &peer{leaf: cs.PeerCertificates[0], since: time.Now(), end: end}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[conn] != nil {
		return nil
	}
	if p.open[conn] != nil {
		return nil
	}
	// Trust changes before drop looks at what is open: this or drop sees it.
	if err := one.trusted(p.trust()); err != nil {
		return err
	}
	if p.open == nil {
		p.open = map[any]*peer{}
	}
	p.open[conn] = one
	return nil
}

// Remove forgets a connection, which may be unknown.
func (p *Peers) Remove(conn any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
}

// Server is [tls.Server] for a connection that belongs to Peers from its
// handshake until it is closed.
func (p *Peers) Server(raw net.Conn, conf *tls.Config) *tls.Conn {
	return tls.Server(p.watch(raw, conf))
}

// Client is [tls.Client], likewise.
func (p *Peers) Client(raw net.Conn, conf *tls.Config) *tls.Conn {
	return tls.Client(p.watch(raw, conf))
}

func (p *Peers) watch(raw net.Conn, conf *tls.Config) (net.Conn, *tls.Config) {
	if p == nil {
		return raw, conf
	}
	c := &watched{raw, p}
	own := conf.Clone()
	own.VerifyConnection = func(cs tls.ConnectionState) error {
		if conf.VerifyConnection != nil {
			if err := conf.VerifyConnection(cs); err != nil {
				return err
			}
		}
		return p.Add(c, cs, func() { _ = c.Close() })
	}
	return c, own
}

// watched is a connection below TLS. It is closed there, without the farewell
// of TLS, for which a peer that does not read would keep one waiting.
type watched struct {
	net.Conn
	peers *Peers
}

// NetConn is what lies below.
func (c *watched) NetConn() net.Conn { return c.Conn }

// Close implements [net.Conn].
func (c *watched) Close() error {
	c.peers.Remove(c)
	return c.Conn.Close()
}

// Listener is [tls.NewListener], likewise.
func (p *Peers) Listener(l net.Listener, conf *tls.Config) net.Listener {
	return &listener{l, p, conf}
}

type listener struct {
	net.Listener
	peers *Peers
	conf  *tls.Config
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.peers.Server(c, l.conf), nil
}

// dropped is what drop has ended of one certificate.
type dropped struct {
	leaf  *x509.Certificate
	conns int
	why   error
}

// drop ends the connections to peers that are not trusted any more.
func (p *Peers) drop() []dropped {
	by := p.trust()
	bySerial := map[string]*dropped{}
	var ends []func()
	p.mu.Lock()
	for conn, one := range p.open {
		why := one.trusted(by)
		if why == nil {
			continue
		}
		delete(p.open, conn)
		ends = append(ends, one.end)
		key := serial(one.leaf.SerialNumber)
		if bySerial[key] == nil {
			bySerial[key] = &dropped{leaf: one.leaf, why: why}
		}
		bySerial[key].conns++
	}
	p.mu.Unlock()
	for _, end := range ends {
		end()
	}
	var out []dropped
	for _, d := range bySerial {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b dropped) int { return a.leaf.SerialNumber.Cmp(b.leaf.SerialNumber) })
	return out
}
