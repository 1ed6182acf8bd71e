package emulation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

const (
	// bootLimit is how long one weftd may take to listen. Two hundred of them
	// that boot at once on two cores need it.
	bootLimit = 3 * time.Minute
	// teardownLimit is for everything together.
	teardownLimit = time.Minute
)

// Testbed is an emulated continuum. All methods but Run are for the function
// that Run calls, and may be called concurrently.
type Testbed struct {
	cfg      Config
	s        *testbed.Scenario
	place    Place
	shaping  string
	newNet   func() (network, error)
	nursery  *nursery
	operator *pki.Identity
	apis     []string
	reapers  sync.WaitGroup

	// seen is a copy of the nodes' states, for who watches: to start a node takes
	// its time, and the mutex.
	seen atomic.Pointer[[]NodeState]

	mu       sync.Mutex // over what follows, and what may change of a node
	began    bool
	closing  bool // no node is started any more
	limited  bool // nodes have their CPU quotas
	state    State
	nodes    []*node // in the order of the scenario
	named    map[string]*node
	topology *testbed.Topology
	paths    map[direction]path // as they are set
	net      network            // nil: the testbed is down
}

// New checks what can be checked without changing anything: the configuration
// (ErrConfig) and the machine (ErrMissing).
func New(cfg Config, s *testbed.Scenario) (*Testbed, error) {
	cfg = cfg.withDefaults(s)
	if err := errors.Join(cfg.check(s), Missing(cfg)); err != nil {
		return nil, err
	}
	for _, p := range []*string{&cfg.Dir, &cfg.Weftd} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		*p = abs
	}
	t := &Testbed{
		cfg: cfg, s: s, place: cfg.Place, nursery: newNursery(),
		named: map[string]*node{}, topology: testbed.NewTopology(s), paths: map[direction]path{},
	}
	use, why := choose(cfg.Shaping)
	t.shaping = why
	t.newNet = func() (network, error) {
		if use == Kernel {
			return newKernelNetwork(t.place.namespace(cfg.Name, hub), cfg.Log.With("part", "links"))
		}
		return newUserNetwork(s.Seed, cfg.Log.With("part", "links"))
	}
	return t, nil
}

// hub is the namespace of the kernel's links. No node is called so.
const hub = "HUB"

// Run sets everything up, calls use, and takes everything down whatever
// happens: an error, a panic of use, the end of ctx. The context of use also
// ends when the links fail; context.Cause says why. Run works once.
func (t *Testbed) Run(ctx context.Context, use func(context.Context) error) (err error) {
	t.mu.Lock()
	again := t.began
	t.began = true
	t.mu.Unlock()
	if again {
		return fmt.Errorf("%w: testbed %s has run", ErrState, t.cfg.Name)
	}
	lock, err := t.place.lock(t.cfg.Name)
	if err != nil {
		return err
	}
	if err := t.alone(); err != nil {
		return errors.Join(err, unlock(lock))
	}
	self, err := self()
	if err != nil {
		return errors.Join(fmt.Errorf("who am I: %w", err), t.place.forget(t.cfg.Name), unlock(lock))
	}
	t.state = State{
		Format: stateFormat, Name: t.cfg.Name, Version: t.cfg.Version, Dir: t.cfg.Dir,
		Began: time.Now(), Phase: Starting, Holder: self, Shaping: t.shaping,
	}

	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	v := newServices(ctx, fail)
	defer func() { err = errors.Join(err, t.end(context.WithoutCancel(ctx), v), unlock(lock)) }()
	v.run(t.nursery.run)
	if err := t.setUp(ctx, v); err != nil {
		return fmt.Errorf("bring testbed %s up: %w", t.cfg.Name, err)
	}
	return use(ctx)
}

// services run beside the function that uses the testbed, and until its nodes
// are gone. Where one fails, that function's context ends.
type services struct {
	ctx   context.Context
	stop  context.CancelFunc
	fail  context.CancelCauseFunc
	group errgroup.Group
}

func newServices(ctx context.Context, fail context.CancelCauseFunc) *services {
	v := &services{fail: fail}
	v.ctx, v.stop = context.WithCancel(context.WithoutCancel(ctx))
	return v
}

func (v *services) run(service func(context.Context) error) {
	v.group.Go(func() error {
		err := service(v.ctx)
		v.fail(err)
		return err
	})
}

// halt ends them and returns the first error of one.
func (v *services) halt() error {
	v.stop()
	return v.group.Wait()
}

// end takes the testbed down and forgets it, or records why it could not.
func (t *Testbed) end(ctx context.Context, v *services) error {
	served, err := t.takeDown(ctx, v)
	if err == nil {
		return errors.Join(served, t.closeJournals(), t.place.forget(t.cfg.Name))
	}
	// A panic may be on its way, and nobody see what is returned.
	t.cfg.Log.Error("the testbed could not be taken down", "err", err)
	t.mu.Lock()
	t.state.Phase, t.state.Message = Failed, err.Error()
	t.note()
	t.mu.Unlock()
	return errors.Join(served, t.closeJournals(),
		fmt.Errorf("take testbed %s down: %w (`weft testbed down %s` tries again)", t.cfg.Name, err, t.cfg.Name))
}

// alone refuses to begin where something is left of an earlier testbed, whose
// holder cannot live since we have its lock.
func (t *Testbed) alone() error {
	name := t.cfg.Name
	spaces, groups, err := t.place.leftovers(name)
	if err != nil {
		return err
	}
	left := spaces
	for _, g := range groups {
		left = append(left, "cgroup "+g)
	}
	if _, err := os.Stat(t.place.state(name)); err == nil {
		left = append(left, t.place.state(name))
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: %s: %s: remove it with `weft testbed down %s`", ErrLeftover, name, few(left), name)
	}
	if err := fresh(t.cfg.Dir); err != nil {
		return errors.Join(err, t.place.forget(name))
	}
	return nil
}

// setUp makes everything, step by step.
func (t *Testbed) setUp(ctx context.Context, v *services) error {
	t.warnOfOvercommitment()
	if err := t.describe(); err != nil {
		return err
	}
	if err := t.makeNodes(ctx); err != nil {
		return err
	}
	if err := t.makeLinks(ctx, v); err != nil {
		return err
	}
	if t.cfg.Linked != nil {
		if err := t.cfg.Linked(ctx, t); err != nil {
			return err
		}
	}
	if err := t.boot(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state.Phase = Up
	return t.save()
}

// warnOfOvercommitment says when the nodes together may use more than there is.
func (t *Testbed) warnOfOvercommitment() {
	total, cores := 0.0, 0.0
	for _, n := range t.s.Nodes {
		total += t.s.Quota(n, t.cfg.CPUScale)
		cores += float64(n.Cores) / 1000
	}
	have := float64(runtime.NumCPU())
	if total > have {
		remedy := "fewer nodes, or less cpuOverhead"
		if scale := (0.9*have - (total - cores*t.cfg.CPUScale)) / cores; scale > 0 {
			remedy = fmt.Sprintf("a CPU scale of %.2g", scale)
		}
		t.cfg.Log.Warn("the nodes may use more CPU than this machine has: under load they are not in proportion",
			"nodes", fmt.Sprintf("%.3g cores", total), "machine", fmt.Sprintf("%.3g cores", have),
			"remedy", remedy)
	}
}

// describe writes the record before anything is made that it must name.
func (t *Testbed) describe() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, n := range t.s.Nodes {
		x := &node{spec: n, state: NodeState{
			Name: n.Name, Address: address(i, n),
			Namespace: t.place.namespace(t.cfg.Name, n.Name), Cgroup: t.place.nodeCgroup(t.cfg.Name, n.Name),
			Dir: filepath.Join(t.cfg.Dir, "nodes", n.Name),
		}}
		t.nodes = append(t.nodes, x)
		t.named[n.Name] = x
	}
	return t.save()
}

// makeNodes makes namespaces, cgroups, keys and configurations.
func (t *Testbed) makeNodes(ctx context.Context) error {
	addrs := map[string]netip.Addr{}
	for _, n := range t.nodes {
		addrs[n.spec.Name] = n.state.Address
	}
	now := time.Now()
	m, operator, err := newMesh(t.cfg.Name, t.cfg.Dir, t.s, t.cfg.CPUScale, addrs, now)
	if err != nil {
		return err
	}
	t.operator, t.apis = operator, m.apis()
	for i, n := range t.nodes {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := t.makeNode(m, n, now); err != nil {
			return err
		}
		t.cfg.Progress("nodes", i+1, len(t.nodes))
	}
	return nil
}

func (t *Testbed) makeNode(m *mesh, n *node, now time.Time) error {
	if err := m.node(n.spec, n.state.Dir, now); err != nil {
		return err
	}
	if err := errors.Join(t.mountDisk(n), n.makeClock()); err != nil {
		return err
	}
	log, err := openJournal(filepath.Join(n.state.Dir, "weftd.log"))
	if err != nil {
		return err
	}
	n.log = log
	if err := errors.Join(ns.Create(n.state.Namespace), loopback(n.state.Namespace)); err != nil {
		return err
	}
	g, err := cgroup.Create(n.state.Cgroup)
	if err != nil {
		return err
	}
	n.group = g
	return g.SetMemory(n.spec.Memory)
}

// makeLinks joins the nodes and starts to carry packets.
func (t *Testbed) makeLinks(ctx context.Context, v *services) error {
	net, err := t.newNet()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.net = net
	for _, n := range t.nodes {
		if err := net.attach(n.spec.Name, n.state.Namespace, netip.PrefixFrom(n.state.Address, subnet)); err != nil {
			return err
		}
	}
	if _, err := t.wire(func(done, total int) { t.cfg.Progress("links", done, total) }); err != nil {
		return err
	}
	v.run(net.Run)
	return context.Cause(ctx)
}

// boot starts every weftd, the coordinators first, since the others join
// through them, and waits until all listen.
func (t *Testbed) boot(ctx context.Context) error {
	order := slices.Clone(t.nodes)
	slices.SortStableFunc(order, func(a, b *node) int { return rank(a) - rank(b) })
	for _, n := range order {
		if err := t.start(ctx, n); err != nil {
			return err
		}
	}
	for i, n := range order {
		if err := t.awaitBoot(ctx, n); err != nil {
			return err
		}
		t.cfg.Progress("weftd", i+1, len(order))
	}
	return t.fallen()
}

func rank(n *node) int {
	if n.spec.Coordinator {
		return 0
	}
	return 1
}

// awaitBoot waits until a weftd listens for HTTP, which it does last.
func (t *Testbed) awaitBoot(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("node %s does not listen after %s: see %s",
		n.spec.Name, bootLimit, filepath.Join(n.state.Dir, "weftd.log")))
	defer cancel()
	return t.listens(ctx, n)
}

// listens waits until a weftd does.
func (t *Testbed) listens(ctx context.Context, n *node) error {
	dial := t.Dial(n.spec.Name)
	return poll(ctx, func() (bool, error) {
		if err := t.fallen(); err != nil {
			return false, err
		}
		c, err := dial(ctx, "tcp", "127.0.0.1:"+httpPort)
		if err != nil {
			return false, nil // not yet
		}
		return true, c.Close()
	})
}

// fallen reports a weftd that has ended by itself.
func (t *Testbed) fallen() error {
	for _, n := range t.Nodes() {
		if n.Exit != "" {
			return fmt.Errorf("the weftd of node %s ended: %s; its last lines:\n  %s", n.Name, n.Exit, strings.Join(n.Log, "\n  "))
		}
	}
	return nil
}

// takeDown ends and removes everything that is there, the processes first and
// then what serves them, whose own error is apart.
func (t *Testbed) takeDown(ctx context.Context, v *services) (served, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, teardownLimit, fmt.Errorf("not done after %s", teardownLimit))
	defer cancel()
	t.mu.Lock()
	t.closing = true
	t.state.Phase = Stopping
	t.note()
	for _, n := range t.nodes {
		if n.proc != nil {
			n.proc.wanted = true
			// An error says that it is gone already.
			_ = n.proc.cmd.Process.Signal(syscall.SIGKILL)
		}
	}
	t.mu.Unlock()
	// Each ends with its process, and the output pipe a second later at most.
	t.reapers.Wait()
	err = cgroup.Kill(ctx, t.place.cgroupOf(t.cfg.Name))
	served = v.halt()
	t.mu.Lock()
	net := t.net
	t.net = nil
	t.mu.Unlock()
	if net != nil {
		err = errors.Join(err, net.Close())
	}
	return served, errors.Join(err, t.place.sweep(ctx, t.cfg.Name))
}

func (t *Testbed) closeJournals() error {
	var errs []error
	for _, n := range t.nodes {
		if n.log != nil {
			errs = append(errs, n.log.Close())
		}
	}
	return errors.Join(errs...)
}

// save writes the record; the caller has the mutex.
func (t *Testbed) save() error {
	t.state.Nodes = t.state.Nodes[:0]
	for _, n := range t.nodes {
		t.state.Nodes = append(t.state.Nodes, n.state)
	}
	seen := slices.Clone(t.state.Nodes)
	t.seen.Store(&seen)
	return t.place.save(&t.state)
}

// note saves a change that only others read: the testbed does not end because
// they cannot be told. The caller has the mutex.
func (t *Testbed) note() {
	if err := t.save(); err != nil {
		t.cfg.Log.Error("other processes are not told how the testbed is", "err", err)
	}
}
