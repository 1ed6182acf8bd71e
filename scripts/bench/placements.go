package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

const (
	placementTurn  = 500 * time.Millisecond
	placementTurns = 2 // for one of the others
	workers        = 100
	electWithin    = 30 * time.Second
	gib            = 1 << 30
)

// benchPlacements submits workflows to coordinators, and as many entries of
// the same size to Raft alone.
func benchPlacements(ctx context.Context, h *harness) ([]Ratio, error) {
	var out []Ratio
	for _, nodes := range []int{1, 3} {
		r, err := placementsOf(ctx, h, nodes)
		out = append(out, r...)
		if err != nil {
			return out, fmt.Errorf("%d nodes: %w", nodes, err)
		}
	}
	return out, nil
}

func placementsOf(ctx context.Context, h *harness, nodes int) (_ []Ratio, err error) {
	control, err := startControl(ctx, h, nodes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, control.stop()) }()
	size, placed, err := control.sample(ctx)
	if err != nil {
		return nil, err
	}
	bare, err := startBare(ctx, h, nodes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	entry := make([]byte, size)
	var out []Ratio
	for _, callers := range []int{1, 8} {
		per := func(n float64) float64 { return n * float64(placed) }
		what := fmt.Sprintf("placements/s, Raft nodes: %d, callers: %d", nodes, callers)
		v, err := h.interleave(ctx, what, h.runs*placementTurns,
			side{"weft", func(ctx context.Context) (float64, error) {
				n, err := control.submit(ctx, callers)
				return per(n), err
			}},
			side{"raft", func(ctx context.Context) (float64, error) {
				n, err := bare.apply(ctx, callers, entry)
				return per(n), err
			}})
		if err != nil {
			return out, err
		}
		out = append(out, compare(fmt.Sprintf("committed placements, Raft nodes: %d, callers: %d", nodes, callers),
			fmt.Sprintf("bare raft.Apply of %d bytes", size), "placements/s", more, 0.8, v[0], v[1]))
	}
	return out, nil
}

// parade is a membership that does not change.
type parade struct {
	mu      sync.Mutex
	members []tiering.Member
}

func (p *parade) Members() []tiering.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.members
}

func (p *parade) Cluster() string { return "" }

func (p *parade) Changed() <-chan struct{} { return nil }

// control is a control plane of some coordinators, in this process.
type control struct {
	all     []*coordinator.Coordinator
	leader  *coordinator.Coordinator
	life    context.CancelFunc
	running *errgroup.Group
	named   atomic.Int64
}

func startControl(ctx context.Context, h *harness, nodes int) (*control, error) {
	ca, err := newCA()
	if err != nil {
		return nil, err
	}
	p := &parade{}
	for i := range workers {
		tier, cores := tiering.Fog, int64(100_000)
		switch {
		case i%10 == 0:
			tier = tiering.Cloud
		case i%10 < 4:
			tier, cores = tiering.Edge, 10_000
		}
		p.members = append(p.members, tiering.Member{Status: tiering.NodeAlive, Node: tiering.Node{
			ID: fmt.Sprintf("%s-%d", tier, i), Tier: tier, Models: []string{"yolo"},
			Capacity:  tiering.Resources{CPU: cores * 1000, Memory: cores * gib, Disk: cores * gib},
			Platforms: []tiering.Platform{{Type: "cpu", Count: int(cores)}},
			Addresses: tiering.Addresses{Data: fmt.Sprintf("10.0.0.%d:7947", i)},
		}})
	}
	c := &control{}
	life, stop := context.WithCancel(context.Background())
	c.life = stop
	c.running, life = errgroup.WithContext(life)
	for i := range nodes {
		id := fmt.Sprintf("coord-%d", i)
		identity, err := ca.Issue(pki.Subject{Role: pki.Coordinator, Tier: tiering.Cloud, Name: id}, nil, time.Now(), validity)
		if err != nil {
			return nil, err
		}
		one, err := coordinator.New(coordinator.Config{
			ID: id, Cluster: "bench", DataDir: filepath.Join(h.dir, fmt.Sprintf("control-%d", nodes), id), RaftListen: "127.0.0.1:0", Expect: nodes,
			ServerTLS: identity.ServerTLS(pki.Coordinator), ClientTLS: identity.ClientTLS(pki.Coordinator), Log: slog.New(slog.DiscardHandler),
		}, p, nil)
		if err != nil {
			return nil, err
		}
		p.members = append(p.members, tiering.Member{Status: tiering.NodeAlive, Node: tiering.Node{
			ID: id, Tier: tiering.Cloud, Addresses: tiering.Addresses{Raft: one.RaftAddr()},
		}})
		c.all = append(c.all, one)
	}
	for _, one := range c.all {
		c.running.Go(func() error { return one.Run(life) })
	}
	err = eventually(ctx, "a leader that knows all nodes", electWithin, func() bool {
		for _, one := range c.all {
			if one.IsLeader() && len(one.Snapshot().Nodes()) == workers+nodes {
				c.leader = one
				return true
			}
		}
		return false
	})
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func (c *control) stop() error {
	c.life()
	return c.running.Wait()
}

// flow is a workflow of one camera and three tasks.
func flow(name string) *tiering.Workflow {
	task := func(name string, kind tiering.TaskType, op string) tiering.Task {
		return tiering.Task{Name: name, Group: name, Type: kind, Operation: op, Replicas: 1, Request: tiering.Resources{CPU: 100, Memory: gib / 8}}
	}
	detect := task("detect@416", tiering.DeepModel, "detect")
	detect.Group, detect.Model = "detect", &tiering.Model{Name: "yolo", Family: "yolo", Resolution: 416, Fit: tiering.Stretch}
	link := func(from, to string) tiering.Link {
		return tiering.Link{From: from, To: to, Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90}
	}
	return &tiering.Workflow{
		Name:       name,
		Sources:    []tiering.Source{{Name: "cam", URI: "videotest:", Resolution: 416}},
		Tasks:      []tiering.Task{task("resize", tiering.Preprocess, "resize"), detect, task("draw", tiering.Postprocess, "draw")},
		Links:      []tiering.Link{link("cam", "resize"), link("resize", "detect"), link("detect", "draw")},
		Objectives: tiering.Objectives{MinAccuracy: 0.5, Deadline: time.Second},
	}
}

// sample submits one workflow, and returns the size of its entry in the log
// and how many placements it makes.
func (c *control) sample(ctx context.Context) (size, placed int, err error) {
	w := flow("sample")
	plan, err := c.leader.Submit(ctx, w, "name: sample")
	if err != nil {
		return 0, 0, err
	}
	entry, err := state.Encode(&state.SubmitWorkflow{Workflow: w, Document: "name: sample", Plan: plan, At: time.Now().UTC()})
	return len(entry), len(plan.Place), err
}

// submit has callers submit new workflows one after the other, and returns the
// workflows a second. Afterwards they are stopped, which takes no part.
func (c *control) submit(ctx context.Context, callers int) (float64, error) {
	first := c.named.Load()
	rate, err := during(ctx, callers, func(ctx context.Context) error {
		name := fmt.Sprintf("w%d", c.named.Add(1))
		_, err := c.leader.Submit(ctx, flow(name), "name: "+name)
		return err
	})
	if err != nil {
		return 0, err
	}
	var g errgroup.Group
	g.SetLimit(32)
	for i := first + 1; i <= c.named.Load(); i++ {
		g.Go(func() error { return c.leader.Stop(ctx, fmt.Sprintf("w%d", i)) })
	}
	return rate, g.Wait()
}

// during calls do from so many goroutines for a turn, and returns the calls a
// second.
func during(ctx context.Context, callers int, do func(context.Context) error) (float64, error) {
	var (
		g     errgroup.Group
		count atomic.Int64
	)
	start := time.Now()
	for range callers {
		g.Go(func() error {
			for time.Since(start) < placementTurn && ctx.Err() == nil {
				if err := do(ctx); err != nil {
					return err
				}
				count.Add(1)
			}
			return ctx.Err()
		})
	}
	err := g.Wait()
	return float64(count.Load()) / time.Since(start).Seconds(), err
}

// bare is Raft with the same log store and an empty state machine, over plain
// TCP with the library's own settings.
type bare struct {
	leader *raft.Raft
	close  []func() error
}

// nothing is the state machine that does nothing.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }
func (nothing) Persist(s raft.SnapshotSink) error   { return s.Close() }
func (nothing) Release()                            {}

func startBare(ctx context.Context, h *harness, nodes int) (_ *bare, err error) {
	b := &bare{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.stop())
		}
	}()
	var (
		all  []*raft.Raft
		conf raft.Configuration
	)
	for i := range nodes {
		id := raft.ServerID(fmt.Sprintf("bare-%d", i))
		dir := filepath.Join(h.dir, fmt.Sprintf("bare-%d", nodes), string(id))
		log := hclog.NewNullLogger()
		store, err := openWAL(dir)
		if err != nil {
			return nil, err
		}
		b.close = append(b.close, store.Close)
		snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, log)
		if err != nil {
			return nil, err
		}
		transport, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 10*time.Second, log)
		if err != nil {
			return nil, err
		}
		b.close = append(b.close, transport.Close)
		rc := raft.DefaultConfig()
		rc.LocalID, rc.Logger = id, log
		r, err := raft.NewRaft(rc, nothing{}, store, store, snapshots, transport)
		if err != nil {
			return nil, err
		}
		b.close = append(b.close, func() error { return r.Shutdown().Error() })
		all = append(all, r)
		conf.Servers = append(conf.Servers, raft.Server{ID: id, Address: transport.LocalAddr()})
	}
	if err := all[0].BootstrapCluster(conf).Error(); err != nil {
		return nil, err
	}
	return b, eventually(ctx, "a leader of bare Raft", electWithin, func() bool {
		for _, r := range all {
			if r.State() == raft.Leader {
				b.leader = r
			}
		}
		return b.leader != nil
	})
}

// openWAL opens a log as the coordinator does.
func openWAL(dir string) (*wal.WAL, error) {
	logDir := filepath.Join(dir, "log")
	if err := os.MkdirAll(logDir, 0o700); err != nil {
		return nil, err
	}
	return wal.Open(logDir, wal.WithSegmentSize(8<<20), wal.WithLogger(hclog.NewNullLogger()))
}

func (b *bare) stop() error {
	var errs []error
	for i := len(b.close) - 1; i >= 0; i-- {
		errs = append(errs, b.close[i]())
	}
	return errors.Join(errs...)
}

func (b *bare) apply(ctx context.Context, callers int, entry []byte) (float64, error) {
	return during(ctx, callers, func(context.Context) error { return b.leader.Apply(entry, 5*time.Second).Error() })
}
