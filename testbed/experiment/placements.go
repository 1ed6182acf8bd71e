package experiment

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/testbed"
)

// stint is a time that a task's instance spends on one node.
type stint struct {
	slot     string // "detect@640#0", without the workflow
	node     string
	from, to time.Duration
}

// Where a decision says that a placement is, from coordinator/state's messages.
var (
	placedOn    = regexp.MustCompile(` placed on ([^\s:]+)`)
	movedTo     = regexp.MustCompile(` moved from ([^\s:]+) to ([^\s:]+)`)
	removedFrom = regexp.MustCompile(` removed from ([^\s:]+)`)
)

// stints says where the tasks of a run were, by slot and time: from the
// decisions and, of slots that none is known of, from the placements at the
// end. Sources are left out; they stay on their nodes.
func stints(sc *testbed.Scenario, rec *testbed.Recording) []stint {
	if len(rec.Samples) == 0 {
		return nil
	}
	begin, end := rec.Samples[0].At, rec.Samples[len(rec.Samples)-1].At
	var out []stint
	open := map[string]int{} // slot → its last stint in out, while it lasts
	seen := map[string]bool{}
	start := func(slot, node string, at time.Duration) {
		open[slot] = len(out)
		out = append(out, stint{slot, node, max(at, begin), end})
	}
	stop := func(slot, node string, at time.Duration) {
		if i, ok := open[slot]; ok {
			out[i].to = at
			delete(open, slot)
		} else if !seen[slot] {
			out = append(out, stint{slot, node, begin, at})
		}
	}
	marks := slices.Clone(rec.Marks)
	sortBy(marks, func(m testbed.Mark) time.Duration { return m.At })
	for _, m := range marks {
		slot := slotOf(m.Subject)
		if m.Kind != testbed.Decision || isSource(sc, slot) {
			continue
		}
		switch state.EventType(m.Type) {
		case state.TaskPlaced:
			if f := placedOn.FindStringSubmatch(m.Message); f != nil {
				if i, ok := open[slot]; ok { // placed anew, with another reservation
					if out[i].node == f[1] {
						continue
					}
					stop(slot, "", m.At)
				}
				start(slot, f[1], m.At)
				seen[slot] = true
			}
		case state.TaskMoved:
			if f := movedTo.FindStringSubmatch(m.Message); f != nil {
				stop(slot, f[1], m.At)
				start(slot, f[2], m.At)
				seen[slot] = true
			}
		case state.WorkflowStopped: // with all that it had placed
			if m.Subject == sc.Workflow.Name {
				for slot := range open {
					stop(slot, "", m.At)
				}
			}
		case state.TaskRemoved:
			if f := removedFrom.FindStringSubmatch(m.Message); f != nil {
				stop(slot, f[1], m.At)
				seen[slot] = true
			}
		}
	}
	for _, p := range rec.Totals.Placements {
		if slot := slotOf(p.ID); !p.Source && !seen[slot] {
			start(slot, p.Node, begin)
		}
	}
	out = slices.DeleteFunc(out, func(s stint) bool { return s.to <= s.from })
	slices.SortStableFunc(out, func(a, b stint) int {
		if c := taskOrder(rec, a.slot) - taskOrder(rec, b.slot); c != 0 {
			return c
		}
		if c := natural(a.slot, b.slot); c != 0 {
			return c
		}
		return int(a.from - b.from)
	})
	return out
}

// slotOf is a placement's ID without the workflow.
func slotOf(id string) string {
	_, slot, ok := strings.Cut(id, "/")
	if !ok {
		return id
	}
	return slot
}

func taskOf(slot string) string {
	task, _, _ := strings.Cut(slot, "#")
	return task
}

func isSource(sc *testbed.Scenario, slot string) bool {
	named := func(s testbed.Source) bool { return s.Name == taskOf(slot) }
	return slices.ContainsFunc(sc.Sources, named) || slices.ContainsFunc(sc.Reserve, named)
}

// taskOrder is the place of a slot's task in the workflow.
func taskOrder(rec *testbed.Recording, slot string) int {
	i := slices.IndexFunc(rec.Totals.Stages, func(s testbed.StageTotals) bool { return s.Task == taskOf(slot) })
	if i < 0 {
		return len(rec.Totals.Stages)
	}
	return i
}

// downtimes are the times in which samples show a node down.
func downtimes(samples []testbed.Sample, node string) [][2]time.Duration {
	var out [][2]time.Duration
	down := false
	for i := range samples {
		n := nodeIn(&samples[i], node)
		switch isDown := n != nil && !n.Up; {
		case isDown && !down:
			out = append(out, [2]time.Duration{samples[i].At, samples[len(samples)-1].At})
			down = true
		case !isDown && down:
			out[len(out)-1][1] = samples[i].At
			down = false
		}
	}
	return out
}
