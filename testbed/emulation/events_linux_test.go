package emulation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
	"github.com/weft-mesh/weft/testbed/emulation/relay"
	"github.com/weft-mesh/weft/tiering"
)

func TestEventsOfNodes(t *testing.T) {
	b := newBench(t)
	b.run(b.config("events"), func(ctx context.Context, tb *Testbed) {
		first := tb.Nodes()[1].PID
		for _, step := range []struct {
			action testbed.Action
			bad    bool
			want   NodeState // of what is compared
		}{
			{testbed.Start, true, NodeState{Up: true}},
			{testbed.Resume, true, NodeState{Up: true}},
			{testbed.Pause, false, NodeState{Up: true, Paused: true}},
			{testbed.Pause, true, NodeState{Up: true, Paused: true}},
			{testbed.Resume, false, NodeState{Up: true}},
			{testbed.Kill, false, NodeState{}},
			{testbed.Kill, true, NodeState{}},
			{testbed.Stop, true, NodeState{}},
			{testbed.Pause, true, NodeState{}},
			{testbed.Start, false, NodeState{Up: true}},
			{testbed.Stop, false, NodeState{}},
			{testbed.Start, false, NodeState{Up: true}},
		} {
			err := tb.Apply(ctx, testbed.Event{Action: step.action, Node: "fog-1"})
			if errors.Is(err, ErrState) != step.bad || (err != nil) != step.bad {
				t.Errorf("%s: %v", step.action, err)
			}
			if step.action == testbed.Start && !step.bad {
				if err := tb.awaitBoot(ctx, tb.nodes[1]); err != nil {
					t.Fatal(err)
				}
			}
			n := tb.Nodes()[1]
			if n.Up != step.want.Up || n.Paused != step.want.Paused || (n.PID != 0) != step.want.Up || n.Exit != "" {
				t.Errorf("after %s: %+v", step.action, n)
			}
			if s, err := b.place.Find("events"); err != nil || s.Nodes[1].PID != n.PID || s.Nodes[1].Paused != n.Paused {
				t.Errorf("after %s the record has %+v, %v", step.action, s.Nodes[1], err)
			}
			if n.Paused {
				eventually(t, "the process stands still", func() bool {
					stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID))
					return err == nil && strings.Contains(string(stat), ") T ")
				})
			}
		}
		if alive(first) {
			t.Errorf("process %d was killed and lives", first)
		}
		log, err := os.ReadFile(filepath.Join(tb.Nodes()[1].Dir, "weftd.log"))
		if err != nil || strings.Count(string(log), "fake weftd") != 3 || strings.Count(string(log), "bye") != 1 {
			t.Errorf("log of three lives, the second of which was stopped: %s, %v", log, err)
		}
		// A paused one can be stopped.
		for _, a := range []testbed.Action{testbed.Pause, testbed.Stop} {
			if err := tb.Apply(ctx, testbed.Event{Action: a, Node: "fog-1"}); err != nil {
				t.Error(err)
			}
		}
		if err := tb.Apply(ctx, testbed.Event{Action: testbed.Kill, Node: "fog-9"}); !errors.Is(err, ErrNode) {
			t.Errorf("kill of no node: %v", err)
		}
		if err := tb.Apply(ctx, testbed.Event{Action: testbed.Sources, Count: 3}); err != nil {
			t.Errorf("sources are not ours: %v", err)
		}
	})
}

// TestStopThatIsNotHeard cancels the wait for a weftd that does not stop.
func TestStopThatIsNotHeard(t *testing.T) {
	b := newBench(t)
	cfg := b.config("deaf")
	cfg.Linked = func(context.Context, *Testbed) error {
		return os.WriteFile(filepath.Join(cfg.Dir, "nodes", "edge-1", "behave"), []byte("deaf"), 0o600)
	}
	b.run(cfg, func(ctx context.Context, tb *Testbed) {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := tb.Apply(ctx, testbed.Event{Action: testbed.Stop, Node: "edge-1"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop: %v", err)
		}
		if err := tb.Apply(t.Context(), testbed.Event{Action: testbed.Kill, Node: "edge-1"}); err != nil {
			t.Errorf("kill: %v", err)
		}
	})
}

func TestEventsOfLinks(t *testing.T) {
	b := newBench(t)
	ends := testbed.Ends{A: testbed.End{Tier: tiering.Fog}, B: testbed.End{Node: "cloud-1"}}
	b.run(b.config("links"), func(ctx context.Context, tb *Testbed) {
		reach := func(limit time.Duration) error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			c, err := tb.Dial("fog-1")(ctx, "tcp", "10.3.0.3:"+gossipPort)
			if err == nil {
				c.Close()
			}
			return err
		}
		apply := func(e testbed.Event) {
			t.Helper()
			if err := tb.Apply(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
		cut := func() (out uint64) {
			links, err := tb.Links()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range links {
				if l.From == "fog-1" && l.To == "cloud-1" {
					out = l.Counters.Cut
				}
			}
			return out
		}
		if err := reach(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		apply(testbed.Event{Action: testbed.Partition, Ends: ends})
		if _, pass := tb.Link("fog-1", "cloud-1"); pass {
			t.Error("parted, and the link passes")
		}
		if err := reach(100 * time.Millisecond); err == nil {
			t.Error("parted, and connected")
		}
		if cut() == 0 {
			t.Error("no packet was dropped at the cut")
		}
		if err := tb.Apply(ctx, testbed.Event{Action: testbed.Partition, Ends: ends}); !errors.Is(err, ErrState) {
			t.Errorf("parted twice: %v", err)
		}
		apply(testbed.Event{Action: testbed.Heal, Ends: ends})
		if err := reach(5 * time.Second); err != nil {
			t.Error(err)
		}
		rate := int64(3e6)
		apply(testbed.Event{Action: testbed.Change, Ends: ends, Link: testbed.LinkChange{Rate: &rate}})
		if l, pass := tb.Link("cloud-1", "fog-1"); !pass || l.Rate != rate {
			t.Errorf("changed to %+v", l)
		}
		apply(testbed.Event{Action: testbed.Restore, Ends: ends})
		if l, _ := tb.Link("fog-1", "cloud-1"); l.Rate != 100e6 {
			t.Errorf("restored to %+v", l)
		}
	})
}

// TestOnlyChangedDirectionsAreSet counts what an event sets.
func TestOnlyChangedDirectionsAreSet(t *testing.T) {
	tb := &Testbed{topology: testbed.NewTopology(small()), paths: map[direction]path{}, net: idle{}}
	if n, err := tb.wire(nil); n != 6 || err != nil {
		t.Errorf("at first %d directions were set, %v, want 6", n, err)
	}
	if err := tb.topology.Apply(testbed.Event{Action: testbed.Partition, Ends: testbed.Ends{
		A: testbed.End{Node: "edge-1"}, B: testbed.End{Node: "fog-1"},
	}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{2, 0} {
		if n, err := tb.wire(nil); n != want || err != nil {
			t.Errorf("time %d: %d directions were set, %v, want %d", i, n, err, want)
		}
	}
}

// idle takes links and does nothing.
type idle struct{ network }

func (idle) Set(string, string, testbed.Link, bool) error { return nil }

func TestWeftdThatDiesByItself(t *testing.T) {
	b := newBench(t)
	b.run(b.config("dies"), func(ctx context.Context, tb *Testbed) {
		c, err := tb.Dial("edge-1")(ctx, "tcp", "127.0.0.1:"+apiPort)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		eventually(t, "it is down", func() bool { return !tb.Nodes()[0].Up })
		n := tb.Nodes()[0]
		if n.Exit != "exit status 7" || len(n.Log) == 0 || n.Log[len(n.Log)-1] != "out of luck" {
			t.Errorf("%+v", n)
		}
		err = tb.Apply(ctx, testbed.Event{Action: testbed.Kill, Node: "edge-1"})
		if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "ended by itself: exit status 7") {
			t.Errorf("kill: %v", err)
		}
		if err := tb.Apply(ctx, testbed.Event{Action: testbed.Start, Node: "edge-1"}); err != nil {
			t.Error(err)
		}
		if n := tb.Nodes()[0]; !n.Up || n.Exit != "" || n.Log != nil {
			t.Errorf("started again: %+v", n)
		}
	})
}

// A node that starts boots without its quota, and then has it again.
func TestLimitIsLiftedForANodeThatStarts(t *testing.T) {
	b := newBench(t)
	cfg := b.config("limit")
	cfg.CPUScale = 0.1
	b.run(cfg, func(ctx context.Context, tb *Testbed) {
		expect := func(when string, want ...string) {
			t.Helper()
			for i, n := range tb.Nodes() {
				if got := quotaOf(t, n.Cgroup); got != want[i] {
					t.Errorf("%s: quota of %s is %s, want %s", when, n.Name, got, want[i])
				}
			}
		}
		expect("at first", "none", "none", "none")
		if err := tb.Limit(true); err != nil {
			t.Fatal(err)
		}
		// A tenth of one and a half cores, in periods of 1 ms / 0.15.
		expect("limited", "1000 6667", "1000 6667", "1000 6667")
		for _, a := range []testbed.Action{testbed.Kill, testbed.Start} {
			if err := tb.Apply(ctx, testbed.Event{Action: a, Node: "fog-1"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := poll(ctx, func() (bool, error) { return quotaOf(t, tb.Nodes()[1].Cgroup) != "none", nil }); err != nil {
			t.Fatalf("fog-1 has no quota: %v", err)
		}
		expect("fog-1 has booted", "1000 6667", "1000 6667", "1000 6667")
		if err := tb.Limit(false); err != nil {
			t.Fatal(err)
		}
		expect("lifted", "none", "none", "none")
	})
}

// quotaOf is "QUOTA PERIOD" of a cgroup, in µs, or none.
func quotaOf(t *testing.T, group string) string {
	t.Helper()
	read := func(file string) string {
		b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", file))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	var q string
	if cgroup.Version() == "v2" {
		q = read(filepath.Join(group, "cpu.max"))
	} else {
		q = read(filepath.Join("cpu", group, "cpu.cfs_quota_us")) + " " + read(filepath.Join("cpu", group, "cpu.cfs_period_us"))
	}
	if strings.HasPrefix(q, "max") || strings.HasPrefix(q, "-1") {
		return "none"
	}
	return q
}

// TestLinksThatFail takes a node's device away.
func TestLinksThatFail(t *testing.T) {
	b := newBench(t)
	tb := b.new(b.config("unplugged"))
	err := tb.Run(t.Context(), func(ctx context.Context) error {
		err := ns.Do(tb.Nodes()[0].Namespace, func() error {
			l, err := netlink.LinkByName(device)
			if err != nil {
				return err
			}
			return netlink.LinkDel(l)
		})
		if err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, relay.ErrDevice) {
			t.Errorf("the context ended with %v", cause)
		}
		return ctx.Err()
	})
	if !errors.Is(err, relay.ErrDevice) || !strings.Contains(err.Error(), "edge-1") {
		t.Errorf("run: %v", err)
	}
	b.mustBeGone()
}
