package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/weft-mesh/weft/internal/lobby"
)

// maxConnect is for the first packet of one who is not known yet, with an
// identifier, a name, a password and a will: mochi would make room for as much
// as it says that it has.
const maxConnect = 8 << 10

var errFirstPacket = errors.New("no CONNECT packet")

// guest is a connection whose other end is to say who it is in its CONNECT
// packet.
type guest struct {
	net.Conn
	r     *bufio.Reader
	ctx   context.Context         // of the listener
	admit func(owner string) bool // whether there is room
	user  string                  // empty: not known yet
}

// newGuest waits for the beginning of the first packet (MQTT 3.1.1, section
// 2.2); none is shorter than what it looks at.
func newGuest(ctx context.Context, c net.Conn, admit func(string) bool) (*guest, error) {
	g := &guest{Conn: c, r: bufio.NewReader(c), ctx: ctx, admit: admit}
	head, err := g.r.Peek(5)
	if err != nil {
		return nil, err
	}
	if head[0] != packets.Connect<<4 {
		return nil, fmt.Errorf("%w: it begins with %#x", errFirstPacket, head[0])
	}
	size := 0
	for i, b := range head[1:] {
		size |= int(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			break
		}
	}
	if size > maxConnect {
		return nil, fmt.Errorf("%w: of %d bytes, at most %d", errFirstPacket, size, maxConnect)
	}
	return g, nil
}

func (g *guest) Read(p []byte) (int, error) { return g.r.Read(p) }

// owner names the user among those of [owner]: no role is called so.
func (g *guest) owner() string { return "user/" + g.user }

func (g *guest) network() string { return lobby.Network(g.RemoteAddr().String()) }
