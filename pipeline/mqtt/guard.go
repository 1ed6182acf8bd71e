package mqtt

import (
	"bufio"
	"errors"
	"net"
	"time"
)

// guard is a broker's connection as paho sees it. It keeps paho from
// allocating what a packet claims to need (up to 256 MiB): a PUBLISH over the
// limit is read and thrown away, any other packet over it ends the connection.
// It also bounds how long a write may take.
type guard struct {
	net.Conn
	r        *bufio.Reader
	limit    int           // bytes of a packet after its fixed header
	stall    time.Duration // longest write
	oversize func(bytes int)

	head []byte // of the current packet's fixed header, not yet handed out
	body int    // of the current packet's other bytes, not yet handed out
}

var (
	errPacketSize   = errors.New("broker sent a control packet of excessive size")
	errPacketHeader = errors.New("broker sent a malformed packet header")
)

func newGuard(c net.Conn, limit int, stall time.Duration, oversize func(int)) *guard {
	return &guard{Conn: c, r: bufio.NewReaderSize(c, 64<<10), limit: limit, stall: stall, oversize: oversize}
}

// Read hands out the bytes of the packets that are within the limit.
func (g *guard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(g.head)+g.body == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if len(g.head) > 0 {
		n := copy(p, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	n, err := g.r.Read(p[:min(len(p), g.body)])
	g.body -= n
	return n, err
}

// next reads a fixed header (MQTT 3.1.1, section 2.2).
func (g *guard) next() error {
	const publish = 3
	first, err := g.r.ReadByte()
	if err != nil {
		return err
	}
	head, size := []byte{first}, 0
	for shift := 0; ; shift += 7 {
		if shift > 21 {
			return errPacketHeader
		}
		b, err := g.r.ReadByte()
		if err != nil {
			return err
		}
		head = append(head, b)
		size |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	if size <= g.limit {
		g.head, g.body = head, size
		return nil
	}
	if first>>4 != publish {
		return errPacketSize
	}
	g.oversize(size)
	_, err = g.r.Discard(size)
	return err
}

// Write writes the whole packet or, when that takes too long, fails.
func (g *guard) Write(p []byte) (int, error) {
	if err := g.Conn.SetWriteDeadline(time.Now().Add(g.stall)); err != nil {
		return 0, err
	}
	return g.Conn.Write(p)
}
