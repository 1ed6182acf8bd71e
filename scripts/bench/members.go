package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-metrics"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/tiering"
)

const (
	meshSize    = 200
	victims     = 3                 // of them, in processes of their own, to be killed
	meshWithin  = 150 * time.Second // one mesh, from its first member to its last figure
	countFor    = 10 * time.Second
	gossipMesh  = "bench"
	memberReady = "ready"
)

var gossipKey = bytes.Repeat([]byte{5}, gossip.KeySize)

// membership is a kind of gossip.
type membership struct {
	name  string
	start func(name, join string) (member, error)
}

// member is a node of a mesh.
type member interface {
	addr() string
	known() int // members, itself included
	failed(name string) bool
	changed() <-chan struct{}
	run(context.Context) error
}

// benchMembers makes meshes of 200 nodes, one after the other: with the
// settings of weftd and with Serf's own for a LAN. What one does not reach in
// its time is an error, and no row; what both have reached is told all the same.
func benchMembers(ctx context.Context, h *harness) ([]Ratio, error) {
	traffic, err := newTraffic()
	if err != nil {
		return nil, err
	}
	// Two hundred nodes in one process: without room the collector would take
	// most of the machine (memberlist makes a compressor of 100 kB for a packet).
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	kinds := []membership{weftMembership(), serfMembership()}
	seen := make([]convergence, len(kinds))
	var errs []error
	for i, k := range kinds {
		// The other's turns are not to be missed for this one's.
		if err := mesh(ctx, h, k, traffic, &seen[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", k.name, err))
		}
	}
	a, b := seen[0], seen[1]
	var out []Ratio
	for _, row := range []struct {
		name, unit string
		aim        float64
		a, b       []float64
	}{
		{"all know all after a mass join", "s", 0, a.joined, b.joined},
		{"a killed one is known to the first", "s", 1, a.first, b.first},
		{"a killed one is known to all", "s", 1, a.all, b.all},
		{"traffic a member", "bytes/s", 0, a.bytes, b.bytes},
	} {
		if n := min(len(row.a), len(row.b)); n > 0 {
			out = append(out, compare(fmt.Sprintf("%d members, %s", meshSize, row.name), "Serf's LAN settings", row.unit, less, row.aim, row.a[:n], row.b[:n]))
		}
	}
	return out, errors.Join(errs...)
}

// convergence is how a mesh did, in seconds and bytes a second and node, as far
// as it came.
type convergence struct {
	joined, bytes []float64 // one or none
	first, all    []float64 // of each victim
}

func mesh(ctx context.Context, h *harness, k membership, traffic *traffic, c *convergence) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, meshWithin, fmt.Errorf("not done within %s", meshWithin))
	defer cancel()
	life, stop := context.WithCancel(context.Background())
	var running errgroup.Group
	defer func() {
		stop()
		err = errors.Join(err, running.Wait())
	}()
	var members []member
	var dead []*victim
	defer func() {
		for _, v := range dead {
			v.kill()
		}
	}()
	began := time.Now()
	join := ""
	for i := range meshSize - victims {
		m, err := k.start(fmt.Sprintf("node-%03d", i), join)
		if err != nil {
			return err
		}
		if join == "" {
			join = m.addr()
		}
		members = append(members, m)
		running.Go(func() error { return m.run(life) })
	}
	for i := range victims {
		v, err := startVictim(k.name, fmt.Sprintf("victim-%d", i), join)
		if err != nil {
			return err
		}
		dead = append(dead, v)
	}
	left := members
	err = eventually(ctx, "all members to know all", meshWithin, func() bool {
		for len(left) > 0 && left[0].known() == meshSize {
			left = left[1:]
		}
		return len(left) == 0
	})
	if err != nil {
		return fmt.Errorf("%w; %d of %d do not, one of them knows %d", err, len(left), len(members), left[0].known())
	}
	joined := time.Since(began).Seconds()
	c.joined = []float64{joined}
	h.say("%s: %d members know each other after %.1f s", k.name, meshSize, joined)

	for _, v := range dead {
		v.kill()
		first, all, err := noticed(ctx, members, v.name, time.Now())
		if err != nil {
			return err
		}
		c.first, c.all = append(c.first, first), append(c.all, all)
		h.say("%s: killed %s; known to the first after %.1f s, to all after %.1f s", k.name, v.name, first, all)
	}
	// By now no member introduces itself any more.
	before, at := traffic.bytes(), time.Now()
	if err := pause(ctx, countFor); err != nil {
		return err
	}
	each := (traffic.bytes() - before) / time.Since(at).Seconds() / float64(len(members))
	c.bytes = []float64{each}
	h.say("%s: %.0f bytes/s a member", k.name, each)
	return nil
}

// noticed waits until all members know that one has failed.
func noticed(ctx context.Context, members []member, name string, killed time.Time) (first, all float64, err error) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		news int
	)
	for _, m := range members {
		wg.Go(func() {
			for !m.failed(name) {
				select {
				case <-m.changed():
				case <-ctx.Done():
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if news++; news == 1 {
				first = time.Since(killed).Seconds()
			}
			all = time.Since(killed).Seconds()
		})
	}
	wg.Wait()
	if news < len(members) {
		err = fmt.Errorf("%d of %d members noticed that %s was killed: %w", news, len(members), name, context.Cause(ctx))
	}
	return first, all, err
}

// weftMembership is gossip as weftd makes it.
func weftMembership() membership {
	return membership{"weft", func(name, join string) (member, error) {
		cfg := gossip.Config{
			Mesh: gossipMesh, Listen: "127.0.0.1:0", Keys: [][]byte{gossipKey}, Log: slog.New(slog.DiscardHandler),
			Node: tiering.Node{
				ID: name, Tier: tiering.Edge, Version: "v0.1.0", Capacity: tiering.Resources{CPU: 4000, Memory: 4 * gib, Disk: 16 * gib},
				Platforms: []tiering.Platform{{Type: "cpu", Count: 4}}, Models: []string{"hog-people"},
				Addresses: tiering.Addresses{Data: "127.0.0.1:7947", HTTP: "http://127.0.0.1:7950"},
			},
		}
		if join != "" {
			cfg.Join = []string{join}
		}
		g, err := gossip.New(cfg)
		return weftMember{g}, err
	}}
}

type weftMember struct{ *gossip.Gossip }

func (m weftMember) addr() string                  { return m.Addr() }
func (m weftMember) changed() <-chan struct{}      { return m.Changed() }
func (m weftMember) run(ctx context.Context) error { return m.Run(ctx) }

func (m weftMember) known() int { return len(m.Members()) }

func (m weftMember) failed(name string) bool {
	for _, x := range m.Members() {
		if x.Node.ID == name {
			return x.Status == tiering.NodeFailed
		}
	}
	return false
}

// serfMembership is Serf with the settings that it comes with, the same key
// and tags as long.
func serfMembership() membership {
	return membership{"serf", func(name, join string) (member, error) {
		ml := memberlist.DefaultLANConfig()
		ml.Name, ml.BindAddr, ml.BindPort, ml.SecretKey = name, "127.0.0.1", 0, gossipKey
		ml.Logger = log.New(io.Discard, "", 0)
		c := serf.DefaultConfig()
		m := &serfMember{events: make(chan serf.Event, 256), hint: make(chan struct{}, 1)}
		c.NodeName, c.MemberlistConfig, c.EventCh = name, ml, m.events
		c.Logger, c.LogOutput = ml.Logger, nil
		c.Tags = map[string]string{"v": "1", "n": gossipMesh, "w": "v0.1.0", "t": "edge", "c": "4000/4096/16384", "f": "4000/4096/16384",
			"p": "cpu:4", "m": "hog-people", "d": ":7947", "h": "http|:7950"}
		s, err := serf.Create(c)
		if err != nil {
			return nil, err
		}
		m.Serf = s
		if join != "" {
			_, err = s.Join([]string{join}, true)
		}
		return m, err
	}}
}

type serfMember struct {
	*serf.Serf
	events chan serf.Event
	hint   chan struct{}
}

func (m *serfMember) addr() string {
	l := m.LocalMember()
	return fmt.Sprintf("%s:%d", l.Addr, l.Port)
}

func (m *serfMember) known() int { return len(m.Members()) }

func (m *serfMember) failed(name string) bool {
	for _, x := range m.Members() {
		if x.Name == name {
			return x.Status == serf.StatusFailed
		}
	}
	return false
}

func (m *serfMember) changed() <-chan struct{} { return m.hint }

// run passes hints on until ctx ends; it leaves without a good-bye.
func (m *serfMember) run(ctx context.Context) error {
	stopped := make(chan error, 1)
	for {
		select {
		case <-ctx.Done():
			go func() { stopped <- m.Shutdown() }()
			for {
				select {
				case <-m.events:
				case err := <-stopped:
					return err
				}
			}
		case <-m.events:
			select {
			case m.hint <- struct{}{}:
			default:
			}
		}
	}
}

// victim is a member in a process of its own.
type victim struct {
	name string
	cmd  *exec.Cmd
}

func startVictim(kind, name, join string) (*victim, error) {
	cmd, out, err := startRole("member", nil, kind, name, join)
	if err != nil {
		return nil, err
	}
	v := &victim{name, cmd}
	var word string
	if err := out.Decode(&word); err != nil || word != memberReady {
		v.kill()
		return nil, fmt.Errorf("%s did not start: %q, %w", name, word, err)
	}
	return v, nil
}

func (v *victim) kill() {
	if v.cmd.ProcessState == nil {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait() // killed
	}
}

// playMember is the role of a victim.
func playMember(ctx context.Context, kind, name, join string) error {
	for _, k := range []membership{weftMembership(), serfMembership()} {
		if k.name != kind {
			continue
		}
		m, err := k.start(name, join)
		if err != nil {
			return err
		}
		if err := answer(os.Stdout, memberReady); err != nil {
			return err
		}
		return m.run(ctx)
	}
	return fmt.Errorf("no membership %q", kind)
}

// traffic counts what memberlist gives to the network, which it tells
// go-metrics. There is one sink for the process.
type traffic struct {
	metrics.BlackholeSink
	sent atomic.Uint64
}

func newTraffic() (*traffic, error) {
	t := &traffic{}
	c := metrics.DefaultConfig("")
	c.EnableHostname, c.EnableRuntimeMetrics = false, false
	_, err := metrics.NewGlobal(c, t)
	return t, err
}

// IncrCounterWithLabels implements metrics.MetricSink.
func (t *traffic) IncrCounterWithLabels(key []string, v float32, _ []metrics.Label) {
	if len(key) == 3 && key[0] == "memberlist" && key[2] == "sent" && (key[1] == "udp" || key[1] == "tcp") {
		t.sent.Add(uint64(v))
	}
}

func (t *traffic) bytes() float64 { return float64(t.sent.Load()) }
