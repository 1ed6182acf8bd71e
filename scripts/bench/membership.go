package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/tiering"
)

const (
	gossipMesh = "bench"
	// rejoinAfter is how long a member of Serf waits before it tries again to join,
	// as in `serf agent -retry-join`.
	rejoinAfter = 30 * time.Second
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
	known() int       // members, itself included
	failed() []string // names of members
	changed() <-chan struct{}
	run(context.Context) error // joins, and stays until ctx ends
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

func (m weftMember) failed() []string {
	var out []string
	for _, x := range m.Members() {
		if x.Status == tiering.NodeFailed {
			out = append(out, x.Node.ID)
		}
	}
	return out
}

// serfMembership is Serf with the settings that it comes with, the same key
// and tags as long.
func serfMembership() membership {
	return membership{"serf", func(name, join string) (member, error) {
		ml := memberlist.DefaultLANConfig()
		ml.Name, ml.BindAddr, ml.BindPort, ml.SecretKey = name, "127.0.0.1", 0, gossipKey
		ml.Logger = log.New(io.Discard, "", 0)
		c := serf.DefaultConfig()
		m := &serfMember{join: join, events: make(chan serf.Event, 256), hint: make(chan struct{}, 1)}
		c.NodeName, c.MemberlistConfig, c.EventCh = name, ml, m.events
		c.Logger, c.LogOutput = ml.Logger, nil
		c.Tags = map[string]string{"v": "1", "n": gossipMesh, "w": "v0.1.0", "t": "edge", "c": "4000/4096/16384", "f": "4000/4096/16384",
			"p": "cpu:4", "m": "hog-people", "d": ":7947", "h": "http|:7950"}
		var err error
		m.Serf, err = serf.Create(c)
		return m, err
	}}
}

type serfMember struct {
	*serf.Serf
	join   string // whom; empty: nobody
	events chan serf.Event
	hint   chan struct{}
}

func (m *serfMember) addr() string {
	l := m.LocalMember()
	return fmt.Sprintf("%s:%d", l.Addr, l.Port)
}

func (m *serfMember) known() int { return len(m.Members()) }

func (m *serfMember) failed() []string {
	var out []string
	for _, x := range m.Members() {
		if x.Status == serf.StatusFailed {
			out = append(out, x.Name)
		}
	}
	return out
}

func (m *serfMember) changed() <-chan struct{} { return m.hint }

// run joins, and passes hints on until ctx ends; it leaves without a good-bye.
func (m *serfMember) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if m.join != "" {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := m.Join([]string{m.join}, true); err == nil {
					return
				}
				_ = pause(ctx, rejoinAfter) // ctx is looked at next
			}
		})
	}
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

// startVictim starts a member in a process of its own.
func startVictim(ctx context.Context, kind, name, join string) (*helper, error) {
	v, err := startHelper(ctx, "member", "", kind, name, join)
	if err != nil {
		return nil, err
	}
	var word string
	if err := v.words.Decode(&word); err != nil || word != memberReady {
		kill(v)
		return nil, cmp.Or(context.Cause(ctx), fmt.Errorf("%s did not start: %q, %w", name, word, err))
	}
	return v, nil
}

// kill kills a victim, if it lives.
func kill(v *helper) {
	if v != nil && v.cmd.ProcessState == nil {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait() // killed
	}
}

// playMember is the role of a victim.
func playMember(ctx context.Context, kind, name, join string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // nothing: its end is what counts
		stop()
	}()
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
