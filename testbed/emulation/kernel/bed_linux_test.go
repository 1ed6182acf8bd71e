package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// bed is a network of nodes n1, n2, … with addresses 10.7.0.1, 10.7.0.2, …
type bed struct {
	*testing.T
	net    *Network
	prefix string // of namespaces
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces needs root")
	}
}

// needNetem skips where this kernel has none that serves.
func needNetem(t testing.TB) {
	t.Helper()
	needRoot(t)
	if err := Supported(); errors.Is(err, ErrUnsupported) {
		t.Skipf("delay, jitter and loss need netem: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

func newBed(t *testing.T, nodes int) *bed {
	t.Helper()
	needRoot(t)
	b := &bed{T: t, prefix: fmt.Sprintf("weft-kernel-test-%d-", os.Getpid())}
	n, err := New(Config{Hub: b.prefix + "hub"})
	if err != nil {
		t.Fatal(err)
	}
	b.net = n
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := 1; i <= nodes; i++ {
		if err := ns.Create(b.ns(i)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ns.Delete(b.ns(i)); err != nil {
				t.Error(err)
			}
		})
		if err := n.Attach(b.ns(i), name(i), netip.PrefixFrom(addr(i), 8)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func name(i int) string        { return fmt.Sprintf("n%d", i) }
func addr(i int) netip.Addr    { return netip.AddrFrom4([4]byte{10, 7, byte(i >> 8), byte(i)}) }
func (b *bed) ns(i int) string { return b.prefix + name(i) }

// set makes both directions between two nodes.
func (b *bed) set(i, k int, l testbed.Link, pass bool) {
	b.Helper()
	for _, d := range [][2]int{{i, k}, {k, i}} {
		if err := b.net.Set(name(d[0]), name(d[1]), l, pass); err != nil {
			b.Fatal(err)
		}
	}
}

// in runs fn in the namespace of node i.
func (b *bed) in(i int, fn func() error) {
	b.Helper()
	if err := ns.Do(b.ns(i), fn); err != nil {
		b.Fatal(err)
	}
}

// udp opens a socket at node i.
func (b *bed) udp(i int) *net.UDPConn {
	b.Helper()
	var c *net.UDPConn
	b.in(i, func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr(i), 0)))
		if err != nil {
			return err
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		var set error
		err = raw.Control(func(fd uintptr) { // whatever net.core.rmem_max is
			set = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20))
		})
		return errors.Join(err, set)
	})
	b.Cleanup(func() { c.Close() })
	return c
}

// tcp opens a connection from node i to node k.
func (b *bed) tcp(i, k int) (from, to net.Conn) {
	b.Helper()
	var l *net.TCPListener
	b.in(k, func() (err error) {
		l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr(k), 0)))
		return err
	})
	defer l.Close()
	b.in(i, func() (err error) {
		from, err = net.DialTimeout("tcp4", l.Addr().String(), 10*time.Second)
		return err
	})
	b.Cleanup(func() { from.Close() })
	to, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { to.Close() })
	return from, to
}

// send sends n datagrams of size bytes, header of IP included, numbered from 0.
func (b *bed) send(from, to *net.UDPConn, n, size int) {
	b.Helper()
	p := make([]byte, size-28)
	for i := range n {
		p[0], p[1], p[2] = byte(i>>16), byte(i>>8), byte(i)
		if _, err := from.WriteToUDPAddrPort(p, address(to)); err != nil {
			b.Fatal(err)
		}
	}
}

func address(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// receive reads numbered datagrams until there are n, or none came for a while.
func (b *bed) receive(c *net.UDPConn, n int, quiet time.Duration) []int {
	b.Helper()
	var out []int
	p := make([]byte, 2000)
	for len(out) < n {
		c.SetReadDeadline(time.Now().Add(quiet))
		_, err := c.Read(p)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, int(p[0])<<16|int(p[1])<<8|int(p[2]))
	}
	return out
}

func (b *bed) counters(i, k int) Counters {
	b.Helper()
	all, err := b.net.Counters()
	if err != nil {
		b.Fatal(err)
	}
	c, ok := all[Pair{name(i), name(k)}]
	if !ok {
		b.Fatalf("no counters from %s to %s among %v", name(i), name(k), all)
	}
	return c
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// slowKernel reports that this kernel runs without the processor's help, so
// that timers are late and packets take their time.
func slowKernel() bool { return os.Getenv("WEFT_SLOW_KERNEL") != "" }
