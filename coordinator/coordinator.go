package coordinator

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/coordinator/adapter"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// The conditions that callers tell apart.
var (
	// ErrNotLeader: ask the leader (see Leader). If it comes from a write that
	// was under way when leadership was lost, the write may yet happen.
	ErrNotLeader = errors.New("not the leader")
	// ErrNoLeader: there is none at the moment; try again.
	ErrNoLeader = errors.New("no leader")
	// ErrWrongMesh: the data directory belongs to another mesh.
	ErrWrongMesh = errors.New("data directory of another mesh")
	// ErrInUse: another process works on the data directory.
	ErrInUse  = errors.New("in use by another weftd")
	ErrConfig = errors.New("coordinator configuration")

	ErrNotFound = state.ErrNotFound // no such workflow or node
	ErrConflict = state.ErrConflict // the mesh changed faster than it could be planned
	ErrInvalid  = state.ErrInvalid  // what was sent makes no sense
)

// Membership is what gossip knows of the mesh.
type Membership interface {
	// Cluster tells the mesh from others of its name, as far as gossip knows
	// that it has been formed; empty if it does not.
	Cluster() string
	// Members lists every known node, this one included.
	Members() []tiering.Member
	// Changed has capacity 1 and holds a hint that Members has changed.
	Changed() <-chan struct{}
}

// Config is what a coordinator needs to know.
type Config struct {
	ID      string // of this node; its name in gossip and in Raft
	Cluster string // name of the mesh
	DataDir string // of this coordinator alone
	// RaftListen is the TCP address to listen on for other coordinators.
	RaftListen string
	// RaftAdvertise is what the others dial, host:port; empty: the address
	// listened on. Port 0 stands for the port listened on.
	RaftAdvertise string
	// Expect is how many coordinators a new mesh waits for before the first
	// election: the same on all of them. 1 starts alone and at once; 0 never
	// starts a mesh, but waits to be added to one. Coordinators that leave stop
	// being voters as long as Expect of them remain.
	Expect int
	// ServerTLS and ClientTLS must verify the peer (package internal/pki).
	ServerTLS, ClientTLS *tls.Config
	Peers                *pki.Peers // connections end with the trust in their peer; nil: they do not
	// Reconcile is how often the leader compares state and membership although
	// nothing seems to have changed; 0: 5 s.
	Reconcile time.Duration
	// Timing of Raft; zero fields: Raft's defaults.
	Timing Timing
	Voters Voters
	// OnFault is told why the coordinator goes out of service, and nil when it is
	// in service again; it must not block for long. It may be nil.
	OnFault func(error)
	Log     *slog.Logger
}

// Timing overrides Raft's timing, for meshes on one machine and for tests.
type Timing struct {
	Heartbeat         time.Duration // follower without a leader until it stands for election
	Election          time.Duration // candidate without a majority until it tries again
	Lease             time.Duration // leader without a majority until it steps down
	Commit            time.Duration // longest wait before followers hear of a commit
	SnapshotInterval  time.Duration
	SnapshotThreshold uint64        // log entries since the last snapshot
	TrailingLogs      uint64        // kept after a snapshot, for followers that lag
	Retry             time.Duration // from a fault of the storage until Raft is started again, at first; 0: 1 s
}

const (
	defaultReconcile = 5 * time.Second
	defaultRetry     = time.Second
	maxRetry         = 10 // times the first wait
)

// Coordinator is one of the machines that hold the state of the mesh.
type Coordinator struct {
	cfg     Config
	log     *slog.Logger
	members Membership
	rtt     tiering.RoundTrips

	addr      string // of Raft, as others dial it
	transport func(hclog.Logger) (transport, error)
	identity  meshID
	served    bool                 // Raft has run; of Run only
	disk      atomic.Pointer[disk] // under the present Raft

	machine  *state.Machine
	reports  *kpi.Reports                              // leader only
	raft     atomic.Pointer[raft.Raft]                 // nil before Run
	leading  atomic.Bool                               // leader, and the state is up to date
	adapted  atomic.Pointer[map[string]adapter.Status] // by workflow; leader only
	planning chan struct{}                             // holds a token while someone plans
	queue    *planner.Queue                            // of what was planned and is being committed
	gate     atomic.Pointer[gate]                      // to Raft; nil before Run
	fault    atomic.Pointer[error]                     // why it is out of service; nil: it is not
}

// New checks the configuration and binds the Raft listener, which Run
// releases (also a Run with a context that is done). rtt may be nil.
func New(cfg Config, m Membership, rtt tiering.RoundTrips) (*Coordinator, error) {
	switch {
	case cfg.RaftListen == "":
		return nil, fmt.Errorf("%w: no address to listen on for Raft", ErrConfig)
	case cfg.ServerTLS == nil || cfg.ClientTLS == nil:
		return nil, fmt.Errorf("%w: Raft needs TLS settings for both directions", ErrConfig)
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.RaftListen)
	if err != nil {
		return nil, fmt.Errorf("%w: Raft cannot listen on %s: %w (is another weftd running there? choose another address)", ErrConfig, cfg.RaftListen, err)
	}
	bound := l.Addr().String()
	addr, err := advertised(cfg.RaftAdvertise, l.Addr())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	c := newCoordinator(cfg, m, rtt, addr.String(), nil)
	c.transport = func(log hclog.Logger) (transport, error) {
		if l == nil { // Raft is started again
			if l, err = net.Listen("tcp", bound); err != nil {
				return nil, fmt.Errorf("%w: %w", errAgain, err)
			}
		}
		s := newStream(l, addr, cfg.ServerTLS, cfg.ClientTLS, cfg.Peers, c, c.log)
		l = nil
		return s.transport(log), nil
	}
	return c, nil
}

func newCoordinator(cfg Config, m Membership, rtt tiering.RoundTrips, addr string, transport func(hclog.Logger) (transport, error)) *Coordinator {
	cfg.Reconcile = cmp.Or(cfg.Reconcile, defaultReconcile)
	cfg.Voters.Stable = cmp.Or(cfg.Voters.Stable, defaultStable)
	cfg.Voters.Dead = cmp.Or(cfg.Voters.Dead, defaultDead)
	cfg.Timing.Retry = cmp.Or(cfg.Timing.Retry, defaultRetry)
	return &Coordinator{
		cfg: cfg, log: cfg.Log.With("component", "coordinator"), members: m, rtt: rtt,
		addr: addr, transport: transport, identity: meshID{known: make(chan struct{})},
		machine: state.New(), reports: kpi.New(), planning: make(chan struct{}, 1), queue: planner.NewQueue(rtt),
	}
}

func (cfg *Config) validate() error {
	switch {
	case cfg.ID == "":
		return fmt.Errorf("%w: no node ID", ErrConfig)
	case cfg.Cluster == "":
		return fmt.Errorf("%w: no name of the mesh", ErrConfig)
	case cfg.DataDir == "":
		return fmt.Errorf("%w: no data directory", ErrConfig)
	case cfg.Expect < 0:
		return fmt.Errorf("%w: expects %d coordinators; use 0 to join a mesh that has some", ErrConfig, cfg.Expect)
	case cfg.Reconcile < 0:
		return fmt.Errorf("%w: reconciles every %v", ErrConfig, cfg.Reconcile)
	case cfg.Voters.Stable < 0 || cfg.Voters.Dead < 0:
		return fmt.Errorf("%w: a vote after %v, none after %v of silence", ErrConfig, cfg.Voters.Stable, cfg.Voters.Dead)
	}
	return nil
}

// errAgain marks what may pass and is not the storage's.
var errAgain = errors.New("will try again")

// Run is the coordinator at work until ctx is done or it fails. A leader hands
// its leadership over before it stops. It may be called once.
//
// A fault of the storage that can pass, a full disk above all, does not end it:
// Raft is stopped and started again until it works. Damage does end it, as an
// ErrStorage; nobody but the operator can mend that.
func (c *Coordinator) Run(ctx context.Context) error {
	wait := c.cfg.Timing.Retry
	for {
		began := time.Now()
		err := c.serve(ctx)
		if err != nil && ctx.Err() == nil {
			c.outOfService(err)
		}
		if !c.mayPass(err) {
			return err
		}
		if time.Since(began) > maxRetry*c.cfg.Timing.Retry {
			wait = c.cfg.Timing.Retry // it had worked
		}
		c.log.Error("coordinator out of service, trying again", "error", err, "in", wait)
		select {
		case <-time.After(wait):
			wait = min(2*wait, maxRetry*c.cfg.Timing.Retry)
		case <-ctx.Done():
			return nil
		}
	}
}

// outOfService keeps why this coordinator does not work, nil if it does.
func (c *Coordinator) outOfService(why error) {
	was := c.fault.Load() != nil
	if why == nil {
		c.fault.Store(nil)
	} else {
		c.fault.Store(&why)
	}
	if c.cfg.OnFault != nil && (was || why != nil) {
		c.cfg.OnFault(why)
	}
}

// Fault is why this coordinator is out of service, which Run tries to mend if
// it can; nil: it is in service, or has not been yet.
func (c *Coordinator) Fault() error {
	if why := c.fault.Load(); why != nil {
		return *why
	}
	return nil
}

// mayPass reports whether a fault may be gone later without anybody's doing
// something to the data directory. One that is there from the start, a
// directory that may not be written to, say, is not of that kind.
func (c *Coordinator) mayPass(err error) bool {
	switch {
	case errors.Is(err, ErrCorruptLog), errors.Is(err, ErrCorruptSnapshot):
		return false
	case errors.Is(err, ErrStorage):
		return c.served || errors.Is(err, ErrDiskFull)
	}
	return errors.Is(err, errAgain)
}

// serve is one life of Raft.
func (c *Coordinator) serve(ctx context.Context) error {
	s, err := c.open()
	if err != nil {
		return err
	}
	c.served = true
	c.disk.Store(s.disk)
	way := newGate(s.raft)
	defer way.abandon()
	c.gate.Store(way)
	c.raft.Store(s.raft)
	c.outOfService(nil)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.bootstrap(gctx, s.raft) })
	g.Go(func() error { return c.monitorLeadership(gctx, s) })
	g.Go(func() error {
		select {
		case err := <-s.store.faults:
			way.abandon()
			return storageFault(err, s.logDir)
		case <-gctx.Done():
			return nil
		}
	})
	err = g.Wait()
	if s.store.broken.Load() {
		c.raft.Store(nil) // it may not answer any more
		way.abandon()
	} else {
		c.StepDown()
	}
	way.close()
	return errors.Join(err, s.close())
}

// StepDown hands leadership over to another coordinator, if this one leads and
// there is another. Run does so too; call it earlier to have a leader while
// this node says good-bye.
func (c *Coordinator) StepDown() {
	r := c.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return
	}
	if conf := r.GetConfiguration(); conf.Error() != nil || len(conf.Configuration().Servers) < 2 {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), answerWithin) // its storage may fail now
	defer stop()
	if err := c.gate.Load().ask(ctx, func(r *raft.Raft) raft.Future { return r.LeadershipTransfer() }); err != nil {
		c.log.Warn("leadership not handed over; the others will elect a leader", "error", err)
	}
}

// RaftAddr is the address at which other coordinators reach this one.
func (c *Coordinator) RaftAddr() string { return c.addr }

// Leader returns the leader's node ID and, if it is known, the address of its
// API. ok is false while there is no leader.
func (c *Coordinator) Leader() (id, apiAddr string, ok bool) {
	r := c.raft.Load()
	if r == nil {
		return "", "", false
	}
	_, leader := r.LeaderWithID()
	if leader == "" {
		return "", "", false
	}
	id = string(leader)
	if n, known := c.Snapshot().Node(id); known && n.Addresses.API != "" {
		return id, n.Addresses.API, true
	}
	// Not in the state yet: gossip is ahead of it.
	for _, m := range c.members.Members() {
		if m.Node.ID == id {
			return id, m.Node.Addresses.API, true
		}
	}
	return id, "", true
}

// IsLeader reports whether this coordinator leads and takes writes.
func (c *Coordinator) IsLeader() bool { return c.leading.Load() }

// Snapshot returns the state as this coordinator knows it, which on a follower
// may be a little behind the leader's.
func (c *Coordinator) Snapshot() *state.Snapshot { return c.machine.Snapshot() }

// Events waits until there are events of log entries after the given index and
// returns them, oldest first. Events long past are gone.
func (c *Coordinator) Events(ctx context.Context, after uint64) ([]state.Event, error) {
	for {
		events, more := c.machine.Events(after)
		if len(events) > 0 {
			return events, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Report takes what an agent says of what it runs; the report is the
// Coordinator's from now on. Only the leader takes reports.
func (c *Coordinator) Report(r pipeline.Report) error {
	if err := c.mustLead(); err != nil {
		return err
	}
	err := c.reports.Add(&r, c.Snapshot())
	if errors.Is(err, kpi.ErrReport) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// Status returns how a workflow is doing. Only the leader knows, and it makes
// sure that it leads.
func (c *Coordinator) Status(ctx context.Context, name string) (kpi.Workflow, error) {
	if err := c.Verify(ctx); err != nil {
		return kpi.Workflow{}, err
	}
	snap := c.Snapshot()
	w, ok := snap.Workflow(name)
	if !ok {
		return kpi.Workflow{}, fmt.Errorf("%w: workflow %q", ErrNotFound, name)
	}
	return c.reports.Status(w, snap), nil
}

// Quality returns how the quality of a workflow's sources is adapted. Only the
// leader knows, and it makes sure that it leads.
func (c *Coordinator) Quality(ctx context.Context, name string) (adapter.Status, error) {
	if err := c.Verify(ctx); err != nil {
		return adapter.Status{}, err
	}
	w, ok := c.Snapshot().Workflow(name)
	if !ok {
		return adapter.Status{}, fmt.Errorf("%w: workflow %q", ErrNotFound, name)
	}
	if all := c.adapted.Load(); all != nil {
		if s, ok := (*all)[name]; ok {
			return s, nil
		}
	}
	idle := "nothing has been decided since this leader took office"
	if w.Status == state.Stopped {
		idle = "the workflow is stopped"
	}
	return adapter.Status{Workflow: name, Idle: idle, Sources: []adapter.Source{}}, nil
}

// Metrics returns a collector of what this coordinator decides while it leads.
func (c *Coordinator) Metrics() prometheus.Collector {
	return newMetrics(func() map[string]adapter.Status {
		if all := c.adapted.Load(); all != nil && c.leading.Load() {
			return *all
		}
		return nil
	})
}

// mustLead returns why this coordinator does not take writes.
func (c *Coordinator) mustLead() error {
	if c.IsLeader() {
		return nil
	}
	if id, _, ok := c.Leader(); ok && id != c.cfg.ID {
		return fmt.Errorf("%w: %s is", ErrNotLeader, id)
	}
	return ErrNoLeader
}

// applyTimeout bounds the wait for a place in Raft's queue.
const applyTimeout = 5 * time.Second

// apply commits one command. Raft's error and the state machine's answer are
// two things (the future's Error and Response); here they become one error,
// with the Result for what the machine refused.
func (c *Coordinator) apply(cmd state.Command) (state.Result, error) {
	wait, err := c.begin(cmd)
	if err != nil {
		return state.Result{}, err
	}
	return wait()
}

// begin is apply without the wait: commands that are begun one after the other
// are carried out in that order. wait must be called, once.
func (c *Coordinator) begin(cmd state.Command) (wait func() (state.Result, error), err error) {
	g := c.gate.Load()
	if g == nil || c.raft.Load() == nil {
		return nil, ErrNoLeader
	}
	entry, err := state.Encode(cmd)
	if err != nil {
		return nil, err
	}
	answer, err := g.apply(entry)
	if err != nil {
		return nil, raftError(err)
	}
	return func() (state.Result, error) {
		response, err := answer()
		if err != nil {
			return state.Result{}, raftError(err)
		}
		switch r := response.(type) {
		case state.Result:
			return r, r.Err
		case error: // the log is damaged
			return state.Result{}, fmt.Errorf("%w: %w", ErrNotLeader, r)
		default:
			return state.Result{}, fmt.Errorf("state machine answered with %T", r)
		}
	}, nil
}

// raftError says in this package's words what Raft returned.
func raftError(err error) error {
	for _, lost := range []error{raft.ErrNotLeader, raft.ErrLeadershipLost, raft.ErrLeadershipTransferInProgress, raft.ErrRaftShutdown} {
		if errors.Is(err, lost) {
			return fmt.Errorf("%w: %w", ErrNotLeader, err)
		}
	}
	return fmt.Errorf("raft: %w", err)
}
