package relay

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// header makes an IPv4 packet of n bytes.
func header(n int, to string) []byte {
	b := make([]byte, n)
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	a := netip.MustParseAddr(to).As4()
	copy(b[16:], a[:])
	return b
}

// with changes one byte.
func with(b []byte, i int, v byte) []byte {
	b[i] = v
	return b
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bytes []byte
		want  kind
		to    string
	}{
		{"a packet", header(60, "10.1.2.3"), unicast, "10.1.2.3"},
		{"of nothing but a header", header(20, "10.1.2.3"), unicast, "10.1.2.3"},
		{"with options", with(header(60, "10.1.2.3"), 0, 0x4f), unicast, "10.1.2.3"},
		{"empty", nil, malformed, ""},
		{"one byte", []byte{0x45}, malformed, ""},
		{"a byte too few for a header", header(20, "10.1.2.3")[:19], malformed, ""},
		{"options that are not there", with(header(59, "10.1.2.3"), 0, 0x4f), malformed, ""},
		{"a header too short", with(header(60, "10.1.2.3"), 0, 0x44), malformed, ""},
		{"truncated", header(60, "10.1.2.3")[:40], malformed, ""},
		{"longer than it says", append(header(60, "10.1.2.3"), 0), malformed, ""},
		{"IPv6", with(header(60, "10.1.2.3"), 0, 0x60), notIPv4, ""},
		{"neither", with(header(60, "10.1.2.3"), 0, 0), notIPv4, ""},
		{"multicast", header(60, "224.0.0.1"), multicast, "224.0.0.1"},
		{"multicast, last", header(60, "239.255.255.255"), multicast, "239.255.255.255"},
		{"before multicast", header(60, "223.255.255.255"), unicast, "223.255.255.255"},
		{"broadcast", header(60, "255.255.255.255"), multicast, "255.255.255.255"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to, got := parse(tt.bytes)
			if got != tt.want {
				t.Errorf("kind %d, want %d", got, tt.want)
			}
			if tt.to != "" && to != number(netip.MustParseAddr(tt.to)) {
				t.Errorf("to %08x, want %s", to, tt.to)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(header(60, "10.1.2.3"))
	f.Add(header(20, "224.0.0.1"))
	f.Add([]byte{0x45})
	f.Add([]byte{0x60, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		to, kind := parse(b)
		if kind != unicast && kind != multicast {
			return
		}
		if len(b) < headerLen || b[0]>>4 != 4 || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
			t.Fatalf("taken for a packet: % x", b)
		}
		a := netip.AddrFrom4([4]byte(b[16:20]))
		if number(a) != to {
			t.Fatalf("to %08x, the bytes say %s", to, a)
		}
		if (kind == multicast) != (a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) {
			t.Fatalf("%s is of kind %d", a, kind)
		}
	})
}
