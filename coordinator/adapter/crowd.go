package adapter

import (
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// crowd is the instances of a workflow that compute on a node's processors, and what
// they did in a period.
type crowd struct {
	instances, taking int      // all, and those that take turns
	turns             int      // how many of these work at a time
	names             []string // of their tasks
	tasks             map[string]*executed
	busy              float64 // executing at a time, in the mean
}

// executed is what instances of a task did.
type executed struct {
	all     *pipeline.Histogram // of what executing took
	reduced time.Duration       // what reducing took, of all frames
}

// mean is what a frame took.
func (x *executed) mean() time.Duration {
	return x.all.Mean() + x.reduced/time.Duration(max(1, x.all.Count()))
}

const (
	// lapse is how much longer executing alone is held to take from one period to the
	// next, so that a node that has become slower is not taken for a crowded one for good.
	lapse = 1.002
	// crowded is how many times as long as alone executing must take, in the mean, for
	// instances to slow each other down: what takes long only now and then stays below.
	crowded = 1.5
	// together is how many must execute at a time to be told from one.
	together = 1.3
	// silence is after how many periods in which nothing ran on a node it is forgotten
	// how much it does.
	silence = leastPatience
)

// has counts an instance.
func (c *crowd) has(r *pipeline.StageReport) {
	c.instances++
	if r.Turns > 0 {
		c.taking++
		c.turns = r.Turns
		c.names = append(c.names, r.Task)
	}
}

// did takes in what an instance did since an earlier report.
func (c *crowd) did(r, was *pipeline.StageReport, in time.Duration) {
	x := c.tasks[r.Task]
	if x == nil {
		x = &executed{all: pipeline.NewHistogram()}
		c.tasks[r.Task] = x
	}
	execute, reduce := r.Execute.Since(was.Execute), r.Reduce.Since(was.Reduce)
	reduced := time.Duration(reduce.Count()) * reduce.Mean()
	x.all.Merge(execute)
	x.reduced += reduced
	if in > 0 {
		c.busy += (time.Duration(execute.Count())*execute.Mean() + reduced).Seconds() / in.Seconds()
	}
}

// crowds learns from a period which nodes do less at a time than they have instances:
// those where they take turns say how many; of others it shows.
func (m *meter) crowds(nodes map[string]*crowd) {
	m.costs.Turns = map[string]map[string]int{}
	for node, c := range nodes {
		if c.taking > c.turns {
			for _, name := range c.names {
				if m.costs.Turns[name] == nil {
					m.costs.Turns[name] = map[string]int{}
				}
				m.costs.Turns[name][node] = c.turns
			}
		}
		m.slows(node, c)
	}
	for node := range m.costs.Cores {
		if c := nodes[node]; c != nil && len(c.tasks) > 0 {
			delete(m.silent, node)
			continue
		}
		if m.silent[node]++; m.silent[node] >= silence {
			delete(m.silent, node)
			delete(m.costs.Cores, node)
			for _, of := range m.costs.Alone {
				delete(of, node)
			}
		}
	}
}

// slows sees whether the instances of a node slow each other down: it may be held to a
// quota, or its processors be threads of fewer cores. Then neither their number nor
// that of turns says how much they can do, and the node's is learnt: how many
// executions at a time it does the work of. An execution sees J = 1 + B(k-1)/k
// executing, itself included, if each of k that can is busy for a share of the time
// and all for B; each gets what it would get alone, divided by how many times as long it
// takes; so J over that is what the node does. (Of a node that is shared equally by any
// number, J is 1/(1-ρ), and so is the time: Kleinrock, Queueing Systems II, 4.4.)
func (m *meter) slows(node string, c *crowd) {
	k := float64(c.instances)
	if c.turns > 0 {
		k = min(k, float64(c.turns))
	}
	var took, least time.Duration
	for name, x := range c.tasks {
		if m.costs.Alone[name] == nil {
			m.costs.Alone[name] = map[string]time.Duration{}
		}
		// It is the least in a period in which hardly anything else ran.
		quick := x.all.Quantile(0.5) + x.mean() - x.all.Mean()
		if old := m.costs.Alone[name][node]; old > 0 {
			quick = min(quick, time.Duration(lapse*float64(old)))
		}
		m.costs.Alone[name][node] = quick
		took += time.Duration(x.all.Count()) * x.mean()
		least += time.Duration(x.all.Count()) * quick
	}
	if least == 0 {
		return
	}
	slow, at := float64(took)/float64(least), 1+min(c.busy, k)*(k-1)/k
	cores, known := m.costs.Cores[node]
	switch {
	case slow >= crowded && at >= together && !known:
		cores = at / slow
	case slow >= crowded && at >= together:
		cores += gentle * (at/slow - cores)
	case known: // it did at least that
		cores = max(cores, at/slow)
	default:
		return
	}
	m.costs.Cores[node] = cores
	if crowded*cores > k { // with all of them at work it would not be crowded
		delete(m.costs.Cores, node)
	}
}
