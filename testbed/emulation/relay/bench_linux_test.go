package relay

import (
	"net"
	"testing"

	"golang.org/x/net/ipv4"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// BenchmarkRelay is what a packet of 1400 bytes costs the pump, from one
// device into the other: the kernel's work on both, and its receiver's up to
// the socket, but no sleep. The sender's work is not in it.
func BenchmarkRelay(b *testing.B) {
	bed := makeBed(b, Config{}, "a", "b")
	bed.link("a", "b", testbed.Link{}, true)
	var from, to net.PacketConn
	for node, c := range map[string]*net.PacketConn{"a": &from, "b": &to} {
		err := ns.Do(bed.space(node), func() (err error) {
			*c, err = net.ListenPacket("udp4", addr(node).String()+":9")
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		defer (*c).Close()
	}
	batch := make([]ipv4.Message, readBurst)
	for i := range batch {
		batch[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 1400-8-headerLen)}, Addr: to.LocalAddr()}
	}
	out := ipv4.NewPacketConn(from)
	bed.mu.Lock()
	defer bed.mu.Unlock()
	relayed := &bed.lines[Pair{"a", "b"}].counters.Packets
	b.ReportAllocs()
	b.SetBytes(1400)
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		b.StopTimer()
		n, err := out.WriteBatch(batch[:min(len(batch), b.N-sent)], 0)
		if err != nil {
			b.Fatal(err)
		}
		sent += n
		b.StartTimer()
		for *relayed < uint64(sent) {
			if _, err := bed.receive(); err != nil {
				b.Fatal(err)
			}
			bed.deliver()
		}
	}
}
