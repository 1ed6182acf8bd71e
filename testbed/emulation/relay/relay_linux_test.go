package relay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// attempts runs a measurement until it is as it should be, three times at
// most: what else the machine does can spoil one, hardly all.
func attempts(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for range 3 {
		if err = try(); err == nil {
			return
		}
		t.Log(err)
	}
	t.Error("three attempts failed")
}

// eventually polls until ok, or fails.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// send sends a few datagrams from a node to an address, from this process.
func (b *bed) send(node, to string, count, size int) {
	b.t.Helper()
	var c net.PacketConn
	err := ns.Do(b.space(node), func() (err error) {
		c, err = net.ListenPacket("udp4", addr(node).String()+":0")
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))
	for range count {
		if _, err := c.WriteTo(make([]byte, size-8-headerLen), at); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestLinks(t *testing.T) {
	b := makeBed(t, Config{Seed: 7}, "a", "b", "c")
	b.link("a", "b", testbed.Link{Delay: 4 * ms}, true)
	b.link("a", "c", testbed.Link{Delay: 20 * ms, Jitter: 5 * ms}, true)
	b.run()

	t.Run("round trips", func(t *testing.T) {
		attempts(t, func() error {
			for _, tt := range []struct {
				to       string
				from, up time.Duration
			}{{"b", 8 * ms, 12 * ms}, {"c", 30 * ms, 54 * ms}} {
				p := b.ping("a", tt.to, 30)
				// Making up for late timers may deliver somewhat early.
				if p.Lost > 0 || p.quantile(0) < tt.from-2*mostEarly || p.quantile(0.5) > tt.up {
					return fmt.Errorf("round trips to %s: %v, %d lost; want %s to %s", tt.to, p.RTT, p.Lost, tt.from, tt.up)
				}
			}
			return nil
		})
	})
	t.Run("throughput", func(t *testing.T) {
		const rate = 30e6
		b.link("a", "b", testbed.Link{Rate: rate, Delay: ms, Queue: 100}, true)
		attempts(t, func() error {
			_, got := b.blast("a", "b", 1.3*rate, time.Second)
			if math.Abs(got.Rate/rate-1) > 0.05 {
				return fmt.Errorf("%.2f Mbit/s of 30", got.Rate/1e6)
			}
			return nil
		})
	})
	t.Run("every packet is counted", func(t *testing.T) {
		b.link("b", "c", testbed.Link{Rate: 20e6, Delay: ms, Loss: 0.1, Queue: 20}, true)
		sent, got := b.blast("b", "c", 30e6, time.Second)
		c := b.Counters()[Pair{"b", "c"}]
		if c.Packets+c.DroppedLoss+c.DroppedQueue != uint64(sent) || c.UnderWay+c.DroppedCut+c.DroppedMemory+c.DroppedDevice != 0 {
			t.Errorf("sent %d, counted %+v", sent, c)
		}
		if c.Packets != uint64(got.Packets) || c.Bytes != c.Packets*wire {
			t.Errorf("%d arrived, counted %+v", got.Packets, c)
		}
		mean, sd := 0.1*float64(sent), math.Sqrt(0.09*float64(sent))
		if math.Abs(float64(c.DroppedLoss)-mean) > 4*sd || c.DroppedQueue == 0 {
			t.Errorf("lost %d of %d, want %.0f ± %.0f; %d dropped", c.DroppedLoss, sent, mean, 4*sd, c.DroppedQueue)
		}
	})
	t.Run("TCP", func(t *testing.T) {
		const rate = 30e6
		b.link("a", "b", testbed.Link{Rate: rate, Delay: 4 * ms, Queue: 200}, true)
		attempts(t, func() error {
			at := addr("b").String() + ":9"
			server := b.serve("b", "download", at)
			defer server.kill()
			b.start("a", "upload", at, "1s")
			var got float64
			if server.result(&got); got < 0.85*rate || got > rate {
				return fmt.Errorf("%.2f Mbit/s of 30", got/1e6)
			}
			return nil
		})
	})
}

func TestCutAndHeal(t *testing.T) {
	b := makeBed(t, Config{}, "a", "b")
	far := testbed.Link{Delay: time.Hour}
	b.link("a", "b", far, true)
	b.run()
	to := Pair{"a", "b"}
	b.send("a", "10.99.0.2:9", 10, 100)
	eventually(t, "packets are under way", func() bool { return b.Counters()[to].UnderWay == 10 })

	b.link("a", "b", far, false)
	if c := b.Counters()[to]; c.DroppedCut != 10 || c.UnderWay != 0 {
		t.Errorf("after the cut: %+v, want what was under way dropped", c)
	}
	b.send("a", "10.99.0.2:9", 5, 100)
	eventually(t, "packets are dropped", func() bool { return b.Counters()[to].DroppedCut == 15 })

	b.link("a", "b", testbed.Link{Delay: ms}, true)
	if p := b.ping("a", "b", 5); p.Lost > 0 {
		t.Errorf("after healing, %d of 5 pings were lost", p.Lost)
	}
	if c := b.Counters()[to]; c.DroppedCut != 15 || c.Packets != 5 {
		t.Errorf("after healing: %+v, want 5 delivered", c)
	}
}

func TestChangeUnderWay(t *testing.T) {
	b := makeBed(t, Config{}, "a", "b")
	b.link("a", "b", testbed.Link{Rate: 8, Queue: 10}, true)
	b.run()
	to := Pair{"a", "b"}
	b.send("a", "10.99.0.2:9", 3, 100)
	eventually(t, "packets are under way", func() bool { return b.Counters()[to].UnderWay == 3 })
	b.link("a", "b", testbed.Link{Rate: 8, Queue: 1}, true)
	if c := b.Counters()[to]; c.UnderWay != 3 {
		t.Errorf("a shorter queue: %+v, want all kept", c)
	}
	b.link("a", "b", testbed.Link{}, true)
	b.send("a", "10.99.0.2:9", 1, 100)
	eventually(t, "all are under way: the first takes its 100 s, and they keep their order",
		func() bool { return b.Counters()[to].UnderWay == 4 })
	b.link("a", "b", testbed.Link{}, false)
	b.link("a", "b", testbed.Link{}, true)
	b.send("a", "10.99.0.2:9", 1, 100)
	eventually(t, "a cut frees the link", func() bool { return b.Counters()[to].Packets == 1 })
}

func TestMemoryIsBounded(t *testing.T) {
	b := makeBed(t, Config{Packets: 16}, "a", "b")
	b.link("a", "b", testbed.Link{Delay: time.Hour}, true)
	b.run()
	b.send("a", "10.99.0.2:9", 50, 1500)
	eventually(t, "the rest is dropped", func() bool {
		c := b.Counters()[Pair{"a", "b"}]
		return c.UnderWay == 16 && c.DroppedMemory == 34
	})
}

func TestRefused(t *testing.T) {
	b := makeBed(t, Config{}, "a", "b", "c")
	b.link("a", "b", testbed.Link{}, true)
	b.run()
	var before Refused
	expect := func(what string, count int, of func(Refused) uint64) {
		t.Helper()
		eventually(t, what, func() bool { return of(b.Refused()) >= of(before)+uint64(count) })
	}
	before = b.Refused()
	b.send("a", "10.99.0.77:9", 3, 100)
	expect("an address of no node", 3, func(r Refused) uint64 { return r.Unknown })
	before = b.Refused()
	b.send("a", "10.99.0.3:9", 3, 100)
	expect("a node without a link", 3, func(r Refused) uint64 { return r.Unknown })
	before = b.Refused()
	b.raw("a", header(60, "224.0.0.251"), header(60, "255.255.255.255"))
	expect("multicast and broadcast", 2, func(r Refused) uint64 { return r.Multicast })
	before = b.Refused()
	b.raw("a", with(header(60, "10.99.0.2"), 0, 0x60), make([]byte, 60))
	expect("not IPv4", 2, func(r Refused) uint64 { return r.NotIPv4 })
	before = b.Refused()
	b.raw("a", header(60, "10.99.0.2")[:40], with(header(60, "10.99.0.2"), 0, 0x41), []byte{0x45})
	expect("malformed", 3, func(r Refused) uint64 { return r.Malformed })
	if c := b.Counters()[Pair{"a", "b"}]; c != (Counters{}) {
		t.Errorf("counted on a link: %+v", c)
	}
}

// raw puts bytes on a node's device as if they were packets.
func (b *bed) raw(node string, packets ...[]byte) {
	b.t.Helper()
	err := ns.Do(b.space(node), func() error {
		dev, err := net.InterfaceByName("weft0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, p := range packets {
			// ETH_P_IP in network byte order
			if err := unix.Sendto(fd, p, 0, &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: dev.Index}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestDeviceDown(t *testing.T) {
	b := makeBed(t, Config{}, "a", "b")
	b.link("a", "b", testbed.Link{}, true)
	b.run()
	b.device("b", netlink.LinkSetDown)
	b.send("a", "10.99.0.2:9", 3, 100)
	eventually(t, "packets are dropped", func() bool { return b.Counters()[Pair{"a", "b"}].DroppedDevice == 3 })
	b.device("b", netlink.LinkSetUp)
	b.send("a", "10.99.0.2:9", 3, 100)
	eventually(t, "packets arrive again", func() bool { return b.Counters()[Pair{"a", "b"}].Packets == 3 })
}

func TestDeviceGone(t *testing.T) {
	b := makeBed(t, Config{}, "a", "b")
	b.link("a", "b", testbed.Link{}, true)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(context.Background()) }()
	b.device("b", netlink.LinkDel)
	err := <-ended
	if !errors.Is(err, ErrDevice) || !strings.Contains(err.Error(), "node b") {
		t.Errorf("Run: %v, want ErrDevice of node b", err)
	}
}

// device does something to a node's device.
func (b *bed) device(node string, do func(netlink.Link) error) {
	b.t.Helper()
	err := ns.Do(b.space(node), func() error {
		l, err := netlink.LinkByName("weft0")
		if err != nil {
			return err
		}
		return do(l)
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestMistakes(t *testing.T) {
	b := makeBed(t, Config{}, "a", "b")
	for _, tt := range []struct {
		from, to string
		link     testbed.Link
		want     string
	}{
		{"x", "b", testbed.Link{}, "no such node in the relay: x"},
		{"a", "x", testbed.Link{}, "no such node in the relay: x"},
		{"a", "a", testbed.Link{}, "a link from a to itself"},
		{"a", "b", testbed.Link{Delay: -ms}, "link a→b: delay -1ms is negative"},
		{"a", "b", testbed.Link{Delay: ms, Jitter: 2 * ms}, "jitter 2ms is not between 0 and the delay, 1ms"},
		{"a", "b", testbed.Link{Rate: -1}, "rate -1 bit/s is negative"},
		{"a", "b", testbed.Link{Loss: 1.5}, "loss 1.5 is not a fraction"},
		{"a", "b", testbed.Link{Loss: math.NaN()}, "loss NaN is not a fraction"},
		{"a", "b", testbed.Link{Queue: -1}, "queue of -1 packets is negative"},
	} {
		if err := b.Set(tt.from, tt.to, tt.link, true); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Set(%s, %s, %+v) = %v, want %q", tt.from, tt.to, tt.link, err, tt.want)
		}
	}
	if err := b.Attach("a", addr("c"), nil); err == nil || !strings.Contains(err.Error(), "attached already") {
		t.Errorf("a node attached twice: %v", err)
	}
	if err := b.Attach("c", addr("a"), nil); err == nil || !strings.Contains(err.Error(), "same address") {
		t.Errorf("an address attached twice: %v", err)
	}
	if err := b.Attach("c", netip.IPv6Loopback(), nil); err == nil || !strings.Contains(err.Error(), "not IPv4") {
		t.Errorf("an IPv6 address: %v", err)
	}
	if _, err := New(Config{Packets: -1}); err == nil {
		t.Error("a relay of less than no packets")
	}
	if _, err := openTUN("/dev/net/no-such-device", "weft0"); !errors.Is(err, ErrNoTUN) || !strings.Contains(err.Error(), "modprobe tun") {
		t.Errorf("without TUN: %v, want ErrNoTUN and the remedy", err)
	}
	for _, name := range []string{"", "a-name-of-16-byte"} {
		if _, err := OpenTUN(name); err == nil {
			t.Errorf("a device of the name %q", name)
		}
	}
	err := ns.Do(b.space("a"), func() error { _, err := OpenTUN("weft0"); return err })
	if !errors.Is(err, unix.EBUSY) {
		t.Errorf("a device made twice: %v, want EBUSY", err)
	}
	if err := Configure("weft0", netip.MustParsePrefix("fd00::1/64")); err == nil {
		t.Error("a device with an IPv6 address")
	}
}

func TestLife(t *testing.T) {
	b := makeBed(t, Config{}, "a", "b")
	b.link("a", "b", testbed.Link{}, true)
	for range 2 { // it can run again
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		eventually(t, "it runs", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.running })
		if err := b.Run(ctx); !errors.Is(err, ErrRunning) {
			t.Errorf("run twice at once: %v, want ErrRunning", err)
		}
		if err := b.Close(); !errors.Is(err, ErrRunning) {
			t.Errorf("closed while it runs: %v, want ErrRunning", err)
		}
		if p := b.ping("a", "b", 3); p.Lost > 0 {
			t.Errorf("lost %d pings", p.Lost)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := b.Set("a", "b", testbed.Link{}, true); !errors.Is(err, ErrClosed) {
		t.Errorf("Set after Close: %v, want ErrClosed", err)
	}
	if err := b.Attach("c", addr("c"), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Attach after Close: %v, want ErrClosed", err)
	}
	if err := b.Run(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Close: %v, want ErrClosed", err)
	}
}

// While it runs, the threads of the process are raised, but not what the
// process starts; afterwards they are as they were.
func TestPriority(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("raising priorities needs root")
	}
	raised := func() (n int) {
		err := threads(func(id int) error {
			a, err := unix.SchedGetAttr(id, 0)
			if err == nil && (a.Policy == unix.SCHED_FIFO || a.Nice < 0) {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := raised(); n > 0 {
		t.Fatalf("%d threads are raised before", n)
	}
	for _, ordinary := range []bool{true, false} {
		t.Run(fmt.Sprintf("ordinary=%v", ordinary), func(t *testing.T) {
			b := makeBed(t, Config{Ordinary: ordinary}, "a", "b")
			b.link("a", "b", testbed.Link{}, true)
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- b.Run(ctx) }()
			server := b.serve("b", "echo", "10.99.0.2:7")
			if ordinary {
				if n := raised(); n > 0 {
					t.Errorf("%d threads are raised", n)
				}
			} else {
				eventually(t, "threads are raised", func() bool { return raised() > 0 })
				child := b.start("a", "sink", "10.99.0.1:9", "1s")
				a, err := unix.SchedGetAttr(child.cmd.Process.Pid, 0)
				if err != nil {
					t.Fatal(err)
				}
				if a.Policy != unix.SCHED_NORMAL || a.Nice != 0 {
					t.Errorf("a child has %+v, want it ordinary", a)
				}
			}
			server.kill()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if n := raised(); n > 0 {
				t.Errorf("%d threads are still raised afterwards", n)
			}
		})
	}
}
