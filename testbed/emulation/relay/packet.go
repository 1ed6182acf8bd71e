package relay

import (
	"encoding/binary"
	"net/netip"
)

// mtu of every device, in bytes.
const mtu = 1500

// packet is a buffer for one packet as it is read from a device.
type packet struct {
	bytes [mtu]byte
}

// pool hands out packets, and bounds how many there are.
type pool struct {
	free []*packet
	made int
	most int
}

// slab is how many packets are allocated at a time.
const slab = 64

// get returns nil where all packets are in use.
func (p *pool) get() *packet {
	if len(p.free) == 0 {
		n := min(slab, p.most-p.made)
		if n <= 0 {
			return nil
		}
		fresh := make([]packet, n)
		for i := range fresh {
			p.free = append(p.free, &fresh[i])
		}
		p.made += n
	}
	last := len(p.free) - 1
	x := p.free[last]
	p.free = p.free[:last]
	return x
}

func (p *pool) put(x *packet) { p.free = append(p.free, x) }

// kind is what a packet is to the relay.
type kind int

const (
	unicast   kind = iota
	multicast      // or broadcast to all
	notIPv4
	malformed // shorter than it says, or than a header is
)

const headerLen = 20 // of IPv4 without options

// parse finds the destination of an IP packet, as a number in host order.
func parse(b []byte) (uint32, kind) {
	if len(b) == 0 {
		return 0, malformed
	}
	if b[0]>>4 != 4 {
		return 0, notIPv4
	}
	if len(b) < headerLen {
		return 0, malformed
	}
	header := int(b[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if header < headerLen || total < header || total != len(b) {
		return 0, malformed
	}
	to := binary.BigEndian.Uint32(b[16:])
	if to>>28 == 0xe || to == 0xffffffff { // 224.0.0.0/4
		return to, multicast
	}
	return to, unicast
}

// number is an IPv4 address as parse returns it.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}
