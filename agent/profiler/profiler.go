package profiler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// ErrConfig reports settings that make no sense.
var ErrConfig = errors.New("invalid configuration of the profiler")

// errBusy ends a measuring beside which frames wait.
var errBusy = errors.New("frames of workflows wait")

// Bench measures detectors on this machine.
type Bench interface {
	// Measure measures one; it takes a while, and ends with ctx.
	Measure(ctx context.Context, k profile.Key) (profile.Profile, error)
	// Platform is what it would be measured on now.
	Platform(backend string) profile.Platform
}

// Reporter takes profiles for the coordinators.
type Reporter interface {
	PutProfiles(ctx context.Context, node string, ps []profile.Profile) error
}

// Work is what runs on this node for workflows.
type Work interface {
	Report() pipeline.Report
	Waiting() int // frames, for stages
}

// Config is a profiler's settings. Zero times and the zero rule have defaults.
type Config struct {
	Node  string
	Drift profile.Drift
	// Every is how often is looked what there is to do, and a period of what is
	// seen live; 10 s.
	Every time.Duration
	// Again is how long after a failure something is measured again at first;
	// then twice as long each time, up to 32 times that; 30 s.
	Again time.Duration
	// Rest is how long a profile that was taken from live frames stays, and how
	// long until one that a coordinator has lost is sent once more; 5 min.
	Rest time.Duration
	Log  *slog.Logger
}

// Profiler keeps a node's profiles. Run does all there is to do; Follow may be
// called at any time.
type Profiler struct {
	cfg    Config
	bench  Bench
	report Reporter
	work   Work
	kick   chan struct{} // there is something new to do

	// Of Run alone.
	trials map[profile.Key]trial
	live   map[string]*seen // by instance

	mu    sync.Mutex
	want  []profile.Key
	keys  map[string]profile.Key          // of what runs here, by instance; without a backend
	have  map[profile.Key]profile.Profile // the newest that are known
	dirty map[profile.Key]bool            // the coordinators are to be told
	told  map[profile.Key]time.Time       // when they were
	done  map[profile.Key]bool            // measured in this run, maybe on another backend
}

// trial is how often something could not be measured, and when it is tried again.
type trial struct {
	failed int
	next   time.Time
}

// New returns a profiler.
func New(cfg Config, b Bench, r Reporter, w Work) (*Profiler, error) {
	defaultTo(&cfg.Drift, profile.DefaultDrift())
	defaultTo(&cfg.Every, 10*time.Second)
	defaultTo(&cfg.Again, 30*time.Second)
	defaultTo(&cfg.Rest, 5*time.Minute)
	if err := cfg.Drift.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if cfg.Node == "" || min(cfg.Every, cfg.Again, cfg.Rest) < 0 {
		return nil, fmt.Errorf("%w: node %q, every %v, again %v, rest %v", ErrConfig, cfg.Node, cfg.Every, cfg.Again, cfg.Rest)
	}
	return &Profiler{
		cfg: cfg, bench: b, report: r, work: w, kick: make(chan struct{}, 1),
		trials: map[profile.Key]trial{}, live: map[string]*seen{}, keys: map[string]profile.Key{},
		have: map[profile.Key]profile.Profile{}, dirty: map[profile.Key]bool{}, told: map[profile.Key]time.Time{}, done: map[profile.Key]bool{},
	}, nil
}

func defaultTo[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Follow says what runs on the node, what of it a coordinator wants to know, and
// what it knows.
func (p *Profiler) Follow(assigned []tiering.Assignment, want []profile.Key, known []profile.Profile) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want = want
	clear(p.keys)
	for _, a := range assigned {
		if a.Task != nil && a.Task.Model != nil {
			p.keys[a.Placement.ID] = profile.Key{Model: a.Task.Model.Name, Resolution: a.Task.Model.Resolution}
		}
	}
	at := map[profile.Key]time.Time{}
	for _, k := range known {
		at[k.Key()] = k.At
		if own, ok := p.have[k.Key()]; !ok || own.At.Before(k.At) {
			p.have[k.Key()] = k
		}
	}
	for k, own := range p.have {
		// The coordinator may be behind, or have forgotten the node meanwhile.
		if at[k].Before(own.At) && now.Sub(p.told[k]) > p.cfg.Rest {
			p.dirty[k] = true
		}
	}
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Run measures and watches until ctx ends.
func (p *Profiler) Run(ctx context.Context) error {
	tick := time.NewTicker(p.cfg.Every)
	defer tick.Stop()
	for {
		p.tell(ctx)
		if k, ok := p.next(time.Now()); ok && p.work.Waiting() == 0 {
			p.measure(ctx, k)
			p.tell(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.kick:
		case <-tick.C:
			p.watch(time.Now())
		}
	}
}

// next is what to measure now.
func (p *Profiler) next(now time.Time) (profile.Key, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.want {
		own, known := p.have[k]
		// The disk may have moved to another machine.
		holds := known && own.Platform == p.bench.Platform(k.Backend)
		if !holds && !p.done[k] && !now.Before(p.trials[k].next) {
			return k, true
		}
	}
	return profile.Key{}, false
}

// How often is looked whether frames wait beside a measuring, and how many times
// on end they may.
const (
	lookEvery = 100 * time.Millisecond
	mayWait   = 3
)

// measure measures one, and notes what comes of it.
func (p *Profiler) measure(ctx context.Context, k profile.Key) {
	measuring, cancel := context.WithCancelCause(ctx)
	var guard sync.WaitGroup
	guard.Go(func() { p.guard(measuring, cancel) })
	got, err := p.bench.Measure(measuring, k)
	cancel(nil)
	guard.Wait()
	if err == nil {
		err = got.Validate()
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		t := p.trials[k]
		again := p.cfg.Again << min(t.failed, 5)
		if errors.Is(err, errBusy) {
			p.cfg.Log.Debug("a detector is profiled later", "detector", k, "in", again, "why", err)
		} else {
			p.cfg.Log.Warn("a detector cannot be profiled, will try again", "detector", k, "in", again, "err", err)
		}
		p.trials[k] = trial{t.failed + 1, time.Now().Add(again/2 + rand.N(again/2+1))}
		return
	}
	delete(p.trials, k)
	p.cfg.Log.Info("detector profiled", "detector", got.Key(), "mean", got.ExecuteMean, "load", got.Load, "memory", got.Memory,
		"joules", got.Energy.JoulesPerFrame, "by", got.Energy.Source)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[k] = true
	p.have[got.Key()], p.dirty[got.Key()] = got, true
}

// guard ends a measuring beside which frames wait.
func (p *Profiler) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for waited := 0; waited < mayWait; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		waited++
		if p.work.Waiting() == 0 {
			waited = 0
		}
	}
	cancel(errBusy)
}

// tell tells the coordinators what they are to know.
func (p *Profiler) tell(ctx context.Context) {
	p.mu.Lock()
	var news []profile.Profile
	for k := range p.dirty {
		if news = append(news, p.have[k]); len(news) == profile.MaxEach {
			break
		}
	}
	p.mu.Unlock()
	if len(news) == 0 {
		return
	}
	limited, cancel := context.WithTimeout(ctx, p.cfg.Every)
	defer cancel()
	if err := p.report.PutProfiles(limited, p.cfg.Node, profile.Merge(nil, news)); err != nil {
		p.cfg.Log.Debug("no coordinator takes profiles now", "err", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range news {
		k := n.Key()
		p.told[k] = time.Now()
		if p.have[k].At.Equal(n.At) {
			delete(p.dirty, k)
		}
	}
}
