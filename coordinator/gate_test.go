package coordinator

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/state"
)

func TestGateWaitsForThoseInside(t *testing.T) {
	g := newGate(nil)
	for range 2 {
		if !g.enter() {
			t.Fatal("an open gate lets nobody in")
		}
	}
	g.leave()
	shut := make(chan struct{})
	go func() { g.close(); close(shut) }()
	wait(t, "the gate to shut", func() bool {
		if !g.enter() {
			return true
		}
		g.leave()
		return false
	})
	select {
	case <-shut:
		t.Fatal("closed with someone inside")
	case <-time.After(20 * time.Millisecond):
	}
	g.leave()
	<-shut
	g.close() // again
}

// stuck is a store whose writes hang when it is told so.
type stuck struct {
	*raft.InmemStore
	hang    atomic.Bool
	hangs   chan struct{} // closed when a write does
	release chan struct{}
	once    sync.Once
}

func (s *stuck) StoreLogs(logs []*raft.Log) error {
	if s.hang.Load() {
		s.once.Do(func() { close(s.hangs) })
		<-s.release
	}
	return s.InmemStore.StoreLogs(logs)
}

// Nobody waits for a Raft that does not answer: not after ctx is done, and not
// after its storage has failed.
func TestNobodyWaitsForARaftThatHangs(t *testing.T) {
	store := &stuck{InmemStore: raft.NewInmemStore(), hangs: make(chan struct{}), release: make(chan struct{})}
	snaps := raft.NewInmemSnapshotStore()
	addr, tr := raft.NewInmemTransport("c1")
	conf := raft.DefaultConfig()
	conf.LocalID, conf.LogOutput, conf.BatchApplyCh = "c1", io.Discard, true
	// The second one has no vote; it makes StepDown try.
	servers := raft.Configuration{Servers: []raft.Server{{ID: "c1", Address: addr}, {Suffrage: raft.Nonvoter, ID: "c2", Address: "c2"}}}
	if err := raft.BootstrapCluster(conf, store, store, snaps, tr, servers); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(conf, nothing{}, store, store, snaps, tr)
	if err != nil {
		t.Fatal(err)
	}
	c := &Coordinator{cfg: Config{ID: "c1"}, log: discard(), machine: state.New()}
	g := newGate(r)
	c.raft.Store(r)
	c.gate.Store(g)
	c.leading.Store(true)
	wait(t, "a leader", func() bool { return c.Verify(t.Context()) == nil })

	store.hang.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- c.Verify(ctx) }()
	<-store.hangs
	cancel()
	answer := func(who string, from <-chan error, want error) {
		t.Helper()
		select {
		case err := <-from:
			if want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", who, err, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s waits for ever", who)
		}
	}
	answer("one whose context is done", first, context.Canceled)

	waiting := map[string]chan error{"Verify": make(chan error, 1), "establish": make(chan error, 1), "StepDown": make(chan error, 1)}
	go func() { waiting["Verify"] <- c.Verify(t.Context()) }()
	go func() { waiting["establish"] <- c.establish(t.Context()) }()
	go func() { c.StepDown(); waiting["StepDown"] <- nil }()
	wait(t, "all to be inside", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.inside == 1+len(waiting)
	})
	g.abandon()
	answer("Verify", waiting["Verify"], ErrNoLeader)
	answer("establish", waiting["establish"], ErrNotLeader)
	answer("StepDown", waiting["StepDown"], nil)
	if err := c.Verify(t.Context()); !errors.Is(err, ErrNoLeader) {
		t.Errorf("after it: %v", err)
	}
	// Before Raft is shut down it gets to answer.
	close(store.release)
	g.close()
	if g.inside > 0 {
		t.Errorf("%d have no answer", g.inside)
	}
	if err := r.Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
}
