package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

func TestElection(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	cl.alive("c1", "c2", "c3")
	wait(t, "all agree on a leader with its address", func() bool {
		leader := cl.leader()
		for _, m := range cl.nodes {
			id, api, ok := m.Leader()
			if !ok || id != leader.cfg.ID || api != id+":7000" {
				return false
			}
		}
		return true
	})
	cl.everywhere("the name of the mesh", func(s *state.Snapshot) bool { return s.Cluster() == "test" })

	leader := cl.leader()
	for _, m := range cl.nodes {
		if m == leader {
			continue
		}
		_, err := m.Submit(context.Background(), people("people", 1), "")
		for what, err := range map[string]error{
			"submit":  err,
			"stop":    m.Stop(context.Background(), "people"),
			"report":  m.Report(pipeline.Report{Node: "c1"}),
			"status":  func() error { _, err := m.Status(context.Background(), "people"); return err }(),
			"quality": func() error { _, err := m.Quality(context.Background(), "people"); return err }(),
		} {
			if !errors.Is(err, ErrNotLeader) || !strings.Contains(err.Error(), leader.cfg.ID) {
				t.Errorf("%s on a follower: %v; want ErrNotLeader that names %s", what, err, leader.cfg.ID)
			}
		}
	}
}

func TestSubmitIsCommittedEverywhere(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")

	var dry, plan *tiering.Plan
	w := people("people", 1)
	err := cl.lead(func(c *Coordinator) (err error) {
		if dry, err = c.Plan(context.Background(), w); err != nil {
			return err
		}
		plan, err = c.Submit(context.Background(), w, "document")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if dry.Empty() || len(dry.Place) != len(plan.Place) {
		t.Fatalf("dry run places %d, submission %d", len(dry.Place), len(plan.Place))
	}
	cl.everywhere("the placements", func(s *state.Snapshot) bool {
		return running(s, "people") && len(s.PlacementsOf("people")) == len(plan.Place) && on(s, detector) == "fog-1"
	})
	cl.everywhere("assignments", func(s *state.Snapshot) bool {
		a := s.Assignments("fog-1")
		return slices.ContainsFunc(a, func(a tiering.Assignment) bool { return a.Placement.ID == detector })
	})

	// The same again changes nothing; another document makes a version, and so
	// does the same document with another meaning (a new catalogue, say).
	changed := people("people", 1)
	changed.Objectives.MinAccuracy = 0.9
	for i, again := range []struct {
		workflow *tiering.Workflow
		document string
		version  uint64
	}{{people("people", 1), "document", 1}, {people("people", 1), "another", 2}, {changed, "another", 3}} {
		if err := cl.lead(func(c *Coordinator) error {
			_, err := c.Submit(context.Background(), again.workflow, again.document)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if w, _ := cl.leader().Snapshot().Workflow("people"); w.Version != again.version {
			t.Fatalf("submission %d made version %d, want %d", i+2, w.Version, again.version)
		}
	}

	if err := cl.lead(func(c *Coordinator) error { return c.Stop(context.Background(), "people") }); err != nil {
		t.Fatal(err)
	}
	cl.everywhere("no placements", func(s *state.Snapshot) bool { return len(s.Placements()) == 0 })
	if err := cl.lead(func(c *Coordinator) error { return c.Stop(context.Background(), "cars") }); !errors.Is(err, ErrNotFound) {
		t.Fatalf("stopping what is not there: %v", err)
	}
}

func TestRefusedWorkflowLeavesNoTrace(t *testing.T) {
	cl := newCluster(t, "c1")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 1), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")
	c := cl.leader()
	_, err := c.Submit(context.Background(), people("people", 9), "")
	var refused *tiering.Refused
	if !errors.As(err, &refused) || len(refused.Shortages) == 0 {
		t.Fatalf("got %v, want *tiering.Refused", err)
	}
	if s := c.Snapshot(); len(s.Workflows()) != 0 || len(s.Placements()) != 0 {
		t.Fatalf("left %v and %v", s.Workflows(), s.Placements())
	}
	if _, err := c.Submit(context.Background(), people("people", 1), strings.Repeat("x", maxDocument+1)); !errors.Is(err, ErrInvalid) {
		t.Fatalf("a document of more than 1 MiB: %v", err)
	}
}

func TestFailedNodeIsReplacedAndReturnsEmpty(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	for _, n := range []tiering.Node{worker("edge-1", tiering.Edge, 1), worker("fog-1", tiering.Fog, 2), worker("fog-2", tiering.Fog, 2)} {
		cl.gossip.set(n, tiering.NodeAlive)
	}
	cl.alive("edge-1", "fog-1", "fog-2")
	cl.submit(people("people", 1))
	first := on(cl.leader().Snapshot(), detector)

	cl.gossip.status(first, tiering.NodeFailed)
	cl.everywhere("the detector on another node", func(s *state.Snapshot) bool {
		return running(s, "people") && on(s, detector) != first && on(s, detector) != ""
	})
	second := on(cl.leader().Snapshot(), detector)

	cl.gossip.status(first, tiering.NodeAlive)
	cl.alive(first)
	cl.everywhere("nothing on the node that returned", func(s *state.Snapshot) bool {
		return len(s.Assignments(first)) == 0 && on(s, detector) == second
	})
}

// A node that comes and goes loses what it had once; after that its coming and
// going moves nothing.
func TestFlappingNodeMovesNothingTwice(t *testing.T) {
	cl := newCluster(t, "c1")
	for _, n := range []tiering.Node{worker("edge-1", tiering.Edge, 1), worker("fog-1", tiering.Fog, 2), worker("fog-2", tiering.Fog, 2)} {
		cl.gossip.set(n, tiering.NodeAlive)
	}
	cl.alive("edge-1", "fog-1", "fog-2")
	cl.submit(people("people", 1))
	flapping := on(cl.leader().Snapshot(), detector)
	for range 5 {
		cl.gossip.status(flapping, tiering.NodeFailed)
		cl.everywhere("failed and replaced", func(s *state.Snapshot) bool {
			n, _ := s.Node(flapping)
			return !n.Alive() && running(s, "people")
		})
		cl.gossip.status(flapping, tiering.NodeAlive)
		cl.alive(flapping)
	}
	// One more write goes through the loop after the last return.
	cl.submit(people("cars", 1))
	moves := 0
	events, err := cl.leader().Events(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Type == state.TaskMoved && e.Subject == detector {
			moves++
		}
	}
	if moves != 1 {
		t.Fatalf("the detector moved %d times, want 1", moves)
	}
}

// A drain moves an instance by what agents report, and a change of leader in
// between does not matter.
func TestDrainUnderAChangeOfLeader(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	workers := []tiering.Node{worker("edge-1", tiering.Edge, 1), worker("fog-1", tiering.Fog, 2), worker("fog-2", tiering.Fog, 2)}
	for _, n := range workers {
		cl.gossip.set(n, tiering.NodeAlive)
	}
	cl.alive("edge-1", "fog-1", "fog-2")
	cl.submit(people("people", 1))
	from := on(cl.leader().Snapshot(), detector)
	if err := cl.lead(func(c *Coordinator) error { return c.Drain(t.Context(), "fog-9", true) }); !errors.Is(err, ErrNotFound) {
		t.Fatalf("drain of an unknown node: %v", err)
	}
	if err := cl.lead(func(c *Coordinator) error { return c.Drain(t.Context(), from, true) }); err != nil {
		t.Fatal(err)
	}
	moving := func(s *state.Snapshot) (p tiering.Placement) {
		for _, x := range s.Moving() {
			if x.ID == detector {
				p = x
			}
		}
		return p
	}
	cl.everywhere("the detector moves", func(s *state.Snapshot) bool { return moving(s).From == from })
	cl.halt(cl.leader().cfg.ID)
	// Agents report that all they are to run is up, and that they follow.
	report := func() {
		_ = cl.lead(func(c *Coordinator) error {
			s := c.Snapshot()
			for _, n := range workers {
				r := pipeline.Report{Node: n.ID, Run: "r", Index: s.Revision()}
				for _, as := range s.Assignments(n.ID) {
					if as.Task != nil {
						r.Stages = append(r.Stages, pipeline.StageReport{Instance: as.Placement.ID, Epoch: 1, Workflow: "people", Task: as.Task.Name, Status: pipeline.StatusRunning})
					}
				}
				if err := c.Report(r); err != nil {
					return err
				}
			}
			return nil
		})
	}
	cl.everywhere("it has moved", func(s *state.Snapshot) bool {
		report()
		return len(s.Moving()) == 0 && len(s.PlacementsOn(from)) == 0 && on(s, detector) != from
	})
}

func TestDegradedUntilCapacityAppears(t *testing.T) {
	cl := newCluster(t, "c1")
	for _, n := range []tiering.Node{worker("edge-1", tiering.Edge, 1), worker("fog-1", tiering.Fog, 1)} {
		cl.gossip.set(n, tiering.NodeAlive)
	}
	cl.alive("edge-1", "fog-1")
	cl.submit(people("people", 1))
	before := on(cl.leader().Snapshot(), "people/resize#0")

	cl.gossip.status("fog-1", tiering.NodeFailed)
	cl.everywhere("degraded, with what is short", func(s *state.Snapshot) bool {
		w, ok := s.Workflow("people")
		return ok && w.Status == state.Degraded && strings.Contains(w.Reason, "fog") && strings.Contains(w.Reason, "refused")
	})
	if now := on(cl.leader().Snapshot(), "people/resize#0"); now != before {
		t.Fatalf("what still ran went from %s to %s", before, now)
	}
	cl.gossip.set(worker("cloud-1", tiering.Cloud, 4), tiering.NodeAlive)
	cl.everywhere("placed again", func(s *state.Snapshot) bool { return running(s, "people") && on(s, detector) == "cloud-1" })
}

func TestLeaderLost(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	for _, n := range []tiering.Node{worker("edge-1", tiering.Edge, 1), worker("fog-1", tiering.Fog, 2), worker("fog-2", tiering.Fog, 2)} {
		cl.gossip.set(n, tiering.NodeAlive)
	}
	cl.alive("edge-1", "fog-1", "fog-2")
	cl.submit(people("people", 1))
	first := on(cl.leader().Snapshot(), detector)

	old := cl.leader()
	cl.cut(old.cfg.ID)
	cl.gossip.status(first, tiering.NodeFailed) // while nobody leads
	next := cl.leader(old.cfg.ID)
	wait(t, "the new leader to place again", func() bool {
		s := next.Snapshot()
		return running(s, "people") && on(s, detector) != first
	})
	wait(t, "the old leader to step down", func() bool { return !old.IsLeader() })
	if _, err := old.Submit(context.Background(), people("cars", 1), ""); !errors.Is(err, ErrNoLeader) && !errors.Is(err, ErrNotLeader) {
		t.Fatalf("a leader without a majority took a write: %v", err)
	}
	if on(old.Snapshot(), detector) != first {
		t.Fatal("a coordinator that was cut off knows what it cannot know")
	}

	cl.heal(old.cfg.ID)
	cl.everywhere("the new placement", func(s *state.Snapshot) bool {
		return running(s, "people") && on(s, detector) != first
	})
}

// What a leader without a majority takes is not lost without a word.
func TestWriteWithoutMajority(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")
	old := cl.leader()
	cl.cut(old.cfg.ID)
	if _, err := old.Submit(context.Background(), people("people", 1), ""); !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrNoLeader) {
		t.Fatalf("got %v", err)
	}
	cl.submit(people("cars", 1), old.cfg.ID)
	cl.heal(old.cfg.ID)
	cl.everywhere("only what had a majority", func(s *state.Snapshot) bool {
		_, lost := s.Workflow("people")
		return running(s, "cars") && !lost
	})
}

func TestShutDownHandsLeadershipOver(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	cl.alive("c1", "c2", "c3")
	old := cl.leader()
	cl.halt(old.cfg.ID)
	cl.leader()
	if old.IsLeader() {
		t.Fatal("a coordinator that was stopped leads")
	}
	if _, err := old.Submit(context.Background(), people("people", 1), ""); !errors.Is(err, ErrNoLeader) && !errors.Is(err, ErrNotLeader) {
		t.Fatalf("a write after the end: %v", err)
	}
}

func TestRestartKeepsState(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		t.Run(fmt.Sprintf("snapshot %v", snapshot), func(t *testing.T) {
			cl := newCluster(t, "c1")
			cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
			cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
			cl.alive("edge-1", "fog-1")
			cl.submit(people("people", 1))
			m := cl.leader()
			if snapshot {
				if err := m.raft.Load().Snapshot().Error(); err != nil {
					t.Fatal(err)
				}
			}
			before := m.Snapshot()
			cl.halt("c1")
			m = cl.start("c1", m.dir)
			t.Cleanup(func() { cl.halt("c1") })
			cl.leader()
			s := m.Snapshot()
			if !slices.Equal(s.Placements(), before.Placements()) || !running(s, "people") || s.Cluster() != "test" {
				t.Fatalf("after a restart: %v, before: %v", s.Placements(), before.Placements())
			}
			w, _ := s.Workflow("people")
			if w.Document != "name: people" || w.Version != 1 {
				t.Fatalf("after a restart: %+v", w)
			}
			cl.submit(people("cars", 1))
		})
	}
}

// A coordinator that was away gets a snapshot when the log no longer has what
// it missed.
func TestFollowerCatchesUpFromSnapshot(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")
	cl.submit(people("people", 1))
	leader := cl.leader()
	var away *member
	for _, m := range cl.nodes {
		if m != leader {
			away = m
		}
	}
	cl.cut(away.cfg.ID)
	conf := leader.raft.Load().ReloadableConfig()
	conf.TrailingLogs = 1
	if err := leader.raft.Load().ReloadConfig(conf); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		n := worker("fog-2", tiering.Fog, int64(i+1))
		cl.gossip.set(n, tiering.NodeAlive)
		wait(t, "the node's new capacity", func() bool {
			got, ok := leader.Snapshot().Node("fog-2")
			return ok && got.Capacity == n.Capacity
		})
	}
	if err := leader.raft.Load().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	cl.heal(away.cfg.ID)
	wait(t, "the follower to catch up", func() bool {
		n, ok := away.Snapshot().Node("fog-2")
		return ok && n.Capacity.CPU == 20000 && running(away.Snapshot(), "people")
	})
}

func TestVotersFollowMembership(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	cl.alive("c1", "c2", "c3")
	voters := func() string {
		f := cl.leader().raft.Load().GetConfiguration()
		if f.Error() != nil {
			return ""
		}
		var ids []string
		for _, s := range f.Configuration().Servers {
			if s.Suffrage == raft.Voter {
				ids = append(ids, string(s.ID))
			}
		}
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	cl.expect = 0 // a later one waits to be added
	cl.start("c4", t.TempDir())
	t.Cleanup(func() { cl.halt("c4") })
	wait(t, "the newcomer to vote", func() bool { return voters() == "c1 c2 c3 c4" })
	cl.alive("c4")

	// One that left is dropped, since three remain; one that failed is not.
	var gone []string
	for _, name := range []string{"c1", "c2", "c3", "c4"} {
		if len(gone) < 2 && cl.leader().cfg.ID != name {
			gone = append(gone, name)
		}
	}
	remaining := slices.DeleteFunc([]string{"c1", "c2", "c3", "c4"}, func(s string) bool { return s == gone[0] })
	cl.halt(gone[0])
	cl.gossip.status(gone[0], tiering.NodeLeft)
	wait(t, "the one that left to be dropped", func() bool { return voters() == strings.Join(remaining, " ") })

	// A second one that leaves stays a voter: fewer than expected would remain.
	cl.halt(gone[1])
	cl.gossip.status(gone[1], tiering.NodeLeft)
	cl.everywhere("the second one left", func(s *state.Snapshot) bool {
		n, _ := s.Node(gone[1])
		return n.Status == tiering.NodeLeft
	})
	cl.gossip.set(worker("fog-1", tiering.Fog, 1), tiering.NodeAlive)
	cl.alive("fog-1") // another round has gone by
	if got := voters(); got != strings.Join(remaining, " ") {
		t.Fatalf("voters are %s, want %v", got, remaining)
	}
}

// A version that waits for a model outlives the leader that took it; what runs
// goes on until any leader can place it.
func TestAVersionWaitsUnderAChangeOfLeader(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	fog, keeper := worker("fog-1", tiering.Fog, 4), worker("cloud-1", tiering.Cloud, 0)
	keeper.Models, keeper.Addresses.API = append(slices.Clone(keeper.Models), "yolox"), "cloud-1:7949"
	for _, n := range []tiering.Node{worker("edge-1", tiering.Edge, 1), fog, keeper} {
		cl.gossip.set(n, tiering.NodeAlive)
	}
	cl.alive("edge-1", "fog-1", "cloud-1")
	cl.submit(people("people", 1))
	next := people("people", 1)
	for i := range next.Tasks {
		if m := next.Tasks[i].Model; m != nil {
			other := *m
			other.Name = "yolox"
			next.Tasks[i].Model = &other
		}
	}
	if err := cl.lead(func(c *Coordinator) error { _, err := c.Submit(t.Context(), next, "next"); return err }); err != nil {
		t.Fatal(err)
	}
	waits := func(s *state.Snapshot) bool {
		w, ok := s.Workflow("people")
		return ok && w.Status == state.Running && w.Version == 1 && on(s, detector) == "fog-1" && w.Next != nil && strings.Contains(w.Next.Reason, "waiting for model yolox on fog-1")
	}
	cl.everywhere("it waits, and what ran runs", waits)
	cl.halt(cl.leader().cfg.ID)
	cl.everywhere("it still waits", waits)
	fog.Models = append(slices.Clone(fog.Models), "yolox")
	cl.gossip.set(fog, tiering.NodeAlive)
	cl.everywhere("it has taken the other's place", func(s *state.Snapshot) bool {
		w, ok := s.Workflow("people")
		return ok && w.Status == state.Running && w.Version == 2 && w.Next == nil && w.Document == "next" && on(s, detector) == "fog-1"
	})
}
