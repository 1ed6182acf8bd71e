package probe

import (
	"encoding/binary"
	"time"
)

// kind is what a datagram is for.
type kind uint8

const (
	echo  kind = iota + 1 // to be sent back
	reply                 // an echo sent back
	data                  // counted where it arrives
	mark                  // follows the data of a flow: what came until then is all
)

// packet is what a datagram carries; the rest of a longer one is padding.
type packet struct {
	token uint64 // of the run: anything else is a stranger's
	flow  uint32
	seq   uint32
	kind  kind
	in    int64 // of a reply: when the echo arrived, ns since 1970
	out   int64 // and when it was sent back; of data: when it was sent
}

// Sizes in bytes, without IP and UDP headers. The larger fits links whose MTU
// tunnels have lowered a little.
const (
	smallSize = 40
	largeSize = 1400
)

func (p packet) put(b []byte) {
	binary.BigEndian.PutUint64(b, p.token)
	binary.BigEndian.PutUint32(b[8:], p.flow)
	binary.BigEndian.PutUint32(b[12:], p.seq)
	b[16] = byte(p.kind)
	binary.BigEndian.PutUint64(b[24:], uint64(p.in))
	binary.BigEndian.PutUint64(b[32:], uint64(p.out))
}

// parse reads a datagram of the run; false: it is none.
func parse(b []byte, token uint64) (packet, bool) {
	if len(b) < smallSize || binary.BigEndian.Uint64(b) != token {
		return packet{}, false
	}
	return packet{
		token: token,
		flow:  binary.BigEndian.Uint32(b[8:]),
		seq:   binary.BigEndian.Uint32(b[12:]),
		kind:  kind(b[16]),
		in:    int64(binary.BigEndian.Uint64(b[24:])),
		out:   int64(binary.BigEndian.Uint64(b[32:])),
	}, true
}

// arrival is a datagram that came.
type arrival struct {
	seq  uint32
	at   int64         // ns since 1970
	sent int64         // of data: likewise
	held time.Duration // of a reply: by the node that sent it back
}
