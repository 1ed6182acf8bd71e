package live

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// costs makes the costs of what was measured.
func (k *calibration) costs() testbed.Costs {
	idle, coordinate := k.idleCosts()
	both := together(k.phases[0].status, k.phases[1].status)
	capture := captureOf(both)
	work := map[string]testbed.Time{}
	for i := range both.Stages {
		work[both.Stages[i].Task] = workOf(&both.Stages[i], k.Scenario.CoreSpeed(k.Scenario.CPUScale))
	}
	n := k.network(work)
	if n.share < disturbed {
		k.Log.Warn("other processes slowed the calibration down; times are taken from CPU accounts instead",
			"cpu_of_time", fmt.Sprintf("%.2f", n.share))
	}
	// A camera may be waited for: what reading a picture takes is at most what
	// the nodes used beyond the frames' costs.
	if perFrame := time.Duration(n.reading * float64(time.Second) / fast); n.reading > 0 && perFrame < capture.Mean {
		capture.Mean = perFrame
	}
	if t := k.tight(capture.Mean); t.nodes > 0 {
		k.Log.Warn("weftd and taking pictures take most of the CPU that some nodes have here, before a frame is analysed: "+
			"a run shows this machine rather than the scenario; raise cpuOverhead or cpuScale, or use another machine",
			"nodes", t.nodes, "worst", t.worst, "needs_cores", fmt.Sprintf("%.3f", t.needs), "has_cores", fmt.Sprintf("%.3f", t.has))
	}
	out := testbed.Costs{
		Capture: &capture, Idle: &idle, Coordinate: &coordinate,
		Detect: new(defaultDetect), Return: new(defaultReturn),
		Tasks: map[string]testbed.TaskCosts{},
	}
	if pictures := n.reading / max(capture.Mean.Seconds(), 1e-9); pictures >= slow {
		out.Input = new(math.Round(pictures*10) / 10)
	}
	for i := range both.Stages {
		x := &both.Stages[i]
		bytes := wire(x)
		side := testbed.Time{Mean: time.Duration(n.perByte * float64(bytes))}
		send := side
		if k.encoded(x.Task) {
			send.Mean += n.encode
		}
		w := work[x.Task]
		w.Mean = time.Duration(n.share * float64(w.Mean))
		out.Tasks[x.Task] = testbed.TaskCosts{Work: &w, Send: &send, Receive: &side, Bytes: &bytes, Start: new(k.started), Filtered: k.filtered(x)}
	}
	return out.Or(k.Scenario.Costs)
}

// tightness says how many nodes have hardly more CPU than they need whatever is
// decided, and which has the least.
type tightness struct {
	nodes      int
	worst      string
	needs, has float64 // cores
}

// tight looks at what weftd takes without frames, and a source for its pictures.
func (k *calibration) tight(capture time.Duration) (t tightness) {
	share := mostOverhead
	for i := range k.Scenario.Nodes {
		n := &k.Scenario.Nodes[i]
		needs, has := k.idle[n.Name], k.Scenario.Quota(*n, k.Scenario.CPUScale)
		for _, s := range k.Scenario.Sources {
			if s.Node == n.Name {
				needs += s.FPS * capture.Seconds()
			}
		}
		if needs/has <= mostOverhead {
			continue
		}
		t.nodes++
		if needs/has > share {
			share, t.worst, t.needs, t.has = needs/has, n.Name, needs, has
		}
	}
	return t
}

// filtered is the share of its frames that a filter let go no further; nil: the
// task is none.
func (k *calibration) filtered(x *stageStatus) *float64 {
	t, ok := k.spec.Task(x.Task)
	if !ok || t.Operation != tiering.OperationFilter {
		return nil
	}
	return new(float64(x.Filtered) / float64(max(x.Filtered+x.Processed, 1)))
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

func captureOf(x api.WorkflowStatus) testbed.Time {
	all := pipeline.NewHistogram()
	for _, s := range x.Sources {
		all.Merge(s.Capture)
	}
	return testbed.Time{Mean: all.Quantile(0.5), CV: ratio(spread(all), all.Quantile(0.5))}
}

// workOf is a stage's work for a frame, on a core of such a speed: reducing it and the
// rest. It is the median that counts: during some frames something else has the CPU.
func workOf(x *stageStatus, speed float64) testbed.Time {
	m := x.Execute.Quantile(0.5)
	if n := x.Execute.Count(); n > 0 { // not every frame has to be reduced
		m += time.Duration(float64(x.Reduce.Quantile(0.5)) * float64(x.Reduce.Count()) / float64(n))
	}
	deviation := math.Hypot(float64(spread(x.Execute)), float64(spread(x.Reduce)))
	return testbed.Time{Mean: time.Duration(speed * float64(m)), CV: ratio(time.Duration(deviation), m)}
}

// spread is the standard deviation as the middle two thirds show it: a few
// frames during which something else had the CPU do not count.
func spread(h *pipeline.Histogram) time.Duration {
	return (h.Quantile(0.841) - h.Quantile(0.159)) / 2
}

func ratio(a, b time.Duration) float64 {
	if b == 0 {
		return 0
	}
	return math.Round(float64(a)/float64(b)*1000) / 1000
}

// wire is the size of a frame on its way to a task, headers included; 0: it
// never was on one.
func wire(x *stageStatus) int64 {
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

// networkCosts are what the way of a frame costs beyond the stages' work.
type networkCosts struct {
	perByte float64       // ns, to send or to receive a byte
	encode  time.Duration // of a frame
	reading float64       // cores that a source takes, of whose pictures no frame is made; 0: not known
	share   float64       // of the spans of work, what the nodes had the CPU for; 1: all
}

// network finds the network's costs.
//
// A transfer takes what the link takes, which is known, and besides that what
// it costs to send and to receive, half each, and before the first of them to
// encode the frame.
//
// The nodes are in two groups: those that encode frames, with the sources, and
// the others. Where the stages' work, spans of real time, is more than the CPU
// time that the others used beyond idling, something else had the CPU. What the
// encoding ones used grows with the frames by what a frame costs; what remains
// at no frames at all, beyond idling, is for reading pictures that become none.
func (k *calibration) network(work map[string]testbed.Time) networkCosts {
	encoding := k.encoding()
	n := networkCosts{share: 1}
	var used, spent float64 // of the others, in both phases
	for _, p := range k.phases {
		used += k.usedBy(p, encoding, false)
		spent += k.account(p, work, encoding).spent
	}
	if spent > 0 {
		n.share = min(1, used/spent)
	}

	both := together(k.phases[0].status, k.phases[1].status)
	var sides, encodes []float64 // ns a byte; ns
	for _, encoded := range []bool{false, true} {
		for i := range both.Stages {
			x := &both.Stages[i]
			if x.Transfer.Count() == 0 || k.encoded(x.Task) != encoded {
				continue
			}
			over := float64(max(x.Transfer.Quantile(0.5)-k.onTheLink(x), 0))
			if !encoded {
				sides = append(sides, over/2/float64(wire(x)))
			} else {
				encodes = append(encodes, max(over-2*mean(sides)*float64(wire(x)), 0))
			}
		}
	}
	n.perByte, n.encode = mean(sides), time.Duration(mean(encodes))

	var cores, rate [2]float64 // of the encoding nodes; frames a second
	for i, p := range k.phases {
		t := p.lasted.Seconds()
		cores[i] = k.usedBy(p, encoding, true) / t
		rate[i] = k.account(p, work, encoding).encoded / t
	}
	if rate[1] > rate[0] {
		slope := max((cores[1]-cores[0])/(rate[1]-rate[0]), 0)
		n.reading = max(cores[0]-slope*rate[0], 0) / float64(max(len(both.Sources), 1))
	}
	return n
}

// onTheLink is how long a frame takes to a task over the link alone: the mean
// over the ways to it.
func (k *calibration) onTheLink(x *stageStatus) time.Duration {
	t, ok := k.spec.Task(x.Task)
	if !ok {
		return 0
	}
	topology := testbed.NewTopology(k.Scenario)
	var ways []float64
	for _, to := range k.phases[0].status.Placements {
		if to.Task != x.Task || to.Source {
			continue
		}
		for _, from := range k.phases[0].status.Placements {
			if from.Node == to.Node || !k.feeds(from, t.Group) {
				continue
			}
			l, ok := topology.Link(from.Node, to.Node)
			if !ok {
				continue
			}
			way := float64(l.Delay)
			if l.Rate > 0 {
				way += float64(wire(x)) * 8 / float64(l.Rate) * float64(time.Second)
			}
			ways = append(ways, way)
		}
	}
	return time.Duration(mean(ways))
}

// feeds reports whether frames go from a placement to a group.
func (k *calibration) feeds(p tiering.Placement, group string) bool {
	from := p.Task
	if t, ok := k.spec.Task(p.Task); ok && !p.Source {
		from = t.Group
	}
	return slices.Contains(k.spec.Predecessors(group), from)
}

// usedBy is the CPU time that a group of nodes used beyond idling, in seconds.
func (k *calibration) usedBy(p phase, encoding map[string]bool, those bool) float64 {
	sum := 0.0
	for node, d := range p.used {
		if encoding[node] == those {
			sum += max(d.Seconds()-k.idle[node]*p.lasted.Seconds(), 0)
		}
	}
	return sum
}

// account is what the frames of a phase had done to them.
type account struct {
	spent   float64 // seconds of the stages' work on nodes that encode nothing
	encoded float64 // frames
}

func (k *calibration) account(p phase, work map[string]testbed.Time, encoding map[string]bool) (a account) {
	for i := range p.status.Stages {
		x := &p.status.Stages[i]
		there := shareOf(p.status.Placements, x.Task, encoding)
		a.spent += (1 - there) * work[x.Task].Mean.Seconds() * float64(x.Processed)
		if k.encoded(x.Task) {
			a.encoded += float64(x.Transfer.Count())
		}
	}
	return a
}

// encoding are the nodes on which pictures are encoded: those of sources and
// preprocess tasks.
func (k *calibration) encoding() map[string]bool {
	out := map[string]bool{}
	for _, p := range k.phases[0].status.Placements {
		t, ok := k.spec.Task(p.Task)
		if p.Source || ok && t.Type == tiering.Preprocess {
			out[p.Node] = true
		}
	}
	return out
}

// shareOf is the share of a task's instances on the nodes.
func shareOf(placements []tiering.Placement, task string, nodes map[string]bool) float64 {
	in, all := 0.0, 0.0
	for _, p := range placements {
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

// together adds the counts of two phases.
func together(a, b api.WorkflowStatus) api.WorkflowStatus {
	out := sum(a, b)
	out.Sources = nil
	for i, x := range b.Sources {
		x.Capture = merged(a.Sources[i].Capture, x.Capture)
		out.Sources = append(out.Sources, x)
	}
	return out
}
