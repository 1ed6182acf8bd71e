package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// How the software is measured before a run.
const (
	idleFor          = 4 * time.Second  // to measure weftd without frames
	calibrationFPS   = 2                // a source: so little that nothing waits
	calibrationCount = 24               // frames of each task, at least
	calibrationFor   = 45 * time.Second // at most
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

// ErrCalibration reports that the costs could not be measured.
var ErrCalibration = errors.New("calibration failed")

// Calibrate measures what the simulator needs to know of the software: with
// the nodes' quotas off it runs the workflow under another name, with one slow
// source for each resolution, so that nothing waits for anything, and stops it
// again. Each time is that on one core of this machine: what a stage says of
// its work, and for the rest (encoding, encryption, the network's share of the
// kernel) what the nodes' CPU accounts say beyond it. What the scenario states
// itself replaces what was measured.
func Calibrate(ctx context.Context, c *Config) (testbed.Costs, error) {
	k := &calibration{Config: c}
	if err := k.measure(ctx); err != nil {
		return testbed.Costs{}, fmt.Errorf("%w: %w", ErrCalibration, err)
	}
	return k.costs(), nil
}

// calibration is one calibration: the CPU time of the nodes without frames and
// with, and what the workflow says.
type calibration struct {
	*Config
	idle    map[string]float64       // cores, by node
	used    map[string]time.Duration // with frames, by node
	lasted  time.Duration
	started time.Duration // from the submission until everything ran
	status  api.WorkflowStatus
	spec    *tiering.Workflow
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
	submitted := time.Now()
	if err := k.submit(ctx, sources, testbed.DocumentOptions{Name: name, FPS: calibrationFPS}); err != nil {
		return err
	}
	defer func() {
		if err := k.stop(context.WithoutCancel(ctx), name); err != nil {
			k.Log.Warn("the calibration's workflow could not be stopped", "err", err)
		}
	}()
	if _, err := awaitRunning(ctx, k.Config, name); err != nil {
		return err
	}
	k.started = max(time.Since(submitted)-reportLag, 0)
	return k.watch(ctx, name)
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
func (k *calibration) watch(ctx context.Context, name string) error {
	from, err := k.snapshot()
	if err != nil {
		return err
	}
	base, err := k.Client.Workflow(ctx, name)
	if err != nil {
		return err
	}
	start := time.Now()
	err = poll(ctx, calibrationFor, func(ctx context.Context) (bool, error) {
		s, err := k.Client.Workflow(ctx, name)
		if err != nil {
			return false, err
		}
		k.status = s
		least := uint64(math.MaxUint64)
		for _, x := range s.Stages {
			least = min(least, x.Processed)
		}
		k.say(fmt.Sprintf("calibrating: %d of %d frames", min(least, calibrationCount), calibrationCount))
		return least >= calibrationCount, nil
	})
	if err != nil {
		return fmt.Errorf("not every task had %d frames: %w", calibrationCount, err)
	}
	to, err := k.snapshot()
	if err != nil {
		return err
	}
	k.lasted, k.used = time.Since(start), map[string]time.Duration{}
	for node, d := range to {
		k.used[node] = d - from[node]
	}
	k.status = less(k.status, base)
	return nil
}

// less takes from a status what an earlier one had counted.
func less(s, earlier api.WorkflowStatus) api.WorkflowStatus {
	for i := range s.Stages {
		x, y := &s.Stages[i], &earlier.Stages[i]
		x.Processed -= y.Processed
		x.Bytes -= y.Bytes
		x.Execute, x.Reduce = x.Execute.Since(y.Execute), x.Reduce.Since(y.Reduce)
		x.Transfer, x.Queue = x.Transfer.Since(y.Transfer), x.Queue.Since(y.Queue)
	}
	for i := range s.Sources {
		x, y := &s.Sources[i], &earlier.Sources[i]
		x.Frames = since(x.Frames, y.Frames)
		x.Capture = x.Capture.Since(y.Capture)
	}
	return s
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

// costs makes the costs of what was measured.
func (k *calibration) costs() testbed.Costs {
	idle, coordinate := k.idleCosts()
	capture := k.capture()
	byteCost, encode := k.network(capture)
	out := testbed.Costs{
		Capture: &capture, Idle: &idle, Coordinate: &coordinate,
		Detect: new(defaultDetect), Return: new(defaultReturn),
		Tasks: map[string]testbed.TaskCosts{},
	}
	for _, x := range k.status.Stages {
		work := workOf(&x)
		bytes := k.wire(&x)
		side := testbed.Time{Mean: time.Duration(byteCost * float64(bytes))}
		send := side
		if k.encoded(x.Task) {
			send.Mean += encode
		}
		out.Tasks[x.Task] = testbed.TaskCosts{Work: &work, Send: &send, Receive: &side, Bytes: &bytes, Start: new(k.started)}
	}
	return out.Or(k.Scenario.Costs)
}

// idleCosts are the cores that weftd takes without frames: an agent's, and what
// a coordinator takes beyond them.
func (k *calibration) idleCosts() (agent, coordinator float64) {
	var agents, coordinators []float64
	for _, n := range k.Scenario.Nodes {
		if n.Coordinator {
			coordinators = append(coordinators, k.idle[n.Name])
		} else {
			agents = append(agents, k.idle[n.Name])
		}
	}
	agent = mean(agents)
	if len(coordinators) > 0 {
		coordinator = max(mean(coordinators)-agent, 0)
	}
	return agent, coordinator
}

func mean(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range of {
		sum += v
	}
	return sum / float64(len(of))
}

func (k *calibration) capture() testbed.Time {
	all := pipeline.NewHistogram()
	for _, s := range k.status.Sources {
		all.Merge(s.Capture)
	}
	return testbed.Time{Mean: all.Mean(), CV: ratio(all.StdDev(), all.Mean())}
}

// workOf is a stage's work for a frame: reducing it and the rest.
func workOf(x *stageStatus) testbed.Time {
	m := x.Execute.Mean()
	if n := x.Execute.Count(); n > 0 { // not every frame has to be reduced
		m += time.Duration(float64(x.Reduce.Mean()) * float64(x.Reduce.Count()) / float64(n))
	}
	deviation := math.Hypot(float64(x.Execute.StdDev()), float64(x.Reduce.StdDev()))
	return testbed.Time{Mean: m, CV: ratio(time.Duration(deviation), m)}
}

func ratio(a, b time.Duration) float64 {
	if b == 0 {
		return 0
	}
	return math.Round(float64(a)/float64(b)*1000) / 1000
}

// wire is the size of a frame on its way to a task, headers included; 0: it
// never was on one.
func (k *calibration) wire(x *stageStatus) int64 {
	n := x.Transfer.Count()
	if n == 0 {
		return 0
	}
	return int64((float64(x.Bytes)/float64(n) + headerBytes) * packetShare)
}

// encoded reports whether pictures are encoded on their way to a task: they
// come from a source or a preprocess task. Later ones pass them on as they got
// them.
func (k *calibration) encoded(task string) bool {
	t, ok := k.spec.Task(task)
	if !ok {
		return false
	}
	for _, from := range k.spec.Predecessors(t.Group) {
		if _, isSource := k.spec.Source(from); isSource {
			return true
		}
		for _, p := range k.spec.Tasks {
			if p.Group == from && p.Type == tiering.Preprocess {
				return true
			}
		}
	}
	return false
}

type stageStatus = api.StageStatus

// network finds what it costs a node to send or receive a byte, the same for
// both, and what to encode a frame. What the nodes used beyond idling, capture
// and the stages' work is explained by bytes on those that encode nothing, and
// by bytes and frames on those that do. perByte is in nanoseconds.
func (k *calibration) network(capture testbed.Time) (perByte float64, encode time.Duration) {
	encoding := map[string]bool{} // nodes
	for _, p := range k.status.Placements {
		if p.Source {
			encoding[p.Node] = true
		}
		if t, ok := k.spec.Task(p.Task); ok && t.Type == tiering.Preprocess {
			encoding[p.Node] = true
		}
	}
	var rest [2]float64 // seconds not explained: [0] elsewhere, [1] where frames are encoded
	group := func(node string) int {
		if encoding[node] {
			return 1
		}
		return 0
	}
	for node, used := range k.used {
		rest[group(node)] += used.Seconds() - k.idle[node]*k.lasted.Seconds()
	}
	for _, s := range k.status.Sources {
		rest[group(s.Node)] -= capture.Mean.Seconds() * float64(s.Frames.Captured)
	}
	var bytes [2]float64 // sent and received
	var encoded float64  // frames
	for i := range k.status.Stages {
		x := &k.status.Stages[i]
		share := k.shareOf(x.Task, encoding)
		rest[1] -= share * workOf(x).Mean.Seconds() * float64(x.Processed)
		rest[0] -= (1 - share) * workOf(x).Mean.Seconds() * float64(x.Processed)
		sent := float64(k.wire(x)) * float64(x.Transfer.Count())
		bytes[1] += share * sent
		bytes[0] += (1 - share) * sent
		from := 0.0 // of the frames, the share sent by nodes that encode
		if k.encoded(x.Task) {
			from = 1
			encoded += float64(x.Transfer.Count())
		}
		bytes[1] += from * sent
		bytes[0] += (1 - from) * sent
	}
	if bytes[0] > 0 {
		perByte = max(rest[0]/bytes[0], 0)
	} else if bytes[1] > 0 {
		perByte = max(rest[1]/bytes[1], 0)
	}
	if encoded > 0 {
		encode = time.Duration(max(rest[1]-perByte*bytes[1], 0) / encoded * float64(time.Second))
	}
	return perByte * 1e9, encode
}

// shareOf is the share of a task's instances on the nodes.
func (k *calibration) shareOf(task string, nodes map[string]bool) float64 {
	in, all := 0.0, 0.0
	for _, p := range k.status.Placements {
		if p.Task != task || p.Source {
			continue
		}
		all++
		if nodes[p.Node] {
			in++
		}
	}
	if all == 0 {
		return 0
	}
	return in / all
}
