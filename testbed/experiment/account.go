package experiment

import (
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// Correction is what the CPU accounts of emulated runs say about costs that were
// measured before them: how fast a processor is depends on what else it does (two
// threads of a core, its clock, its caches), which a short measurement before a run
// does not see.
type Correction struct {
	Pace float64 `json:"pace"`       // what a frame took, as a share of what the costs say
	Idle float64 `json:"idle_cores"` // that each node took beyond what the costs say
}

// String says it for people.
func (c Correction) String() string {
	return fmt.Sprintf("by the nodes' CPU accounts frames took %.2f times what was measured before, and weftd %.3f cores more of a node", c.Pace, c.Idle)
}

// Correct finds the correction of costs by the emulated outcomes of a run, in least
// squares of the CPU time of nodes without a source: those run nothing but weftd
// and the stages. Where there was no work it is {1, 0}.
func Correct(c testbed.Costs, run string, outcomes []StudyOutcome) (Correction, error) {
	var all []account
	for i := range outcomes {
		o := &outcomes[i]
		if o.Run.Name != run || o.Method != testbed.Emulated {
			continue
		}
		for _, rec := range o.recs {
			a, ok, err := accountOf(o.Arm.Scenario, rec, c)
			if err != nil {
				return Correction{}, err
			}
			if ok {
				all = append(all, a)
			}
		}
	}
	return correction(all), nil
}

// Apply returns the costs with what a frame takes, and weftd, corrected.
func (c Correction) Apply(to testbed.Costs) testbed.Costs {
	paced := func(t *testbed.Time) *testbed.Time {
		if t == nil {
			return nil
		}
		return &testbed.Time{Mean: time.Duration(c.Pace * float64(t.Mean)), CV: t.CV}
	}
	tasks := map[string]testbed.TaskCosts{}
	for name, t := range to.Tasks {
		t.Work, t.Send, t.Receive = paced(t.Work), paced(t.Send), paced(t.Receive)
		tasks[name] = t
	}
	to.Tasks = tasks
	if to.Idle != nil {
		to.Idle = new(*to.Idle + c.Idle)
	}
	return to
}

// account sets the CPU time of a recording's nodes beside what the costs say, in
// seconds.
type account struct {
	used float64 // beyond what weftd takes without frames
	work float64 // of the frames, by the costs
	time float64 // of all nodes
}

// correction is the pace and the idling, neither below 0, for which the sum of the
// squares of used − pace·work − idle·time is the least.
func correction(all []account) Correction {
	var ww, wt, tt, wu, tu float64
	for _, a := range all {
		ww, wt, tt = ww+a.work*a.work, wt+a.work*a.time, tt+a.time*a.time
		wu, tu = wu+a.work*a.used, tu+a.time*a.used
	}
	if ww == 0 || wu <= 0 {
		return Correction{Pace: 1}
	}
	// Where all have the same load nobody can tell the two apart.
	if d := ww*tt - wt*wt; d > 1e-6*ww*tt {
		if c := (Correction{Pace: (wu*tt - tu*wt) / d, Idle: (tu*ww - wu*wt) / d}); c.Pace > 0 && c.Idle >= 0 {
			return c
		}
	}
	return Correction{Pace: wu / ww}
}

// accountOf is the account of a recording's measured time; false: it says nothing,
// since a node was started anew.
func accountOf(s *testbed.Scenario, rec *testbed.Recording, c testbed.Costs) (a account, ok bool, err error) {
	w, err := s.WorkflowSpec(nil)
	if err != nil {
		return a, false, err
	}
	first := slices.IndexFunc(rec.Samples, func(x testbed.Sample) bool { return x.At >= 0 })
	if first < 0 || first == len(rec.Samples)-1 {
		return a, false, nil
	}
	from, to := &rec.Samples[first], &rec.Samples[len(rec.Samples)-1]
	seconds := (to.At - from.At).Seconds()
	apart := map[string]bool{} // nodes that run no source
	for _, n := range s.Nodes {
		if slices.ContainsFunc(s.Sources, func(x testbed.Source) bool { return x.Node == n.Name }) {
			continue
		}
		apart[n.Name] = true
		used := cpuOf(to, n.Name) - cpuOf(from, n.Name)
		if used <= 0 {
			return a, false, nil
		}
		a.used += used.Seconds() - valueOf(c.Idle)*seconds
		if n.Coordinator {
			a.used -= valueOf(c.Coordinate) * seconds
		}
		a.time += seconds
	}
	for i := range rec.Totals.Stages {
		x := &rec.Totals.Stages[i]
		t, known := w.Task(x.Task)
		if !known {
			continue
		}
		costs := c.Tasks[x.Task]
		here := shareOn(rec.Totals.Placements, apart, func(task string) bool { return task == t.Name })
		before := w.Predecessors(t.Group)
		sent := shareOn(rec.Totals.Placements, apart, func(task string) bool {
			p, ok := w.Task(task)
			return ok && slices.Contains(before, p.Group)
		})
		moved := 0.0
		if x.Transfer != nil {
			moved = float64(x.Transfer.Count())
		}
		a.work += here*float64(x.Processed)*secondsOf(costs.Work) + moved*(here*secondsOf(costs.Receive)+sent*secondsOf(costs.Send))
	}
	return a, true, nil
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

// shareOn is the share of the instances of tasks that is on nodes.
func shareOn(placements []tiering.Placement, nodes map[string]bool, of func(task string) bool) float64 {
	on, all := 0.0, 0.0
	for _, p := range placements {
		if p.Source || !of(p.Task) {
			continue
		}
		all++
		if nodes[p.Node] {
			on++
		}
	}
	return on / max(all, 1)
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
