package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// The conditions that this package reports.
var (
	ErrNotUp      = errors.New("the mesh did not come up")
	ErrNotRunning = errors.New("the workflow does not run")
)

// Ground is what the mesh runs on.
type Ground interface {
	// Apply carries out an event of the timeline, but not what
	// the coordinators are asked for: sources and drains.
	Apply(ctx context.Context, e testbed.Event) error
	// Limit puts the nodes' CPU quotas on or off.
	Limit(on bool) error
	// Usage says what each node has used up to now.
	Usage() ([]testbed.NodeSample, error)
}

// Config says what to carry out, and where.
type Config struct {
	Scenario *testbed.Scenario
	Client   *api.Client
	Ground   Ground
	Log      *slog.Logger
	// Progress, which may be nil, is told of each phase and each sample.
	Progress func(Progress)
	// Sample and Mark, which may be nil, get everything as it comes. An error
	// ends the run.
	Sample func(testbed.Sample) error
	Mark   func(testbed.Mark) error
}

// Progress is how far a run is.
type Progress struct {
	Phase  string        // for people
	At     time.Duration // since the end of the warm-up
	Total  time.Duration // of the measured time; 0: the phase has no known length
	Sample *testbed.Sample
}

const (
	upWithin      = time.Minute     // from the start until all nodes are alive
	runningWithin = 3 * time.Minute // from the submission until every task runs: nodes are slow, and the first time nothing is in memory
	askTimeout    = 5 * time.Second // one question to the API
	askEvery      = 200 * time.Millisecond
)

func (c *Config) say(phase string) {
	if c.Progress != nil {
		c.Progress(Progress{Phase: phase})
	}
}

// AwaitNodes waits until every node of the scenario is alive. The error says
// which are missing.
func AwaitNodes(ctx context.Context, c *Config) error {
	missing := map[string]bool{}
	for _, n := range c.Scenario.Nodes {
		missing[n.Name] = true
	}
	err := poll(ctx, upWithin, func(ctx context.Context) (bool, error) {
		nodes, err := c.Client.Nodes(ctx)
		if err != nil {
			return false, err
		}
		clear(missing)
		for _, n := range c.Scenario.Nodes {
			missing[n.Name] = true
		}
		for _, n := range nodes {
			if n.Status == tiering.NodeAlive {
				delete(missing, n.ID)
			}
		}
		c.say(fmt.Sprintf("%d of %d nodes are alive", len(c.Scenario.Nodes)-len(missing), len(c.Scenario.Nodes)))
		return len(missing) == 0, nil
	})
	if errors.Is(err, errTimeout) {
		var names []string
		for n := range missing {
			names = append(names, n)
		}
		slices.Sort(names)
		return fmt.Errorf("%w within %s: %s missing; their logs say why: %w", ErrNotUp, upWithin, strings.Join(names, ", "), err)
	}
	return err
}

// awaitRunning waits until every instance of a workflow runs. A refused or
// failing one is an error that says why.
func awaitRunning(ctx context.Context, c *Config, name string) (api.WorkflowStatus, error) {
	var last api.WorkflowStatus
	err := poll(ctx, runningWithin, func(ctx context.Context) (bool, error) {
		s, err := c.Client.Workflow(ctx, name)
		if err != nil {
			return false, err
		}
		last = s
		return s.Status == state.Running && waiting(s) == "", nil
	})
	if errors.Is(err, errTimeout) {
		return last, fmt.Errorf("%w within %s: it is %s %s %s: %w", ErrNotRunning, runningWithin, last.Status, last.Reason, waiting(last), err)
	}
	return last, err
}

// waiting says what of a workflow does not run yet, and why.
func waiting(s api.WorkflowStatus) string {
	var out []string
	add := func(what, name, status, message string) {
		if message != "" {
			message = " (" + message + ")"
		}
		out = append(out, fmt.Sprintf("%s %s is %s%s", what, name, status, message))
	}
	for _, x := range s.Sources {
		if x.Status != "running" {
			add("source", x.Source, string(x.Status), x.Message)
		}
	}
	for _, x := range s.Stages {
		if x.Status != "running" {
			add("task", x.Task, string(x.Status), x.Message)
		}
	}
	return strings.Join(out, "; ")
}

// errTimeout reports that poll gave up.
var errTimeout = errors.New("gave up waiting")

// poll asks until done. Errors are taken for passing until within is over; the
// last is then part of the error.
func poll(ctx context.Context, within time.Duration, ask func(context.Context) (bool, error)) error {
	limit, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		one, stop := context.WithTimeout(limit, askTimeout)
		done, err := ask(one)
		stop()
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errors.Join(errTimeout, err)
		}
	}
}
