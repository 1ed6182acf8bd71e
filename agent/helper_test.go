package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// pass lets virtual time pass until everything is idle again.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// wire is what is left of v after a journey as JSON.
func wire[T any](v T) T {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}

var errDown = errors.New("nobody there")

// mesh is three nodes with an agent each, joined by links in memory.
type mesh struct {
	t      *testing.T
	script *script
	shop   *shop
	nodes  map[string]*testNode
}

type testNode struct {
	agent        *Agent
	journal      *notebook
	make         func() *Agent
	stop, unlink func() // each ends one and waits for it
}

var meshNodes = map[string]tiering.Node{
	"edge":  {ID: "edge", Tier: tiering.Edge, Version: "v1", Addresses: tiering.Addresses{Data: "edge"}},
	"fog":   {ID: "fog", Tier: tiering.Fog, Version: "v1", Addresses: tiering.Addresses{Data: "fog"}},
	"cloud": {ID: "cloud", Tier: tiering.Cloud, Version: "v1", Addresses: tiering.Addresses{Data: "cloud"}},
}

func newMesh(t *testing.T, s *shop) *mesh {
	t.Helper()
	return newMeshWith(t, s, Config{})
}

// newMeshWith makes a mesh of agents with these settings.
func newMeshWith(t *testing.T, s *shop, cfg Config) *mesh {
	t.Helper()
	m := &mesh{t: t, script: newScript(), shop: s, nodes: map[string]*testNode{}}
	network, err := pipeline.NewMemoryNetwork(pipeline.MemoryConfig{
		Limits: pipeline.DefaultLimits(), Grace: time.Second, InFlight: 100, Inbox: 32, Delay: 5 * time.Millisecond, Log: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, node := range meshNodes {
		board := pipeline.NewSwitchboard()
		link, err := network.Join(id, board)
		if err != nil {
			t.Fatal(err)
		}
		n := &testNode{journal: &notebook{}, unlink: start(t, link.Run)}
		cfg := cfg
		cfg.Node, cfg.Journal = node, n.journal
		if cfg.Log == nil {
			cfg.Log = quiet()
		}
		runs := 0
		n.make = func() *Agent {
			runs++
			a, err := New(cfg, fmt.Sprintf("run-%d", runs), m.script, s,
				Links{Senders: map[tiering.Transport]pipeline.Sender{tiering.QUIC: link}}, board, nil)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		m.nodes[id] = n
		m.start(id)
	}
	return m
}

// start starts a node's agent.
func (m *mesh) start(id string) {
	n := m.nodes[id]
	n.agent = n.make()
	n.stop = start(m.t, n.agent.Run)
}

// restart stops agents, all at once, and starts them again.
func (m *mesh) restart(ids ...string) {
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(m.nodes[id].stop)
	}
	all.Wait()
	for _, id := range ids {
		m.start(id)
	}
}

// start runs something with a Run method; the function it returns stops it and
// waits for it.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// stop stops every agent at once, and then their links.
func (m *mesh) stop() {
	var all sync.WaitGroup
	for _, n := range m.nodes {
		all.Go(n.stop)
	}
	all.Wait()
	for _, n := range m.nodes {
		n.unlink()
	}
}

// people is a workflow gate → resize → detect → draw of 20 frames a second.
func people() *tiering.Workflow {
	task := func(name string) tiering.Task {
		return tiering.Task{Name: name, Group: name, Operation: name, Replicas: 1}
	}
	link := func(from, to string) tiering.Link {
		return tiering.Link{From: from, To: to, Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 80}
	}
	return &tiering.Workflow{
		Name:       "people",
		Sources:    []tiering.Source{{Name: "gate", URI: "videotest:", FPS: 20, Resolution: 512}},
		Tasks:      []tiering.Task{task("resize"), task("detect"), task("draw")},
		Links:      []tiering.Link{link("gate", "resize"), link("resize", "detect"), link("detect", "draw")},
		Objectives: tiering.Objectives{Deadline: 500 * time.Millisecond},
	}
}

// usual is where the steps of people are, unless a test says otherwise.
func usual() map[string]string {
	return map[string]string{"gate": "edge", "resize": "edge", "detect": "fog", "draw": "cloud"}
}

// assignments is what every node is to run of the workflow when its steps are
// on these nodes; a step on none is left out. live are the nodes that are
// offered to others.
func assignments(w *tiering.Workflow, on map[string]string) map[string][]tiering.Assignment {
	out := map[string][]tiering.Assignment{}
	placements := placementsOf(w, on)
	for node := range meshNodes {
		out[node] = tiering.Assignments(node, []*tiering.Workflow{w}, placements, meshNodes, nil)
	}
	return out
}

func placementsOf(w *tiering.Workflow, on map[string]string) []tiering.Placement {
	var placements []tiering.Placement
	place := func(step string, source bool) {
		node, ok := on[step]
		if !ok {
			return
		}
		placements = append(placements, tiering.Placement{
			ID: tiering.SlotID(w.Name, step, 0), Workflow: w.Name, Task: step, Source: source, Node: node, Tier: meshNodes[node].Tier,
		})
	}
	for _, s := range w.Sources {
		place(s.Name, true)
	}
	for _, t := range w.Tasks {
		place(t.Name, false)
	}
	return placements
}

// total sums up the newest reports of all starts of the source.
func (m *mesh) total() pipeline.Counts {
	sum := pipeline.Counts{}
	for _, s := range m.script.sources() {
		sum = sum.Plus(s.Frames)
	}
	return sum
}

// settled checks that every frame ever captured is accounted for, and returns
// the counts.
func (m *mesh) settled() pipeline.Counts {
	m.t.Helper()
	c := m.total()
	if !c.Balanced() || c.InFlight != 0 || c.Captured == 0 {
		m.t.Errorf("not every frame is accounted for: %+v", c)
	}
	return c
}

// drawnOnce checks that no frame was drawn twice, and returns how many were.
func (m *mesh) drawnOnce() int {
	m.t.Helper()
	m.shop.mu.Lock()
	defer m.shop.mu.Unlock()
	for id, n := range m.shop.drawn {
		if n != 1 {
			m.t.Errorf("frame %s was drawn %d times", id, n)
		}
	}
	return len(m.shop.drawn)
}

// runs checks what is open, as instance@node of the workflow people.
func (m *mesh) runs(want ...string) {
	m.t.Helper()
	var ids []string
	for _, w := range want {
		ids = append(ids, "people/"+w)
	}
	slices.Sort(ids)
	if got := m.shop.running(); !slices.Equal(got, ids) {
		m.t.Errorf("running: %v, want %v", got, ids)
	}
}

func statusOf(r pipeline.Report, id string) string {
	for _, s := range r.Sources {
		if s.Instance == id {
			return fmt.Sprintf("%s: %s", s.Status, s.Message)
		}
	}
	for _, s := range r.Stages {
		if s.Instance == id {
			return fmt.Sprintf("%s: %s", s.Status, s.Message)
		}
	}
	return "none"
}
