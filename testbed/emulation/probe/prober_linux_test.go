package probe

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft-mesh/weft/testbed"
)

const msec = time.Millisecond

// same is a link between every two nodes.
func same(l testbed.Link) links { return func(string, string) (testbed.Link, bool) { return l, true } }

// check runs a Prober.
func check(t testing.TB, peers []Peer, asked links) []testbed.LinkCheck {
	t.Helper()
	var last [2]int
	p, err := New(Config{Peers: peers, Link: asked, Seed: 1, Log: logger(t), Progress: func(done, total int, what string) {
		if done < last[0] || done > total || what == "" {
			t.Errorf("progress %d of %d (%q) after %v", done, total, what, last)
		}
		last = [2]int{done, total}
	}})
	if err != nil {
		t.Fatal(err)
	}
	checks, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if last[0] != last[1] {
		t.Errorf("progress ends at %d of %d", last[0], last[1])
	}
	for _, c := range checks {
		for _, v := range c.Verdicts {
			t.Logf("%s → %s %-10s %-5v asked %-30s found %s", c.From, c.To, v.What, v.OK, v.Asked, v.Found)
		}
	}
	return checks
}

func TestLinksAsAskedPass(t *testing.T) {
	asked := func(from, to string) (testbed.Link, bool) {
		if from > to {
			from, to = to, from
		}
		switch from + to {
		case "ab":
			return testbed.Link{Delay: 4 * msec, Rate: 30e6, Queue: 1000}, true
		case "ac":
			return testbed.Link{Delay: 10 * msec, Jitter: msec, Rate: 2e6, Loss: 0.05, Queue: 1000}, true
		case "ad":
			return testbed.Link{Delay: msec, Rate: 100e6, Queue: 1000}, true
		case "bc":
			return testbed.Link{Delay: 5 * msec}, false
		case "bd":
			return testbed.Link{Delay: 5 * msec, Rate: 10e9, Queue: 1000}, true
		case "cd":
			return testbed.Link{Delay: 2 * msec, Rate: 30e6, Queue: 10}, true
		}
		return testbed.Link{}, true
	}
	peers := relayed(t, asked, "a", "b", "c", "d")
	checks := check(t, peers, asked)
	if err := Failed(checks); err != nil {
		t.Error(err)
	}
	var got []string
	for _, c := range checks {
		var what []string
		for _, v := range c.Verdicts {
			what = append(what, v.What)
		}
		got = append(got, c.From+c.To+": "+strings.Join(what, ", "))
	}
	want := []string{
		"ab: round trip, loss, throughput", "ac: round trip, jitter, loss, throughput", "ad: round trip, loss, throughput",
		"ba: loss, throughput", "bc: cut", "bd: round trip, loss, throughput",
		"ca: loss, throughput", "cb: cut", "cd: round trip, loss, throughput",
		"da: loss, throughput", "db: loss, throughput", "dc: loss, throughput",
	}
	if !slices.Equal(got, want) {
		t.Errorf("checked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWrongLinksAreFound asks for links, has others, and expects the Prober to
// find fault with exactly what is wrong.
func TestWrongLinksAreFound(t *testing.T) {
	usual := testbed.Link{Delay: 4 * msec, Rate: 30e6, Queue: 1000}
	with := func(change func(*testbed.Link)) testbed.Link {
		l := usual
		change(&l)
		return l
	}
	cases := map[string]struct { // by the two nodes
		asked, actual testbed.Link
		cut, passes   bool // asked to be cut; does pass
		want          []string
	}{
		"ab": {usual, with(func(l *testbed.Link) { l.Rate = 20e6 }), false, true, []string{throughput}},
		"ac": {usual, usual, false, true, nil},
		"ad": {usual, usual, false, true, nil},
		"ae": {with(func(l *testbed.Link) { l.Delay = 2 * msec }), usual, false, true, []string{roundTrip}},
		"bc": {usual, with(func(l *testbed.Link) { l.Delay = 3 * msec }), false, true, []string{roundTrip}},
		"bd": {usual, with(func(l *testbed.Link) { l.Loss = 0.05 }), false, true, []string{loss}},
		"be": {with(func(l *testbed.Link) { l.Loss = 0.05 }), usual, false, true, []string{loss}},
		"cd": {with(func(l *testbed.Link) { l.Delay, l.Jitter = 10*msec, 8*msec }), with(func(l *testbed.Link) { l.Delay = 10 * msec }), false, true, []string{jitter}},
		"ce": {usual, usual, true, true, []string{cut}},
		"de": {usual, usual, false, false, []string{loss, roundTrip, throughput}},
	}
	key := func(from, to string) string { return min(from, to) + max(from, to) }
	peers := relayed(t, func(from, to string) (testbed.Link, bool) {
		c := cases[key(from, to)]
		return c.actual, c.passes
	}, "a", "b", "c", "d", "e")
	checks := check(t, peers, func(from, to string) (testbed.Link, bool) {
		c := cases[key(from, to)]
		return c.asked, !c.cut
	})
	if err := Failed(checks); !errors.Is(err, ErrOutside) {
		t.Errorf("Failed = %v, want ErrOutside", err)
	}
	for _, got := range checks {
		want := slices.Clone(cases[key(got.From, got.To)].want)
		if got.From > got.To {
			want = slices.DeleteFunc(want, func(what string) bool { return what == roundTrip || what == jitter }) // checked one way
		}
		if f := faults(got); !slices.Equal(f, want) {
			t.Errorf("%s → %s: found fault with %v, want %v", got.From, got.To, f, want)
		}
	}
}

// faults names what failed, sorted.
func faults(c testbed.LinkCheck) []string {
	var out []string
	for _, v := range c.Verdicts {
		if !v.OK {
			out = append(out, v.What)
		}
	}
	slices.Sort(out)
	return out
}

// TestKernelShaping measures links that the kernel shapes, whose token bucket
// lets the first packets through at once and blocks the sender of many.
func TestKernelShaping(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		asked, actual int64
		want          []string
	}{
		{"as asked", 30e6, 30e6, nil},
		{"faster", 20e6, 30e6, []string{throughput}},
		{"much slower", 100e6, 1e6, []string{throughput}}, // what one attempt leaves in the queue lasts 12 s
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checks := check(t, veth(t, c.actual), same(testbed.Link{Rate: c.asked, Queue: 1000}))
			for _, got := range checks {
				if f := faults(got); !slices.Equal(f, c.want) {
					t.Errorf("%s → %s: found fault with %v, want %v", got.From, got.To, f, c.want)
				}
			}
		})
	}
}

func TestCancelEndsRun(t *testing.T) {
	asked := same(testbed.Link{Delay: 4 * msec, Rate: 100e6, Queue: 1000})
	peers := relayed(t, asked, "a", "b", "c")
	for _, phase := range []string{"reachability", "round trips", "loss", "throughput"} {
		t.Run(phase, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			p, err := New(Config{Peers: peers, Link: asked, Log: logger(t), Progress: func(_, _ int, what string) {
				if what == phase {
					cancel()
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if checks, err := p.Run(ctx); !errors.Is(err, context.Canceled) || checks != nil {
				t.Errorf("Run = %v, %v, want the context's error", checks, err)
			}
		})
	}
}

// BenchmarkContinuum checks the continuum of Houmani et al.: 11 edge nodes, 2
// fog nodes and a cloud, 91 pairs.
func BenchmarkContinuum(b *testing.B) {
	within := testbed.Link{Delay: msec, Rate: 1e9, Queue: 1000}
	up := testbed.Link{Delay: 4 * msec, Rate: 30e6, Queue: 1000}
	on := testbed.Link{Delay: 5 * msec, Rate: 10e9, Queue: 1000}
	var nodes []string
	for i := range 14 {
		nodes = append(nodes, string(rune('a'+i)))
	}
	tier := func(n string) int {
		switch {
		case n < "l":
			return 0
		case n < "n":
			return 1
		}
		return 2
	}
	asked := func(from, to string) (testbed.Link, bool) {
		switch x, y := min(tier(from), tier(to)), max(tier(from), tier(to)); {
		case x == y:
			return within, true
		case x == 0 && y == 1:
			return up, true
		case x == 1:
			return on, true
		}
		return up.Then(on), true
	}
	peers := relayed(b, asked, nodes...)
	failed := 0
	for b.Loop() {
		for _, c := range check(b, peers, asked) {
			failed += len(faults(c))
		}
	}
	b.ReportMetric(float64(failed)/float64(b.N), "failed/op")
}

// local are two nodes in this process's own namespace, which needs no root.
func local(addr string) []Peer {
	here := func(fn func() error) error { return fn() }
	return []Peer{{"a", netip.MustParseAddr(addr), here}, {"b", netip.MustParseAddr(addr), here}}
}

func TestLocal(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			t.Parallel()
			c, err := net.ListenPacket("udp", net.JoinHostPort(addr, "0"))
			if err != nil {
				t.Skipf("no loopback address %s: %v", addr, err)
			}
			c.Close()
			checks := check(t, local(addr), same(testbed.Link{Delay: 2 * msec}))
			if f := faults(checks[0]); !slices.Equal(f, []string{roundTrip}) {
				t.Errorf("found fault with %v, want the round trip", f)
			}
			if f := faults(checks[1]); f != nil {
				t.Errorf("found fault with %v on the way back", f)
			}
		})
	}
}

// TestRefusedPacketsSayWhy asks for a link between two namespaces that have
// nothing but their loopback devices, so that there is no route.
func TestRefusedPacketsSayWhy(t *testing.T) {
	t.Parallel()
	peers := spaces(t, []string{"a", "b"})
	for _, p := range peers {
		err := p.In(func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			a, err := netlink.ParseAddr(p.Addr.String() + "/32")
			if err != nil {
				return err
			}
			return errors.Join(netlink.AddrAdd(lo, a), netlink.LinkSetUp(lo))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range check(t, peers, same(testbed.Link{})) {
		for _, v := range c.Verdicts {
			if v.What != throughput && (v.OK || !strings.Contains(v.Found, "network is unreachable")) {
				t.Errorf("%s → %s %s: %v, found %q, want the error", c.From, c.To, v.What, v.OK, v.Found)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := func() Config {
		return Config{Peers: local("127.0.0.1"), Link: same(testbed.Link{}), Log: slog.New(slog.DiscardHandler)}
	}
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Peers = c.Peers[:1] }, "probe: 1 nodes: links are between two or more"},
		{func(c *Config) { c.Link = nil }, "probe: Link and Log must be given"},
		{func(c *Config) { c.Log = nil }, "probe: Link and Log must be given"},
		{func(c *Config) { c.Peers[1].Node = "a" }, `probe: node "a": every node needs a name of its own`},
		{func(c *Config) { c.Peers[0].Node = "" }, `probe: node "": every node needs a name of its own`},
		{func(c *Config) { c.Peers[0].Addr = netip.Addr{} }, "probe: node a: address invalid IP: give the one that others reach it at"},
		{func(c *Config) { c.Peers[1].Addr = netip.MustParseAddr("0.0.0.0") }, "probe: node b: address 0.0.0.0: give the one that others reach it at"},
		{func(c *Config) { c.Peers[1].Addr = netip.MustParseAddr("::1") }, "probe: nodes a and b: give both IPv4 addresses, or both IPv6"},
		{func(c *Config) { c.Peers[1].In = nil }, "probe: node b: In must be given"},
	} {
		cfg := good()
		c.change(&cfg)
		if _, err := New(cfg); err == nil || err.Error() != c.want {
			t.Errorf("New: %v, want %s", err, c.want)
		}
	}
	if _, err := New(good()); err != nil {
		t.Errorf("New: %v", err)
	}
}

// TestRunReportsSockets gives a node an address that is not its own.
func TestRunReportsSockets(t *testing.T) {
	peers := local("127.0.0.1")
	peers[1].Addr = netip.MustParseAddr("192.0.2.1") // documentation's
	p, err := New(Config{Peers: peers, Link: same(testbed.Link{}), Log: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context()); !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.HasPrefix(err.Error(), "probe: socket in b:") {
		t.Errorf("Run = %v, want that the address is not b's", err)
	}
}
