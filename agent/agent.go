package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// ErrConfig reports a configuration that an agent cannot start with.
var ErrConfig = errors.New("invalid agent configuration")

// ErrUnknown reports that a coordinator answers, and that the node is none that
// it gives anything to: it does not know it, yet or any more.
var ErrUnknown = errors.New("a coordinator does not take this for a node of the mesh")

// Control is the coordinator as an agent needs it.
type Control interface {
	// Assignments returns what the node is to run and the index of that
	// state. It blocks while that is what it was at the index after, for a
	// while; index 0 returns at once. Indexes only grow, whichever coordinator
	// answers. The error is ErrUnknown where one does not know the node.
	Assignments(ctx context.Context, node string, after uint64) ([]tiering.Assignment, uint64, error)
	Report(ctx context.Context, r pipeline.Report) error
}

// Workshop makes what an assignment runs.
type Workshop interface {
	// Stage makes a task's stage. fit says how pictures of a quality are to
	// be brought to the size of the detector that follows. Loading a model may
	// take long; ctx ends it. backend is the effective one of a detector,
	// empty for other stages.
	Stage(ctx context.Context, a tiering.Assignment, fit func(*pipeline.Frame) (tiering.Fit, bool)) (stage pipeline.Stage, backend string, err error)
	Source(a tiering.Assignment) (pipeline.Source, error)
}

// Links are the ways to other nodes.
type Links struct {
	Senders map[tiering.Transport]pipeline.Sender
	Encoder pipeline.Encoder
}

// Config is an agent's settings; zero fields but Node and Log have defaults.
type Config struct {
	Node        tiering.Node
	Queue       int           // frames waiting for a stage; 4
	Outbox      int           // frames waiting for a link; 4
	Concurrency int           // frames on a link at a time, per peer instance; 4
	Every       time.Duration // between reports; 1 s
	Drain       time.Duration // at most for frames in flight when something stops; 2 s
	Speed       float64       // what a stage has of a core, for emulation; all of it
	Grace       time.Duration // for a coordinator to answer after a start, before what the journal says is resumed; 3 s
	Journal     Journal       // nil: after a restart only a coordinator knows what to run
	Log         *slog.Logger
}

// Agent runs one node's share of the workflows.
type Agent struct {
	cfg      Config
	run      string
	control  Control
	workshop Workshop
	links    Links
	rtt      tiering.RoundTrips
	board    *pipeline.Switchboard
	turns    *pipeline.Turns // of the instances that compute on the node's processors
	running  sync.WaitGroup  // instances
	follows  atomic.Uint64   // index of the assignments that run
	leaving  atomic.Bool     // the agent shuts down

	mu        sync.Mutex   // guards what follows
	instances []*instance  // that have not ended, in order of start
	ended     []*lastWords // of those that have, until reported
}

// New returns an agent. board is what the node's links deliver to; run names
// this run of the agent (random).
func New(cfg Config, run string, control Control, workshop Workshop, links Links, board *pipeline.Switchboard, rtt tiering.RoundTrips) (*Agent, error) {
	if cfg.Node.ID == "" || cfg.Node.Tier == 0 {
		return nil, fmt.Errorf("%w: the node needs a name and a tier", ErrConfig)
	}
	defaultTo(&cfg.Queue, 4)
	defaultTo(&cfg.Outbox, 4)
	defaultTo(&cfg.Concurrency, 4)
	defaultTo(&cfg.Speed, 1)
	defaultTo(&cfg.Every, time.Second)
	defaultTo(&cfg.Drain, 2*time.Second)
	defaultTo(&cfg.Grace, 3*time.Second)
	if !(cfg.Speed > 0 && cfg.Speed <= 1) {
		return nil, fmt.Errorf("%w: a core speed of %g; use a fraction, or 1", ErrConfig, cfg.Speed)
	}
	if min(cfg.Queue, cfg.Outbox, cfg.Concurrency) < 0 || min(cfg.Every, cfg.Drain, cfg.Grace) < 0 {
		return nil, fmt.Errorf("%w: sizes and times must not be negative: queue %d, outbox %d, concurrency %d, every %s, drain %s, grace %s",
			ErrConfig, cfg.Queue, cfg.Outbox, cfg.Concurrency, cfg.Every, cfg.Drain, cfg.Grace)
	}
	return &Agent{cfg: cfg, run: run, control: control, workshop: workshop, links: links, rtt: rtt, board: board,
		turns: pipeline.NewTurns(turns(&cfg.Node, cfg.Speed))}, nil
}

// turns is how many instances work at a time: one more than there are processors, so
// that none idles while an instance reads or writes. They are those of the process,
// which knows of a container's quota, and no more than the node says it has. Emulated
// cores, of a fraction of the speed, are as many as the node says.
func turns(n *tiering.Node, speed float64) int {
	all := runtime.GOMAXPROCS(0)
	if own := int(n.Capacity.CPU+999) / 1000; own > 0 && speed < 1 {
		return own
	} else if own > 0 {
		all = min(all, own)
	}
	return all + 1
}

func defaultTo[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Run follows the coordinator until ctx ends. Then sources stop, frames in
// flight are waited for, stages stop, and a last report is sent.
func (a *Agent) Run(ctx context.Context) error {
	// Instances and reports outlive ctx: they end in order.
	life := context.WithoutCancel(ctx)
	reporting, stopReports := context.WithCancel(life)
	defer stopReports()
	var reports sync.WaitGroup
	reports.Go(func() { a.report(reporting) })
	last := a.recall()
	keeping, stopKeeping := context.WithCancel(life)
	defer stopKeeping()
	keep := newKeeper(a.cfg, last)
	var keeper sync.WaitGroup
	keeper.Go(func() { keep.run(keeping) })

	a.watch(ctx, life, last, keep)
	a.leaving.Store(true)
	a.match(life, nil) // the journal goes on saying what to resume
	a.running.Wait()
	stopKeeping()
	keeper.Wait()

	stopReports()
	reports.Wait()
	bye, cancel := context.WithTimeout(life, a.cfg.Drain)
	defer cancel()
	if err := a.send(bye); err != nil {
		a.cfg.Log.Debug("the last report did not get through", "err", err)
	}
	return nil
}

// sleep waits; false: ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
