package agent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	node := meshNodes["edge"]
	for name, cfg := range map[string]Config{
		"no name":        {Node: tiering.Node{Tier: tiering.Edge}},
		"no tier":        {Node: tiering.Node{ID: "edge"}},
		"negative size":  {Node: node, Outbox: -1},
		"negative time":  {Node: node, Drain: -time.Second},
		"negative pause": {Node: node, Every: -time.Second},
	} {
		if _, err := New(cfg, "run-1", nil, nil, Links{}, nil, nil); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Frames flow source → resize → detect → draw over three agents, which report
// what they do.
func TestFramesFlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		pass(time.Second)
		m.runs()
		m.script.want(assignments(people(), usual()))
		pass(10*time.Second - time.Millisecond)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@fog", "draw#0@cloud")
		edge := m.nodes["edge"].agent.Report()
		if edge.Node != "edge" || edge.Run != "run-1" || len(edge.Sources) != 1 || len(edge.Stages) != 1 {
			t.Errorf("report of edge: %+v", edge)
		}
		gate := edge.Sources[0]
		if gate.Instance != "people/gate#0" || gate.Workflow != "people" || gate.Source != "gate" || gate.Epoch == 0 ||
			gate.Status != pipeline.StatusRunning || gate.Frames.Captured != 199 || gate.Frames.Delivered < 198 || gate.Frames.Lost() > 0 {
			t.Errorf("report of the source: %+v", gate)
		}
		detect := m.nodes["fog"].agent.Report().Stages[0]
		if detect.Instance != "people/detect#0" || detect.Task != "detect" || detect.Epoch == 0 || detect.Backend != "slide rule" ||
			detect.Status != pipeline.StatusRunning || detect.Processed != detect.Detections["person"] || detect.Processed < 198 {
			t.Errorf("report of the detector: %+v", detect)
		}
		m.stop()
		m.runs()
		m.settled()
	})
}

// Stopping a workflow costs no frame, whatever the moment: those on their way
// between nodes arrive.
func TestStopLosesNothing(t *testing.T) {
	t.Parallel()
	var sum pipeline.Counts
	for phase := range 10 {
		synctest.Test(t, func(t *testing.T) {
			s := newShop()
			s.work = delays(map[string]time.Duration{"resize": 40 * time.Millisecond, "detect": 45 * time.Millisecond, "draw": 40 * time.Millisecond})
			m := newMesh(t, s)
			m.script.want(assignments(people(), usual()))
			pass(3*time.Second + time.Duration(phase)*5*time.Millisecond + time.Millisecond)
			m.script.want(nil)
			pass(3 * time.Second)
			m.runs()
			c := m.settled()
			if n := m.drawnOnce(); n != int(c.Delivered) {
				t.Errorf("%d drawn, %d delivered", n, c.Delivered)
			}
			sum = sum.Plus(c)
			m.stop()
		})
	}
	if sum.Lost() > 0 || sum.Captured < 550 {
		t.Errorf("ten stops cost %d frames: %+v", sum.Lost(), sum)
	}
}

// When the whole mesh shuts down at once, the same holds.
func TestShutdownLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.work = delays(map[string]time.Duration{"resize": 40 * time.Millisecond, "detect": 45 * time.Millisecond, "draw": 40 * time.Millisecond})
		m := newMesh(t, s)
		m.script.want(assignments(people(), usual()))
		pass(5*time.Second + 7*time.Millisecond)
		m.stop()
		m.runs()
		if c := m.settled(); c.Lost() > 0 {
			t.Errorf("shutting down cost frames: %+v", c)
		}
		m.drawnOnce()
		// Sources first.
		gate, resize := s.entries("close", "people/gate#0@edge"), s.entries("close", "people/resize#0@edge")
		if len(gate) != 1 || len(resize) != 1 || resize[0].at < gate[0].at+people().Objectives.Deadline {
			t.Errorf("gate stopped %v, resize %v", gate, resize)
		}
	})
}

// A node that shuts down while the others go on finishes what it has.
func TestOneNodeLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		m.script.want(assignments(people(), usual()))
		pass(5 * time.Second)
		begin := time.Now()
		m.nodes["fog"].stop()
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %s to shut down", took)
		}
		m.nodes["fog"].unlink()
		moved := usual()
		moved["detect"] = "cloud"
		m.script.want(assignments(people(), moved))
		pass(5 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@cloud", "draw#0@cloud")
		m.stop()
		if c := m.settled(); c.Lost() > 2 {
			t.Errorf("leaving cost frames: %+v", c)
		}
		m.drawnOnce()
	})
}

// A frame that nobody accounts for while its source stops is dropped as
// shutdown, not left in flight for ever.
func TestStopGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.work = func(_ context.Context, a tiering.Assignment, _ *pipeline.Frame) error {
			if a.Task.Name == "detect" {
				<-time.After(10 * time.Second) // whatever ctx says
			}
			return nil
		}
		m := newMesh(t, s)
		w := people()
		w.Objectives.Deadline = 0
		m.script.want(assignments(w, usual()))
		pass(5 * time.Second)
		m.script.want(nil)
		pass(5 * time.Second)
		c := m.settled()
		if c.Dropped[pipeline.ReasonShutdown] == 0 || c.Dropped[pipeline.ReasonLost] > 0 {
			t.Errorf("%+v", c)
		}
		pass(time.Minute)
		m.runs()
		m.stop()
		m.settled()
	})
}

// A stage moves to another node: no other restarts, no frame is lost or drawn
// twice.
func TestMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.work = delays(map[string]time.Duration{"resize": 5 * time.Millisecond, "detect": 45 * time.Millisecond})
		m := newMesh(t, s)
		m.script.want(assignments(people(), usual()))
		pass(5*time.Second + 20*time.Millisecond)
		moved := usual()
		moved["detect"] = "cloud"
		m.script.want(assignments(people(), moved))
		pass(time.Millisecond)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@fog", "detect#0@cloud", "draw#0@cloud") // one works off what it has
		pass(5 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@cloud", "draw#0@cloud")
		for _, id := range []string{"gate#0@edge", "resize#0@edge", "draw#0@cloud"} {
			if n := len(s.entries("open", "people/"+id)); n != 1 {
				t.Errorf("%s was started %d times", id, n)
			}
		}
		m.stop()
		if c := m.settled(); c.Lost() > 0 {
			t.Errorf("moving cost frames: %+v", c)
		}
		m.drawnOnce()
	})
}

// What does not change the work of an instance does not restart it; what does,
// does.
func TestRestartsOnlyWhenTheWorkChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*tiering.Workflow)
		starts []string
	}{
		"replicas":   {func(w *tiering.Workflow) { w.Tasks[1].Replicas = 2 }, nil},
		"request":    {func(w *tiering.Workflow) { w.Tasks[1].Request.CPU = 7 }, nil},
		"quality":    {func(w *tiering.Workflow) { w.Links[1].Quality = 50 }, nil},
		"settings":   {func(w *tiering.Workflow) { w.Tasks[2].Settings = map[string]string{"retain": "9"} }, []string{"people/draw#0@cloud"}},
		"frame rate": {func(w *tiering.Workflow) { w.Sources[0].FPS = 10 }, []string{"people/gate#0@edge"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMesh(t, newShop())
				m.script.want(assignments(people(), usual()))
				pass(time.Second)
				before := len(m.shop.entries("open", ""))
				w := people()
				c.change(w)
				m.script.want(assignments(w, usual()))
				pass(5 * time.Second)
				var starts []string
				for _, e := range m.shop.entries("open", "")[before:] {
					starts = append(starts, e.id)
				}
				if !slices.Equal(starts, c.starts) {
					t.Errorf("started: %v, want %v", starts, c.starts)
				}
				m.runs("gate#0@edge", "resize#0@edge", "detect#0@fog", "draw#0@cloud")
				m.stop()
				m.settled()
			})
		})
	}
}

// A group that no live instance serves costs frames as no_route: they are not
// taken for delivered. A workflow without the group delivers them.
func TestGroupWithoutAnInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		gone := usual()
		delete(gone, "draw")
		m.script.want(assignments(people(), gone))
		pass(5 * time.Second)
		if c := m.total(); c.Delivered > 0 || c.Dropped[pipeline.ReasonNoRoute] < 70 {
			t.Errorf("without an instance of draw: %+v", c)
		}
		m.script.want(assignments(people(), usual()))
		pass(5 * time.Second)
		c := m.total()
		if c.Delivered < 70 {
			t.Errorf("with draw again: %+v", c)
		}
		short := people()
		short.Tasks, short.Links = short.Tasks[:2], short.Links[:2]
		m.script.want(assignments(short, usual()))
		pass(5 * time.Second)
		d := m.total()
		if d.Delivered-c.Delivered < 70 || d.Dropped[pipeline.ReasonNoRoute] != c.Dropped[pipeline.ReasonNoRoute] {
			t.Errorf("with a workflow that ends at detect: %+v", d)
		}
		m.stop()
		m.settled()
	})
}

// An assignment that contradicts itself is reported, and holds up no other.
func TestContradiction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		want := assignments(people(), usual())
		fog := slices.Clone(want["fog"])
		fog[0].Placement.ID, fog[0].Task = "people/odd#0", nil
		want["fog"] = append(fog, want["fog"]...)
		m.script.want(want)
		pass(time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@fog", "draw#0@cloud")
		if got := statusOf(m.nodes["fog"].agent.Report(), "people/odd#0"); got != "failed: the assignment must be of either a task or a source" {
			t.Errorf("status: %s", got)
		}
		m.script.want(assignments(people(), usual()))
		pass(time.Second)
		if got := statusOf(m.nodes["fog"].agent.Report(), "people/odd#0"); got != "none" {
			t.Errorf("status of what is no longer assigned: %s", got)
		}
		m.stop()
	})
}
