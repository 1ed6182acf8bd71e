package kernel

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/testbed"
)

// flood sends as fast as the connection takes it until it is closed.
func (b *bed) flood(c net.Conn) {
	done := make(chan struct{})
	b.Cleanup(func() {
		c.Close()
		<-done
	})
	go func() {
		defer close(done)
		for p := make([]byte, 32<<10); ; {
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	}()
}

// settles reads until what arrives is the rate, in bits a second of IP: the
// median of five windows in a row within 5 %. So neither TCP's search for a
// changed rate counts, nor a window in which this machine did something else;
// a rate that is another one is never accepted.
func (b *bed) settles(c net.Conn, want float64) {
	b.Helper()
	const window = 200 * time.Millisecond
	var rates []float64
	p := make([]byte, 64<<10)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		began, total := time.Now(), 0
		for c.SetReadDeadline(began.Add(window)); ; {
			n, err := c.Read(p)
			total += n
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		// 1448 bytes of a packet of 1500 are the stream's.
		rates = append(rates, float64(total)*8*1500/1448/time.Since(began).Seconds())
		if len(rates) < 5 {
			continue
		}
		last := slices.Sorted(slices.Values(rates[len(rates)-5:]))
		if math.Abs(last[2]/want-1) < 0.05 {
			b.Logf("%.2f Mbit/s of %.2f, after %d windows", last[2]/1e6, want/1e6, len(rates))
			return
		}
	}
	for i := range rates {
		rates[i] = math.Round(rates[i]/1e4) / 100
	}
	b.Fatalf("want %.2f Mbit/s within 5 %%, and measured, in windows of %s: %v", want/1e6, window, rates)
}

// The rate holds, is changed under a connection, and is that of one direction.
func TestRateOfAConnection(t *testing.T) {
	b := newBed(t, 2)
	mbit := int64(1e6)
	if slowKernel() {
		mbit /= 20
	}
	b.set(1, 2, testbed.Link{Rate: 30 * mbit, Queue: 100}, true)
	from, to := b.tcp(1, 2)
	back, sink := b.tcp(2, 1)
	b.flood(from)
	b.settles(to, float64(30*mbit))
	for _, l := range []testbed.Link{{Rate: 5 * mbit, Queue: 20}, {Rate: 60 * mbit, Queue: 200}} {
		if err := b.net.Set("n1", "n2", l, true); err != nil {
			t.Fatal(err)
		}
		b.settles(to, float64(l.Rate))
	}
	from.Close()
	b.flood(back)
	b.settles(sink, float64(30*mbit))
}

// A parted direction lets nothing through, the other one does, and the
// connection is still there afterwards.
func TestPartition(t *testing.T) {
	b := newBed(t, 2)
	link := testbed.Link{Rate: 1e6, Queue: 100}
	b.set(1, 2, link, true)
	one, two := b.udp(1), b.udp(2)
	from, to := b.tcp(1, 2)

	// Some packets are in the queue when the link is cut: 12 ms each.
	b.send(one, two, 50, 1500)
	if err := b.net.Set("n1", "n2", link, false); err != nil {
		t.Fatal(err)
	}
	before := len(b.receive(two, 50, 50*time.Millisecond)) // those that were there already
	if before == 50 {
		t.Error("the queue was not dropped with the link")
	}
	b.send(one, two, 20, 100)
	b.send(two, one, 10, 100)
	if got := len(b.receive(one, 10, 5*time.Second)); got != 10 {
		t.Errorf("%d of 10 packets against the partition, want all", got)
	}
	if got := b.receive(two, 20, 300*time.Millisecond); len(got) != 0 {
		t.Errorf("packets %v passed the partition", got)
	}
	if _, err := from.Write([]byte("held up")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was sent into the partition is counted", func() bool { return b.counters(1, 2).Cut >= 71-uint64(before) })
	// Changing a link that is cut does not open it.
	if err := b.net.Set("n1", "n2", testbed.Link{Rate: 2e6, Queue: 10}, false); err != nil {
		t.Fatal(err)
	}
	b.send(one, two, 5, 100)
	if got := b.receive(two, 5, 100*time.Millisecond); len(got) != 0 {
		t.Errorf("packets %v passed the partition", got)
	}
	cut := b.counters(1, 2).Cut

	b.set(1, 2, link, true)
	to.SetReadDeadline(time.Now().Add(30 * time.Second)) // TCP tries again at growing intervals
	p := make([]byte, len("held up"))
	if _, err := io.ReadFull(to, p); err != nil || string(p) != "held up" {
		t.Errorf("after the partition: %q, %v", p, err)
	}
	b.send(one, two, 5, 100)
	if got := len(b.receive(two, 5, 5*time.Second)); got != 5 {
		t.Errorf("%d of 5 packets after the partition", got)
	}
	if c := b.counters(1, 2); c.Cut < cut || c.Cut > cut+2 || c.Loss+c.Queue != 0 {
		t.Errorf("after the partition: %+v, want %d cut and nothing else", c, cut)
	}
	if c := b.counters(2, 1); c.Cut+c.Loss+c.Queue != 0 {
		t.Errorf("against the partition: %+v, want nothing dropped", c)
	}
}

// As many packets wait as the queue has room for, whatever their size and
// however many are under way; the rest is dropped, and every packet is in one of
// the counters.
func TestQueueIsInPackets(t *testing.T) {
	b := newBed(t, 2)
	one, two := b.udp(1), b.udp(2)
	delays := []time.Duration{0}
	if Supported() == nil {
		delays = append(delays, 300*time.Millisecond)
	}
	for _, delay := range delays {
		for _, size := range []int{1500, 300} {
			const queue, sent = 40, 100
			// Slow enough that hardly any packet leaves while all are sent.
			link := testbed.Link{Rate: int64(size) * 8 * 50, Queue: queue, Delay: delay} // 50 packets a second
			b.set(1, 2, link, true)
			was := b.counters(1, 2)
			b.send(one, two, sent, size)
			var c Counters
			eventually(t, "all packets have arrived or been dropped", func() bool {
				c = b.counters(1, 2)
				return c.Packets+c.Queue-was.Packets-was.Queue == sent && c.UnderWay == 0
			})
			dropped := int(c.Queue - was.Queue)
			if dropped < sent-queue-10 || dropped > sent-queue {
				t.Errorf("%d bytes, delay %s: %d of %d packets dropped for a queue of %d", size, delay, dropped, sent, queue)
			}
			got := b.receive(two, sent-dropped, 5*time.Second)
			if len(got) != sent-dropped || !slices.IsSorted(got) {
				t.Errorf("%d bytes, delay %s: %d dropped, and received %v", size, delay, dropped, got)
			}
			if c.Loss+c.Cut != 0 {
				t.Errorf("%d bytes, delay %s: %+v, want nothing lost or cut", size, delay, c)
			}
		}
	}
}

// Segmentation offload must not make one packet of many: neither TCP's nor
// that which QUIC uses.
func TestPacketsAreNoLargerThanTheLinks(t *testing.T) {
	b := newBed(t, 2)
	b.set(1, 2, testbed.Link{Rate: 200e6, Queue: 1000}, true)
	from, to := b.tcp(1, 2)
	const size = 2 << 20
	go func() {
		from.Write(make([]byte, size))
		from.Close()
	}()
	if n, err := io.Copy(io.Discard, to); n != size || err != nil {
		t.Fatalf("received %d bytes, %v", n, err)
	}
	if c := b.counters(1, 2); c.Packets < size/1460 {
		t.Errorf("%d bytes went in %d packets: %d bytes each", size, c.Packets, c.Bytes/c.Packets)
	}

	one, two := b.udp(1), b.udp(2)
	raw, err := one.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, 1000) }); err != nil {
		t.Fatal(err)
	}
	if set != nil {
		t.Skipf("this kernel has no segmentation offload for UDP: %v", set)
	}
	before := b.counters(1, 2)
	if _, err := one.WriteToUDPAddrPort(make([]byte, 20_000), address(two)); err != nil {
		t.Fatal(err)
	}
	if got := len(b.receive(two, 20, 5*time.Second)); got != 20 {
		t.Errorf("received %d datagrams, want 20 of 1000 bytes", got)
	}
	if c := b.counters(1, 2); c.Packets-before.Packets != 20 {
		t.Errorf("20 datagrams of UDP went in %d packets", c.Packets-before.Packets)
	}
}

// What no link was set for passes, and so does what goes over unshaped links.
func TestUnshaped(t *testing.T) {
	b := newBed(t, 3)
	b.set(1, 2, testbed.Link{}, true)
	one := b.udp(1)
	for _, k := range []int{2, 3} {
		to := b.udp(k)
		b.send(one, to, 500, 1500)
		if got := b.receive(to, 500, 5*time.Second); len(got) != 500 || !slices.IsSorted(got) {
			t.Errorf("node %d received %d of 500 packets", k, len(got))
		}
	}
	if c := b.counters(1, 2); c.Packets != 500 {
		t.Errorf("%+v, want 500 packets", c)
	}
	// From shaped to unshaped, in place.
	b.set(1, 3, testbed.Link{Rate: 80_000, Queue: 1000}, true)
	b.set(1, 3, testbed.Link{}, true)
	to := b.udp(3)
	b.send(one, to, 500, 1500) // at 80 kbit/s: over a minute
	if got := b.receive(to, 500, 5*time.Second); len(got) != 500 {
		t.Errorf("received %d of 500 packets over a link that is no longer shaped", len(got))
	}
}
