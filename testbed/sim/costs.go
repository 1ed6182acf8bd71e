package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/adaptation/survey"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// ErrCosts reports costs that a simulation needs and does not have.
var ErrCosts = errors.New("costs are missing")

// remedy says where costs come from.
const remedy = "state them under costs: in the scenario, or take the costs file of an emulated run of it"

func missing(names []string) error {
	return fmt.Errorf("%w: %s; %s", ErrCosts, strings.Join(names, ", "), remedy)
}

// check names everything that the run will certainly need and that is not
// there, or that makes no sense.
func check(s *testbed.Scenario, w *tiering.Workflow, c testbed.Costs, scale float64) error {
	var names []string
	need := func(have bool, name string, args ...any) {
		if !have {
			names = append(names, fmt.Sprintf(name, args...))
		}
	}
	need(c.Capture != nil, "capture")
	need(c.Idle != nil, "idle")
	fails, returns := faults(s.Timeline)
	need(c.Detect != nil || !fails, "detect")
	need(c.Return != nil || !returns, "return")
	for i := range w.Tasks {
		t := &w.Tasks[i]
		x := c.Tasks[t.Name]
		need(x.Work != nil || !worked(w, t, s), "tasks.%s.work", t.Name)
		need(x.Start != nil, "tasks.%s.start", t.Name)
		need(x.Filtered != nil || t.Operation != tiering.OperationFilter, "tasks.%s.filtered", t.Name)
	}
	if len(names) > 0 {
		return missing(names)
	}
	for _, n := range s.Nodes {
		share := s.Quota(n, scale)
		if idle := idleOf(n, c); idle >= share {
			return fmt.Errorf("%w: node %s has %.3g cores (%s at a CPU scale of %g), all of which weftd takes without frames (costs: idle, coordinate); give it more, or a cpuOverhead",
				ErrConfig, n.Name, share, tiering.FormatCPU(n.Cores), scale)
		}
	}
	return nil
}

// faults reports whether nodes may be seen to fail, and to return.
func faults(timeline []testbed.Event) (fails, returns bool) {
	for _, e := range timeline {
		switch e.Action {
		case testbed.Kill, testbed.Pause, testbed.Partition:
			fails = true
		case testbed.Start, testbed.Resume, testbed.Heal:
			returns = true
		}
	}
	return fails, returns
}

// worked reports whether a task may get frames of some source: those of its
// resolution, and those that are reduced to it.
func worked(w *tiering.Workflow, t *tiering.Task, s *testbed.Scenario) bool {
	if t.Model == nil {
		return true
	}
	_, off := survey.Params(w)
	adapts := off == nil && len(t.Model.Measured) > 0
	return slices.ContainsFunc(slices.Concat(s.Sources, s.Reserve), func(x testbed.Source) bool {
		return x.Resolution == t.Model.Resolution || adapts && x.Resolution > t.Model.Resolution
	})
}

func missingWork(t *task) error {
	return fmt.Errorf("frames reach task %s: %w", t.name, missing([]string{"tasks." + t.name + ".work"}))
}

func missingOnTheWay(t *task, from, to string) error {
	var names []string
	for _, x := range []struct {
		known bool
		name  string
	}{{t.send.known(), "send"}, {t.receive.known(), "receive"}, {t.bytes >= 0, "bytes"}} {
		if !x.known {
			names = append(names, "tasks."+t.name+"."+x.name)
		}
	}
	return fmt.Errorf("frames go from %s to task %s on %s: %w", from, t.name, to, missing(names))
}

// idleOf is what weftd takes of a node without frames, in cores.
func idleOf(n testbed.Node, c testbed.Costs) float64 {
	idle := value(c.Idle)
	if n.Coordinator {
		idle += value(c.Coordinate)
	}
	return idle
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// taskOf is a task with what is known of its costs.
func taskOf(name string, rank int, c testbed.TaskCosts) task {
	t := task{
		name: name, rank: rank, work: timingOf(c.Work), send: timingOf(c.Send), receive: timingOf(c.Receive),
		bytes: -1, start: value(c.Start), filtered: value(c.Filtered),
	}
	if c.Bytes != nil {
		t.bytes = *c.Bytes
	}
	return t
}

func timingOf(t *testbed.Time) timing {
	if t == nil {
		return timing{mean: -time.Nanosecond}
	}
	return timing{mean: t.Mean, cv: t.CV}
}
