package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/weft-mesh/weft/tiering"
)

// The conditions that this package reports.
var (
	ErrConfig = errors.New("invalid gossip configuration")
	ErrMesh   = errors.New("node of another mesh")
	// ErrDeparted reports news of a run of a node that has left.
	ErrDeparted = errors.New("node has left")
)

// KeySize is the length of the gossip key in bytes (AES-256).
const KeySize = 32

// The pace of failure detection. A node that dies is known to have failed in
// about three seconds in a small mesh (probe + suspicion), growing with the
// logarithm of its size.
const (
	probeInterval = 500 * time.Millisecond
	probeTimeout  = 300 * time.Millisecond
	reclaimAfter  = time.Millisecond
	// A node introduces itself so many times, or fewer and less often in a mesh
	// of more members than crowd.
	introductions = 6
	crowd         = 32
	rejoinEvery   = 3 * time.Second
	freeEvery     = 5 * time.Second // tags are not gossiped more often
	// A last node that leaves has nobody to tell.
	broadcastTimeout = time.Second
)

// Config says who this node is and how it finds others.
type Config struct {
	Mesh string       // name of the mesh; others are refused
	Node tiering.Node // Addresses as others reach them
	// Listen is the address to bind, host:port, TCP and UDP; port 0: any.
	Listen string
	// Advertise is the host that others reach this node at; empty: that of
	// Listen.
	Advertise string
	Join      []string // addresses of nodes of the mesh; none: others join this one
	// Keys encrypt gossip, KeySize bytes each: the first encrypts, and all
	// decrypt. None only with Plaintext.
	Keys      [][]byte
	Plaintext bool
	// DataDir keeps the addresses of known members, so that a restarted node
	// finds the mesh again without Join, and the keys that the mesh has
	// exchanged. Empty: not kept.
	DataDir string
	// Known are names that models of other nodes may have; nil: none. A node
	// that has many does not gossip them in full.
	Known func() []string
	Log   *slog.Logger

	forget time.Duration // of tests: memberlist forgets the dead after it
}

// Gossip is this node's membership in the mesh.
type Gossip struct {
	cfg     Config
	host    string
	serf    *serf.Serf
	events  chan serf.Event
	changed chan struct{}
	leaving atomic.Bool
	keyring *memberlist.Keyring // nil: plain text
	keys    sync.Mutex          // held while keys are exchanged
	run     string              // of this node
	gone    *departed

	mesh atomic.Pointer[string] // short form of the mesh's ID; nil: not known

	mu     sync.Mutex
	node   tiering.Node      // its models in the order in which others are to hear of them
	models string            // as last gossiped
	own    string            // the same, if this node is a coordinator of the mesh
	bad    string            // why its coordinator is out of service; empty: it is not
	free   tiering.Resources // as last measured
	told   tiering.Resources // as last gossiped
	when   time.Time
}

// New binds the address and starts to answer others; Run does the rest.
func New(cfg Config) (*Gossip, error) {
	if cfg.Node.ID == "" || cfg.Mesh == "" {
		return nil, fmt.Errorf("%w: the node and the mesh need names", ErrConfig)
	}
	switch err := checkKeys(cfg.Keys); {
	case cfg.Plaintext && len(cfg.Keys) > 0:
		return nil, fmt.Errorf("%w: gossip in plain text, and a key: choose one", ErrConfig)
	case err != nil && !cfg.Plaintext:
		return nil, err
	}
	bindHost, bindPort, err := splitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("%w: gossip listen address: %w", ErrConfig, err)
	}
	if cfg.Advertise != "" && bindPort == 0 {
		return nil, fmt.Errorf("%w: an advertised address needs a fixed gossip port, not 0", ErrConfig)
	}
	host := cfg.Advertise
	if host == "" {
		host = bindHost
	}
	g := &Gossip{
		cfg: cfg, host: host, node: cfg.Node, free: cfg.Node.Capacity, told: cfg.Node.Capacity,
		// Serf drops nothing: it blocks when this is full, so Run drains it at once.
		events:  make(chan serf.Event, 256),
		changed: make(chan struct{}, 1),
		run:     newRun(), gone: &departed{},
	}
	tags, _, err := g.tags(g.told)
	if err != nil {
		return nil, err
	}
	g.models = modelsOnly(tags)
	logger := newLogger(cfg.Log, &g.leaving)
	ml := memberlist.DefaultLANConfig()
	ml.Name, ml.BindAddr, ml.BindPort = cfg.Node.ID, bindHost, bindPort
	ml.AdvertiseAddr, ml.AdvertisePort = cfg.Advertise, bindPort
	if !cfg.Plaintext {
		if g.keyring, err = newKeyring(cfg.Keys, cfg.DataDir); err != nil {
			return nil, err
		}
		ml.Keyring = g.keyring
	}
	// A packet fits one datagram as it is, and to compress it memberlist makes a
	// new LZW table of 100 kB: that was most of what an idle agent computed.
	ml.EnableCompression = false
	ml.ProbeInterval, ml.ProbeTimeout = probeInterval, probeTimeout
	// A machine that comes back with another address is the same node.
	ml.DeadNodeReclaimTime = reclaimAfter
	if cfg.forget > 0 {
		ml.GossipToTheDeadTime = cfg.forget
	}
	ml.Logger = logger

	sc := serf.DefaultConfig()
	sc.NodeName, sc.Tags, sc.MemberlistConfig = cfg.Node.ID, tags, ml
	sc.EventCh, sc.Logger, sc.LogOutput = g.events, logger, nil
	ml.LogOutput = nil
	sc.Merge = mergeDelegate{mesh: cfg.Mesh, self: cfg.Node.ID, cluster: g.Cluster, gone: g.gone}
	sc.ReconnectInterval = rejoinEvery
	sc.BroadcastTimeout = broadcastTimeout
	// Two nodes of one name: neither may shut the other down.
	sc.EnableNameConflictResolution = false
	if cfg.DataDir != "" {
		sc.SnapshotPath = filepath.Join(cfg.DataDir, "members")
		sc.RejoinAfterLeave = true
		sc.KeyringFile = filepath.Join(cfg.DataDir, keyringFile)
	}
	if g.serf, err = serf.Create(sc); err != nil {
		return nil, fmt.Errorf("gossip on %s: %w (is another weftd running? set `listen.gossip` to a free address)", cfg.Listen, err)
	}
	return g, nil
}

func splitHostPort(addr string) (string, int, error) {
	h, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("address %s: invalid port %q", addr, p)
	}
	if h == "" {
		h = "0.0.0.0"
	}
	return h, port, nil
}

// Addr is where others reach this node's gossip, host:port.
func (g *Gossip) Addr() string {
	m := g.serf.LocalMember()
	return net.JoinHostPort(m.Addr.String(), strconv.Itoa(int(m.Port)))
}

// Run joins the mesh and follows its members until ctx ends; then it leaves,
// so that others see it as left and not as failed.
func (g *Gossip) Run(ctx context.Context) error {
	tick := time.NewTicker(rejoinEvery)
	defer tick.Stop()
	var joining chan error // one attempt at a time
	var (
		introduced int       // times since others are known
		again      time.Time // not before
	)
	join := func() {
		// A node that restarts before the others have noticed that it died is
		// ignored at first if its address is another, so it introduces itself
		// until they must have. Each time it and whoever it joins send each other
		// all members: when a large mesh starts as a whole, doing so at every tick
		// would be more than that node can answer.
		now, alive := time.Now(), g.alive()
		if joining != nil || len(g.cfg.Join) == 0 || alive > 1 && (introduced >= introductions || now.Before(again)) {
			return
		}
		if alive > 1 {
			introduced += 1 + alive/crowd
		}
		again = now.Add(rejoinEvery*time.Duration(1+alive/crowd) - rejoinEvery/2)
		joining = make(chan error, 1)
		go func(done chan<- error) {
			_, err := g.serf.Join(g.cfg.Join, true)
			done <- err
		}(joining)
	}
	complained := false
	join()
	for {
		select {
		case <-ctx.Done():
			if joining != nil {
				<-joining //nolint:errcheck // it leaves, whether it has joined or not
			}
			return g.leave()
		case err := <-joining:
			joining = nil
			if err != nil && !complained {
				g.cfg.Log.Warn("cannot join the mesh yet, will keep trying", "addresses", g.cfg.Join, "err", err)
				complained = true
			} else if err == nil {
				complained = false
			}
		case <-tick.C:
			join()
			g.publish(time.Now())
		case e := <-g.events:
			g.follow(e)
		case <-g.serf.ShutdownCh():
			return fmt.Errorf("gossip: %w", errors.New("shut down unexpectedly"))
		}
	}
}

func (g *Gossip) alive() int {
	n := 0
	for _, m := range g.serf.Members() {
		if m.Status == serf.StatusAlive {
			n++
		}
	}
	return n
}

func (g *Gossip) follow(e serf.Event) {
	if q, ok := e.(*serf.Query); ok {
		g.answer(q)
	}
	me, ok := e.(serf.MemberEvent)
	if !ok {
		return
	}
	for _, m := range me.Members {
		if me.Type == serf.EventMemberLeave {
			g.gone.left(m)
		}
		switch me.Type {
		case serf.EventMemberJoin, serf.EventMemberLeave, serf.EventMemberFailed, serf.EventMemberReap:
			g.cfg.Log.Info(me.Type.String(), "node", m.Name, "tier", m.Tags[tagTier])
		}
		if strange(g.Cluster(), &m) && m.Status == serf.StatusAlive {
			g.cfg.Log.Error("a member is a coordinator of another mesh and does not count; correct `join` on whichever is wrong",
				"node", m.Name, "address", m.Addr, "mesh", m.Tags[tagCluster], "this", g.Cluster())
		}
	}
	g.recognise()
	select {
	case g.changed <- struct{}{}:
	default: // a hint is waiting already
	}
}

// leave drains events meanwhile: Serf sends some while it leaves.
func (g *Gossip) leave() error {
	g.leaving.Store(true)
	done := make(chan error, 1)
	go func() { done <- errors.Join(g.serf.Leave(), g.serf.Shutdown()) }()
	for {
		select {
		case <-g.events:
		case err := <-done:
			if err != nil {
				return fmt.Errorf("leave the mesh: %w", err)
			}
			return nil
		}
	}
}

// Changed is a hint, at most one waiting, that Members has changed.
func (g *Gossip) Changed() <-chan struct{} { return g.changed }

// Members is the mesh as this node sees it, itself included, sorted by
// nothing in particular. Members whose tags cannot be read are left out, and
// those that have not announced their addresses yet.
func (g *Gossip) Members() []tiering.Member {
	var out []tiering.Member
	members := g.serf.Members()
	names := sync.OnceValue(func() map[string]string { return g.names(members) })
	for _, m := range members {
		n, free, err := decodeTags(m.Name, m.Addr.String(), m.Tags, names)
		if err != nil {
			g.cfg.Log.Warn("ignoring a member", "err", err)
			continue
		}
		if n.Addresses.Data == "" {
			continue // it has not announced yet where it is
		}
		if strange(g.Cluster(), &m) {
			continue // it came before either knew
		}
		status := tiering.NodeFailed
		switch m.Status {
		case serf.StatusAlive:
			status = tiering.NodeAlive
		case serf.StatusLeaving, serf.StatusLeft:
			status = tiering.NodeLeft
		}
		out = append(out, tiering.Member{Node: n, Status: status, Free: free, Fault: m.Tags[tagFault]})
	}
	return out
}

// RoundTrip estimates the round trip between two nodes from Serf's network
// coordinates; false until both have been measured.
func (g *Gossip) RoundTrip(a, b string) (time.Duration, bool) {
	if a == b {
		return 0, true
	}
	ca, ok1 := g.serf.GetCachedCoordinate(a)
	cb, ok2 := g.serf.GetCachedCoordinate(b)
	// A coordinate that never met another still has the largest error.
	if !ok1 || !ok2 || ca.Error >= unmeasured || cb.Error >= unmeasured {
		return 0, false
	}
	return ca.DistanceTo(cb), true
}

// unmeasured is the error that Serf's coordinates start with (VivaldiErrorMax).
const unmeasured = 1.5

// SetFree says how much of the node's capacity is unused now. It is gossiped
// when it has moved by a tenth of the capacity, at most every five seconds.
func (g *Gossip) SetFree(free tiering.Resources) {
	g.mu.Lock()
	g.free = free
	g.mu.Unlock()
}

// SetCluster says of which mesh this node is a coordinator, by the mesh's ID,
// and gossips it: meshes of one name that were set up apart do not mix.
func (g *Gossip) SetCluster(id string) error {
	short := shortCluster(id)
	g.mesh.Store(&short)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.own = short
	return g.tell(time.Now())
}

// Cluster is the short form of the ID of the mesh that this node is in, empty
// while it does not know. One that is no coordinator goes by the live ones
// that it sees: nothing is kept, so a mesh that has to be formed anew gets its
// agents back.
func (g *Gossip) Cluster() string {
	if id := g.mesh.Load(); id != nil {
		return *id
	}
	return ""
}

// recognise learns of which mesh the live coordinators are. What is known
// stays as long as one of them says so.
func (g *Gossip) recognise() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.own != "" {
		return
	}
	seen := ""
	for _, m := range g.serf.Members() {
		id := m.Tags[tagCluster]
		if m.Status != serf.StatusAlive || id == "" || m.Name == g.cfg.Node.ID {
			continue
		}
		if id == g.Cluster() {
			return
		}
		seen = id
	}
	g.mesh.Store(&seen)
}

// Announce gossips where the node is to be reached: some addresses are known
// only once they are bound.
func (g *Gossip) Announce(a tiering.Addresses) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.node.Addresses = a
	return g.tell(time.Now())
}

// publish gossips the free capacity if that is worth it.
func (g *Gossip) publish(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.when) < freeEvery || !worthTelling(g.told, g.free, g.node.Capacity) {
		return
	}
	if err := g.tell(now); err != nil {
		g.cfg.Log.Error("cannot gossip this node's tags", "err", err)
	}
}

// tell gossips the node as it is; g.mu is held.
func (g *Gossip) tell(now time.Time) error {
	tags, _, err := g.tags(g.free)
	if err != nil {
		return err
	}
	g.send(tags, now)
	return nil
}

// send gossips tags; g.mu is held.
func (g *Gossip) send(tags map[string]string, now time.Time) {
	if err := g.serf.SetTags(tags); err != nil {
		// They fit, so it is only that nobody could be told within a second. On
		// a busy machine a node that comes back may have to refute its own death
		// first, and that message, with these tags, takes the other's place. A
		// node that is alive does not end for that.
		g.cfg.Log.Warn("others hear late of this node's tags", "err", err)
	}
	g.told, g.when, g.models = g.free, now, modelsOnly(tags)
}

// tags are what this node gossips of itself, and of how many of its models; g.mu
// is held, or nobody else knows g yet.
func (g *Gossip) tags(free tiering.Resources) (tags map[string]string, models int, err error) {
	tags, models, err = encodeTags(g.cfg.Mesh, g.own, g.host, g.run, g.node, free)
	if err == nil {
		addFault(tags, g.bad)
	}
	return tags, models, err
}

// mergeDelegate keeps meshes apart, and out what has left.
type mergeDelegate struct {
	mesh, self string
	cluster    func() string
	gone       *departed
}

var _ serf.MergeDelegate = mergeDelegate{}

// strange reports whether a member is a coordinator of another mesh than own,
// as far as both are known.
func strange(own string, m *serf.Member) bool {
	id := m.Tags[tagCluster]
	return own != "" && id != "" && id != own
}

// NotifyMerge refuses members of another mesh, of another name or set up apart
// under the same one, and news of a node that has left. A list of members may
// have dead ones in it, of a mesh that had to be formed anew; one that is of
// this mesh speaks for the others. Serf asks for each member that is said to be
// alive; where it asks for several, one that joins knows them, and may not have
// heard yet who has left.
func (d mergeDelegate) NotifyMerge(members []*serf.Member) error {
	own := d.cluster()
	var apart, kin *serf.Member
	for _, m := range members {
		switch {
		case m.Name == d.self || m.Status == serf.StatusLeft:
		case strange(own, m):
			apart = m
		case own != "" && m.Tags[tagCluster] == own:
			kin = m
		}
	}
	if apart != nil && kin == nil {
		return fmt.Errorf("%w: %s at %s:%d is of a mesh %q that was set up apart (%s, this is %s); correct `join` on whichever is wrong, or, to give up its mesh, stop its coordinators and remove raft/ from their data directories",
			ErrMesh, apart.Name, apart.Addr, apart.Port, d.mesh, apart.Tags[tagCluster], own)
	}
	for _, m := range members {
		if got := m.Tags[tagMesh]; got != d.mesh {
			return fmt.Errorf("%w: %s is of mesh %q, this is %q", ErrMesh, m.Name, got, d.mesh)
		}
	}
	if len(members) == 1 && members[0].Status != serf.StatusLeft {
		return d.gone.back(members[0])
	}
	return nil
}
