package emulation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/kernel"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

func TestUpAndDown(t *testing.T) {
	b := newBench(t)
	cfg := b.config("small")
	var steps []string
	cfg.Progress = func(what string, done, total int) {
		if done == total {
			steps = append(steps, what)
		}
	}
	var wasUp []NodeState
	b.run(cfg, func(ctx context.Context, tb *Testbed) {
		wasUp = tb.Nodes()
		s, err := b.place.Find("small")
		if err != nil {
			t.Fatal(err)
		}
		if s.Phase != Up || !s.Alive || s.Holder.PID != os.Getpid() || s.Version != "test" || s.Shaping != "user (as asked)" {
			t.Errorf("record %+v", s)
		}
		if all, err := b.place.List(); err != nil || len(all) != 1 || all[0].Name != "small" {
			t.Errorf("List: %+v, %v", all, err)
		}
		for i, n := range tb.Nodes() {
			if !n.Up || n.PID == 0 || n.Address.String() != []string{"10.1.0.1", "10.2.0.2", "10.3.0.3"}[i] || s.Nodes[i].PID != n.PID {
				t.Errorf("node %+v, in the record %+v", n, s.Nodes[i])
			}
			if got, err := cgroup.Processes(n.Cgroup); err != nil || !slices.Equal(got, []int{n.PID}) {
				t.Errorf("cgroup %s has processes %v, %v, want %d", n.Cgroup, got, err, n.PID)
			}
			if a, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", n.PID)); err != nil {
				t.Error(err)
			} else if w, err := os.Stat(ns.Path(n.Namespace)); err != nil || !os.SameFile(a, w) {
				t.Errorf("process %d is not in %s: %v", n.PID, n.Namespace, err)
			}
		}
		// Edge and cloud are joined through the fog.
		c, err := tb.Dial("edge-1")(ctx, "tcp", "10.3.0.3:"+gossipPort)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if _, err := tb.Dial("edge-1")(ctx, "tcp", "cloud-1:80"); err == nil {
			t.Error("a name was looked up")
		}
		links, err := tb.Links()
		if err != nil || len(links) != 6 {
			t.Errorf("%d directions, %v, want 6", len(links), err)
		}
		for _, l := range links {
			if l.From == "edge-1" && l.To == "cloud-1" && (l.Counters.Packets == 0 || l.Link.Delay != 2*time.Millisecond) {
				t.Errorf("after a connection: %+v", l)
			}
		}
		usage, err := tb.Usage()
		if err != nil || len(usage) != 3 || usage[0].CPU <= 0 || usage[0].Memory <= 0 || !usage[0].Up || usage[2].Node != "cloud-1" {
			t.Errorf("usage %+v, %v", usage, err)
		}
		op, apis := tb.Operator()
		if op.Subject != (pki.Subject{Mesh: "small", Role: pki.Operator, Name: "operator"}) || !slices.Equal(apis, []string{"10.3.0.3:7949"}) {
			t.Errorf("operator %v at %v", op.Subject, apis)
		}
	})
	if want := []string{"nodes", "links", "weftd"}; !slices.Equal(steps, want) {
		t.Errorf("progress %v, want %v", steps, want)
	}
	for _, p := range pids(wasUp) {
		if alive(p) {
			t.Errorf("process %d lives on", p)
		}
	}
	log, err := os.ReadFile(filepath.Join(cfg.Dir, "nodes", "edge-1", "weftd.log"))
	if err != nil || !strings.Contains(string(log), "fake weftd with [--config") {
		t.Errorf("log of edge-1: %q, %v", log, err)
	}
	_, err = b.place.Find("small")
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("Find after it was taken down: %v", err)
	}
	if err := b.new(cfg).Run(t.Context(), nil); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "earlier testbed") {
		t.Errorf("in the same directory: %v", err)
	}
}

// TestCancelInEveryPhase ends the context at every step that Run reports.
func TestCancelInEveryPhase(t *testing.T) {
	for _, phase := range []string{"nodes", "links", "linked", "weftd", "use"} {
		t.Run(phase, func(t *testing.T) {
			b := newBench(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cfg := b.config("cancelled")
			reached := func(what string) error {
				if what == phase {
					cancel()
				}
				return nil
			}
			cfg.Progress = func(what string, _, _ int) { _ = reached(what) }
			cfg.Linked = func(context.Context, *Testbed) error { return reached("linked") }
			err := b.new(cfg).Run(ctx, func(ctx context.Context) error {
				_ = reached("use")
				return ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("run: %v, want that it was cancelled", err)
			}
			b.mustBeGone()
		})
	}
}

func TestPanicInUse(t *testing.T) {
	b := newBench(t)
	tb := b.new(b.config("panics"))
	func() {
		defer func() {
			if got := recover(); got != "no more" {
				t.Errorf("recovered %v", got)
			}
		}()
		_ = tb.Run(t.Context(), func(context.Context) error { panic("no more") })
	}()
	b.mustBeGone()
}

func TestWeftdThatDoesNotStart(t *testing.T) {
	b := newBench(t)
	cfg := b.config("broken")
	cfg.Linked = func(context.Context, *Testbed) error {
		return os.WriteFile(filepath.Join(cfg.Dir, "nodes", "fog-1", "behave"), []byte("die"), 0o600)
	}
	err := b.new(cfg).Run(t.Context(), func(context.Context) error { t.Error("it came up"); return nil })
	if err == nil || !strings.Contains(err.Error(), "the weftd of node fog-1 ended: exit status 3") || !strings.Contains(err.Error(), "\n  a wrong configuration") {
		t.Errorf("run: %v", err)
	}
}

func TestSideBySideAndTwice(t *testing.T) {
	b := newBench(t)
	b.run(b.config("one"), func(ctx context.Context, one *Testbed) {
		two := b.new(b.config("one-b"))
		err := two.Run(ctx, func(ctx context.Context) error {
			if c, err := one.Dial("edge-1")(ctx, "tcp", "10.2.0.2:"+gossipPort); err != nil {
				t.Error(err)
			} else {
				c.Close()
			}
			err := b.new(b.config("one")).Run(ctx, nil)
			if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), fmt.Sprintf("is held by process %d", os.Getpid())) {
				t.Errorf("the same name twice: %v", err)
			}
			if err := two.Run(ctx, nil); !errors.Is(err, ErrState) {
				t.Errorf("one testbed twice: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		// That one-b is gone leaves one alone.
		if got := one.Nodes(); len(pids(got)) != 3 {
			t.Errorf("after the other was taken down: %+v", got)
		}
		if _, err := b.place.Find("one"); err != nil {
			t.Error(err)
		}
	})
}

func TestFullDisk(t *testing.T) {
	b := newBench(t)
	cfg := b.config("full")
	if err := os.Mkdir(cfg.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", cfg.Dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("cannot make a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(cfg.Dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	cfg.Linked = func(context.Context, *Testbed) error {
		return os.WriteFile(filepath.Join(cfg.Dir, "nodes", "edge-1", "behave"), []byte("chatter"), 0o600)
	}
	tb := b.new(cfg)
	err := tb.Run(t.Context(), func(context.Context) error {
		eventually(t, "the disk is full", func() bool {
			tb.nodes[0].log.mu.Lock()
			defer tb.nodes[0].log.mu.Unlock()
			return tb.nodes[0].log.err != nil
		})
		if n := tb.Nodes()[0]; !n.Up {
			t.Errorf("a full disk has stopped the node: %+v", n)
		}
		return nil
	})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "edge-1/weftd.log is incomplete") {
		t.Errorf("run: %v", err)
	}
	b.mustBeGone()
}

// TestLinksInTheKernel uses what every kernel with HTB can do, and then asks
// for a delay, for which it needs netem.
func TestLinksInTheKernel(t *testing.T) {
	b := newBench(t)
	supported := kernel.Supported()
	s := small()
	for i := range s.Network.Tiers {
		s.Network.Tiers[i].Link.Delay = 0
	}
	cfg := b.config("kernel")
	cfg.Shaping = Kernel
	tb, err := New(cfg, s)
	if err != nil {
		t.Fatal(err)
	}
	err = tb.Run(t.Context(), func(ctx context.Context) error {
		c, err := tb.Dial("edge-1")(ctx, "tcp", "10.2.0.2:"+gossipPort)
		if err != nil {
			return err
		}
		c.Close()
		links, err := tb.Links()
		if err != nil || links[0].From != "edge-1" || links[0].To != "fog-1" || links[0].Counters.Packets == 0 {
			t.Errorf("links %+v, %v", links, err)
		}
		return nil
	})
	if errors.Is(err, kernel.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.mustBeGone()

	cfg.Dir = filepath.Join(t.TempDir(), "with-delay")
	err = b.new(cfg).Run(t.Context(), func(context.Context) error { return nil })
	if (supported == nil) != (err == nil) || err != nil && !errors.Is(err, kernel.ErrUnsupported) {
		t.Errorf("links with a delay: %v, and of this kernel: %v", err, supported)
	}
}

// TestCheckBeforeNodesRun measures links that are as asked.
func TestCheckBeforeNodesRun(t *testing.T) {
	b := newBench(t)
	cfg := b.config("check")
	var checks []testbed.LinkCheck
	cfg.Linked = func(ctx context.Context, tb *Testbed) (err error) {
		if n := pids(tb.Nodes()); len(n) > 0 {
			t.Errorf("nodes run already: %v", n)
		}
		checks, err = tb.Check(ctx)
		return err
	}
	b.run(cfg, func(context.Context, *Testbed) {})
	if len(checks) != 6 {
		t.Errorf("%d checks, want one of each of 6 directions", len(checks))
	}
	for _, c := range checks {
		t.Logf("%s to %s: round trip %s, %s", c.From, c.To, c.RoundTrip, testbed.FormatRate(int64(c.Throughput)))
	}
}

// TestTakingDownFails keeps a namespace from being removed: the testbed says
// so, and what is left can be removed later.
func TestTakingDownFails(t *testing.T) {
	b := newBench(t)
	boom := errors.New("boom")
	tb := b.new(b.config("stuck"))
	err := tb.Run(t.Context(), func(context.Context) error {
		path := ns.Path(tb.Nodes()[0].Namespace)
		if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil { // a second time
			t.Fatal(err)
		}
		return boom
	})
	if !errors.Is(err, boom) || !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "(`weft testbed down stuck` tries again)") {
		t.Errorf("run: %v", err)
	}
	s, err := b.place.Find("stuck")
	if err != nil || s.Phase != Failed || !strings.Contains(s.Message, "resource busy") || len(pids(s.Nodes)) > 0 {
		t.Errorf("record %+v, %v", s, err)
	}
	if err := b.place.Down(t.Context(), "stuck"); err != nil {
		t.Error(err)
	}
	b.mustBeGone()
}
