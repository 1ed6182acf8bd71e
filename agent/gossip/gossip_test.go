package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/weft-mesh/weft/tiering"
)

var key = bytes.Repeat([]byte{7}, KeySize)

// member is a running node of a test's mesh.
type member struct {
	*Gossip
	leave func() // and wait
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func config(id string, tier tiering.Tier, join ...string) Config {
	n := someNode()
	n.ID, n.Tier = id, tier
	return Config{Mesh: "farm", Node: n, Listen: "127.0.0.1:0", Join: join, Keys: [][]byte{key}, Log: quiet()}
}

func start(t *testing.T, cfg Config) *member {
	t.Helper()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stopped := false
	m := &member{Gossip: g, leave: func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}}
	t.Cleanup(m.leave)
	return m
}

// eventually polls until ok, and fails the test when it takes too long.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

func (m *member) sees(id string, status tiering.NodeStatus) bool {
	for _, o := range m.Members() {
		if o.Node.ID == id {
			return o.Status == status
		}
	}
	return false
}

// A node with more models than gossip has room for starts, and says of which
// others do not hear. Of the rest those hear who know the names.
func TestANodeWithManyModels(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("detector-%06d", i))
	}
	rich, other := config("cloud-1", tiering.Cloud), config("fog-1", tiering.Fog)
	rich.Node.Models = names
	a := start(t, rich)
	other.Join = []string{a.Addr()}
	other.Known = func() []string { return []string{"detector-000001", "detector-000199", "yolo"} }
	b := start(t, other)
	seen := func(m *member) (models []string) {
		for _, o := range m.Members() {
			if o.Node.ID == "cloud-1" {
				models = o.Node.Models
			}
		}
		return models
	}
	eventually(t, "what both know is seen", func() bool { return slices.Equal(seen(b), []string{"detector-000001"}) })
	told, err := a.SetModels(names)
	if !errors.Is(err, ErrTags) || told < 40 || !strings.Contains(err.Error(), fmt.Sprintf("room for %d of the 200 models of node cloud-1; others do not hear of detector-%06d, ", told, told)) {
		t.Errorf("told of %d: %v", told, err)
	}
	if got := seen(a); !slices.Equal(got, names[:told]) {
		t.Errorf("it says of itself: %v", got)
	}
	slices.Reverse(names) // the last are wanted
	if again, err := a.SetModels(names); again != told || !errors.Is(err, ErrTags) {
		t.Errorf("told of %d: %v", again, err)
	}
	eventually(t, "what is wanted is seen", func() bool { return slices.Equal(seen(b), []string{"detector-000199"}) })
	if told, err := a.SetModels(names[:3]); told != 3 || err != nil {
		t.Errorf("told of %d: %v", told, err)
	}
	eventually(t, "few are told in full", func() bool {
		return slices.Equal(seen(b), []string{"detector-000197", "detector-000198", "detector-000199"})
	})
}

func TestMembersAreSeenFailAndLeave(t *testing.T) {
	a := start(t, config("cloud-1", tiering.Cloud))
	b := start(t, config("fog-1", tiering.Fog, a.Addr()))
	c := start(t, config("edge-1", tiering.Edge, a.Addr()))
	eventually(t, "all see all", func() bool {
		return a.sees("edge-1", tiering.NodeAlive) && b.sees("edge-1", tiering.NodeAlive) && c.sees("fog-1", tiering.NodeAlive)
	})
	for _, m := range a.Members() {
		if m.Node.ID == "fog-1" && (m.Node.Tier != tiering.Fog || m.Node.Capacity != someNode().Capacity || len(m.Node.Models) != 2) {
			t.Errorf("fog-1 is seen as %+v", m.Node)
		}
	}
	select {
	case <-a.Changed():
	default:
		t.Error("no hint that members changed")
	}
	eventually(t, "round trips are measured", func() bool {
		d, ok := b.RoundTrip("edge-1", "cloud-1")
		return ok && d > 0 && d < time.Second
	})
	if _, ok := b.RoundTrip("fog-1", "nowhere"); ok {
		t.Error("a round trip to a node that does not exist")
	}

	b.leave()
	eventually(t, "fog-1 is seen to have left", func() bool { return a.sees("fog-1", tiering.NodeLeft) })

	if err := c.serf.Shutdown(); err != nil { // without a good-bye
		t.Fatal(err)
	}
	eventually(t, "edge-1 is seen to have failed", func() bool { return a.sees("edge-1", tiering.NodeFailed) })
	a.leave()
	c.leave()
}

// A node that died is alive again as soon as it is back, on another port too:
// memberlist would ignore it for half a minute.
func TestAFailedNodeComesBackElsewhere(t *testing.T) {
	for name, noticed := range map[string]bool{"at once": false, "after it was missed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			comesBack(t, noticed)
		})
	}
}

func comesBack(t *testing.T, noticed bool) {
	a := start(t, config("cloud-1", tiering.Cloud))
	b := start(t, config("fog-1", tiering.Fog, a.Addr()))
	start(t, config("edge-1", tiering.Edge, a.Addr()))
	eventually(t, "fog-1 joins", func() bool { return a.sees("fog-1", tiering.NodeAlive) })
	if err := b.serf.Shutdown(); err != nil { // without a good-bye
		t.Fatal(err)
	}
	if noticed {
		eventually(t, "fog-1 fails", func() bool { return a.sees("fog-1", tiering.NodeFailed) })
	}
	again := start(t, config("fog-1", tiering.Fog, a.Addr()))
	if again.Addr() == b.Addr() {
		t.Fatal("the same port again")
	}
	eventually(t, "fog-1 is back", func() bool {
		for _, m := range a.serf.Members() {
			if m.Name == "fog-1" && m.Port == again.serf.LocalMember().Port {
				return a.sees("fog-1", tiering.NodeAlive)
			}
		}
		return false
	})
}

func TestFreeCapacityIsGossiped(t *testing.T) {
	t.Parallel()
	a := start(t, config("cloud-1", tiering.Cloud))
	b := start(t, config("fog-1", tiering.Fog, a.Addr()))
	eventually(t, "fog-1 joins", func() bool { return a.sees("fog-1", tiering.NodeAlive) })
	free := tiering.Resources{CPU: 500, Memory: 512 * mebi, Disk: 1 << 30}
	b.SetFree(free)
	b.publish(time.Now().Add(freeEvery))
	eventually(t, "the free capacity arrives", func() bool {
		for _, m := range a.Members() {
			if m.Node.ID == "fog-1" {
				return m.Free == free
			}
		}
		return false
	})
}

func TestFaultsAreGossiped(t *testing.T) {
	t.Parallel()
	a := start(t, config("cloud-1", tiering.Cloud))
	b := start(t, config("fog-1", tiering.Fog, a.Addr()))
	long := strings.Repeat("x", 2*maxFault)
	for _, why := range []string{"disk full", "corrupt log", long, ""} {
		if err := b.SetFault(why); err != nil {
			t.Fatal(err)
		}
		why = why[:min(len(why), maxFault)]
		eventually(t, "the fault "+why+" arrives", func() bool {
			for _, m := range a.Members() {
				if m.Node.ID == "fog-1" {
					return m.Fault == why
				}
			}
			return false
		})
	}
	// Where there is no room for it, the rest of the tags goes on.
	tags := map[string]string{tagModels: strings.Repeat("m", tagsLimit-20)}
	if addFault(tags, "disk full"); tags[tagFault] != "" {
		t.Error("said although there is no room for it")
	}
}

func TestANodeIsAMemberOnceItHasAnnouncedItsAddresses(t *testing.T) {
	t.Parallel()
	a := start(t, config("cloud-1", tiering.Cloud))
	cfg := config("fog-1", tiering.Fog, a.Addr())
	addresses := cfg.Node.Addresses
	cfg.Node.Addresses = tiering.Addresses{}
	b := start(t, cfg)
	eventually(t, "fog-1 joins", func() bool { return len(a.serf.Members()) == 2 })
	if len(a.Members()) != 1 {
		t.Errorf("%v, want no node without addresses", a.Members())
	}
	if err := b.Announce(addresses); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its addresses arrive", func() bool {
		for _, m := range a.Members() {
			if m.Node.ID == "fog-1" {
				return m.Node.Addresses == addresses
			}
		}
		return false
	})
}

func TestMeshesDoNotMerge(t *testing.T) {
	t.Parallel()
	a := start(t, config("cloud-1", tiering.Cloud))
	other := config("fog-1", tiering.Fog)
	other.Mesh = "factory"
	b := start(t, other)
	if _, err := b.serf.Join([]string{a.Addr()}, true); err == nil || !strings.Contains(err.Error(), "mesh") {
		t.Errorf("join of another mesh: %v", err)
	}
	wrongKey := config("fog-2", tiering.Fog)
	wrongKey.Keys = [][]byte{bytes.Repeat([]byte{8}, KeySize)}
	c := start(t, wrongKey)
	if _, err := c.serf.Join([]string{a.Addr()}, true); err == nil {
		t.Error("joined with another key")
	}
	if n := len(a.Members()); n != 1 {
		t.Errorf("%d members", n)
	}
}

// Two meshes of one name, CA and key that were set up apart, and a wrong
// address (dkron #999).
func TestMeshesOfOneNameDoNotMerge(t *testing.T) {
	t.Parallel()
	mesh := func(id, coordinator, worker string) (c, w *member) {
		c = start(t, config(coordinator, tiering.Cloud))
		if err := c.SetCluster(id); err != nil {
			t.Fatal(err)
		}
		w = start(t, config(worker, tiering.Fog, c.Addr()))
		eventually(t, worker+" knows its mesh", func() bool {
			return w.Cluster() == shortCluster(id) && c.sees(worker, tiering.NodeAlive)
		})
		return c, w
	}
	a, aw := mesh("6c8e7a36-5a57-4d56-9f0b-0c7d1f2f6a11", "cloud-1", "fog-1")
	b, bw := mesh("0d4e9f52-1c9b-4a53-8a39-5be3a1b1f0c2", "cloud-2", "fog-2")
	// Whoever joins whom, of which neither need be a coordinator.
	for _, from := range []*member{b, bw} {
		for _, to := range []*member{a, aw} {
			_, err := from.serf.Join([]string{to.Addr()}, true)
			if err == nil || !strings.Contains(err.Error(), "set up apart") || !strings.Contains(err.Error(), "correct `join`") {
				t.Errorf("join of %s by %s: %v", to.cfg.Node.ID, from.cfg.Node.ID, err)
			}
		}
	}
	for _, g := range []*member{a, aw, b, bw} {
		if n := len(g.Members()); n != 2 {
			t.Errorf("%s has %d members: %v", g.cfg.Node.ID, n, g.Members())
		}
	}
	// One of no mesh joins either.
	fresh := start(t, config("fog-3", tiering.Fog, a.Addr()))
	eventually(t, "fog-3 joins", func() bool { return a.sees("fog-3", tiering.NodeAlive) && fresh.Cluster() == "6c8e7a36" })
}

func TestAMeshFormedAnewGetsItsAgentsBack(t *testing.T) {
	t.Parallel()
	cfg := config("cloud-1", tiering.Cloud)
	a := start(t, cfg)
	if err := a.SetCluster("11111111-"); err != nil {
		t.Fatal(err)
	}
	agent := start(t, config("fog-1", tiering.Fog, a.Addr()))
	eventually(t, "fog-1 knows its mesh", func() bool { return agent.Cluster() == "11111111" })
	cfg.Listen = a.Addr()
	a.leave()
	cfg.Join = []string{agent.Addr()}
	b := start(t, cfg)
	eventually(t, "cloud-1 is back, of no mesh", func() bool { return b.sees("fog-1", tiering.NodeAlive) && agent.sees("cloud-1", tiering.NodeAlive) })
	if err := b.SetCluster("22222222-"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "fog-1 knows the new mesh", func() bool { return agent.Cluster() == "22222222" })
}

func TestMembersOfAMeshFormedAnew(t *testing.T) {
	m := func(name, cluster string) *serf.Member {
		return &serf.Member{Name: name, Tags: map[string]string{tagMesh: "farm", tagCluster: cluster}}
	}
	left := m("c9", "old")
	left.Status = serf.StatusLeft
	for name, tc := range map[string]struct {
		own     string
		members []*serf.Member
		ok      bool
	}{
		"nobody knows":             {"", []*serf.Member{m("c1", ""), m("c2", "")}, true},
		"this one does not":        {"", []*serf.Member{m("c1", "a")}, true},
		"the other does not":       {"a", []*serf.Member{m("c1", "")}, true},
		"the same":                 {"a", []*serf.Member{m("c1", "a")}, true},
		"another":                  {"a", []*serf.Member{m("c1", "b")}, false},
		"another in a list":        {"a", []*serf.Member{m("f1", ""), m("c1", "b")}, false},
		"a dead one of the old":    {"a", []*serf.Member{m("c9", "b"), m("c1", "a")}, true},
		"one that left the old":    {"a", []*serf.Member{left, m("f1", "")}, true},
		"what it was itself":       {"a", []*serf.Member{m("me", "b"), m("f1", "")}, true},
		"another name of the mesh": {"a", []*serf.Member{{Name: "c1", Tags: map[string]string{tagMesh: "factory", tagCluster: "a"}}}, false},
	} {
		err := mergeDelegate{mesh: "farm", self: "me", cluster: func() string { return tc.own }, gone: &departed{}}.NotifyMerge(tc.members)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrMesh) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARestartedNodeFindsTheMeshAgain(t *testing.T) {
	t.Parallel()
	a := start(t, config("cloud-1", tiering.Cloud))
	cfg := config("fog-1", tiering.Fog, a.Addr())
	cfg.DataDir = t.TempDir()
	b := start(t, cfg)
	eventually(t, "fog-1 joins", func() bool { return b.sees("cloud-1", tiering.NodeAlive) })
	b.leave()
	eventually(t, "fog-1 leaves", func() bool { return a.sees("fog-1", tiering.NodeLeft) })
	cfg.Join = nil
	start(t, cfg)
	eventually(t, "fog-1 is back", func() bool { return a.sees("fog-1", tiering.NodeAlive) })
}

func TestBadConfigurations(t *testing.T) {
	t.Parallel()
	a := start(t, config("cloud-1", tiering.Cloud))
	for _, tc := range []struct {
		name, want string
		is         error
		change     func(*Config)
	}{
		{"short key", "want 32", ErrConfig, func(c *Config) { c.Keys = [][]byte{{1}} }},
		{"a short second key", "want 32", ErrConfig, func(c *Config) { c.Keys = [][]byte{key, {1}} }},
		{"no key", "no gossip key", ErrConfig, func(c *Config) { c.Keys = nil }},
		{"plain text with a key", "choose one", ErrConfig, func(c *Config) { c.Plaintext = true }},
		{"no name", "need names", ErrConfig, func(c *Config) { c.Node.ID = "" }},
		{"bad address", "listen address", ErrConfig, func(c *Config) { c.Listen = "nowhere" }},
		{"any port advertised", "fixed gossip port", ErrConfig, func(c *Config) { c.Advertise = "10.0.0.1" }},
		{"port taken", "is another weftd running?", nil, func(c *Config) { c.Listen = a.Addr() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config("fog-1", tiering.Fog)
			tc.change(&cfg)
			_, err := New(cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Errorf("%v; want %q", err, tc.want)
			}
		})
	}
}

func TestSerfLinesBecomeRecords(t *testing.T) {
	var buf bytes.Buffer
	l := newLogger(slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelInfo})), new(atomic.Bool))
	l.Printf("[WARN] serf: trouble")
	l.Printf("[INFO] serf: chatter")
	if got := buf.String(); !strings.Contains(got, `level=WARN msg="serf: trouble"`) || strings.Contains(got, "chatter") {
		t.Error(got)
	}
}
