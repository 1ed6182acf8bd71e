package kernel

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

func TestSupportedNamesWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		has  features
		want string // empty: supported
	}{
		{features{true, true, true, true, true, nil}, ""},
		{features{true, true, true, true, false, nil}, "it lacks netem (module sch_netem)"},
		{features{false, true, false, true, true, nil}, "it lacks veth pairs (module veth), HTB (module sch_htb)"},
		{features{true, true, true, true, true, errForgets}, "its netem forgets the packets in a qdisc inside it; Linux 6.13"},
	} {
		err := c.has.err()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.has, err, c.want)
		}
		if err != nil && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v is not ErrUnsupported", err)
		}
	}
}

// What Supported says of netem is what Set then does, and it leaves the
// caller's own namespace alone.
func TestSupportedAgreesWithSet(t *testing.T) {
	b := newBed(t, 2)
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	supported := Supported()
	if after, _ := net.Interfaces(); !slices.EqualFunc(before, after, func(x, y net.Interface) bool { return x.Name == y.Name }) {
		t.Errorf("interfaces were %v and are %v", before, after)
	}
	err = b.net.Set("n1", "n2", testbed.Link{Delay: time.Millisecond}, true)
	if (err == nil) != (supported == nil) || err != nil && !errors.Is(err, ErrUnsupported) {
		t.Errorf("Supported: %v; Set with a delay: %v", supported, err)
	}
	if supported != nil {
		t.Logf("this kernel: %v", supported)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	b := newBed(t, 2)
	for _, c := range []struct {
		what string
		err  error
		is   error  // may be nil
		says string // part of the message
	}{
		{"a hub that exists", second(New(Config{Hub: b.prefix + "hub"})), ns.ErrExists, b.prefix + "hub"},
		{"no hub", second(New(Config{})), nil, "no name for the hub"},
		{"name again", b.attach("n1", "10.7.0.9/8"), ErrAttached, "attach n1"},
		{"address again", b.attach("n9", "10.7.0.2/8"), ErrAttached, "10.7.0.2, by node n2"},
		{"IPv6", b.attach("n9", "fd00::1/64"), nil, "fd00::1/64 is not an IPv4 address"},
		{"namespace with an interface", b.attach("n9", "10.7.0.9/8"), os.ErrExist, "make interface " + Device},
		{"no namespace", b.net.Attach("weft-no-such", "n9", netip.MustParsePrefix("10.7.0.9/8")), os.ErrNotExist, "weft-no-such"},
		{"unknown sender", b.net.Set("n9", "n1", testbed.Link{}, true), ErrUnknown, "link from n9 to n1"},
		{"unknown receiver", b.net.Set("n1", "n9", testbed.Link{}, true), ErrUnknown, "link from n1 to n9"},
		{"itself", b.net.Set("n1", "n1", testbed.Link{}, true), nil, "loopback"},
		{"rate", b.net.Set("n1", "n2", testbed.Link{Rate: -1}, true), nil, "rate -1 bit/s is negative"},
		{"loss", b.net.Set("n1", "n2", testbed.Link{Loss: math.NaN()}, true), nil, "loss NaN is not a fraction"},
		{"delay", b.net.Set("n1", "n2", testbed.Link{Delay: time.Hour}, true), nil, "delay 1h0m0s is not between"},
		{"jitter", b.net.Set("n1", "n2", testbed.Link{Jitter: -1}, true), nil, "jitter -1ns is not between"},
		{"queue", b.net.Set("n1", "n2", testbed.Link{Queue: -1}, true), nil, "queue of -1 packets"},
	} {
		if c.err == nil || c.is != nil && !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v, want %q and %v", c.what, c.err, c.says, c.is)
		}
	}
	// What failed left nothing: the third node can have what they asked for.
	if err := ns.Create(b.ns(9)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Delete(b.ns(9)) })
	if err := b.net.Attach(b.ns(9), "n9", netip.MustParsePrefix("10.7.0.9/8")); err != nil {
		t.Error(err)
	}
}

// attach is to a namespace that has an interface already.
func (b *bed) attach(name, addr string) error {
	return b.net.Attach(b.ns(1), name, netip.MustParsePrefix(addr))
}

func second[T any](_ T, err error) error { return err }

func TestCloseLeavesNothing(t *testing.T) {
	b := newBed(t, 3)
	b.set(1, 2, testbed.Link{Rate: 1e6, Queue: 10}, true)
	b.set(1, 3, testbed.Link{}, false)
	// Packets wait in the queue meanwhile.
	b.send(b.udp(1), b.udp(2), 8, 1500)
	for range 2 {
		if err := b.net.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if exists(ns.Path(b.prefix + "hub")) {
		t.Error("the hub's namespace is still there")
	}
	for i := 1; i <= 3; i++ {
		eventually(t, fmt.Sprintf("%s is gone from node %d", Device, i), func() bool {
			var names []string
			b.in(i, func() error {
				all, err := net.Interfaces()
				for _, x := range all {
					names = append(names, x.Name)
				}
				return err
			})
			return slices.Equal(names, []string{"lo"})
		})
	}
	for what, err := range map[string]error{
		"Attach":   b.net.Attach(b.ns(1), "n4", netip.MustParsePrefix("10.7.0.4/8")),
		"Set":      b.net.Set("n1", "n2", testbed.Link{}, true),
		"Counters": second(b.net.Counters()),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", what, err)
		}
	}
	// The name is free again.
	n, err := New(Config{Hub: b.prefix + "hub"})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// Every packet is counted under its own sender and receiver, also where
// addresses share a last byte and so a bucket of the filter.
func TestEveryPairHasItsOwnClass(t *testing.T) {
	ids := []int{1, 2, 257, 513, 514}
	b := newBed(t, 0)
	for _, i := range ids {
		if err := ns.Create(b.ns(i)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Delete(b.ns(i)) })
		if err := b.net.Attach(b.ns(i), name(i), netip.PrefixFrom(addr(i), 8)); err != nil {
			t.Fatal(err)
		}
	}
	sockets := map[int]*net.UDPConn{}
	for _, i := range ids {
		sockets[i] = b.udp(i)
		for _, k := range ids {
			if i < k {
				b.set(i, k, testbed.Link{Rate: 100e6, Queue: 1000}, true)
			}
		}
	}
	want := func(i, k int) int { return slices.Index(ids, i)*len(ids) + slices.Index(ids, k) + 1 }
	for _, i := range ids {
		for _, k := range ids {
			if i != k {
				b.send(sockets[i], sockets[k], want(i, k), 100)
			}
		}
	}
	for _, k := range ids {
		total := 0
		for _, i := range ids {
			if i != k {
				total += want(i, k)
			}
		}
		if got := len(b.receive(sockets[k], total, 5*time.Second)); got != total {
			t.Errorf("node %d received %d packets, want %d", k, got, total)
		}
	}
	for _, i := range ids {
		for _, k := range ids {
			if i == k {
				continue
			}
			c, n := b.counters(i, k), uint64(want(i, k))
			if c.Packets != n || c.Bytes != 100*n || c.Queue+c.Loss+c.Cut != 0 {
				t.Errorf("from %d to %d: %+v, want %d packets of 100 bytes", i, k, c, n)
			}
		}
	}
}

// A testbed at the limit of what is asked of one. Reports the time for all of
// it and for one direction.
func BenchmarkMesh(b *testing.B) {
	needRoot(b)
	for _, size := range []int{14, 50, 200} {
		b.Run(fmt.Sprintf("nodes=%d", size), func(b *testing.B) {
			prefix := fmt.Sprintf("weft-kernel-bench-%d-", os.Getpid())
			for i := 1; i <= size; i++ {
				if err := ns.Create(prefix + name(i)); err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { ns.Delete(prefix + name(i)) })
			}
			link := testbed.Link{Rate: 30e6, Queue: 100}
			if Supported() == nil {
				link.Delay, link.Loss = 4*time.Millisecond, 0.01
			}
			for b.Loop() {
				n, err := New(Config{Hub: prefix + "hub"})
				if err != nil {
					b.Fatal(err)
				}
				began := time.Now()
				for i := 1; i <= size; i++ {
					if err := n.Attach(prefix+name(i), name(i), netip.PrefixFrom(addr(i), 8)); err != nil {
						b.Fatal(err)
					}
				}
				attached := time.Now()
				for i := 1; i <= size; i++ {
					for k := 1; k <= size; k++ {
						if i == k {
							continue
						}
						if err := n.Set(name(i), name(k), link, true); err != nil {
							b.Fatal(err)
						}
					}
				}
				set := time.Now()
				if _, err := n.Counters(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(attached.Sub(began).Seconds(), "s-attach")
				b.ReportMetric(set.Sub(attached).Seconds(), "s-set")
				b.ReportMetric(set.Sub(attached).Seconds()/float64(size*(size-1))*1e6, "µs/direction")
				b.ReportMetric(time.Since(set).Seconds(), "s-counters")
				if err := n.Close(); err != nil {
					b.Fatal(err)
				}
				eventually(b, "the interfaces are gone", func() bool {
					gone := false
					ns.Do(prefix+name(size), func() error {
						all, err := net.Interfaces()
						gone = len(all) == 1
						return err
					})
					return gone
				})
			}
		})
	}
}
