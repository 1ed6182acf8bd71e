package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	gib      = 1 << 30
	patience = 2 * time.Minute // until a test gives up; never waited for when things work
)

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

// waitABit is how long tests wait to start Raft again.
const waitABit = 20 * time.Millisecond

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func quick() Timing {
	return Timing{Retry: waitABit, Heartbeat: 150 * time.Millisecond, Election: 150 * time.Millisecond, Lease: 100 * time.Millisecond, Commit: 5 * time.Millisecond}
}

// calm is for tests in which a leader must stay one for seconds on a machine
// that has other things to do.
func calm(t *Timing) {
	t.Heartbeat, t.Election, t.Lease = 600*time.Millisecond, 600*time.Millisecond, 500*time.Millisecond
}

func soon() Voters { return Voters{Stable: 300 * time.Millisecond, Dead: time.Hour} }

// gossip is a fake membership that all coordinators of a test share.
type gossip struct {
	mu      sync.Mutex
	cluster string
	members map[string]tiering.Member
	views   []*gossipView
}

type gossipView struct {
	*gossip
	changed chan struct{}
}

func newGossip(nodes ...tiering.Node) *gossip {
	g := &gossip{members: map[string]tiering.Member{}}
	for _, n := range nodes {
		g.set(n, tiering.NodeAlive)
	}
	return g
}

func (g *gossip) view() *gossipView {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := &gossipView{g, make(chan struct{}, 1)}
	g.views = append(g.views, v)
	return v
}

func (g *gossip) set(n tiering.Node, s tiering.NodeStatus) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members[n.ID] = tiering.Member{Node: n, Status: s}
	g.hint()
}

func (g *gossip) status(id string, s tiering.NodeStatus) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.members[id]
	m.Status = s
	g.members[id] = m
	g.hint()
}

func (g *gossip) hint() {
	for _, v := range g.views {
		select {
		case v.changed <- struct{}{}:
		default:
		}
	}
}

func (v *gossipView) Members() []tiering.Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []tiering.Member
	for _, m := range v.members {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b tiering.Member) int { return cmp.Compare(a.Node.ID, b.Node.ID) })
	return out
}

func (v *gossipView) Cluster() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cluster
}

func (v *gossipView) Changed() <-chan struct{} { return v.changed }

// cluster is coordinators in one process, joined by in-memory transports.
type cluster struct {
	*testing.T
	gossip *gossip
	expect int
	nodes  map[string]*member
	adjust func(*Config) // may be nil
}

// member is one coordinator of a cluster.
type member struct {
	*Coordinator
	dir       string
	transport *raft.InmemTransport
	stop      context.CancelFunc
	done      chan error
}

// newCluster starts coordinators of those names. Each is a fog node as well;
// more nodes come by gossip.
func newCluster(t *testing.T, names ...string) *cluster {
	t.Helper()
	return newClusterOf(t, nil, names...)
}

// newClusterOf is newCluster with other settings.
func newClusterOf(t *testing.T, adjust func(*Config), names ...string) *cluster {
	t.Helper()
	cl := &cluster{T: t, gossip: newGossip(), expect: len(names), nodes: map[string]*member{}, adjust: adjust}
	for _, name := range names {
		cl.start(name, t.TempDir())
	}
	t.Cleanup(func() {
		for _, name := range names {
			cl.halt(name)
		}
		for name := range cl.nodes {
			cl.halt(name)
		}
	})
	return cl
}

// coordinatorNode is a machine that coordinates and has nothing to spare.
func coordinatorNode(id string) tiering.Node {
	return tiering.Node{ID: id, Tier: tiering.Cloud, Addresses: tiering.Addresses{Raft: id, API: id + ":7000"}}
}

func (cl *cluster) start(name, dir string) *member {
	cl.Helper()
	return cl.startAt(name, name, dir)
}

// startAt starts a coordinator at an address of which the name is not part.
func (cl *cluster) startAt(name, at, dir string) *member {
	cl.Helper()
	// A lost connection is an error at once; a disk may take its time.
	addr, trans := raft.NewInmemTransportWithTimeout(raft.ServerAddress(at), time.Second)
	for _, o := range cl.nodes {
		if o.transport != nil {
			o.transport.Connect(addr, trans)
			trans.Connect(o.transport.LocalAddr(), o.transport)
		}
	}
	n := coordinatorNode(name)
	n.Addresses.Raft = at
	cl.gossip.set(n, tiering.NodeAlive)
	cfg := Config{ID: name, Cluster: "test", DataDir: dir, Expect: cl.expect, Reconcile: 200 * time.Millisecond, Timing: quick(), Voters: soon(), Log: discard()}
	if cl.adjust != nil {
		cl.adjust(&cfg)
	}
	c := newCoordinator(cfg, cl.gossip.view(), nil, at, func(hclog.Logger) (transport, error) { return trans, nil })
	m := &member{Coordinator: c, dir: dir, transport: trans}
	m.run()
	cl.nodes[name] = m
	return m
}

func (m *member) run() {
	ctx, stop := context.WithCancel(context.Background())
	m.stop, m.done = stop, make(chan error, 1)
	go func() { m.done <- m.Run(ctx) }()
}

// halt stops a coordinator and waits for it.
func (cl *cluster) halt(name string) {
	cl.Helper()
	m := cl.nodes[name]
	if m == nil {
		return
	}
	delete(cl.nodes, name)
	m.stop()
	select {
	case err := <-m.done:
		if err != nil {
			cl.Errorf("coordinator %s ended with %v", name, err)
		}
	case <-time.After(patience):
		cl.Fatalf("coordinator %s does not end", name)
	}
	for _, o := range cl.nodes {
		o.transport.Disconnect(m.transport.LocalAddr()) // connection refused
	}
}

// cut takes a coordinator off the network, both ways.
func (cl *cluster) cut(name string) {
	for other, o := range cl.nodes {
		if other != name {
			o.transport.Disconnect(cl.nodes[name].transport.LocalAddr())
		}
	}
	cl.nodes[name].transport.DisconnectAll()
}

// heal connects it again.
func (cl *cluster) heal(name string) {
	m := cl.nodes[name]
	for other, o := range cl.nodes {
		if other != name {
			o.transport.Connect(m.transport.LocalAddr(), m.transport)
			m.transport.Connect(o.transport.LocalAddr(), o.transport)
		}
	}
}

// leader waits for a leader other than those named.
func (cl *cluster) leader(except ...string) *member {
	cl.Helper()
	var found *member
	wait(cl.T, "a leader", func() bool {
		for name, m := range cl.nodes {
			if m.IsLeader() && !slices.Contains(except, name) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// lead does a write on the leader, whoever that is by then.
func (cl *cluster) lead(do func(c *Coordinator) error, except ...string) error {
	cl.Helper()
	var err error
	wait(cl.T, "a leader that takes the write", func() bool {
		err = do(cl.leader(except...).Coordinator)
		return !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrNoLeader)
	})
	return err
}

func (cl *cluster) submit(w *tiering.Workflow, except ...string) {
	cl.Helper()
	err := cl.lead(func(c *Coordinator) error {
		_, err := c.Submit(context.Background(), w, "name: "+w.Name)
		return err
	}, except...)
	if err != nil {
		cl.Fatal(err)
	}
}

// everywhere waits until the condition holds on every coordinator.
func (cl *cluster) everywhere(what string, holds func(s *state.Snapshot) bool) {
	cl.Helper()
	for name, m := range cl.nodes {
		wait(cl.T, fmt.Sprintf("%s on %s", what, name), func() bool { return holds(m.Snapshot()) })
	}
}

// alive waits until the state has those nodes, alive.
func (cl *cluster) alive(ids ...string) {
	cl.Helper()
	cl.everywhere(fmt.Sprintf("nodes %v alive", ids), func(s *state.Snapshot) bool {
		for _, id := range ids {
			if n, _ := s.Node(id); !n.Alive() {
				return false
			}
		}
		return true
	})
}

func worker(id string, tier tiering.Tier, cores int64) tiering.Node {
	return tiering.Node{
		ID: id, Tier: tier,
		Capacity:  tiering.Resources{CPU: cores * 1000, Memory: cores * 2 * gib, Disk: 20 * gib},
		Models:    []string{"yolo"},
		Addresses: tiering.Addresses{Data: id + ":7001"},
	}
}

// people is a workflow of a camera, an NI task and detectors that stay off the
// edge.
func people(name string, detectors int) *tiering.Workflow {
	return &tiering.Workflow{
		Name:    name,
		Sources: []tiering.Source{{Name: "cam", URI: "videotest:", Resolution: 416}},
		Tasks: []tiering.Task{
			{Name: "resize", Group: "resize", Type: tiering.Preprocess, Operation: "resize", Request: tiering.Resources{CPU: 100, Memory: gib / 8}, Replicas: 1},
			{
				Name: "detect@416", Group: "detect", Type: tiering.DeepModel, Operation: "detect",
				Model:   &tiering.Model{Name: "yolo", Family: "yolo", Resolution: 416, Fit: tiering.Stretch},
				Request: tiering.Resources{CPU: 1000, Memory: gib}, Replicas: detectors,
			},
		},
		Links: []tiering.Link{
			{From: "cam", To: "resize", Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90},
			{From: "resize", To: "detect", Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90},
		},
		Objectives: tiering.Objectives{MinAccuracy: 0.5, Deadline: time.Second},
	}
}

const detector = "people/detect@416#0"

// on returns the node of a placement, empty if there is none.
func on(s *state.Snapshot, id string) string {
	for _, p := range s.Placements() {
		if p.ID == id {
			return p.Node
		}
	}
	return ""
}

func running(s *state.Snapshot, name string) bool {
	w, ok := s.Workflow(name)
	return ok && w.Status == state.Running
}

// small is a workflow of which many fit.
func small(name string) *tiering.Workflow {
	w := people(name, 1)
	w.Tasks = w.Tasks[:1]
	w.Tasks[0].Request = tiering.Resources{CPU: 1, Memory: 1 << 20}
	w.Links = w.Links[:1]
	return w
}

// voterNames lists who may vote, as the leader has it.
func voterNames(cl *cluster) []string {
	r := cl.leader().raft.Load()
	if r == nil {
		return nil
	}
	f := r.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	var ids []string
	for _, s := range f.Configuration().Servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	slices.Sort(ids)
	return ids
}
