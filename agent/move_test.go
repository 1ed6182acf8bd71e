package agent

import (
	"context"
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
	return movingOf(w, on, "detect", switched)
}

// movingOf is the same of any task: it moves from the fog to where it is on.
func movingOf(w *tiering.Workflow, on map[string]string, task string, switched bool) map[string][]tiering.Assignment {
	placements := placementsOf(w, on)
	for i := range placements {
		if p := &placements[i]; p.Task == task {
			if p.From = "fog"; switched {
				p.Switched = 1
			}
		}
	}
	out := map[string][]tiering.Assignment{}
	for node := range meshNodes {
		out[node] = tiering.Assignments(node, []*tiering.Workflow{w}, placements, meshNodes, nil)
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

// slowSender takes a while for each frame.
type slowSender struct {
	next pipeline.Sender
	d    time.Duration
}

func (s slowSender) Send(ctx context.Context, addr, instance string, f *pipeline.Frame) error {
	select {
	case <-time.After(s.d):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.next.Send(ctx, addr, instance, f)
}

// slow restarts a node's agent with links that take a while for each frame.
func (m *mesh) slow(id string, d time.Duration) {
	n := m.nodes[id]
	n.stop()
	usual := n.make
	n.make = func() *Agent {
		a := usual()
		a.links.Senders = map[tiering.Transport]pipeline.Sender{tiering.QUIC: slowSender{a.links.Senders[tiering.QUIC], d}}
		return a
	}
	m.start(id)
}

// Frames of a workflow with a long deadline outlast the steps of a move wherever
// they are: none is lost.
func TestMovesWithLongDeadlines(t *testing.T) {
	t.Parallel()
	on := func(steps ...string) map[string]string {
		out := usual()
		for _, s := range steps {
			out[s] = "cloud"
		}
		return out
	}
	type step struct {
		after time.Duration
		want  func(*tiering.Workflow) map[string][]tiering.Assignment
	}
	begins := func(w *tiering.Workflow) map[string][]tiering.Assignment { return moving(w, false) }
	switches := func(w *tiering.Workflow) map[string][]tiering.Assignment { return moving(w, true) }
	ends := func(w *tiering.Workflow) map[string][]tiering.Assignment { return assignments(w, on("detect")) }
	behind := on("detect")
	behind["draw"] = "fog"
	for name, c := range map[string]struct {
		work  time.Duration // of detect
		slow  string        // node whose sends take d
		d     time.Duration
		steps []step
	}{
		// The frame of 10 s leaves detect at 14 s.
		"being sent by the old instance": {4 * time.Second, "fog", 300 * time.Millisecond, []step{
			{10500 * time.Millisecond, begins}, {500 * time.Millisecond, switches}, {500 * time.Millisecond, ends},
		}},
		// It arrives there at 15 s.
		"on its way to the old instance": {0, "edge", 5 * time.Second, []step{
			{5 * time.Second, begins}, {5500 * time.Millisecond, switches}, {1500 * time.Millisecond, ends},
		}},
		// It leaves the old detect, which has ended, at 14 s for the old draw.
		"between two that move": {4 * time.Second, "", 0, []step{
			{10500 * time.Millisecond, func(w *tiering.Workflow) map[string][]tiering.Assignment { return assignments(w, behind) }},
			{time.Second, func(w *tiering.Workflow) map[string][]tiering.Assignment {
				return movingOf(w, on("detect"), "draw", true)
			}},
			{500 * time.Millisecond, func(w *tiering.Workflow) map[string][]tiering.Assignment {
				return assignments(w, on("detect", "draw"))
			}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShop()
				s.work = delays(map[string]time.Duration{"detect": c.work})
				m := newMesh(t, s)
				if c.slow != "" {
					m.slow(c.slow, c.d)
				}
				w := people()
				w.Sources[0].FPS = 0.1
				w.Objectives.Deadline = 15 * time.Second
				at := usual()
				if c.slow == "" {
					at["draw"] = "fog"
				}
				m.script.want(assignments(w, at))
				for _, step := range c.steps {
					pass(step.after)
					m.script.want(step.want(w))
				}
				pass(30 * time.Second)
				m.runs("gate#0@edge", "resize#0@edge", "detect#0@cloud", "draw#0@cloud")
				if total := m.total(); total.Lost() > 0 || total.Delivered < 2 {
					t.Errorf("%d frames lost: %+v", total.Lost(), total)
				}
				m.stop()
			})
		})
	}
}
