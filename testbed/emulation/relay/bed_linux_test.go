package relay

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// bed is a relay between namespaces a, b, c, …, which have the addresses
// 10.99.0.1, 2, 3, …
type bed struct {
	*Relay
	t     testing.TB
	stop  context.CancelFunc
	ended chan error
}

func (b *bed) space(node string) string { return fmt.Sprintf("weft-relay-%d-%s", os.Getpid(), node) }

func addr(node string) netip.Addr { return netip.AddrFrom4([4]byte{10, 99, 0, node[0] - 'a' + 1}) }

// makeBed makes it, not running yet.
func makeBed(t testing.TB, cfg Config, nodes ...string) *bed {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces and TUN devices need root")
	}
	if _, err := os.Stat(clone); err != nil {
		t.Skipf("TUN devices need %s: %v", clone, err)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{Relay: r, t: t}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, n := range nodes {
		if err := ns.Create(b.space(n)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ns.Delete(b.space(n)); err != nil {
				t.Error(err)
			}
		})
		var tun *TUN
		err := ns.Do(b.space(n), func() (err error) {
			if tun, err = OpenTUN("weft0"); err != nil {
				return err
			}
			return Configure("weft0", netip.PrefixFrom(addr(n), 16))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Attach(n, addr(n), tun); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// run starts the relay; it is stopped with the test.
func (b *bed) run() {
	ctx, stop := context.WithCancel(context.Background())
	b.stop, b.ended = stop, make(chan error, 1)
	go func() { b.ended <- b.Run(ctx) }()
	b.t.Cleanup(func() {
		stop()
		if err := <-b.ended; err != nil {
			b.t.Error(err)
		}
	})
}

// link sets both directions between two nodes.
func (b *bed) link(x, y string, l testbed.Link, pass bool) {
	b.t.Helper()
	for _, p := range []Pair{{x, y}, {y, x}} {
		if err := b.Set(p.From, p.To, l, pass); err != nil {
			b.t.Fatal(err)
		}
	}
}

// program is a role that runs in a node's namespace.
type program struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *json.Decoder
	pipe io.Closer
}

// start starts a role in the namespace of a node, or outside where it is "".
func (b *bed) start(node, role string, args ...string) *program {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if node == "" {
		err = cmd.Start()
	} else {
		err = ns.Do(b.space(node), cmd.Start)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	p := &program{b.t, cmd, json.NewDecoder(bufio.NewReader(pipe)), pipe}
	b.t.Cleanup(p.kill)
	return p
}

// serve starts a role and waits until it listens.
func (b *bed) serve(node, role string, args ...string) *program {
	b.t.Helper()
	p := b.start(node, role, args...)
	var word string
	p.result(&word)
	return p
}

// result waits for the next line of the program.
func (p *program) result(to any) {
	p.t.Helper()
	if err := p.out.Decode(to); err != nil {
		p.t.Fatalf("%s: %v", p.cmd.Args, err)
	}
}

// kill ends the program.
func (p *program) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// ping makes round trips between two nodes.
func (b *bed) ping(from, to string, count int) pings {
	b.t.Helper()
	at := addr(to).String() + ":7"
	server := b.serve(to, "echo", at)
	defer server.kill()
	var out pings
	b.start(from, "ping", at, fmt.Sprint(count)).result(&out)
	return out
}

// blast sends datagrams from one node to another and returns how many, and
// what arrived.
func (b *bed) blast(from, to string, rate float64, d time.Duration) (int, received) {
	b.t.Helper()
	at := addr(to).String() + ":9"
	server := b.serve(to, "sink", at, d.String())
	var sent int
	b.start(from, "blast", at, fmt.Sprint(rate), d.String()).result(&sent)
	var got received
	server.result(&got)
	server.kill()
	return sent, got
}
