package coordinator

import (
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// The leader dies in the middle of what it waits for; the next one waits anew
// and then does it (dkron #998). What is planner's is tested there.

func TestNewLeaderPromotesTheNewcomer(t *testing.T) {
	t.Parallel()
	cl := newClusterOf(t, func(cfg *Config) {
		calm(&cfg.Timing)
		cfg.Voters.Stable = time.Second
	}, "c1", "c2", "c3")
	old := cl.leader()
	cl.expect = 0
	cl.start("c4", t.TempDir())
	t.Cleanup(func() { cl.halt("c4") })
	wait(t, "the newcomer to follow", func() bool {
		f := old.raft.Load().GetConfiguration()
		return f.Error() == nil && len(f.Configuration().Servers) == 4
	})
	if slices.Contains(voterNames(cl), "c4") {
		t.Fatal("it votes at once")
	}
	cl.cut(old.cfg.ID) // no good-bye
	cl.leader(old.cfg.ID)
	wait(t, "the newcomer to vote", func() bool {
		m := cl.leader(old.cfg.ID)
		f := m.raft.Load().GetConfiguration()
		return f.Error() == nil && countVoters(f.Configuration().Servers) == 4
	})
	cl.heal(old.cfg.ID)
}

func TestNewLeaderTakesOutTheDead(t *testing.T) {
	t.Parallel()
	// A machine without a second to spare may be silent for one; not for three.
	const dead = 3 * time.Second
	cl := newClusterOf(t, func(cfg *Config) {
		calm(&cfg.Timing)
		cfg.Voters.Dead, cfg.Expect = dead, 1
	}, "c1")
	cl.leader()
	for _, name := range []string{"c2", "c3", "c4", "c5"} {
		cl.start(name, t.TempDir())
	}
	wait(t, "five voters", func() bool { return len(voterNames(cl)) == 5 })
	old := cl.leader()
	gone := cl.others(old.cfg.ID)[0]
	cl.halt(gone)
	cl.gossip.status(gone, tiering.NodeFailed)
	half := time.After(dead / 2)
	wait(t, "half of the wait", func() bool {
		select {
		case <-half:
			return true
		default:
			return false
		}
	})
	cl.halt(old.cfg.ID)
	cl.gossip.status(old.cfg.ID, tiering.NodeFailed)
	wait(t, "both to lose their vote", func() bool { return len(voterNames(cl)) == 3 })
	cl.gossip.set(worker("fog-1", tiering.Fog, 1), tiering.NodeAlive)
	cl.alive("fog-1") // the three go on
}

// A node fails, and its task has nowhere to go; the leader dies; room appears
// while nobody leads; the new leader uses it, without a hint.
func TestNewLeaderTriesAgain(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, "c1", "c2", "c3")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")
	cl.submit(people("people", 1))
	cl.gossip.status("fog-1", tiering.NodeFailed)
	cl.everywhere("degraded", func(s *state.Snapshot) bool {
		w, ok := s.Workflow("people")
		return ok && w.Status == state.Degraded
	})
	old := cl.leader()
	cl.cut(old.cfg.ID)
	wait(t, "nobody to lead", func() bool { return !old.IsLeader() })
	cl.gossip.set(worker("fog-2", tiering.Fog, 2), tiering.NodeAlive)
	wait(t, "the detector on the new node", func() bool {
		s := cl.leader(old.cfg.ID).Snapshot()
		return running(s, "people") && on(s, detector) == "fog-2"
	})
	cl.heal(old.cfg.ID)
}

// The tick alone is enough: nobody hints at anything.
func TestTickWithoutHints(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, "c1")
	cl.leader()
	cl.gossip.mu.Lock()
	cl.gossip.members["fog-1"] = tiering.Member{Node: worker("fog-1", tiering.Fog, 1), Status: tiering.NodeAlive}
	cl.gossip.mu.Unlock()
	cl.alive("fog-1")
}
