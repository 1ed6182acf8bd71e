package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// script is a coordinator that wants what a test says.
type script struct {
	mu         sync.Mutex
	index      uint64
	wanted     map[string][]tiering.Assignment // by node
	changed    chan struct{}
	down, deaf bool            // takes no questions, no reports
	away       map[string]bool // nodes that cannot reach it
	mute       bool            // takes questions and never answers
	strange    error           // answer to all questions: the node is none of the mesh
	asked      int
	reports    []pipeline.Report
	onReport   func() // called before a report is taken
}

func newScript() *script {
	return &script{index: 1, wanted: map[string][]tiering.Assignment{}, changed: make(chan struct{})}
}

// set changes what the coordinator wants, and its index.
func (s *script) set(index uint64, wanted map[string][]tiering.Assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.wanted = index, wanted
	close(s.changed)
	s.changed = make(chan struct{})
}

// want is set with the next index.
func (s *script) want(wanted map[string][]tiering.Assignment) {
	s.mu.Lock()
	next := s.index + 1
	s.mu.Unlock()
	s.set(next, wanted)
}

// fail makes the coordinator refuse questions, reports or both.
func (s *script) fail(down, deaf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.deaf = down, deaf
	close(s.changed)
	s.changed = make(chan struct{})
}

// cut sets which nodes cannot reach the coordinator.
func (s *script) cut(nodes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = map[string]bool{}
	for _, n := range nodes {
		s.away[n] = true
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// estrange sets how questions are answered; nil: as usual.
func (s *script) estrange(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strange = err
}

// questions is how often assignments were asked for.
func (s *script) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *script) Assignments(ctx context.Context, node string, after uint64) ([]tiering.Assignment, uint64, error) {
	limit := time.After(30 * time.Second)
	s.mu.Lock()
	s.asked++
	if s.mute {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, 0, ctx.Err()
	}
	for held := true; held && after != 0 && s.index == after && !s.down && !s.away[node]; {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-limit:
			held = false
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.down || s.away[node] {
		return nil, 0, errDown
	}
	if s.strange != nil {
		return nil, 0, s.strange
	}
	return wire(s.wanted[node]), s.index, nil
}

func (s *script) Report(_ context.Context, r pipeline.Report) error {
	s.mu.Lock()
	hook := s.onReport
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deaf || s.away[r.Node] {
		return errDown
	}
	// Nobody here looks at histograms, and to compress them takes longer than
	// all the rest.
	for i := range r.Sources {
		r.Sources[i].Latency = nil
	}
	for i := range r.Stages {
		x := &r.Stages[i]
		x.Queue, x.Transfer, x.Reduce, x.Execute = nil, nil, nil, nil
	}
	s.reports = append(s.reports, wire(r))
	return nil
}

// sources are the newest reports of every start of a source.
func (s *script) sources() map[uint32]pipeline.SourceReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[uint32]pipeline.SourceReport{}
	for _, r := range s.reports {
		for _, x := range r.Sources {
			out[x.Epoch] = x
		}
	}
	return out
}

// stages are the newest reports of every start of a stage.
func (s *script) stages() map[uint32]pipeline.StageReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[uint32]pipeline.StageReport{}
	for _, r := range s.reports {
		for _, x := range r.Stages {
			out[x.Epoch] = x
		}
	}
	return out
}

// shop makes stages and sources in Go, for all nodes of a mesh, and keeps a
// diary of them.
type shop struct {
	mu     sync.Mutex
	diary  []entry
	alive  map[string]int // instance@node → running now
	twice  []string       // that ever ran more than once at a time
	drawn  map[pipeline.FrameID]int
	load   func(a tiering.Assignment) (time.Duration, error) // of a stage, whatever ctx says
	work   func(ctx context.Context, a tiering.Assignment, f *pipeline.Frame) error
	camera func(a tiering.Assignment) error // may fail to open
}

type entry struct {
	at   time.Duration
	what string // "open", "close" or "fail"
	id   string // instance@node
}

func newShop() *shop {
	return &shop{alive: map[string]int{}, drawn: map[pipeline.FrameID]int{}}
}

// bubbleStart is when the clock of a synctest bubble starts.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *shop) note(what string, p tiering.Placement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := p.ID + "@" + p.Node
	s.diary = append(s.diary, entry{time.Since(bubbleStart), what, id})
	switch what {
	case "open":
		if s.alive[id]++; s.alive[id] > 1 {
			s.twice = append(s.twice, id)
		}
	case "close":
		if s.alive[id]--; s.alive[id] == 0 {
			delete(s.alive, id)
		}
	}
}

// running are the stages and sources that are open, sorted.
func (s *shop) running() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.alive))
}

// entries are the diary's of one kind and instance, oldest first.
func (s *shop) entries(what, id string) []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []entry
	for _, e := range s.diary {
		if e.what == what && (id == "" || e.id == id) {
			out = append(out, e)
		}
	}
	return out
}

func (s *shop) Stage(_ context.Context, a tiering.Assignment, _ func(int) (tiering.Fit, bool)) (pipeline.Stage, string, error) {
	if s.load != nil {
		d, err := s.load(a)
		<-time.After(d)
		if err != nil {
			s.note("fail", a.Placement)
			return nil, "", err
		}
	}
	s.note("open", a.Placement)
	return &testStage{shop: s, a: a}, "slide rule", nil
}

// testStage is a stage whose work takes what the shop says.
type testStage struct {
	shop *shop
	a    tiering.Assignment
}

func (s *testStage) Process(ctx context.Context, f *pipeline.Frame) error {
	if s.shop.work != nil {
		if err := s.shop.work(ctx, s.a, f); err != nil {
			return err
		}
	}
	switch s.a.Task.Operation {
	case "detect":
		f.Model = "eyes"
		f.Detections = []pipeline.Detection{{Label: "person", Score: 1, Box: pipeline.Box{W: 1, H: 1}}}
	case "draw":
		s.shop.mu.Lock()
		s.shop.drawn[f.ID]++
		s.shop.mu.Unlock()
	}
	return nil
}

func (s *testStage) Close() error {
	s.shop.note("close", s.a.Placement)
	return nil
}

func (s *shop) Source(a tiering.Assignment) (pipeline.Source, error) {
	if s.camera != nil {
		if err := s.camera(a); err != nil {
			s.note("fail", a.Placement)
			return nil, err
		}
	}
	return &camera{s, a}, nil
}

// camera takes a picture FPS times a second.
type camera struct {
	shop *shop
	a    tiering.Assignment
}

func (c *camera) Run(ctx context.Context, emit func(*pipeline.Frame)) error {
	c.shop.note("open", c.a.Placement)
	defer c.shop.note("close", c.a.Placement)
	tick := time.NewTicker(time.Duration(float64(time.Second) / c.a.Source.FPS))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		emit(&pipeline.Frame{
			Captured: time.Now(), SourceWidth: 2, SourceHeight: 2,
			Image: pipeline.Image{Format: pipeline.JPEG, Width: 2, Height: 2, Data: []byte("picture")},
			Spans: []pipeline.Span{{Kind: pipeline.SpanCapture, Duration: time.Millisecond}},
		})
	}
}

// delays makes the work of a task take a while that ctx cuts short.
func delays(by map[string]time.Duration) func(context.Context, tiering.Assignment, *pipeline.Frame) error {
	return func(ctx context.Context, a tiering.Assignment, _ *pipeline.Frame) error {
		select {
		case <-time.After(by[a.Task.Name]):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

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

// notebook is a journal in memory.
type notebook struct {
	mu      sync.Mutex
	held    known
	saves   int
	refuses error // of every Save
	damaged error // of the next Load
}

func (n *notebook) Load() ([]tiering.Assignment, uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.damaged; err != nil {
		n.damaged, n.held = nil, known{}
		return nil, 0, err
	}
	return wire(n.held.assignments), n.held.index, nil
}

func (n *notebook) Save(as []tiering.Assignment, index uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.saves++
	if n.refuses != nil {
		return n.refuses
	}
	n.held = known{wire(as), index}
	return nil
}

// set changes what the disk does.
func (n *notebook) set(refuses, damaged error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuses, n.damaged = refuses, damaged
}

// is returns what the journal says, and how often it was written to.
func (n *notebook) is() (held known, saves int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held, n.saves
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
		out[node] = tiering.Assignments(node, []*tiering.Workflow{w}, placements, meshNodes)
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
