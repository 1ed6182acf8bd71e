package agent

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/tiering"
)

// change is one step of a random history.
type change struct {
	on     map[string]string // step → node
	spec   map[string]string // task → settings
	fps    float64
	outage bool   // the coordinator is away for the time after
	again  string // node that restarts; empty: none
	wait   time.Duration
}

func changes(t *rapid.T) []change {
	node := rapid.SampledFrom([]string{"edge", "fog", "cloud", ""})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) change {
		c := change{
			on: map[string]string{}, spec: map[string]string{},
			fps:    rapid.SampledFrom([]float64{2, 4}).Draw(t, "fps"),
			outage: rapid.IntRange(0, 4).Draw(t, "outage") == 0,
			again:  rapid.SampledFrom([]string{"", "", "", "edge", "fog", "cloud"}).Draw(t, "restarts"),
			wait:   time.Duration(rapid.IntRange(0, 5000).Draw(t, "wait")) * time.Millisecond,
		}
		for _, step := range []string{"gate", "resize", "detect", "draw"} {
			if n := node.Draw(t, step); n != "" {
				c.on[step] = n
			}
			c.spec[step] = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "spec of "+step)
		}
		return c
	}), 1, 6).Draw(t, "changes")
}

func (c change) workflow() *tiering.Workflow {
	w := people()
	w.Sources[0].FPS = c.fps
	for i := range w.Tasks {
		w.Tasks[i].Settings = map[string]string{"spec": c.spec[w.Tasks[i].Name]}
	}
	return w
}

// Whatever the history of assignments, stages that are slow to load and fail
// at first, nodes that restart and a coordinator that goes away: in the end
// there runs what was last assigned; nothing ever ran twice at once on a node; every frame is
// accounted for, and none was drawn twice. (That no goroutine is left is what
// the end of a synctest bubble checks.)
func TestAnyHistoryOfAssignments(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		history := changes(rt)
		slow := time.Duration(rapid.IntRange(0, 1500).Draw(rt, "slow")) * time.Millisecond
		failures := rapid.IntRange(0, 2).Draw(rt, "failures")
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = live(t, history, slow, failures) })
		if len(problems) > 0 {
			rt.Fatalf("%v", problems)
		}
	})
}

// live goes through a history and returns what is wrong in the end.
func live(t *testing.T, history []change, slow time.Duration, failures int) (problems []string) {
	s := newShop()
	s.load = func(a tiering.Assignment) (time.Duration, error) {
		if a.Task.Settings["spec"] != "b" {
			return 0, nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if failures > 0 {
			failures--
			return slow, errors.New("not yet")
		}
		return slow, nil
	}
	m := newMeshWith(t, s, Config{Every: time.Minute})
	for _, c := range history {
		m.script.want(assignments(c.workflow(), c.on))
		m.script.fail(c.outage, c.outage && c.again == "") // last words are heard
		if c.again != "" {
			m.restart(c.again)
		}
		pass(c.wait)
	}
	m.script.fail(false, false)
	pass(10 * time.Second)

	var want []string
	for step, node := range history[len(history)-1].on {
		want = append(want, tiering.SlotID("people", step, 0)+"@"+node)
	}
	slices.Sort(want)
	if got := s.running(); !slices.Equal(got, want) {
		problems = append(problems, fmt.Sprintf("in the end there run %v, want %v", got, want))
	}
	m.stop()
	if got := s.running(); len(got) > 0 {
		problems = append(problems, fmt.Sprintf("after the end there run %v", got))
	}
	if len(s.twice) > 0 {
		problems = append(problems, fmt.Sprintf("ran twice at once: %v", s.twice))
	}
	if c := m.total(); !c.Balanced() || c.InFlight > 0 || c.Dropped["lost"] > 0 {
		problems = append(problems, fmt.Sprintf("frames unaccounted for: %+v", c))
	}
	for id, n := range s.drawn {
		if n > 1 {
			problems = append(problems, fmt.Sprintf("frame %s drawn %d times", id, n))
		}
	}
	return problems
}
