package coordinator

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/state"
)

// late is a transport whose answers can be held back.
type late struct {
	*raft.InmemTransport
	cut     atomic.Bool  // nothing gets through but what is held
	lost    atomic.Int32 // to A, so far
	holding atomic.Bool  // the next heartbeat to A is answered, and the answer held
	held    chan struct{}
	release chan struct{}
}

var errCut = errors.New("cut")

func (l *late) AppendEntries(id raft.ServerID, a raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if id == "A" && l.holding.CompareAndSwap(true, false) {
		l.cut.Store(true)
		err := l.InmemTransport.AppendEntries(id, a, args, resp)
		close(l.held)
		<-l.release
		return err
	}
	if l.cut.Load() {
		if id == "A" {
			l.lost.Add(1)
		}
		return errCut
	}
	return l.InmemTransport.AppendEntries(id, a, args, resp)
}

func (l *late) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (nothing) Restore(io.ReadCloser) error         { return nil }

// TestVerifyTakesNoEarlierAnswer: an answer of a follower that was given before
// Verify was called, and comes after it, does not say that nobody else leads.
func TestVerifyTakesNoEarlierAnswer(t *testing.T) {
	var (
		conf raft.Configuration
		ts   []*late
		rs   []*raft.Raft
	)
	for _, id := range []raft.ServerID{"L", "A", "B"} {
		_, tr := raft.NewInmemTransport(raft.ServerAddress(id))
		ts = append(ts, &late{InmemTransport: tr, held: make(chan struct{}), release: make(chan struct{})})
		conf.Servers = append(conf.Servers, raft.Server{ID: id, Address: raft.ServerAddress(id)})
	}
	for _, x := range ts {
		for _, y := range ts {
			x.Connect(y.LocalAddr(), y.InmemTransport)
		}
	}
	for i, s := range conf.Servers {
		c := raft.DefaultConfig()
		c.LocalID, c.LogOutput = s.ID, io.Discard
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 300*time.Millisecond
		if s.ID == "L" { // it does not give up by itself
			c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = time.Minute, time.Minute, time.Minute
		}
		store, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(c, store, store, snaps, ts[i], conf); err != nil {
			t.Fatal(err)
		}
		r, err := raft.NewRaft(c, nothing{}, store, store, snaps, ts[i])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Shutdown().Error() })
		rs = append(rs, r)
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for end := time.After(20 * time.Second); !holds(); {
			select {
			case <-tick.C:
			case <-end:
				t.Fatalf("gave up waiting: %s", what)
			}
		}
	}
	leader := func(among ...*raft.Raft) (found *raft.Raft) {
		until("a leader", func() bool {
			for _, r := range among {
				if r.State() == raft.Leader {
					found = r
				}
			}
			return found != nil
		})
		return found
	}
	old, link := rs[0], ts[0]
	release := sync.OnceFunc(func() { close(link.release) })
	t.Cleanup(release)
	for leader(rs...) != old {
		_ = leader(rs...).LeadershipTransferToServer("L", "L").Error()
	}
	c := &Coordinator{cfg: Config{ID: "L"}, machine: state.New()}
	c.raft.Store(old)
	c.gate.Store(newGate(old))
	c.leading.Store(true)
	if err := c.Verify(t.Context()); err != nil {
		t.Fatalf("a leader: %v", err)
	}

	link.holding.Store(true)
	<-link.held
	ts[1].Disconnect("L")
	ts[2].Disconnect("L")
	if err := leader(rs[1:]...).Apply([]byte("a write"), time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	if old.State() != raft.Leader {
		t.Fatal("the old leader knows")
	}
	before := old.LastIndex()
	verified := make(chan error, 1)
	go func() { verified <- c.Verify(t.Context()) }()
	until("it asks", func() bool { return old.LastIndex() > before })
	lost := link.lost.Load()
	release()
	until("the answer is in", func() bool { return link.lost.Load() > lost }) // the same goroutine asks A again
	link.cut.Store(false)
	select {
	case err := <-verified:
		if !errors.Is(err, ErrNoLeader) {
			t.Errorf("a leader of the past: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("no answer")
	}
}
