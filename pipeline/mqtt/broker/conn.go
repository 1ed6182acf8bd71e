package broker

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
)

// known is a connection whose other end has proved who it is.
type known struct {
	*tls.Conn
	who pki.Subject
}

// paced is a connection on which what is written must be taken within stall,
// piece by piece: a peer that is slow may be, one that is stuck loses the
// connection, and with it all that waits for it. mochi by itself would wait
// for ever, or as long as the peer says that it lives.
type paced struct {
	net.Conn
	stall time.Duration
}

const piece = 64 << 10

// Write implements net.Conn. After an error the stream would be broken, and
// mochi would go on with it.
func (c *paced) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if err = c.Conn.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			break
		}
		var m int
		m, err = c.Conn.Write(p[n:min(len(p), n+piece)])
		n += m
	}
	if err != nil {
		_ = c.Conn.Close()
	}
	return n, err
}

// SetDeadline is how mochi bounds the peer's silence.
func (c *paced) SetDeadline(t time.Time) error { return c.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing: Write sets its own.
func (c *paced) SetWriteDeadline(time.Time) error { return nil }
