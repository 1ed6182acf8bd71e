package probe

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
	"github.com/weft-mesh/weft/testbed/emulation/relay"
)

// logger writes to the test's log.
func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// address is that of the i-th node of a bed.
func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 98, 0, byte(i + 1)}) }

// unique tells namespaces of tests apart that run at the same time.
var unique atomic.Int64

// spaces makes a network namespace for each node.
func spaces(t testing.TB, nodes []string) []Peer {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	var peers []Peer
	for i, n := range nodes {
		space := fmt.Sprintf("weft-probe-%d-%d-%s", os.Getpid(), unique.Add(1), n)
		if err := ns.Create(space); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ns.Delete(space); err != nil {
				t.Error(err)
			}
		})
		peers = append(peers, Peer{Node: n, Addr: address(i), In: func(fn func() error) error { return ns.Do(space, fn) }})
	}
	return peers
}

// links says what the direction between two nodes is; false: nothing passes.
type links func(from, to string) (testbed.Link, bool)

// relayed joins nodes by links in user space, which are as given.
func relayed(t testing.TB, actual links, nodes ...string) []Peer {
	t.Helper()
	const device = "/dev/net/tun"
	peers := spaces(t, nodes)
	if _, err := os.Stat(device); err != nil {
		t.Skipf("links in user space need %s: %v", device, err)
	}
	r, err := relay.New(relay.Config{Seed: 1, Log: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range peers {
		var tun *relay.TUN
		err := p.In(func() (err error) {
			if tun, err = relay.OpenTUN("weft0"); err != nil {
				return err
			}
			return relay.Configure("weft0", netip.PrefixFrom(p.Addr, 16))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Attach(p.Node, p.Addr, tun); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range nodes {
		for _, b := range nodes {
			if a == b {
				continue
			}
			l, pass := actual(a, b)
			if err := r.Set(a, b, l, pass); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return peers
}

// veth joins two nodes by a pair of devices, which the kernel shapes to rate.
func veth(t testing.TB, rate int64) []Peer {
	t.Helper()
	peers := spaces(t, []string{"a", "b"})
	ends := []string{"weft-probe-a", "weft-probe-b"}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: ends[0]}, PeerName: ends[1]}
	for i, p := range peers {
		err := p.In(func() error {
			if i == 0 {
				pair.PeerNamespace = netlink.NsFd(openSpace(t, peers[1]))
				if err := netlink.LinkAdd(pair); err != nil {
					return err
				}
			}
			return shape(ends[i], p.Addr, rate)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return peers
}

// openSpace opens the namespace of a node.
func openSpace(t testing.TB, p Peer) int {
	t.Helper()
	var f *os.File
	err := p.In(func() (err error) {
		f, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

func shape(device string, addr netip.Addr, rate int64) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr.String() + "/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	return netlink.QdiscAdd(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       uint64(rate / 8),
		Limit:      1000 * 1500,
		Buffer:     netlink.Xmittime(uint64(rate/8), 16*1500),
	})
}
