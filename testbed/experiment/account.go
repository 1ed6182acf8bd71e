package experiment

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// Correction is what the CPU accounts of emulated runs say about costs that were
// measured before them: how fast a processor is depends on what else it does (two
// threads of a core, its clock, its caches), which a short measurement before a run
// does not see.
type Correction struct {
	Pace map[string]float64 `json:"pace"`       // by task: what a frame took, as a share of what the costs say
	Idle float64            `json:"idle_cores"` // that each node took beyond what the costs say
}

// String says it for people.
func (c Correction) String() string {
	tasks := map[string][]string{} // by pace
	for _, name := range slices.Sorted(maps.Keys(c.Pace)) {
		pace := fmt.Sprintf("%.2f", c.Pace[name])
		tasks[pace] = append(tasks[pace], name)
	}
	var paces []string
	for _, pace := range slices.Sorted(maps.Keys(tasks)) {
		paces = append(paces, fmt.Sprintf("%s (%s)", pace, strings.Join(tasks[pace], ", ")))
	}
	if paces == nil {
		return "the nodes' CPU accounts say nothing of what frames took"
	}
	return fmt.Sprintf("by the nodes' CPU accounts frames took %s times what was measured before, and weftd %.3f cores more of a node", strings.Join(paces, " and "), c.Idle)
}

// Correct finds the correction of costs by the emulated outcomes of a run, in least
// squares of the CPU time of nodes without a source, which run nothing but weftd and
// stages. Tasks that share a node have one pace. Of those that have no such nodes to
// themselves nothing is said. No node is left with less than half of what it has for
// frames.
func Correct(c testbed.Costs, run string, outcomes []StudyOutcome) (Correction, error) {
	var ledgers []*ledger
	most := math.Inf(1) // that may be said to idle
	for i := range outcomes {
		o := &outcomes[i]
		if o.Run.Name != run || o.Method != testbed.Emulated {
			continue
		}
		for i := range o.Arm.Scenario.Nodes {
			n := &o.Arm.Scenario.Nodes[i]
			most = min(most, max(0, (o.Arm.Scenario.Quota(*n, o.Arm.Scenario.CPUScale)-idleOf(n, c))/2))
		}
		for _, rec := range o.recs {
			l, err := newLedger(o.Arm.Scenario, rec, c)
			if err != nil {
				return Correction{}, err
			}
			if l != nil {
				ledgers = append(ledgers, l)
			}
		}
	}
	out := Correction{Pace: map[string]float64{}}
	idle, time := 0.0, 0.0
	for _, tasks := range together(ledgers) {
		var all []account
		for _, l := range ledgers {
			all = append(all, l.of(tasks))
		}
		pace, more := correction(all)
		for _, name := range tasks {
			out.Pace[name] = pace
		}
		for _, a := range all {
			idle, time = idle+more*a.time, time+a.time
		}
	}
	if time > 0 {
		out.Idle = min(idle/time, most)
	}
	return out, nil
}

// Apply returns the costs with what a frame takes, and weftd, corrected.
func (c Correction) Apply(to testbed.Costs) testbed.Costs {
	tasks := map[string]testbed.TaskCosts{}
	for name, t := range to.Tasks {
		if pace, known := c.Pace[name]; known {
			for _, x := range []**testbed.Time{&t.Work, &t.Send, &t.Receive} {
				if *x != nil {
					*x = &testbed.Time{Mean: time.Duration(pace * float64((*x).Mean)), CV: (*x).CV}
				}
			}
		}
		tasks[name] = t
	}
	to.Tasks = tasks
	to.Idle = new(valueOf(to.Idle) + c.Idle)
	return to
}

// ledger is what the nodes without sources did in a recording's measured time.
type ledger struct {
	seconds float64
	used    map[string]float64         // CPU seconds beyond what weftd takes without frames, by node
	on      map[string]map[string]bool // nodes, by task
	work    map[string]float64         // CPU seconds of frames by the costs, by task
}

// newLedger is nil where a recording says nothing, since a node was started anew.
func newLedger(s *testbed.Scenario, rec *testbed.Recording, c testbed.Costs) (*ledger, error) {
	w, err := s.WorkflowSpec(nil)
	if err != nil {
		return nil, err
	}
	first := slices.IndexFunc(rec.Samples, func(x testbed.Sample) bool { return x.At >= 0 })
	if first < 0 || first == len(rec.Samples)-1 {
		return nil, nil
	}
	for i := range rec.Samples[first:] {
		if slices.ContainsFunc(rec.Samples[first+i].Nodes, func(n testbed.NodeSample) bool { return !n.Up }) {
			return nil, nil
		}
	}
	from, to := &rec.Samples[first], &rec.Samples[len(rec.Samples)-1]
	l := &ledger{seconds: (to.At - from.At).Seconds(), used: map[string]float64{}, on: map[string]map[string]bool{}, work: map[string]float64{}}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if !slices.ContainsFunc(s.Sources, func(x testbed.Source) bool { return x.Node == n.Name }) {
			l.used[n.Name] = (cpuOf(to, n.Name) - cpuOf(from, n.Name)).Seconds() - idleOf(n, c)*l.seconds
		}
	}
	for _, p := range rec.Totals.Placements {
		if p.Source {
			continue
		}
		if l.on[p.Task] == nil {
			l.on[p.Task] = map[string]bool{}
		}
		l.on[p.Task][p.Node] = true
	}
	// What is also done on a node with sources cannot be told apart, nor what else is
	// done on the nodes of that.
	for again := true; again; {
		again = false
		for task, nodes := range l.on {
			for node := range nodes {
				if _, apart := l.used[node]; !apart {
					for other := range nodes {
						delete(l.used, other)
					}
					delete(l.on, task)
					again = true
					break
				}
			}
		}
	}
	for i := range rec.Totals.Stages {
		x := &rec.Totals.Stages[i]
		t, known := w.Task(x.Task)
		if !known {
			continue
		}
		costs, moved := c.Tasks[x.Task], 0.0
		if x.Transfer != nil {
			moved = float64(x.Transfer.Count())
		}
		l.work[x.Task] += float64(x.Processed)*secondsOf(costs.Work) + moved*secondsOf(costs.Receive)
		// They were sent by tasks before it that are elsewhere.
		for _, p := range w.Tasks {
			if slices.Contains(w.Predecessors(t.Group), p.Group) && l.on[p.Name] != nil && !meet(l.on[p.Name], l.on[x.Task]) {
				l.work[p.Name] += moved * secondsOf(costs.Send)
				break
			}
		}
	}
	return l, nil
}

// of is the account of tasks.
func (l *ledger) of(tasks []string) (a account) {
	nodes := map[string]bool{}
	for _, name := range tasks {
		a.work += l.work[name]
		for node := range l.on[name] {
			nodes[node] = true
		}
	}
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		a.used += l.used[node]
		a.time += l.seconds
	}
	return a
}

// together are the tasks that were ever on one node, directly or through others.
func together(ledgers []*ledger) [][]string {
	var groups []map[string]bool // of tasks and, marked, nodes
	for _, l := range ledgers {
		for _, task := range slices.Sorted(maps.Keys(l.on)) {
			mine := map[string]bool{task: true}
			for node := range l.on[task] {
				mine["@"+node] = true
			}
			groups = slices.DeleteFunc(groups, func(g map[string]bool) bool {
				if meet(g, mine) {
					maps.Copy(mine, g)
					return true
				}
				return false
			})
			groups = append(groups, mine)
		}
	}
	var out [][]string
	for _, g := range groups {
		tasks := slices.DeleteFunc(slices.Sorted(maps.Keys(g)), func(name string) bool { return strings.HasPrefix(name, "@") })
		out = append(out, tasks)
	}
	return out
}

func meet(a, b map[string]bool) bool {
	for x := range a {
		if b[x] {
			return true
		}
	}
	return false
}

// account sets CPU time beside what the costs say, in seconds.
type account struct {
	used float64 // beyond what weftd takes without frames
	work float64 // of the frames, by the costs
	time float64 // of all nodes
}

// correction is the pace and the idling, neither below 0, for which the sum of the
// squares of used − pace·work − idle·time is the least.
func correction(all []account) (pace, idle float64) {
	var ww, wt, tt, wu, tu float64
	for _, a := range all {
		ww, wt, tt = ww+a.work*a.work, wt+a.work*a.time, tt+a.time*a.time
		wu, tu = wu+a.work*a.used, tu+a.time*a.used
	}
	if ww == 0 || wu <= 0 {
		return 1, 0
	}
	// Where all have nearly the same load nobody can tell the two apart.
	if d := ww*tt - wt*wt; d > 1e-2*ww*tt {
		if pace, idle = (wu*tt-tu*wt)/d, (tu*ww-wu*wt)/d; pace > 0 && idle >= 0 {
			return pace, idle
		}
	}
	return wu / ww, 0
}

// cpuOf is the CPU time of a node in a sample.
func cpuOf(x *testbed.Sample, node string) time.Duration {
	for i := range x.Nodes {
		if x.Nodes[i].Node == node {
			return x.Nodes[i].CPU
		}
	}
	return 0
}

// idleOf is what weftd takes of a node without frames, in cores.
func idleOf(n *testbed.Node, c testbed.Costs) float64 {
	idle := valueOf(c.Idle)
	if n.Coordinator {
		idle += valueOf(c.Coordinate)
	}
	return idle
}

func secondsOf(t *testbed.Time) float64 {
	if t == nil {
		return 0
	}
	return t.Mean.Seconds()
}

func valueOf(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}
