package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/testbed"
)

// The conditions that this package reports.
var (
	ErrNotWell  = errors.New("the mesh is not well")
	ErrViolated = errors.New("an invariant did not hold")
)

// Ground is what the mesh runs on.
type Ground interface {
	// Apply carries out an event: kill to restore.
	Apply(ctx context.Context, e testbed.Event) error
	Process(node string) Process
	// Dial connects from inside a node.
	Dial(node string) func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Process is a node's weftd.
type Process struct {
	PID        int
	Up, Paused bool
	Exit       string // how it ended by itself
}

// Lives reports whether it runs.
func (p Process) Lives() bool { return p.Up && !p.Paused }

// Harm is what else can be done to a node.
type Harm interface {
	SetClock(node string, off time.Duration) error
	Fill(node string) error // its disk
	Free(node string) error
}

// Config says what to break, and how to look at it.
type Config struct {
	Scenario *testbed.Scenario
	Rounds   []Round
	// For, if not zero, is when no further round is begun: a soak test. In its
	// second half the rounds are those of Calm, which start no weftd again: what a
	// process uses shows only where it lives for long.
	For    time.Duration
	Calm   []Round
	Ground Ground
	Harm   Harm
	// Client speaks to whichever coordinator answers, Coordinators to each by
	// itself.
	Client       *api.Client
	Coordinators map[string]*api.Client
	Metrics      string // address of a node's metrics, in the node
	Dir          string // where records and the report go; Clear has made it
	KeepGoing    bool   // after a round that fails
	About        About  // for the report
	// Gap is the longest time without a frame of a source that is allowed where
	// coordinators alone are hurt; 0: GapWithin.
	Gap time.Duration
	Log *slog.Logger
	// Say, which may be nil, is told of each thing that happens; Step of what
	// goes on.
	Say, Step func(string)
}

const (
	upWithin   = 90 * time.Second // from the submission until all is well
	controlFor = 20 * time.Second // of the round in which nothing goes wrong
	quietFor   = 3 * time.Second  // that all is to stay well at the end of a round
	lookEvery  = 100 * time.Millisecond
	carryOut   = 30 * time.Second // one step of a fault
	// agreeWithin is how long a fault waits until the coordinators agree on whom
	// it is about.
	agreeWithin = 5 * time.Second
	// startsApart is between the starts of several nodes. On machines of their
	// own they would not take the CPU away from those whose frames are watched.
	startsApart = time.Second
)

// runner carries rounds out.
type runner struct {
	*Config
	plant    Plant
	apart    time.Duration
	observer *observer
	out      *Result

	mu     sync.Mutex
	probed map[string]bool // workflows that rounds submitted and that may run
}

// Run submits the workflow, waits until all is well, carries the rounds out
// and writes the report. The error is ErrViolated if an invariant did not hold;
// the result is complete then.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	p, err := NewPlant(cfg.Scenario)
	if err != nil {
		return nil, err
	}
	for _, f := range []*func(string){&cfg.Say, &cfg.Step} {
		if *f == nil {
			*f = func(string) {}
		}
	}
	r := &runner{Config: &cfg, plant: p, apart: startsApart, probed: map[string]bool{}, out: &Result{About: cfg.About, Plant: p, Began: time.Now(), Asked: len(cfg.Rounds), Soak: cfg.For > 0}}
	r.observer = newObserver(r.Config)
	defer r.observer.close()
	if err := r.submit(ctx); err != nil {
		return nil, err
	}
	return r.out, r.all(ctx)
}

func (r *runner) submit(ctx context.Context) error {
	doc, err := r.Scenario.WorkflowDocument(testbed.DocumentOptions{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, carryOut)
	defer cancel()
	if _, err := r.Client.Submit(ctx, r.Scenario.Workflow.File, doc); err != nil {
		return fmt.Errorf("submit workflow %s: %w", r.plant.Workflow, err)
	}
	return nil
}

// all carries everything out, with the sampler of a soak test beside it.
func (r *runner) all(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		sampling sync.WaitGroup
		usage    []Usage
		sampled  error
	)
	if r.For > 0 {
		sampling.Go(func() { usage, sampled = r.sample(ctx) })
	}
	err := r.rounds(ctx)
	stop()
	sampling.Wait()
	r.out.usage, r.out.Trends = usage, Trends(usage)
	if grow := r.out.grow(); err == nil && len(grow) > 0 {
		err = fmt.Errorf("%w: %s", ErrViolated, strings.Join(grow, "; "))
	}
	return errors.Join(err, sampled, r.write())
}

// write writes what there is up to now.
func (r *runner) write() error {
	r.out.Took = time.Since(r.out.Began)
	return r.out.write(r.Dir)
}

func (r *runner) rounds(ctx context.Context) error {
	r.Step("waiting until all is well")
	if why := r.await(ctx, upWithin); why != "" {
		return fmt.Errorf("%w within %s of the submission: %s", ErrNotWell, upWithin, why)
	}
	control, err := r.round(ctx, Round{})
	if err != nil {
		return err
	}
	r.out.Control = control
	for _, x := range control.Violations {
		r.Say("          ! " + x.String())
	}
	r.Say(fmt.Sprintf("control   nothing goes wrong for %s: longest gap %.2f s, %d frames captured, %d delivered",
		controlFor, control.Gap.Seconds(), control.Frames.Captured, control.Frames.Delivered))
	end := time.Now().Add(r.For)
	calm := 0
	for n, round := range r.Rounds {
		if r.For > 0 && !time.Now().Before(end) {
			break
		}
		if r.For > 0 && time.Until(end) < r.For/2 && calm < len(r.Calm) {
			round = r.Calm[calm]
			round.Number = n + 1
			calm++
		}
		v, err := r.round(ctx, round)
		if err != nil {
			return err
		}
		r.out.Verdicts = append(r.out.Verdicts, v)
		r.Say(v.line())
		for _, x := range v.Violations {
			r.Say("          ! " + x.String())
		}
		// A run that is interrupted leaves what there is up to then.
		if err := r.write(); err != nil {
			return err
		}
		if v.Failed() && !r.KeepGoing {
			return fmt.Errorf("%w in round %d: the others were not carried out; --keep-going does", ErrViolated, round.Number)
		}
		if v.Whole == nil {
			if err := r.repair(ctx); err != nil {
				return err
			}
		}
	}
	switch n := r.out.failures(); {
	case control.Failed():
		return fmt.Errorf("%w when nothing went wrong, and in %d of %d rounds", ErrViolated, n-1, len(r.out.Verdicts))
	case n > 0:
		return fmt.Errorf("%w in %d of %d rounds", ErrViolated, n, len(r.out.Verdicts))
	}
	return nil
}

// round carries one round out and judges it. Without faults it only watches.
func (r *runner) round(ctx context.Context, round Round) (*Verdict, error) {
	rec := newRecorder(r.plant, round)
	rec.rec.Gap = r.Gap
	waited := waitedForCPU()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	watch.Go(func() { r.observer.run(watching, r.plant, rec) })

	what := "control"
	if len(round.Faults) > 0 {
		what = "round " + round.String()
	}
	r.Step(what)
	var strikes sync.WaitGroup
	for i, f := range round.Faults {
		var before func()
		if i == 0 { // what was acknowledged a moment ago must hold, too
			before = func() { r.commit(ctx, rec, probeName("before", round.Number)) }
		}
		strikes.Go(func() { r.strike(ctx, rec, i, f, before) })
	}
	// The control has the probe, too: what it does is no fault's doing.
	first := Fault{At: firstAt, For: controlFor}
	if len(round.Faults) > 0 {
		first = round.Faults[0]
	}
	strikes.Go(func() { r.probe(ctx, rec, round.Number, first) })
	strikes.Wait()
	if len(round.Faults) == 0 {
		sleep(ctx, time.Until(rec.began.Add(first.End())))
	}
	over := time.Since(rec.began)
	var since time.Time // all has been well since then
	for ctx.Err() == nil && time.Since(rec.began) < over+WellWithin+quietFor {
		why := rec.look(func(v *view) string { return v.whole(over) })
		switch {
		case why != "":
			since = time.Time{}
			r.Step(fmt.Sprintf("%s  not yet: %s", what, why))
		case since.IsZero():
			since = time.Now()
		}
		if !since.IsZero() && time.Since(since) >= quietFor {
			break
		}
		sleep(ctx, lookEvery)
	}
	stop()
	watch.Wait()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if rec.full {
		r.Log.Warn("not everything that was seen is kept", "round", round.Number, "observations", mostSeen)
	}
	rec.rec.Pressure = (waitedForCPU() - waited).Seconds() / time.Since(rec.began).Seconds()
	v := Check(rec.rec)
	v.Record = filepath.Join(roundsDir, fmt.Sprintf("%03d.jsonl", round.Number))
	return v, rec.rec.Save(filepath.Join(r.Dir, v.Record))
}

// await waits until all is well, and says what is not.
func (r *runner) await(ctx context.Context, within time.Duration) string {
	rec := newRecorder(r.plant, Round{})
	watching, stop := context.WithTimeout(ctx, within)
	defer stop()
	var watch sync.WaitGroup
	watch.Go(func() { r.observer.run(watching, r.plant, rec) })
	why := "nothing is known yet"
	for why != "" && watching.Err() == nil {
		sleep(watching, lookEvery)
		why = rec.look(func(v *view) string { return v.whole(0) })
		r.Step("not yet: " + why)
	}
	stop()
	watch.Wait()
	return why
}

// repair starts every node again, after a round that left the mesh unwell: the
// next is to find it well.
func (r *runner) repair(ctx context.Context) error {
	r.Say("          starting every node again")
	for _, n := range r.plant.Nodes {
		if r.Ground.Process(n).Up {
			if err := r.apply(ctx, testbed.Event{Action: testbed.Kill, Node: n}); err != nil {
				return err
			}
		}
		if err := r.apply(ctx, testbed.Event{Action: testbed.Start, Node: n}); err != nil {
			return err
		}
	}
	if why := r.await(ctx, upWithin); why != "" {
		return fmt.Errorf("%w, not even %s after every node was started again: %s", ErrNotWell, upWithin, why)
	}
	return nil
}

func (r *runner) apply(ctx context.Context, e testbed.Event) error {
	ctx, cancel := context.WithTimeout(ctx, carryOut)
	defer cancel()
	return r.Ground.Apply(ctx, e)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// line says how a round went, for people.
func (v *Verdict) line() string {
	var what []string
	for i, f := range v.Round.Faults {
		s := string(f.Kind)
		if v.Targets[i] != "" {
			s += " " + v.Targets[i]
		}
		if p := f.Parameters(); p != "" {
			s += " (" + p + ")"
		}
		what = append(what, fmt.Sprintf("%s for %g s", s, f.For.Seconds()))
	}
	verdict := "ok"
	if v.Failed() {
		verdict = "FAILED"
	}
	return fmt.Sprintf("%-6s %3d  %s: well after %s, whole after %s, gap %.2f s, %d of %d writes, CPU pressure %.0f %%", verdict, v.Round.Number, strings.Join(what, " and "),
		seconds(v.Recovery), seconds(v.Whole), v.Gap.Seconds(), v.Acknowledged, v.Commits, 100*v.Pressure)
}

func seconds(d *time.Duration) string {
	if d == nil {
		return "never"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
