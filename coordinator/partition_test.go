package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// ready is a mesh of three with room for workflows.
func ready(t *testing.T) *cluster {
	t.Helper()
	cl := newCluster(t, "c1", "c2", "c3")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")
	return cl
}

// others are the coordinators but one.
func (cl *cluster) others(not string) (out []string) {
	for _, name := range sortedKeys(cl.nodes) {
		if name != not {
			out = append(out, name)
		}
	}
	return out
}

// A leader that is cut off stops answering as one, and the others elect
// another; when the cut heals there is one mesh again.
func TestLeaderAlone(t *testing.T) {
	t.Parallel()
	cl := ready(t)
	cl.submit(people("people", 1))
	old := cl.leader()
	cl.cut(old.cfg.ID)
	wait(t, "the old leader to stop leading", func() bool { return !old.IsLeader() })
	for what, err := range map[string]error{
		"status": func() error { _, err := old.Status(context.Background(), "people"); return err }(),
		"report": old.Report(pipeline.Report{Node: "edge-1"}),
		"stop":   old.Stop(context.Background(), "people"),
	} {
		if !errors.Is(err, ErrNoLeader) && !errors.Is(err, ErrNotLeader) {
			t.Errorf("%s, cut off: %v", what, err)
		}
	}
	cl.submit(small("cars"), old.cfg.ID)
	if _, there := old.Snapshot().Workflow("cars"); there {
		t.Error("it heard of what was decided without it")
	}
	cl.heal(old.cfg.ID)
	cl.everywhere("both workflows", func(s *state.Snapshot) bool { return running(s, "people") && running(s, "cars") })
}

// One of three is cut off and stands for election all the time: the pre-vote
// keeps it from disturbing the two, and the leader stays.
func TestFollowerAlone(t *testing.T) {
	t.Parallel()
	cl := ready(t)
	leader := cl.leader()
	away := cl.nodes[cl.others(leader.cfg.ID)[0]]
	term := leader.raft.Load().CurrentTerm()
	for i := range 5 {
		cl.cut(away.cfg.ID)
		cl.submit(small(fmt.Sprintf("w%d", i)), away.cfg.ID)
		wait(t, "it to notice", func() bool { return away.raft.Load().State() == raft.Candidate })
		cl.heal(away.cfg.ID)
		wait(t, "it to catch up", func() bool { return running(away.Snapshot(), fmt.Sprintf("w%d", i)) })
	}
	// On a busy machine the leader may have lost its lease by itself.
	if now := cl.leader(); now == leader && now.raft.Load().CurrentTerm() != term {
		t.Logf("the same leader in another term: %d, then %d", term, now.raft.Load().CurrentTerm())
	} else if now == away {
		t.Error("the one that flapped leads")
	}
}

// Whoever is cut off, for however long: what was taken is kept, by all.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	cl := ready(t)
	var taken []string
	away := ""
	for step := range 15 {
		names := sortedKeys(cl.nodes)
		switch victim := names[rng.IntN(len(names))]; {
		case away != "" && rng.IntN(2) == 0:
			cl.heal(away)
			away = ""
		case away == "" && rng.IntN(3) > 0:
			cl.cut(victim)
			away = victim
		case away == "":
			dir := cl.nodes[victim].dir
			cl.halt(victim)
			cl.start(victim, dir)
		}
		name := fmt.Sprintf("w%02d", step)
		if err := cl.lead(func(c *Coordinator) error {
			_, err := c.Submit(context.Background(), small(name), "")
			if err == nil {
				taken = append(taken, name)
			}
			return err
		}, away); err != nil {
			t.Fatalf("seed %d, step %d: %v", seed, step, err)
		}
	}
	if away != "" {
		cl.heal(away)
	}
	cl.same()
	for _, name := range taken {
		cl.everywhere(name, func(s *state.Snapshot) bool { return running(s, name) })
	}
}

// same waits until all coordinators have the same state, to the byte.
func (cl *cluster) same() {
	cl.Helper()
	wait(cl.T, "the same state everywhere", func() bool {
		var first []byte
		for _, name := range sortedKeys(cl.nodes) {
			var b bytes.Buffer
			if err := cl.nodes[name].Snapshot().Persist(&b); err != nil {
				cl.Fatal(err)
			}
			if first == nil {
				first = b.Bytes()
			}
			if !bytes.Equal(first, b.Bytes()) {
				return false
			}
		}
		return true
	})
}

// Under load the log is compacted again and again; a follower that was away
// comes back through a snapshot; all are the same in the end, and what lies on
// disk is bounded.
func TestCompactionUnderLoad(t *testing.T) {
	t.Parallel()
	cl := newClusterOf(t, func(cfg *Config) {
		calm(&cfg.Timing)
		cfg.Timing.SnapshotInterval, cfg.Timing.SnapshotThreshold, cfg.Timing.TrailingLogs = 20*time.Millisecond, 16, 8
	}, "c1", "c2", "c3")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")
	away := cl.others(cl.leader().cfg.ID)[0]
	dir, last := cl.nodes[away].dir, cl.nodes[away].raft.Load().LastIndex()
	cl.halt(away)

	const workers, each = 4, 25
	var all sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		all.Go(func() {
			giveUp := time.After(patience)
			for i := 0; i < each; {
				name := fmt.Sprintf("w%d-%d", w, i%5)
				for _, m := range cl.nodes {
					// Whoever leads by now; a busy machine makes leaders change.
					if _, err := m.Submit(context.Background(), small(name), fmt.Sprintf("version %d", i)); err == nil {
						i++
						break
					}
				}
				select {
				case <-giveUp:
					errs <- fmt.Errorf("worker %d: only %d of %d were taken", w, i, each)
					return
				default:
				}
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	first := func(m *member) uint64 {
		n, err := m.disk.Load().store.FirstIndex()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	leader := cl.leader()
	wait(t, "the log to be compacted past what the follower has", func() bool { return first(leader) > last })
	back := cl.start(away, dir)
	cl.same()
	// Raft notes it once the state machine has it.
	wait(t, "a snapshot on the follower that was away", func() bool { return back.raft.Load().Stats()["last_snapshot_index"] != "0" })
	for name, m := range cl.nodes {
		wait(t, "a bounded log on "+name, func() bool {
			r := m.raft.Load()
			return r.LastIndex()-first(m) <= 16+8+maxTrailing
		})
		snapshots, err := filepath.Glob(filepath.Join(m.dir, "raft", "snapshots", "*"))
		if err != nil || len(slices.DeleteFunc(snapshots, func(s string) bool { return strings.HasSuffix(s, ".tmp") })) > snapshotsRetained+1 {
			t.Errorf("%s keeps %v, %v", name, snapshots, err)
		}
		segments, err := filepath.Glob(filepath.Join(m.dir, "raft", "log", "*.wal"))
		if err != nil || len(segments) > 2 {
			t.Errorf("%s keeps %v, %v", name, segments, err)
		}
	}
}

// A coordinator that comes back with another address is the same one.
func TestAnotherAddress(t *testing.T) {
	t.Parallel()
	cl := ready(t)
	cl.submit(people("people", 1))
	name := cl.others(cl.leader().cfg.ID)[0]
	dir, id := cl.nodes[name].dir, cl.nodes[name].ClusterID()
	cl.halt(name)
	cl.gossip.status(name, tiering.NodeFailed)
	m := cl.startAt(name, "elsewhere", dir)
	if m.ClusterID() != "" && m.ClusterID() != id {
		t.Fatal("it forgot its mesh")
	}
	wait(t, "its new address among the voters", func() bool {
		f := cl.leader().raft.Load().GetConfiguration()
		return f.Error() == nil && slices.ContainsFunc(f.Configuration().Servers, func(s raft.Server) bool {
			return string(s.ID) == name && s.Address == "elsewhere" && s.Suffrage == raft.Voter
		})
	})
	if v := voterNames(cl); len(v) != 3 {
		t.Fatalf("voters are %v", v)
	}
	cl.submit(small("cars"))
	wait(t, "it to hear of the next", func() bool { return running(m.Snapshot(), "cars") })
}

// The ID of the mesh is known before anybody has been heard.
func TestMeshIsRememberedAlone(t *testing.T) {
	t.Parallel()
	cl := ready(t)
	cl.everywhere("the ID of the mesh", func(s *state.Snapshot) bool { return s.ClusterID() != "" })
	id := cl.leader().ClusterID()
	var dirs []string
	for _, name := range []string{"c1", "c2", "c3"} {
		m := cl.nodes[name]
		wait(t, name+" to know its mesh", func() bool { return m.ClusterID() == id })
		dirs = append(dirs, m.dir)
		cl.halt(name)
	}
	m := cl.start("c2", dirs[1]) // alone, it cannot be elected
	select {
	case <-m.Identified():
	case <-time.After(patience):
		t.Fatal("it does not know its mesh")
	}
	if m.ClusterID() != id || m.Snapshot().ClusterID() != "" {
		t.Fatalf("it is of mesh %q, was of %q; its state says %q", m.ClusterID(), id, m.Snapshot().ClusterID())
	}
}

// Whoever is new and sees that there is a mesh does not form another, even if
// it is the first by name of as many as are expected.
func TestNewcomerDoesNotFormAnotherMesh(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, "c2", "c3")
	cl.leader()
	cl.gossip.mu.Lock()
	cl.gossip.cluster = "exists"
	cl.gossip.mu.Unlock()
	m := cl.start("c1", t.TempDir())
	t.Cleanup(func() { cl.halt("c1") })
	wait(t, "it to be taken in", func() bool { return slices.Contains(voterNames(cl), "c1") })
	if term := m.raft.Load().CurrentTerm(); term < 2 {
		t.Errorf("it is at term %d", term)
	}
	cl.same()
}
