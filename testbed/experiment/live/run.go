package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/testbed"
)

// Run submits the scenario's workflow, walks the timeline and samples until
// the end of the scenario; then it stops the workflow. An event that cannot be
// carried out is marked with its error, and the run goes on. What there is of
// a recording is returned also with an error.
func Run(ctx context.Context, c *Config) (*testbed.Recording, error) {
	s := c.Scenario
	name := s.Workflow.Name
	c.say("submitting workflow " + name)
	if err := c.submit(ctx, s.Sources, testbed.DocumentOptions{}); err != nil {
		return nil, err
	}
	if _, err := awaitRunning(ctx, c, name); err != nil {
		return nil, err
	}
	r := &run{
		Config: c, name: name, began: time.Now(), meter: newMeter(),
		rec:     &testbed.Recording{Method: testbed.Emulated, Scenario: s.Name, Seed: s.Seed},
		marks:   make(chan testbed.Mark, 256),
		sources: make(chan int, 1),
		running: len(s.Sources),
	}
	r.rec.Began = r.began
	r.zero = r.began.Add(s.Measure.Warmup)
	err := r.all(ctx)
	r.rec.Took = time.Since(r.began)
	if stopErr := c.stop(context.WithoutCancel(ctx), name); err == nil {
		err = stopErr
	}
	return r.rec, err
}

// run is a scenario being carried out. Only sample and what it calls touch the
// recording.
type run struct {
	*Config
	name    string
	began   time.Time // of the warm-up
	zero    time.Time // its end
	rec     *testbed.Recording
	meter   *meter
	marks   chan testbed.Mark
	sources chan int // how many run from now on
	running int
}

// errOver ends what goes on beside the sampling.
var errOver = errors.New("the run is over")

func (r *run) all(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.walk(ctx) })
	g.Go(func() error { return r.listen(ctx) })
	g.Go(func() error {
		if err := r.sample(ctx); err != nil {
			return err
		}
		return errOver
	})
	err := g.Wait()
	if errors.Is(err, errOver) {
		err = nil
	}
	return errors.Join(err, r.rest()) // what was under way in the end
}

// walk carries out the timeline. One that takes long delays those after it.
func (r *run) walk(ctx context.Context) error {
	count := len(r.Scenario.Sources)
	for _, e := range r.Scenario.Timeline {
		if !sleepUntil(ctx, r.zero.Add(e.At)) {
			return nil
		}
		m := testbed.Mark{Kind: testbed.Timeline, At: time.Since(r.zero), Type: string(e.Action), Subject: subject(e), Message: e.String()}
		var err error
		switch e.Action {
		case testbed.Sources:
			count += e.Count
			err = r.resize(ctx, count)
		case testbed.Drain, testbed.Undrain:
			_, err = r.Client.Drain(ctx, e.Node, e.Action == testbed.Drain)
		default:
			err = r.Ground.Apply(ctx, e)
		}
		if ctx.Err() != nil {
			err = errors.Join(errors.New("the run ended meanwhile"), err)
		}
		if err != nil {
			m.Error = err.Error()
			r.Log.Warn("an event could not be carried out", "event", e.String(), "err", err)
		}
		if !r.mark(ctx, m) {
			return nil
		}
	}
	return nil
}

func subject(e testbed.Event) string {
	switch e.Action {
	case testbed.Partition, testbed.Heal, testbed.Change, testbed.Restore:
		return e.Ends.String()
	case testbed.Sources:
		return "sources"
	}
	return e.Node
}

// resize has so many sources run: those of the start, then those in reserve.
func (r *run) resize(ctx context.Context, count int) error {
	s := r.Scenario
	all := append(append([]testbed.Source{}, s.Sources...), s.Reserve...)
	if count < 1 || count > len(all) {
		return fmt.Errorf("%d sources: the scenario has 1 to %d", count, len(all))
	}
	if err := r.submit(ctx, all[:count], testbed.DocumentOptions{}); err != nil {
		return err
	}
	select {
	case r.sources <- count:
	case <-ctx.Done():
	}
	return nil
}

// reopenAfter is the pause before events are asked for again.
const reopenAfter = 500 * time.Millisecond

// listen marks what the coordinator decides from now on. When the coordinator
// that tells it goes, it goes on with another.
func (r *run) listen(ctx context.Context) error {
	var last uint64
	for {
		// However this ends, there is nothing to do but to ask again.
		_ = r.Client.Events(ctx, last, func(e api.Event) error {
			last = e.Index
			if e.At.Before(r.began) {
				return nil
			}
			r.mark(ctx, testbed.Mark{
				Kind: testbed.Decision, At: e.At.Sub(r.zero), Type: string(e.Type), Subject: e.Subject, Message: e.Message,
			})
			return ctx.Err()
		})
		if !sleepUntil(ctx, time.Now().Add(reopenAfter)) {
			return nil
		}
	}
}

// mark hands a mark to who records; false: the run is over.
func (r *run) mark(ctx context.Context, m testbed.Mark) bool {
	select {
	case r.marks <- m: // also in the end
		return true
	default:
	}
	select {
	case r.marks <- m:
		return true
	case <-ctx.Done():
		return false
	}
}

// submit submits the workflow with these sources.
func (c *Config) submit(ctx context.Context, sources []testbed.Source, o testbed.DocumentOptions) error {
	o.Sources = sources
	doc, err := c.Scenario.WorkflowDocument(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*askTimeout)
	defer cancel()
	if _, err := c.Client.Submit(ctx, c.Scenario.Workflow.File, doc); err != nil {
		return fmt.Errorf("submit workflow %s: %w", c.Scenario.Workflow.Name, err)
	}
	return nil
}

// stop stops a workflow.
func (c *Config) stop(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
	defer cancel()
	if err := c.Client.Stop(ctx, name); err != nil {
		return fmt.Errorf("stop workflow %s: %w", name, err)
	}
	return nil
}

// sleepUntil waits; false: ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
