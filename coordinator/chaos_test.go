package coordinator_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/api/server"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/tiering"
)

const patience = 2 * time.Minute // until a test gives up; never waited for when things work

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

// served is coordinators with their APIs: Raft over transports in memory,
// which can be cut, the API over TLS.
type served struct {
	*testing.T
	ca *pki.CA

	mu      sync.Mutex
	members map[string]tiering.Member
	hints   []chan struct{}
	nodes   map[string]*servedNode
}

type servedNode struct {
	name, dir string
	slow      time.Duration // until it doubts that it leads; 0: as the others
	listen    string        // of the API

	*coordinator.Coordinator
	transport *raft.InmemTransport
	stop      context.CancelFunc
	done      chan error
}

// newServed starts coordinators c1, c2 and c3. The clock of c1 is slow, as it
// were: it takes a leader's lease of that length.
func newServed(t *testing.T, slow time.Duration) *served {
	t.Helper()
	ca := pkitest.CA(t)
	s := &served{T: t, ca: ca, members: map[string]tiering.Member{}, nodes: map[string]*servedNode{}}
	for id, tier := range map[string]tiering.Tier{"edge-1": tiering.Edge, "fog-1": tiering.Fog} {
		s.set(tiering.Node{
			ID: id, Tier: tier, Capacity: tiering.Resources{CPU: 1 << 20, Memory: 1 << 40, Disk: 1 << 40},
			Platforms: []tiering.Platform{{Type: "cpu", Count: 64}}, Models: []string{"hog-people"}, Addresses: tiering.Addresses{Data: id + ":7947"},
		})
	}
	for _, name := range []string{"c1", "c2", "c3"} {
		n := &servedNode{name: name, dir: t.TempDir(), listen: "127.0.0.1:0"}
		if name == "c1" {
			n.slow = slow
		}
		s.nodes[name] = n
		s.start(n)
	}
	t.Cleanup(func() {
		for _, n := range s.nodes {
			s.halt(n)
		}
	})
	wait(t, "the leader knows the nodes", func() bool {
		l := s.leader()
		if l == nil {
			return false
		}
		_, ok := l.Snapshot().Node("fog-1")
		return ok && len(l.Snapshot().Nodes()) == 5
	})
	return s
}

func (s *served) set(n tiering.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members[n.ID] = tiering.Member{Node: n, Status: tiering.NodeAlive, Free: n.Capacity}
	for _, h := range s.hints {
		select {
		case h <- struct{}{}:
		default:
		}
	}
}

// view is a coordinator's end of the membership.
type view struct {
	*served
	changed chan struct{}
}

func (v *view) Changed() <-chan struct{} { return v.changed }

func (v *view) Cluster() string { return "" }

func (s *served) Members() []tiering.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []tiering.Member
	for _, m := range s.members {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b tiering.Member) int { return cmp.Compare(a.Node.ID, b.Node.ID) })
	return out
}

func (s *served) RoundTrip(_, _ string) (time.Duration, bool) { return 0, false }

func (s *served) issue(role pki.Role, name string) *pki.Identity {
	s.Helper()
	subject := pki.Subject{Role: role, Name: name}
	if role.Machine() {
		subject.Tier = tiering.Cloud
	}
	id, err := s.ca.Issue(subject, nil, time.Now(), time.Hour)
	if err != nil {
		s.Fatal(err)
	}
	return id
}

// start starts a coordinator on its data directory.
func (s *served) start(n *servedNode) {
	s.Helper()
	addr, transport := raft.NewInmemTransportWithTimeout(raft.ServerAddress(n.name), 100*time.Millisecond)
	n.transport = transport
	for _, o := range s.nodes {
		if o != n && o.transport != nil {
			o.transport.Connect(addr, transport)
			transport.Connect(o.transport.LocalAddr(), o.transport)
		}
	}
	timing := coordinator.Timing{Heartbeat: 400 * time.Millisecond, Election: 400 * time.Millisecond, Lease: 300 * time.Millisecond, Commit: 5 * time.Millisecond, SnapshotInterval: time.Second, SnapshotThreshold: 50, TrailingLogs: 20}
	if n.slow > 0 {
		timing.Heartbeat, timing.Election, timing.Lease = n.slow, n.slow, n.slow
	}
	v := &view{s, make(chan struct{}, 1)}
	s.mu.Lock()
	s.hints = append(s.hints, v.changed)
	s.mu.Unlock()
	c, err := coordinator.NewInmem(coordinator.Config{
		ID: n.name, Cluster: "test", DataDir: n.dir, Expect: 3, Reconcile: 200 * time.Millisecond, Timing: timing, Log: slog.New(slog.DiscardHandler),
	}, v, transport)
	if err != nil {
		s.Fatal(err)
	}
	id := s.issue(pki.Coordinator, n.name)
	a, err := server.New(server.Config{
		Mesh: "test", Node: n.name, Version: "test", Listen: n.listen, AuditDir: filepath.Join(n.dir, "audit"), Catalogue: catalog.Builtin(),
		ServerTLS: id.ServerTLS(pki.Agent, pki.Coordinator, pki.Operator), ClientTLS: id.ClientTLS(pki.Coordinator), Log: slog.New(slog.DiscardHandler),
	}, c, s)
	if err != nil {
		s.Fatal(err)
	}
	n.Coordinator = c
	if n.listen != a.Addr() { // clients read it
		n.listen = a.Addr()
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.done = stop, make(chan error, 2)
	go func() { n.done <- c.Run(ctx) }()
	go func() { n.done <- a.Run(ctx) }()
	s.set(tiering.Node{ID: n.name, Tier: tiering.Cloud, Addresses: tiering.Addresses{API: a.Addr(), Raft: n.name}})
}

func (s *served) halt(n *servedNode) {
	s.Helper()
	n.stop()
	for range 2 {
		select {
		case err := <-n.done:
			if err != nil {
				s.Errorf("%s ended with %v", n.name, err)
			}
		case <-time.After(patience):
			s.Fatalf("%s does not end", n.name)
		}
	}
	s.cut(n)
}

// cut takes a coordinator's Raft off the network, both ways.
func (s *served) cut(n *servedNode) {
	for _, o := range s.nodes {
		if o != n {
			o.transport.Disconnect(n.transport.LocalAddr())
		}
	}
	n.transport.DisconnectAll()
}

func (s *served) heal(n *servedNode) {
	for _, o := range s.nodes {
		if o != n {
			o.transport.Connect(n.transport.LocalAddr(), n.transport)
			n.transport.Connect(o.transport.LocalAddr(), o.transport)
		}
	}
}

// leader is one that leads, or believes so; nil if there is none.
func (s *served) leader(except ...*servedNode) *servedNode {
	for _, n := range s.nodes {
		if !slices.Contains(except, n) && n.IsLeader() {
			return n
		}
	}
	return nil
}

// lead makes a coordinator the leader.
func (s *served) lead(n *servedNode) {
	s.Helper()
	wait(s.T, n.name+" leads", func() bool {
		if l := s.leader(); l != nil && l != n {
			_ = l.HandOver(n.name) // again, if it does not work out
		}
		return n.IsLeader()
	})
}

func (s *served) client(name string, at *servedNode) *api.Client {
	return api.NewClient(func() []string { return []string{at.listen} }, s.issue(pki.Operator, name).ClientTLS(pki.Coordinator))
}

// document is a workflow that is told from its others by how many detectors it has.
func document(name string, detectors int) []byte {
	return fmt.Appendf(nil, `apiVersion: weft/v1
kind: Workflow
metadata: {name: %s}
spec:
  sources: [{name: gate, uri: "videotest:", node: edge-1, resolution: 512}]
  tasks:
    - {name: detect, type: shallow-model, replicas: %d, models: [{name: hog-people, resolutions: [512]}], resources: {cpu: 10m, memory: 1MiB}}
  links: [{from: gate, to: detect}]
`, name, detectors)
}

// fault does harm to the mesh for a while, and mends it.
func (s *served) fault(ctx context.Context, rng *rand.Rand) string {
	s.Helper()
	rest := func(least, most int) {
		select {
		case <-time.After(time.Duration(least+rng.IntN(most-least)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
	names := []string{"c1", "c2", "c3"}
	victim := s.nodes[names[rng.IntN(len(names))]]
	if l := s.leader(); l != nil && rng.IntN(3) > 0 {
		victim = l
	}
	did := ""
	switch rng.IntN(5) {
	case 0, 1: // the slow one leads, and is cut off
		victim = s.nodes["c1"]
		if l := s.leader(); l != nil && l != victim {
			_ = l.HandOver(victim.name)
		}
		rest(100, 400)
		fallthrough
	case 2:
		did = fmt.Sprintf("cut %s (leads: %v)", victim.name, victim.IsLeader())
		s.cut(victim)
		rest(700, 2000)
		s.heal(victim)
	case 3: // killed: it cannot hand over
		did = "kill " + victim.name
		s.cut(victim)
		s.halt(victim)
		rest(0, 500)
		s.start(victim)
	case 4:
		did = "restart " + victim.name
		s.halt(victim)
		s.start(victim)
	}
	// Without a leader nothing happens that could be wrong.
	for deadline := time.Now().Add(5 * time.Second); s.leader() == nil && time.Now().Before(deadline) && ctx.Err() == nil; {
		rest(10, 20)
	}
	rest(300, 1000)
	return did
}

// TestADeposedLeaderDoesNotAnswer: cut off, it does not know yet that it is
// deposed, and neither tells what was so nor takes what it has for the latest.
func TestADeposedLeaderDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := newServed(t, 3*time.Second)
	old := s.nodes["c1"]
	s.lead(old)
	ask := s.client("ada", old)
	defer ask.Close()
	if _, err := ask.Submit(t.Context(), "x.yaml", document("w", 1)); err != nil {
		t.Fatal(err)
	}
	if st, err := ask.Workflow(t.Context(), "w"); err != nil || st.Version != 1 {
		t.Fatalf("version %d, %v", st.Version, err)
	}
	s.cut(old)
	var next *servedNode
	wait(t, "another leader", func() bool { next = s.leader(old); return next != nil })
	other := s.client("bob", next)
	defer other.Close()
	wait(t, "a write there", func() bool { _, err := other.Submit(t.Context(), "x.yaml", document("w", 2)); return err == nil })
	believes := old.IsLeader()
	t.Logf("the old leader still believes to lead: %v", believes)

	var wg sync.WaitGroup
	for what, do := range map[string]func() error{
		"status": func() error { _, err := ask.Workflow(t.Context(), "w"); return err },
		"submitting what it has already": func() error {
			_, err := ask.Submit(t.Context(), "x.yaml", document("w", 1))
			return err
		},
	} {
		wg.Go(func() {
			// It says that nothing was done, or by then has heard of the other and
			// cannot reach its Raft, but its API.
			if err := do(); err == nil && believes {
				t.Errorf("%s: answered", what)
			} else if err != nil && !errors.Is(err, &api.Error{Code: api.CodeNoLeader}) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	wg.Wait()
	wait(t, "what the other leader took", func() bool { // which may have been followed by another
		st, err := other.Workflow(t.Context(), "w")
		if err == nil && (st.Version != 2 || len(st.Placements) != 3) {
			t.Fatalf("there is version %d with %d placements", st.Version, len(st.Placements))
		}
		return err == nil
	})
}
