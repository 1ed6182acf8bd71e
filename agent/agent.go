package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// ErrConfig reports a configuration that an agent cannot start with.
var ErrConfig = errors.New("invalid agent configuration")

// Control is the coordinator as an agent needs it.
type Control interface {
	// Assignments returns what the node is to run and the index of that
	// state. It blocks while that is what it was at the index after, for a
	// while; index 0 returns at once.
	Assignments(ctx context.Context, node string, after uint64) ([]tiering.Assignment, uint64, error)
	Report(ctx context.Context, r pipeline.Report) error
}

// Workshop makes what an assignment runs.
type Workshop interface {
	// Stage makes a task's stage. fit says how pictures of a quality are to
	// be brought to the size of the detector that follows. Loading a model may
	// take long; ctx ends it. backend is the effective one of a detector,
	// empty for other stages.
	Stage(ctx context.Context, a tiering.Assignment, fit func(quality int) (tiering.Fit, bool)) (stage pipeline.Stage, backend string, err error)
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
	Drain       time.Duration // for frames in flight when the agent stops; 2 s
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

	mu        sync.Mutex // guards what follows
	instances map[string]*instance
	ended     pipeline.Report // last words of stopped instances, not yet reported
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
	defaultTo(&cfg.Every, time.Second)
	defaultTo(&cfg.Drain, 2*time.Second)
	return &Agent{
		cfg: cfg, run: run, control: control, workshop: workshop, links: links, rtt: rtt, board: board,
		instances: map[string]*instance{},
	}, nil
}

func defaultTo[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Run follows the coordinator until ctx ends, then drains: sources stop,
// frames in flight are waited for, stages stop, a last report is sent.
func (a *Agent) Run(ctx context.Context) error {
	// Instances outlive ctx: they are stopped in order below.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var loops sync.WaitGroup
	loops.Go(func() { a.watch(ctx, life) })
	loops.Go(func() { a.report(ctx) })
	<-ctx.Done()
	loops.Wait()
	a.drain()
	bye, cancel := context.WithTimeout(life, a.cfg.Drain)
	defer cancel()
	if err := a.send(bye); err != nil {
		a.cfg.Log.Debug("the last report did not get through", "err", err)
	}
	return nil
}

// The pace at which a coordinator that does not answer is asked again.
const (
	retryFirst = 200 * time.Millisecond
	retryMax   = 5 * time.Second
)

// watch makes what runs match what the coordinator wants.
func (a *Agent) watch(ctx, life context.Context) {
	var index uint64
	retry, complained := retryFirst, false
	for ctx.Err() == nil {
		want, at, err := a.control.Assignments(ctx, a.cfg.Node.ID, index)
		if err == nil {
			if complained {
				a.cfg.Log.Info("the coordinator answers again")
			}
			retry, complained = retryFirst, false
			if at != index {
				a.match(life, want)
			}
			index = at
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if !complained {
			a.cfg.Log.Warn("no answer from a coordinator; carrying on as assigned", "err", err)
			complained = true
		}
		index = 0 // whoever answers next may count differently
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		retry = min(2*retry, retryMax)
	}
}

// match stops what is no longer wanted, tells the rest where frames go now,
// and starts what is missing.
func (a *Agent) match(life context.Context, want []tiering.Assignment) {
	wanted := map[string]tiering.Assignment{}
	for _, w := range want {
		wanted[w.Placement.ID] = w
	}
	var stopping sync.WaitGroup
	for _, id := range a.ids() {
		inst := a.instance(id)
		if w, ok := wanted[id]; ok && inst.runs(w) {
			inst.setOffers(w.Next)
			continue
		}
		a.cfg.Log.Info("stopping", "instance", id)
		stopping.Go(func() { a.remove(inst) })
	}
	stopping.Wait()
	for _, w := range want {
		if a.instance(w.Placement.ID) != nil {
			continue
		}
		a.cfg.Log.Info("starting", "instance", w.Placement.ID, "why", w.Placement.Reason)
		inst, err := a.newInstance(w)
		if err != nil { // a contradiction in the assignment itself
			a.cfg.Log.Error("cannot run an assignment", "instance", w.Placement.ID, "err", err)
			continue
		}
		a.mu.Lock()
		a.instances[w.Placement.ID] = inst
		a.mu.Unlock()
		inst.start(life)
	}
}

func (a *Agent) ids() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.instances))
}

func (a *Agent) instance(id string) *instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.instances[id]
}

// endedLimit bounds the last words kept while no coordinator answers.
const endedLimit = 256

// remove stops an instance and keeps what it counted for the next report.
func (a *Agent) remove(inst *instance) {
	inst.stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	inst.addTo(&a.ended)
	a.ended.Sources = last(a.ended.Sources, endedLimit)
	a.ended.Stages = last(a.ended.Stages, endedLimit)
	delete(a.instances, inst.id())
}

func last[T any](s []T, n int) []T { return s[max(0, len(s)-n):] }

// drain stops the sources, whose frames in flight are waited for, and then the
// stages.
func (a *Agent) drain() {
	for _, sources := range []bool{true, false} {
		var stopping sync.WaitGroup
		for _, id := range a.ids() {
			if inst := a.instance(id); inst.isSource() == sources {
				stopping.Go(func() { a.remove(inst) })
			}
		}
		stopping.Wait()
	}
}

// report tells the coordinator how everything is doing.
func (a *Agent) report(ctx context.Context) {
	tick := time.NewTicker(a.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, 5*a.cfg.Every)
		if err := a.send(limited); err != nil && ctx.Err() == nil {
			a.cfg.Log.Debug("report not taken", "err", err) // watch says that nobody answers
		}
		cancel()
	}
}

// send reports, and forgets the last words that got through.
func (a *Agent) send(ctx context.Context) error {
	r := a.Report()
	if err := a.control.Report(ctx, r); err != nil {
		return err
	}
	told := map[uint32]bool{}
	for _, s := range r.Sources {
		told[s.Epoch] = true
	}
	for _, s := range r.Stages {
		told[s.Epoch] = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended.Sources = slices.DeleteFunc(a.ended.Sources, func(s pipeline.SourceReport) bool { return told[s.Epoch] })
	a.ended.Stages = slices.DeleteFunc(a.ended.Stages, func(s pipeline.StageReport) bool { return told[s.Epoch] })
	return nil
}

// Report is how everything that runs here is doing, with the last words of
// what has stopped since the last report.
func (a *Agent) Report() pipeline.Report {
	r := a.current()
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Sources = slices.Concat(a.ended.Sources, r.Sources)
	r.Stages = slices.Concat(a.ended.Stages, r.Stages)
	return r
}

// current is how everything that runs here now is doing.
func (a *Agent) current() pipeline.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := pipeline.Report{Node: a.cfg.Node.ID, Run: a.run}
	for _, id := range slices.Sorted(maps.Keys(a.instances)) {
		a.instances[id].addTo(&r)
	}
	return r
}
