package coordinator

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// To skip an entry would make this replica differ from the others without a
// word.
func TestNothingIsAppliedAfterACorruptEntry(t *testing.T) {
	var fault error
	f := &fsm{machine: state.New(), learnt: func(string) error { return nil }, fault: func(err error) error { fault = err; return err }}
	good, err := state.Encode(&state.SetCluster{Name: "test", ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range [][]byte{good, []byte("garbage"), good} {
		r := f.Apply(&raft.Log{Index: uint64(6 + i), Data: data})
		if _, failed := r.(error); failed != (i > 0) {
			t.Fatalf("entry %d: %v", 6+i, r)
		}
	}
	if f.machine.Snapshot().Index() != 6 {
		t.Fatalf("the state is at entry %d", f.machine.Snapshot().Index())
	}
	if said := storageFault(fault, "/data"); !errors.Is(said, ErrCorruptLog) || !strings.Contains(said.Error(), "index 7") || !strings.Contains(said.Error(), "/data") {
		t.Fatalf("got %v, want ErrCorruptLog with the index and the place", said)
	}
	if _, err := f.Snapshot(); err == nil {
		t.Fatal("a snapshot was taken in which an entry is missing")
	}
}

func TestBeforeRun(t *testing.T) {
	c := newCoordinator(Config{ID: "c1", Log: discard()}, newGossip().view(), nil, "c1", nil)
	if _, _, ok := c.Leader(); ok || c.IsLeader() {
		t.Fatal("there is a leader before Run")
	}
	if _, err := c.Submit(context.Background(), people("people", 1), ""); !errors.Is(err, ErrNoLeader) {
		t.Fatalf("submit before Run: %v", err)
	}
	c.StepDown()
	if _, err := c.apply(&state.SetCluster{Name: "x"}); !errors.Is(err, ErrNoLeader) {
		t.Fatalf("apply before Run: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Events(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("events: %v", err)
	}
	if _, err := c.Plan(ctx, people("people", 1)); !errors.Is(err, context.Canceled) {
		t.Fatalf("plan: %v", err)
	}
}

func TestFounders(t *testing.T) {
	member := func(id, raft string, s tiering.NodeStatus) tiering.Member {
		return tiering.Member{Node: tiering.Node{ID: id, Addresses: tiering.Addresses{Raft: raft}}, Status: s}
	}
	b, c := member("b", "b:1", tiering.NodeAlive), member("c", "c:1", tiering.NodeAlive)
	for name, x := range map[string]struct {
		expect  int
		members []tiering.Member
		want    string
	}{
		"alone":               {1, nil, "a"},
		"waits":               {3, []tiering.Member{b}, ""},
		"agents do not count": {2, []tiering.Member{member("b", "", tiering.NodeAlive)}, ""},
		"the dead do not":     {2, []tiering.Member{member("b", "b:1", tiering.NodeFailed), member("c", "c:1", tiering.NodeLeft)}, ""},
		"itself counts once":  {2, []tiering.Member{member("a", "a:1", tiering.NodeAlive)}, ""},
		"enough":              {3, []tiering.Member{c, b}, "a b c"},
		"more than enough":    {2, []tiering.Member{c, b}, "a b"},
	} {
		var got []string
		for _, s := range founders("a", "a:1", x.expect, x.members) {
			got = append(got, string(s.ID))
		}
		if strings.Join(got, " ") != x.want {
			t.Errorf("%s: %v, want %s", name, got, x.want)
		}
	}
}

func TestReports(t *testing.T) {
	cl := newCluster(t, "c1")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")
	cl.submit(people("people", 1))
	c := cl.leader()
	report := pipeline.Report{Node: "edge-1", Run: "a", Sources: []pipeline.SourceReport{{
		Instance: "people/cam#0", Workflow: "people", Source: "cam", Status: pipeline.StatusRunning,
		Frames: pipeline.Counts{Captured: 10, Delivered: 7, InFlight: 3},
	}}}
	if err := c.Report(report); err != nil {
		t.Fatal(err)
	}
	s, err := c.Status(t.Context(), "people")
	if err != nil || s.Frames.InFlight != 3 || s.Status != state.Running {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := c.Status(t.Context(), "cars"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("status of what is not there: %v", err)
	}
	if err := c.Report(pipeline.Report{Node: "edge-9"}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("report of an unknown node: %v", err)
	}
	if err := c.Report(pipeline.Report{Node: "edge-1", Stages: make([]pipeline.StageReport, 5000)}); !errors.Is(err, ErrInvalid) {
		t.Fatalf("report of 5000 instances: %v", err)
	}

	// The camera's node dies: its frames in flight are lost, and say so.
	cl.gossip.status("edge-1", tiering.NodeFailed)
	wait(t, "the frames in flight to be lost", func() bool {
		s, err := c.Status(t.Context(), "people")
		return err == nil && s.Frames.Dropped[pipeline.ReasonLost] == 3 && s.Frames.Balanced()
	})
}

func TestEventsWait(t *testing.T) {
	cl := newCluster(t, "c1")
	c := cl.leader()
	seen := c.Snapshot().Index()
	got := make(chan []state.Event, 1)
	go func() {
		var all []state.Event
		for {
			events, err := c.Events(context.Background(), seen)
			if err != nil {
				break
			}
			all = append(all, events...)
			seen = events[len(events)-1].Index
			if events[len(events)-1].Subject == "fog-1" {
				break
			}
		}
		got <- all
	}()
	cl.gossip.set(worker("fog-1", tiering.Fog, 1), tiering.NodeAlive)
	select {
	case events := <-got:
		if last := events[len(events)-1]; last.Type != state.NodeJoined {
			t.Fatalf("%+v", last)
		}
	case <-time.After(patience):
		t.Fatal("no event of a node that joined")
	}
}

func TestRaftLogsGoToSlog(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	h := newHclog(log).Named("raft")
	h.Debug("too quiet")
	h.Info("entering follower state", "follower", "c1", "n", 3)
	h.With("peer", "c2").Warn("slow", "for", hclog.Fmt("%d ms", 7))
	h.Error("odd", "key", 1, "left over")
	want := `level=INFO msg="entering follower state" logger=raft follower=c1 n=3
level=WARN msg=slow logger=raft peer=c2 for="7 ms"
level=ERROR msg=odd logger=raft key=1 extra="left over"
`
	if b.String() != want {
		t.Fatalf("got\n%s\nwant\n%s", b.String(), want)
	}
}
