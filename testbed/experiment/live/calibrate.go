package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// How the software is measured before a run.
const (
	idleFor          = 4 * time.Second  // to measure weftd without frames
	calibrationCount = 30               // frames of each task at each rate, at least
	calibrationFor   = 45 * time.Second // at most, at each rate
	disturbed        = 0.9              // of the CPU: with less the calibration says so
	mostOverhead     = 0.7              // of a node's part of the CPU: with more it says so, too
	headerBytes      = 400              // of a frame's message besides the picture (package pipeline)
	// packetShare is what headers add to the bytes of a message: IPv4, UDP and
	// QUIC take about 56 of 1280 bytes (RFC 9000, section 17.3; RFC 9001).
	packetShare = 1.046
	// reportLag is how long ago, in the mean, something happened when an
	// agent's report says so: half the time between two.
	reportLag = 500 * time.Millisecond
	// What membership needs where a run does not show it: from a death until
	// it is noticed, and from a return (agent/gossip: probes and suspicion,
	// attempts to join again).
	defaultDetect = 3 * time.Second
	defaultReturn = 1500 * time.Millisecond
)

// slow and fast are the rates of a source during calibration, in frames a
// second: so little that nothing waits long, and far enough apart to tell what
// a frame costs from what a source costs that reads more pictures than it
// makes frames of.
const slow, fast = 2, 6

// ErrCalibration reports that the costs could not be measured.
var ErrCalibration = errors.New("calibration failed")

// Calibrate measures what the simulator needs to know of the software: with
// the nodes' quotas off it runs the workflow under another name, with one
// source for each resolution at two low rates, so that nothing waits long, and
// stops it again. Each time is that on one core of this machine, of slow cores by
// what they have of it: those are slow here, too, and may have to drop frames. What
// the scenario states itself replaces what was measured.
func Calibrate(ctx context.Context, c *Config) (testbed.Costs, error) {
	fixed, err := unadapted(c.Scenario)
	if err != nil {
		return testbed.Costs{}, fmt.Errorf("%w: %w", ErrCalibration, err)
	}
	own := *c
	own.Scenario = fixed
	k := &calibration{Config: &own}
	if err := k.measure(ctx); err != nil {
		return testbed.Costs{}, fmt.Errorf("%w: %w", ErrCalibration, err)
	}
	return k.costs(), nil
}

// unadapted is a scenario whose sources keep the resolution that they are given:
// every detector is to have frames.
func unadapted(s *testbed.Scenario) (*testbed.Scenario, error) {
	w, err := s.WorkflowSpec(nil)
	if err != nil || w.Adapting == nil {
		return s, err
	}
	return s.Adapting(s.Sources, tiering.AdaptOff, nil)
}

// calibration is one calibration: the CPU time of the nodes without frames and
// with, and what the workflow says.
type calibration struct {
	*Config
	idle    map[string]float64 // cores, by node
	started time.Duration      // from the submission until everything ran
	spec    *tiering.Workflow
	phases  [2]phase // at the slow and at the fast rate
}

// phase is a part of a calibration, at one rate.
type phase struct {
	lasted time.Duration
	used   map[string]time.Duration // by node
	status api.WorkflowStatus       // what was counted in it
}

func (k *calibration) measure(ctx context.Context) error {
	if err := k.Ground.Limit(false); err != nil {
		return err
	}
	sources := k.pick()
	spec, err := k.Scenario.WorkflowSpec(sources)
	if err != nil {
		return err
	}
	k.spec = spec
	k.say("calibrating: weftd without frames")
	before, took, err := k.used2(ctx, idleFor)
	if err != nil {
		return err
	}
	k.idle = map[string]float64{}
	for node, d := range before {
		k.idle[node] = d.Seconds() / took.Seconds()
	}
	name := k.Scenario.Workflow.Name + "-calibration"
	defer func() {
		if err := k.stop(context.WithoutCancel(ctx), name); err != nil {
			k.Log.Warn("the calibration's workflow could not be stopped", "err", err)
		}
	}()
	for i, fps := range []float64{slow, fast} {
		submitted := time.Now()
		// Not quite the same rate, or those that start together would for ever
		// be analysed at the same moments and take the CPU from each other.
		for k := range sources {
			sources[k].FPS = fps * (1 + 0.15*float64(k))
		}
		if err := k.submit(ctx, sources, testbed.DocumentOptions{Name: name}); err != nil {
			return err
		}
		if _, err := awaitRunning(ctx, k.Config, name); err != nil {
			return err
		}
		if i == 0 {
			k.started = max(time.Since(submitted)-reportLag, 0)
		}
		if k.phases[i], err = k.watch(ctx, name, fps); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long a rate is waited for: stages of slow cores take longer.
func (k *calibration) patience() time.Duration {
	slower := 1 / k.Scenario.CoreSpeed(k.Scenario.CPUScale)
	return time.Duration(min(slower, 10) * float64(calibrationFor))
}

// pick chooses a source for each resolution that the workflow offers, all
// attached where the first is: then one node is the source of all frames.
func (k *calibration) pick() []testbed.Source {
	first := k.Scenario.Sources[0]
	seen := map[int]bool{}
	var out []testbed.Source
	for _, t := range k.offered() {
		if seen[t] {
			continue
		}
		seen[t] = true
		s := first
		s.Name, s.Resolution = fmt.Sprintf("calibration-%d", t), t
		out = append(out, s)
	}
	return out
}

// offered lists the resolutions of the workflow's detectors.
func (k *calibration) offered() []int {
	w, err := k.Scenario.WorkflowSpec(k.Scenario.Sources)
	if err != nil {
		return nil // WorkflowSpec of what is picked says why
	}
	var out []int
	for _, t := range w.Tasks {
		if t.Model != nil {
			out = append(out, t.Model.Resolution)
		}
	}
	return out
}

// watch waits until every task has had enough frames, and notes what the nodes
// used meanwhile.
func (k *calibration) watch(ctx context.Context, name string, fps float64) (p phase, err error) {
	base, err := k.Client.Workflow(ctx, name)
	if err != nil {
		return p, err
	}
	from, err := k.snapshot()
	if err != nil {
		return p, err
	}
	start := time.Now()
	err = poll(ctx, k.patience(), func(ctx context.Context) (bool, error) {
		s, err := k.Client.Workflow(ctx, name)
		if err != nil {
			return false, err
		}
		p.status = less(s, base)
		least := uint64(math.MaxUint64)
		for _, x := range p.status.Stages {
			least = min(least, x.Processed)
		}
		k.say(fmt.Sprintf("calibrating at %g frames/s: %d of %d frames", fps, min(least, calibrationCount), calibrationCount))
		return least >= calibrationCount, nil
	})
	if err != nil {
		return p, fmt.Errorf("not every task had %d frames: %w", calibrationCount, err)
	}
	to, err := k.snapshot()
	if err != nil {
		return p, err
	}
	p.lasted, p.used = time.Since(start), map[string]time.Duration{}
	for node, d := range to {
		p.used[node] = d - from[node]
	}
	return p, nil
}

// snapshot is the CPU time of every node.
func (k *calibration) snapshot() (map[string]time.Duration, error) {
	nodes, err := k.Ground.Usage()
	if err != nil {
		return nil, err
	}
	out := map[string]time.Duration{}
	for _, n := range nodes {
		out[n.Node] = n.CPU
	}
	return out, nil
}

// used2 is the CPU time of every node over a while, in which the mesh is asked
// as often as during a run.
func (k *calibration) used2(ctx context.Context, during time.Duration) (map[string]time.Duration, time.Duration, error) {
	from, err := k.snapshot()
	if err != nil {
		return nil, 0, err
	}
	start := time.Now()
	for time.Since(start) < during {
		if _, err := k.Client.Nodes(ctx); err != nil {
			return nil, 0, err
		}
		if !sleepUntil(ctx, time.Now().Add(k.Scenario.Measure.Every)) {
			return nil, 0, ctx.Err()
		}
	}
	to, err := k.snapshot()
	if err != nil {
		return nil, 0, err
	}
	for node := range to {
		to[node] -= from[node]
	}
	return to, time.Since(start), nil
}
