package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// moving is what every node is to run while detect moves from the fog to the
// cloud; switched: frames go to the cloud.
func moving(w *tiering.Workflow, switched bool) map[string][]tiering.Assignment {
	on := usual()
	on["detect"] = "cloud"
	placements := placementsOf(w, on)
	for i := range placements {
		if p := &placements[i]; p.Task == "detect" {
			if p.From = "fog"; switched {
				p.Switched = 1
			}
		}
	}
	out := map[string][]tiering.Assignment{}
	for node := range meshNodes {
		out[node] = tiering.Assignments(node, []*tiering.Workflow{w}, placements, meshNodes)
	}
	return out
}

// A drain moves a stage in three steps, and though its new instance takes a
// while to load, and the steps are apart, no frame finds none.
func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.work = delays(map[string]time.Duration{"resize": 5 * time.Millisecond, "detect": 45 * time.Millisecond})
		s.load = func(a tiering.Assignment) (time.Duration, error) {
			if a.Placement.ID == "people/detect#0" && a.Placement.Node == "cloud" {
				return 10 * time.Second, nil
			}
			return 0, nil
		}
		m := newMesh(t, s)
		m.script.want(assignments(people(), usual()))
		pass(5*time.Second + 20*time.Millisecond)

		m.script.want(moving(people(), false))
		pass(5 * time.Second)
		if up := statusOf(m.nodes["cloud"].agent.Report(), "people/detect#0"); up != "starting: " {
			t.Errorf("the new instance is %s while it loads", up)
		}
		pass(10 * time.Second)
		if up := statusOf(m.nodes["cloud"].agent.Report(), "people/detect#0"); up != "running: " {
			t.Errorf("the new instance is %s", up)
		}
		m.script.want(moving(people(), true))
		pass(5 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@fog", "detect#0@cloud", "draw#0@cloud")
		for id, n := range m.nodes {
			if got := n.agent.Report().Index; got != m.script.index {
				t.Errorf("%s says that it follows %d, want %d", id, got, m.script.index)
			}
		}
		after := usual()
		after["detect"] = "cloud"
		m.script.want(assignments(people(), after))
		pass(5 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@cloud", "draw#0@cloud")
		for _, id := range []string{"detect#0@fog", "detect#0@cloud"} {
			if n := len(s.entries("open", "people/"+id)); n != 1 {
				t.Errorf("%s was started %d times", id, n)
			}
		}
		m.stop()
		if c := m.settled(); c.Lost() > 0 {
			t.Errorf("the drain cost frames: %+v", c)
		}
		m.drawnOnce()
	})
}

// A stage that moves finishes what it works on, however long that takes, as
// long as it is of use.
func TestAMovedStageFinishesItsFrames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.work = delays(map[string]time.Duration{"detect": 4 * time.Second})
		m := newMesh(t, s)
		w := people()
		w.Sources[0].FPS = 0.1
		w.Objectives.Deadline = 15 * time.Second
		m.script.want(assignments(w, usual()))
		pass(10*time.Second + 500*time.Millisecond) // the second frame is being worked on
		after := usual()
		after["detect"] = "cloud"
		m.script.want(assignments(w, after))
		pass(9 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@cloud", "draw#0@cloud")
		if n := m.total().Dropped[pipeline.ReasonShutdown]; n > 0 {
			t.Errorf("%d frames were given up", n)
		}
		m.stop()
	})
}
