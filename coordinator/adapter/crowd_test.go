package adapter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/pipeline"
)

// node is one whose instances share its cores equally, none getting more than one.
// Frames come to each at random and wait their turn. What executing takes by itself
// is 50 ms, and varies.
type node struct {
	cores float64
	rng   *rand.Rand
	queue []int     // frames that each instance has, the one that it executes included
	left  []float64 // seconds of work of that one
	since []time.Duration
	now   time.Duration
}

func newNode(instances int, cores float64) *node {
	return &node{cores: cores, rng: rand.New(rand.NewPCG(1, 2)), queue: make([]int, instances), left: make([]float64, instances), since: make([]time.Duration, instances)}
}

// period lets frames come at a rate to each instance. No queue grows beyond four.
func (n *node) period(rate float64, lasts time.Duration) map[string]*crowd {
	const step = time.Millisecond
	reports := make([]pipeline.StageReport, len(n.queue))
	for i := range reports {
		reports[i] = pipeline.StageReport{Task: fmt.Sprintf("task-%d", i%2), Execute: pipeline.NewHistogram(), Reduce: pipeline.NewHistogram()}
	}
	for end := n.now + lasts; n.now < end; n.now += step {
		busy := 0
		for i := range n.queue {
			if n.rng.Float64() < rate*step.Seconds() && n.queue[i] < 4 {
				n.queue[i]++
			}
			if n.queue[i] > 0 && n.left[i] <= 0 {
				n.left[i], n.since[i] = 0.05*max(0.2, 1+0.25*n.rng.NormFloat64()), n.now
			}
			if n.left[i] > 0 {
				busy++
			}
		}
		for i := range n.queue {
			if n.left[i] <= 0 {
				continue
			}
			if n.left[i] -= step.Seconds() * min(1, n.cores/float64(busy)); n.left[i] <= 0 {
				reports[i].Execute.Record(n.now + step - n.since[i])
				n.queue[i]--
			}
		}
	}
	c := &crowd{tasks: map[string]*executed{}}
	for i := range reports {
		c.has(&reports[i])
		c.did(&reports[i], &pipeline.StageReport{}, lasts)
	}
	return map[string]*crowd{"cloud-1": c}
}

func TestCrowd(t *testing.T) {
	for _, c := range []struct {
		name      string
		instances int
		cores     float64
		load      float64 // of what the node can do
		found     bool    // or it is told by nothing
	}{
		{"eight that share a quota, half full", 8, 1, 0.6, true},
		{"nearly full", 8, 1, 0.9, true},
		{"overloaded", 8, 1, 1.5, true},
		{"four on two cores, nearly full", 4, 2, 0.9, true},
		{"eight on two cores, nearly full", 8, 2, 0.95, true},
		{"a core each, nearly full", 4, 4, 0.9, false},
		{"a core each, overloaded", 4, 4, 1.5, false},
		{"one", 1, 1, 0.9, false},
	} {
		n, m := newNode(c.instances, c.cores), newMeter()
		rate := func(load float64) float64 { return load * c.cores / 0.05 / float64(c.instances) }
		for range 3 { // it begins with few frames
			m.crowds(n.period(rate(0.1), 10*time.Second))
		}
		if _, known := m.costs.Cores["cloud-1"]; known {
			t.Errorf("%s: crowded by next to nothing: %v", c.name, m.costs.Cores)
		}
		for range 12 {
			m.crowds(n.period(rate(c.load), 10*time.Second))
		}
		cores, known := m.costs.Cores["cloud-1"]
		if known != c.found {
			t.Errorf("%s: known: %v (%.2f)", c.name, known, cores)
		}
		if !known {
			continue
		}
		// What the node can do is the cores over what executing takes alone.
		rateFull, rateTrue := cores/m.costs.Alone["task-0"]["cloud-1"].Seconds(), c.cores/0.05
		t.Logf("%s: %.1f executions a second, %.1f are right", c.name, rateFull, rateTrue)
		if math.Abs(rateFull/rateTrue-1) > 0.25 {
			t.Errorf("%s: it can do %.1f executions a second, not %.1f", c.name, rateFull, rateTrue)
		}
	}
}

// Where nothing runs any more it is forgotten what a node does.
func TestCrowdInSilence(t *testing.T) {
	n, m := newNode(8, 1), newMeter()
	for _, rate := range []float64{0.5, 2.4, 2.4} {
		m.crowds(n.period(rate, 10*time.Second))
	}
	m.crowds(map[string]*crowd{"cloud-1": {instances: 8}}) // one period is too short to tell
	if m.costs.Cores["cloud-1"] == 0 {
		t.Fatal("it is not known at all")
	}
	m.crowds(nil)
	if _, known := m.costs.Cores["cloud-1"]; known || len(m.costs.Alone["task-0"]) > 0 || len(m.silent) > 0 {
		t.Errorf("still known: %v, %v", m.costs.Cores, m.costs.Alone)
	}
}

// Turns bind where more instances take them than work at a time; a GPU takes none.
func TestTurnsThatBind(t *testing.T) {
	m := newMeter()
	instance := func(task string, number, turns int, backend string) kpi.Instance {
		h := pipeline.NewHistogram()
		return kpi.Instance{ID: fmt.Sprintf("streets/%s#%d", task, number), Node: "fog-1", Stage: &pipeline.StageReport{
			Task: task, Turns: turns, Backend: backend, Queue: h, Transfer: h, Link: h, Reduce: h, Execute: h,
		}}
	}
	all := []kpi.Instance{instance("detect@512", 0, 0, "cuda"), instance("detect@512", 1, 0, "cuda"), instance("draw", 0, 2, ""), instance("resize", 0, 2, "")}
	m.observe(all, 10*time.Second)
	if len(m.costs.Turns) > 0 {
		t.Errorf("two that take turns, two at a time: %v", m.costs.Turns)
	}
	m.observe(append(all, instance("detect@416", 0, 2, "cpu")), 10*time.Second)
	if x := m.costs.Turns; x["draw"]["fog-1"] != 2 || x["detect@416"]["fog-1"] != 2 || x["detect@512"] != nil {
		t.Errorf("three that take turns, two at a time: %v", x)
	}
	m.observe(all, 10*time.Second)
	if len(m.costs.Turns) > 0 {
		t.Errorf("one has gone: %v", m.costs.Turns)
	}
}

// A node that is given more cores is seen to be crowded no more.
func TestCrowdedNoMore(t *testing.T) {
	n, m := newNode(8, 1), newMeter()
	for _, rate := range []float64{0.5, 2.4, 2.4} {
		m.crowds(n.period(rate, 10*time.Second))
	}
	if m.costs.Cores["cloud-1"] == 0 {
		t.Fatal("eight instances of one core do not crowd it")
	}
	n.cores = 8
	for range 30 {
		m.crowds(n.period(18, 10*time.Second))
	}
	if cores, known := m.costs.Cores["cloud-1"]; known {
		t.Errorf("it is still held to do the work of %.1f", cores)
	}
}
