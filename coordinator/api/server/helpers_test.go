package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/tiering"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	gib      = 1 << 30
	patience = 30 * time.Second // until a test gives up; never waited for when things work
)

// people is a workflow that a mesh with fog-1 takes; its camera has a password.
const people = `apiVersion: weft/v1
kind: Workflow
metadata: {name: people}
spec:
  sources: [{name: gate, uri: "rtsp://viewer:secret@camera/live", node: edge-1, resolution: 512}]
  tasks:
    - {name: resize, type: preprocess, resources: {cpu: 100m, memory: 64MiB}}
    - {name: detect, type: shallow-model, models: [{name: hog-people, resolutions: [512]}], resources: {cpu: 1, memory: 512MiB}}
  links:
    - {from: gate, to: resize}
    - {from: resize, to: detect}
`

// wait polls until the condition holds.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting: %s", what)
		}
	}
}

// receive takes one value that has to come.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("gave up waiting: %s", what)
		panic("unreachable")
	}
}

// gossip is a fake membership that everyone in a test shares.
type gossip struct {
	mu      sync.Mutex
	members map[string]tiering.Member
	hints   []chan struct{}
}

// listener is a coordinator's end of it.
type listener struct {
	*gossip
	changed chan struct{}
}

func (g *gossip) listener() *listener {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := &listener{g, make(chan struct{}, 1)}
	g.hints = append(g.hints, l.changed)
	return l
}

func (g *gossip) set(n tiering.Node, s tiering.NodeStatus) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members[n.ID] = tiering.Member{Node: n, Status: s, Free: n.Capacity}
	for _, h := range g.hints {
		select {
		case h <- struct{}{}:
		default:
		}
	}
}

func (g *gossip) Members() []tiering.Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []tiering.Member
	for _, m := range g.members {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b tiering.Member) int { return cmp.Compare(a.Node.ID, b.Node.ID) })
	return out
}

func (g *gossip) RoundTrip(a, b string) (time.Duration, bool) {
	return 1500 * time.Microsecond, b == "edge-1"
}

func (l *listener) Changed() <-chan struct{} { return l.changed }

func (l *listener) Cluster() string { return "" }

// worker is a machine that runs tasks.
func worker(id string, tier tiering.Tier, cores int64) tiering.Node {
	return tiering.Node{
		ID: id, Tier: tier, Version: "test",
		Capacity:  tiering.Resources{CPU: cores * 1000, Memory: cores * 2 * gib, Disk: 20 * gib},
		Platforms: []tiering.Platform{{Type: "cpu", Count: int(cores)}},
		Models:    []string{"hog-people"},
		Addresses: tiering.Addresses{Data: id + ":7947"},
	}
}

// mesh is real coordinators in one process that serve the API on loopback,
// with an edge and a fog node that are there in gossip only.
type mesh struct {
	*testing.T
	ca     *pki.CA
	gossip *gossip
	nodes  map[string]*node
}

// node is one coordinator.
type node struct {
	name      string
	coord     *coordinator.Coordinator
	server    *Server
	stopCoord func() // both wait
	stopAPI   func()
}

func newMesh(t *testing.T, names ...string) *mesh {
	t.Helper()
	ca := pkitest.CA(t)
	m := &mesh{T: t, ca: ca, gossip: &gossip{members: map[string]tiering.Member{}}, nodes: map[string]*node{}}
	m.gossip.set(worker("edge-1", tiering.Edge, 2), tiering.NodeAlive)
	m.gossip.set(worker("fog-1", tiering.Fog, 4), tiering.NodeAlive)
	for _, name := range names {
		m.start(name, len(names))
	}
	for _, n := range m.nodes {
		wait(t, n.name+" knows the nodes", func() bool {
			snap := n.coord.Snapshot()
			_, ok := snap.Node("fog-1")
			return ok && len(snap.Nodes()) == len(names)+2
		})
	}
	m.leader()
	return m
}

func (m *mesh) issue(role pki.Role, name string) *pki.Identity {
	return pkitest.Issue(m.T, m.ca, role, name)
}

func (m *mesh) start(name string, expect int) {
	m.Helper()
	id := m.issue(pki.Coordinator, name)
	c, err := coordinator.New(coordinator.Config{
		ID: name, Cluster: "test", DataDir: m.TempDir(), RaftListen: "127.0.0.1:0", Expect: expect,
		ServerTLS: id.ServerTLS(pki.Coordinator), ClientTLS: id.ClientTLS(pki.Coordinator),
		Reconcile: 200 * time.Millisecond,
		Timing:    coordinator.Timing{Heartbeat: 400 * time.Millisecond, Election: 400 * time.Millisecond, Lease: 300 * time.Millisecond, Commit: 5 * time.Millisecond},
		Log:       quiet(),
	}, m.gossip.listener(), m.gossip.RoundTrip)
	if err != nil {
		m.Fatal(err)
	}
	s, err := New(m.config(name), c, m.gossip)
	if err != nil {
		m.Fatal(err)
	}
	n := &node{name: name, coord: c, server: s, stopCoord: background(m.T, name+"'s coordinator", c.Run), stopAPI: background(m.T, name+"'s API", s.Run)}
	m.nodes[name] = n
	m.gossip.set(tiering.Node{ID: name, Tier: tiering.Cloud, Addresses: tiering.Addresses{API: s.Addr(), Raft: c.RaftAddr()}}, tiering.NodeAlive)
}

// config is of a server on a free port.
func (m *mesh) config(name string) Config {
	id := m.issue(pki.Coordinator, name)
	return Config{
		Mesh: "test", Node: name, Version: "test", Listen: "127.0.0.1:0", Catalogue: catalog.Builtin(),
		AuditDir:  filepath.Join(m.TempDir(), "audit"),
		ServerTLS: id.ServerTLS(pki.Agent, pki.Coordinator, pki.Operator), ClientTLS: id.ClientTLS(pki.Coordinator), Log: quiet(),
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// background runs something until stop, which waits for it, or the end of the
// test.
func background(t *testing.T, what string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s ended with %v", what, err)
			}
		case <-time.After(patience):
			buf := make([]byte, 1<<20)
			t.Errorf("%s does not end:\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	})
	t.Cleanup(stop)
	return stop
}

// leader waits for a leader that every coordinator which runs has heard of.
func (m *mesh) leader() *node {
	m.Helper()
	var found *node
	wait(m.T, "a leader", func() bool {
		found = nil
		for _, n := range m.nodes {
			if n.coord.IsLeader() {
				found = n
			}
		}
		if found == nil {
			return false
		}
		for _, n := range m.nodes {
			if id, addr, ok := n.coord.Leader(); !ok || id != found.name || addr != found.server.Addr() {
				return false
			}
		}
		return true
	})
	return found
}

// follower is a coordinator that does not lead.
func (m *mesh) follower() *node {
	m.Helper()
	leader := m.leader()
	for _, n := range m.nodes {
		if n != leader {
			return n
		}
	}
	m.Fatal("there is no follower")
	return nil
}

// only is the coordinator that is left.
func (m *mesh) only() *node {
	m.Helper()
	for _, n := range m.nodes {
		if len(m.nodes) == 1 {
			return n
		}
	}
	m.Fatalf("there are %d coordinators", len(m.nodes))
	return nil
}

// halt stops a coordinator with its API.
func (m *mesh) halt(n *node) {
	delete(m.nodes, n.name)
	n.stopAPI()
	n.stopCoord()
}

// client is an api.Client at those coordinators.
func (m *mesh) client(role pki.Role, name string, at ...*node) *api.Client {
	c := api.NewClient(func() []string {
		var addrs []string
		for _, n := range at {
			addrs = append(addrs, n.server.Addr())
		}
		return addrs
	}, m.issue(role, name).ClientTLS(pki.Coordinator))
	m.Cleanup(c.Close)
	return c
}

func (m *mesh) operator(at ...*node) *api.Client { return m.client(pki.Operator, "ada", at...) }

// caller sends single requests, each held against the OpenAPI document.
type testCaller struct {
	*testing.T
	http *http.Client
	base string
	tls  *tls.Config
}

func (m *mesh) caller(role pki.Role, name string, at *node) *testCaller {
	return newCaller(m.T, m.issue(role, name), at.server)
}

func newCaller(t *testing.T, id *pki.Identity, s *Server) *testCaller {
	return newCallerWith(t, id.ClientTLS(pki.Coordinator), s)
}

func newCallerWith(t *testing.T, conf *tls.Config, s *Server) *testCaller {
	tr := api.NewTransport(conf, nil, nil)
	t.Cleanup(tr.CloseIdleConnections)
	return &testCaller{t, &http.Client{Transport: &documented{t, contract(), tr}}, "https://" + s.Addr(), conf}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request, body and headers as given.
func (c *testCaller) do(method, path string, body string, header ...string) answer {
	c.Helper()
	return c.send(c.request(method, path, body, header...))
}

func (c *testCaller) request(method, path string, body string, header ...string) *http.Request {
	c.Helper()
	var in io.Reader
	if body != "" {
		in = bytes.NewReader([]byte(body))
	}
	req, err := http.NewRequestWithContext(c.Context(), method, c.base+path, in)
	if err != nil {
		c.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/yaml")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func (c *testCaller) send(req *http.Request) answer {
	c.Helper()
	a, err := c.try(req)
	if err != nil {
		c.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return a
}

// settled is do, again while an election is under way: on a busy machine one
// may be at any time.
func (c *testCaller) settled(method, path, body string, header ...string) answer {
	c.Helper()
	var a answer
	wait(c.T, "an answer from a leader", func() bool {
		a = c.do(method, path, body, header...)
		return a.status != http.StatusServiceUnavailable
	})
	return a
}

// try is send for goroutines of a test.
func (c *testCaller) try(req *http.Request) (answer, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// later sends a request in the background.
func (c *testCaller) later(req *http.Request) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		a, err := c.try(req)
		if err != nil {
			c.Errorf("%s %s: %v", req.Method, req.URL, err)
		}
		out <- a
	}()
	return out
}

// problem is the error in an answer.
func (a answer) problem(t *testing.T) *api.Error {
	t.Helper()
	e := &api.Error{}
	if err := json.Unmarshal(a.body, e); err != nil || a.header.Get("Content-Type") != "application/problem+json" || e.Status != a.status || e.Title == "" || e.Detail == "" {
		t.Fatalf("no problem document: %d %v %s (%v)", a.status, a.header, a.body, err)
	}
	return e
}

func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return v
}

func code(err error) api.Code {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Code
	}
	return ""
}
