package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// ground is a testbed of which only the marks of what was done to it are left;
// every node's metrics are the page of one server.
type ground struct {
	server *httptest.Server

	mu    sync.Mutex
	down  map[string]bool
	still map[string]bool
	did   []string
	clock time.Duration
}

func newGround(t *testing.T, page string) *ground {
	g := &ground{down: map[string]bool{}, still: map[string]bool{}}
	g.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		w.Header().Set("Date", time.Now().Add(g.clock).UTC().Format(http.TimeFormat))
		if page == "" {
			http.Error(w, "out of order", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, page)
	}))
	t.Cleanup(g.server.Close)
	return g
}

func (g *ground) done(what string, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.did = append(g.did, what)
	return err
}

func (g *ground) Apply(_ context.Context, e testbed.Event) error {
	g.mu.Lock()
	switch e.Action {
	case testbed.Kill, testbed.Start:
		g.down[e.Node] = e.Action == testbed.Kill
	case testbed.Pause, testbed.Resume:
		g.still[e.Node] = e.Action == testbed.Pause
	}
	g.mu.Unlock()
	return g.done(e.String(), nil)
}

func (g *ground) Process(node string) Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Process{PID: 1, Up: !g.down[node], Paused: g.still[node]}
}

func (g *ground) Dial(string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, g.server.Listener.Addr().String())
	}
}

func (g *ground) SetClock(node string, off time.Duration) error {
	g.mu.Lock()
	g.clock = off
	g.mu.Unlock()
	return g.done(fmt.Sprintf("clock %s %s", node, off), nil)
}

func (g *ground) Fill(node string) error { return g.done("fill "+node, nil) }
func (g *ground) Free(node string) error { return g.done("free "+node, nil) }

// crew is a runner on such ground.
func crew(t *testing.T, g *ground) *runner {
	p := plant()
	s := &testbed.Scenario{Workflow: testbed.Workflow{Name: "people"}, Network: testbed.Network{Tiers: []testbed.TierLink{
		{A: tiering.Edge, B: tiering.Fog}, {A: tiering.Fog, B: tiering.Cloud},
	}}}
	for _, n := range p.Nodes {
		s.Nodes = append(s.Nodes, testbed.Node{Name: n})
	}
	r := &runner{plant: p, Config: &Config{
		Scenario: s, Ground: g, Harm: g, Metrics: "10.0.0.1:80", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Say: func(string) {}, Step: func(string) {},
	}}
	r.observer = newObserver(r.Config)
	t.Cleanup(r.observer.close)
	return r
}

// strikes carries one fault out at once and returns what was marked.
func strikes(ctx context.Context, r *runner, leader string, f Fault) (*recorder, []Mark) {
	rec := newRecorder(r.plant, Round{Faults: []Fault{f}})
	for _, n := range r.plant.Nodes {
		rec.add(Observation{Node: &NodeSeen{Name: n, Up: true, Answered: true}})
	}
	for _, c := range r.plant.Coordinators {
		rec.add(Observation{Coordinator: &CoordinatorSeen{Name: c, Answered: true, Leader: leader}})
	}
	r.strike(ctx, rec, 0, f, nil)
	var marks []Mark
	for _, o := range rec.rec.Seen {
		if o.Mark != nil {
			marks = append(marks, *o.Mark)
		}
	}
	return rec, marks
}

func TestStrikes(t *testing.T) {
	for _, c := range []struct {
		fault  Fault
		target string
		did    []string
	}{
		{Fault{Kind: KillLeader, Target: Leader}, "coord-2", []string{"kill coord-2", "start coord-2"}},
		{Fault{Kind: KillCoordinators}, "", []string{"kill coord-1", "kill coord-2", "kill coord-3", "start coord-1", "start coord-2", "start coord-3"}},
		{Fault{Kind: KillNode, Target: "fog-1"}, "fog-1", []string{"kill fog-1", "start fog-1"}},
		{Fault{Kind: PartitionCoordinators, Target: Follower}, "coord-1", []string{
			"partition coord-1–coord-2", "partition coord-1–coord-3", "heal coord-1–coord-2", "heal coord-1–coord-3",
		}},
		{Fault{Kind: PartitionEdge}, "", []string{"partition edge–fog", "heal edge–fog"}},
		{Fault{Kind: Loss, Loss: 0.1}, "", []string{
			"link edge–fog loss 10 %", "link fog–cloud loss 10 %", "restore edge–fog", "restore fog–cloud",
		}},
		{Fault{Kind: Clock, Target: "edge-1", Offset: time.Hour}, "edge-1", []string{"clock edge-1 1h0m0s", "clock edge-1 0s"}},
		{Fault{Kind: Clock, Target: "edge-1", Offset: -time.Hour, Restart: true}, "edge-1", []string{
			"clock edge-1 -1h0m0s", "kill edge-1", "start edge-1", "clock edge-1 0s",
		}},
		{Fault{Kind: Pause, Target: "fog-2"}, "fog-2", []string{"pause fog-2", "resume fog-2"}},
		{Fault{Kind: DiskFull, Target: "cloud-1"}, "cloud-1", []string{"fill cloud-1", "free cloud-1"}},
	} {
		g := newGround(t, "# nothing\n")
		r := crew(t, g)
		c.fault.For = time.Millisecond
		_, marks := strikes(t.Context(), r, "coord-2", c.fault)
		if !reflect.DeepEqual(g.did, c.did) {
			t.Errorf("%s: did %q, want %q", c.fault, g.did, c.did)
		}
		if len(marks) != 2 || marks[0].What != Begun || marks[1].What != Ended || marks[0].Node != c.target || marks[0].Error+marks[1].Error != "" {
			t.Errorf("%s: marks %+v, want the target %q", c.fault, marks, c.target)
		}
	}
}

// What was killed is known to be dead before anything is concluded from what it
// said last.
func TestTheDeadAreSeenFirst(t *testing.T) {
	r := crew(t, newGround(t, "# nothing\n"))
	rec, _ := strikes(t.Context(), r, "coord-2", Fault{Kind: KillLeader, Target: Leader, For: time.Millisecond})
	i := slices.IndexFunc(rec.rec.Seen, func(o Observation) bool { return o.Mark != nil })
	if n := rec.rec.Seen[i-1].Node; n == nil || n.Name != "coord-2" || n.Up {
		t.Errorf("before the mark: %+v", rec.rec.Seen[i-1])
	}
}

// An interrupted run leaves no link cut and no node stopped.
func TestStrikesAreUndone(t *testing.T) {
	g := newGround(t, "# nothing\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	strikes(ctx, crew(t, g), "coord-2", Fault{Kind: Pause, Target: "fog-2", For: time.Hour})
	if want := []string{"pause fog-2", "resume fog-2"}; !reflect.DeepEqual(g.did, want) {
		t.Errorf("did %q, want %q", g.did, want)
	}
}

// A weftd that was not built for it does not notice that its clock is set.
func TestAClockThatIsNotOff(t *testing.T) {
	g := newGround(t, "# nothing\n")
	r := crew(t, g)
	r.Harm = deaf{g}
	_, marks := strikes(t.Context(), r, "coord-2", Fault{Kind: Clock, Target: "edge-1", Offset: time.Hour, For: time.Millisecond})
	if !strings.Contains(marks[0].Error, "the clock of edge-1 is off by") || !strings.Contains(marks[0].Error, "scripts/chaos-weftd") {
		t.Errorf("marks %+v", marks)
	}
}

// deaf has clocks that do not move.
type deaf struct{ *ground }

func (d deaf) SetClock(string, time.Duration) error { return nil }

// A fault that cannot be carried out is said to be none.
func TestStrikesThatFail(t *testing.T) {
	g := newGround(t, "# nothing\n")
	r := crew(t, g)
	r.Harm = full{g}
	_, marks := strikes(t.Context(), r, "coord-2", Fault{Kind: DiskFull, Target: "fog-1", For: time.Millisecond})
	if marks[0].Error != "there is no disk" {
		t.Errorf("marks %+v", marks)
	}
}

type full struct{ *ground }

func (full) Fill(string) error { return errors.New("there is no disk") }

func TestWhatANodeSaysOfItself(t *testing.T) {
	g := newGround(t, `# HELP weft_instance_info x
# TYPE weft_instance_info gauge
weft_instance_info{epoch="4294967295",instance="people/resize#0",status="running"} 1
weft_instance_info{epoch="7",instance="people/cam-1#0",status="ended"} 1
# TYPE weft_frames_captured_total counter
weft_frames_captured_total{source="cam-1",workflow="people"} 14
weft_frames_captured_total{source="cam-1",workflow="other"} 99
# TYPE weft_frames_delivered_total counter
weft_frames_delivered_total{source="cam-1",workflow="people"} 5
# TYPE weft_frames_filtered_total counter
weft_frames_filtered_total{source="cam-1",workflow="people"} 4
# TYPE weft_frames_dropped_total counter
weft_frames_dropped_total{reason="link",source="cam-1",workflow="people"} 1
weft_frames_dropped_total{reason="deadline",source="cam-1",workflow="people"} 2
# TYPE weft_frames_in_flight gauge
weft_frames_in_flight{source="cam-1",workflow="people"} 2
# TYPE weft_stage_frames_processed_total counter
weft_stage_frames_processed_total{replica="1",task="resize",workflow="people"} 8
`)
	r := crew(t, g)
	want := &NodeSeen{
		Name: "edge-1", PID: 1, Up: true, Answered: true,
		Instances: []Instance{{"people/cam-1#0", 7, "ended"}, {"people/resize#0", 4294967295, "running"}},
		Sources:   []Frames{{"cam-1", 14, 5, 4, 3, 2, map[string]uint64{"link": 1, "deadline": 2}}}, Stages: []Work{{"resize", "1", 8}},
	}
	if got := r.observer.node(t.Context(), "edge-1"); !reflect.DeepEqual(got, want) {
		t.Errorf("seen %+v\nwant %+v", got, want)
	}
	g.still["edge-1"] = true
	if got := r.observer.node(t.Context(), "edge-1"); got.Answered || !got.Paused {
		t.Errorf("of a node that stands still: %+v", got)
	}
	r = crew(t, newGround(t, ""))
	if got := r.observer.node(t.Context(), "edge-1"); got.Answered || !got.Up {
		t.Errorf("of a node that answers with an error: %+v", got)
	}
}
