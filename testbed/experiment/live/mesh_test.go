package live

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
	"github.com/weft-mesh/weft/tiering/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const people = `apiVersion: weft/v1
kind: Workflow
metadata: {name: people}
spec:
  sources: [{name: gate, uri: "videotest:", resolution: 512}]
  tasks:
    - {name: resize, type: preprocess, resources: {cpu: 100m, memory: 64MiB}}
    - name: detect
      type: deep-model
      models: [{name: hog-people, resolutions: [512, 640]}]
      resources: {cpu: 500m, memory: 256MiB}
    - {name: draw, type: postprocess, store: true, resources: {cpu: 500m, memory: 128MiB}}
  links:
    - {from: sources, to: resize}
    - {from: resize, to: detect}
    - {from: detect, to: draw}
`

// scenario is a small continuum with more of the spec at its end.
func scenario(t *testing.T, more string) *testbed.Scenario {
	t.Helper()
	s, err := testbed.Parse("test.yaml", []byte(`apiVersion: weft/v1
kind: Scenario
metadata: {name: test}
spec:
  nodes:
    - {name: edge, count: 2, tier: edge, cores: 1, memory: 1GiB}
    - {name: fog-1, tier: fog, cores: 2, memory: 2GiB}
    - {name: cloud-1, tier: cloud, cores: 4, memory: 4GiB, coordinator: true}
  network:
    tiers:
      - {between: [edge, edge], delay: 1ms}
      - {between: [edge, fog], delay: 4ms, rate: 30Mbit}
      - {between: [fog, cloud], delay: 5ms}
  workflow: people.yaml
  sources: [{name: cam, count: 2, uri: "videotest:", on: edge, fps: 5, resolution: 512}]
`+more), func(string) ([]byte, error) { return []byte(people), nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mesh stands in for the coordinators: 10 frames a second are captured in each
// workflow that runs, and delivered or dropped at once.
type mesh struct {
	t      *testing.T
	client *api.Client

	mu        sync.Mutex
	missing   string // node that is not there
	broken    string // what a task says that fails
	started   time.Time
	forgot    time.Time           // since when there is a new leader; zero: it is the first
	submitted []*tiering.Workflow // in order
	stopped   []string
	drains    []string
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	ca := pkitest.CA(t)
	m := &mesh{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/nodes", m.nodes)
	mux.HandleFunc("POST /v1/nodes/{node}/drain", m.drain)
	mux.HandleFunc("POST /v1/workflows", m.submit)
	mux.HandleFunc("GET /v1/workflows/{name}", m.status)
	mux.HandleFunc("DELETE /v1/workflows/{name}", m.stop)
	mux.HandleFunc("GET /v1/events", m.events)
	s, l := httptest.NewUnstartedServer(mux), newPipes()
	_ = s.Listener.Close()
	s.Listener, s.TLS, s.EnableHTTP2 = l, pkitest.Issue(t, ca, pki.Coordinator, "cloud-1").ServerTLS(pki.Operator), true
	s.TLS.SessionTicketsDisabled = true // nobody would read them, and a pipe holds nothing
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	m.client = api.NewClientVia(l.dial, func() []string { return []string{"cloud-1:7947"} }, pkitest.Issue(t, ca, pki.Operator, "tester").ClientTLS(pki.Coordinator))
	t.Cleanup(m.client.Close)
	return m
}

// inBubble runs a test in virtual time: what it measures is the same however busy
// the machine is.
func inBubble(t *testing.T, test func(*testing.T, *mesh)) {
	synctest.Test(t, func(t *testing.T) { test(t, newMesh(t)) })
}

// pipes is a listener in memory: a bubble has no sockets.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *mesh) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		m.t.Log(err)
	}
}

func (m *mesh) drain(w http.ResponseWriter, r *http.Request) {
	var how api.Drain
	if err := json.NewDecoder(r.Body).Decode(&how); err != nil {
		m.t.Error(err)
	}
	m.mu.Lock()
	m.drains = append(m.drains, fmt.Sprint(r.PathValue("node"), " ", how.Drain))
	m.mu.Unlock()
	m.answer(w, api.Node{Node: tiering.Node{ID: r.PathValue("node"), Tier: tiering.Fog}, Status: tiering.NodeAlive})
}

func (m *mesh) nodes(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.Node
	for _, n := range []string{"edge-1", "edge-2", "fog-1", "cloud-1"} {
		status := tiering.NodeAlive
		if n == m.missing {
			status = tiering.NodeFailed
		}
		out = append(out, api.Node{Node: tiering.Node{ID: n}, Status: status})
	}
	m.answer(w, out)
}

func (m *mesh) submit(w http.ResponseWriter, r *http.Request) {
	doc, err := io.ReadAll(r.Body)
	if err != nil {
		m.t.Error(err)
	}
	spec, err := workflow.Parse("submitted", doc, catalog.Builtin())
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.t.Errorf("a document that is not right was submitted: %v\n%s", err, doc)
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	if len(m.submitted) == 0 || m.submitted[len(m.submitted)-1].Name != spec.Name {
		m.started = time.Now()
	}
	m.submitted = append(m.submitted, spec)
	m.answer(w, api.Planned{Plan: &tiering.Plan{}})
}

func (m *mesh) stop(_ http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = append(m.stopped, r.PathValue("name"))
}

// frames is how many were captured up to now, as far as the leader has heard: a
// new one hears of a quarter at first, and soon of all.
func (m *mesh) frames() uint64 {
	n := m.captured()
	if time.Since(m.forgot) < 300*time.Millisecond {
		n /= 4
	}
	return n
}

// captured is how many there were.
func (m *mesh) captured() uint64 { return uint64(time.Since(m.started).Seconds() * 10 * speedUp) }

// speedUp makes the mesh's frames come so much faster.
const speedUp = 20

func repeated(d time.Duration, n uint64) *pipeline.Histogram {
	h := pipeline.NewHistogram()
	for range n {
		h.Record(d)
	}
	return h
}

func (m *mesh) status(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	spec := m.submitted[len(m.submitted)-1]
	if name := r.PathValue("name"); name != spec.Name {
		m.t.Errorf("asked for %s while %s runs", name, spec.Name)
	}
	n := m.frames()
	out := api.WorkflowStatus{
		Workflow: spec.Name, Status: state.Running, Latency: repeated(100*time.Millisecond, n-n/5),
		Frames: pipeline.Counts{Captured: n + 1, Delivered: n - n/5, InFlight: 1, Dropped: map[pipeline.Reason]uint64{pipeline.ReasonQueueFull: n / 5}},
	}
	for i, s := range spec.Sources {
		x := api.SourceStatus{Source: s.Name, Node: s.Node, Status: pipeline.StatusRunning, Capture: repeated(3*time.Millisecond, n)}
		if i == 0 {
			x.Frames = out.Frames
		}
		out.Sources = append(out.Sources, x)
		out.Placements = append(out.Placements, tiering.Placement{Task: s.Name, Source: true, Node: s.Node})
	}
	for _, t := range spec.Tasks {
		x := api.StageStatus{
			Task: t.Name, Status: pipeline.StatusRunning, Received: n, Processed: n - n/5, Execute: repeated(50*time.Millisecond, n-n/5),
			Dropped: map[pipeline.Reason]uint64{pipeline.ReasonQueueFull: n / 5}, Queue: repeated(2*time.Millisecond, n),
		}
		node := map[string]string{"resize": "edge-1", "detect@512": "fog-1", "detect@640": "cloud-1", "draw": "cloud-1"}[t.Name]
		if t.Name == "resize" {
			x.Execute, x.Reduce = repeated(100*time.Microsecond, n), repeated(2*time.Millisecond, n)
		} else {
			x.Transfer, x.Bytes = repeated(20*time.Millisecond, n), n*20_000
		}
		if m.broken != "" && t.Name == "draw" {
			x.Status, x.Message = pipeline.StatusRetrying, m.broken
		}
		out.Stages = append(out.Stages, x)
		out.Placements = append(out.Placements, tiering.Placement{Task: t.Name, Node: node})
	}
	m.answer(w, out)
}

// events tells of one decision and goes on to say nothing.
func (m *mesh) events(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("after") == "0" {
		e, err := json.Marshal(api.Event{Index: 7, At: time.Now(), Type: state.TaskMoved, Subject: "people/draw#0", Message: "moved"})
		if err != nil {
			m.t.Error(err)
		}
		fmt.Fprintf(w, "data: %s\n\n", e)
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// ground stands in for the machines: each uses a hundredth of a core, and more
// where frames are.
type ground struct {
	mesh    *mesh
	mu      sync.Mutex
	started time.Time
	applied []string
	limits  []bool
	fail    error // of Apply
}

func (g *ground) Apply(_ context.Context, e testbed.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.applied = append(g.applied, e.String())
	if e.Node == "cloud-1" { // a new leader
		g.mesh.mu.Lock()
		g.mesh.forgot = time.Now()
		g.mesh.mu.Unlock()
	}
	return g.fail
}

func (g *ground) Limit(on bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = append(g.limits, on)
	return nil
}

// Each frame costs, beside 3 ms of capture and 2.1 ms of resizing, 6 ms on the
// edge; on the fog 1 ms more than 50 ms of detection, and on the cloud twice.
var perFrame = map[string]time.Duration{"edge-1": 11100 * time.Microsecond, "fog-1": 41 * time.Millisecond, "cloud-1": 82 * time.Millisecond}

func (g *ground) Usage() ([]testbed.NodeSample, error) {
	g.mesh.mu.Lock()
	defer g.mesh.mu.Unlock()
	n := time.Duration(0)
	if len(g.mesh.submitted) > 0 {
		n = time.Duration(g.mesh.frames())
	}
	var out []testbed.NodeSample
	for _, node := range []string{"edge-1", "edge-2", "fog-1", "cloud-1"} {
		idle := time.Since(g.started) / 100
		if node == "cloud-1" {
			idle *= 3
		}
		out = append(out, testbed.NodeSample{Node: node, Up: true, CPU: idle + n*perFrame[node]})
	}
	return out, nil
}

func config(t *testing.T, m *mesh, s *testbed.Scenario) (*Config, *ground) {
	g := &ground{mesh: m, started: time.Now()}
	return &Config{Scenario: s, Client: m.client, Ground: g, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))}, g
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}
