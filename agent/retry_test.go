package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// A stage and a source that cannot be made say why, are tried again less and
// less often, and run once they can.
func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		begin := time.Since(bubbleStart)
		missing := func(what string) error {
			if time.Since(bubbleStart)-begin < 100*time.Second {
				return errors.New(what)
			}
			return nil
		}
		m.shop.load = func(a tiering.Assignment) (time.Duration, error) {
			if a.Task.Name == "detect" {
				return 0, missing("weights are missing")
			}
			return 0, nil
		}
		m.shop.camera = func(tiering.Assignment) error { return missing("camera is not plugged in") }
		w := people()
		w.Sources[0].FPS = 2
		m.script.want(assignments(w, usual()))
		pass(30 * time.Second)
		if got := statusOf(m.nodes["fog"].agent.Report(), "people/detect#0"); got != "retrying: weights are missing" {
			t.Errorf("status: %s", got)
		}
		if got := statusOf(m.nodes["edge"].agent.Report(), "people/gate#0"); got != "retrying: camera is not plugged in" {
			t.Errorf("status: %s", got)
		}
		m.runs("resize#0@edge", "draw#0@cloud")
		pass(100 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@fog", "draw#0@cloud")
		for _, id := range []string{"people/gate#0@edge", "people/detect#0@fog"} {
			fails := m.shop.entries("fail", id)
			var gaps []time.Duration
			for i := 1; i < len(fails); i++ {
				gaps = append(gaps, fails[i].at-fails[i-1].at)
			}
			want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second}
			if !slices.Equal(gaps, want) {
				t.Errorf("%s was tried again after %v", id, gaps)
			}
		}
		if got := statusOf(m.nodes["fog"].agent.Report(), "people/detect#0"); got != "running: " {
			t.Errorf("status: %s", got)
		}
		m.stop()
		if c := m.settled(); c.Lost() > 0 {
			t.Errorf("%+v", c)
		}
	})
}

// Waiting to try again does not hold up a stop.
func TestStopWhileRetrying(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		m.shop.load = func(tiering.Assignment) (time.Duration, error) { return 0, errors.New("never") }
		m.script.want(assignments(people(), usual()))
		pass(40 * time.Second)
		begin := time.Now()
		m.stop()
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		c := m.settled()
		if c.Dropped[pipeline.ReasonNoRoute] != c.Captured {
			t.Errorf("frames for a stage that could not be made: %+v", c)
		}
	})
}

// A panic while making a stage costs an attempt, one while a stage works costs
// a frame.
func TestPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		attempts, frames := 0, 0
		m.shop.load = func(a tiering.Assignment) (time.Duration, error) {
			if a.Task.Name == "detect" {
				if attempts++; attempts == 1 {
					panic("bad weights")
				}
			}
			return 0, nil
		}
		m.shop.work = func(_ context.Context, a tiering.Assignment, _ *pipeline.Frame) error {
			if a.Task.Name == "detect" {
				if frames++; frames%4 == 0 {
					panic("bad frame")
				}
			}
			return nil
		}
		m.script.want(assignments(people(), usual()))
		pass(500 * time.Millisecond)
		if got := statusOf(m.nodes["fog"].agent.Report(), "people/detect#0"); got != "retrying: panic: bad weights" {
			t.Errorf("status: %s", got)
		}
		pass(10 * time.Second)
		m.stop()
		c := m.settled()
		if n := c.Dropped[pipeline.ReasonStage]; n < 40 || c.Delivered < 3*n || c.Delivered > 3*n+3 {
			t.Errorf("every fourth frame panics: %+v", c)
		}
	})
}

// A stage that takes long to load, and does not stop for anyone, holds up
// neither other instances nor changes; its replacement waits for it.
func TestReplacementWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		m.shop.load = func(a tiering.Assignment) (time.Duration, error) {
			if a.Task.Settings["load"] == "slow" {
				return 30 * time.Second, nil
			}
			return 0, nil
		}
		w := people()
		w.Tasks[1].Settings = map[string]string{"load": "slow"}
		on := usual()
		on["draw"] = "fog"
		m.script.want(assignments(w, on))
		pass(5 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "draw#0@fog")
		// Change it, take it away and bring it back, all while the first loads.
		m.script.want(assignments(people(), on))
		pass(time.Second)
		delete(on, "draw")
		m.script.want(assignments(w, on))
		pass(time.Second)
		m.script.want(nil)
		pass(time.Second)
		m.script.want(assignments(people(), usual()))
		pass(5 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "draw#0@cloud")
		if got := statusOf(m.nodes["fog"].agent.Report(), "people/detect#0"); got != "ended: " {
			t.Errorf("status of the first: %s", got)
		}
		pass(30 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@fog", "draw#0@cloud")
		opens, closes := m.shop.entries("open", "people/detect#0@fog"), m.shop.entries("close", "people/detect#0@fog")
		// The first loads to its end, is found to be unwanted and is closed.
		if len(opens) != 2 || len(closes) != 1 || opens[1].at < closes[0].at || closes[0].at-opens[0].at > 0 {
			t.Errorf("opened %v, closed %v", opens, closes)
		}
		if len(m.shop.twice) > 0 {
			t.Errorf("ran twice at once: %v", m.shop.twice)
		}
		m.stop()
		m.settled()
	})
}

// While a replacement waits, the report lists both, told apart by epoch.
func TestReportOfAReplacement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		m.script.want(assignments(people(), usual()))
		pass(5 * time.Second)
		w := people()
		w.Tasks[1].Settings = map[string]string{"a": "b"}
		m.script.want(assignments(w, usual()))
		pass(10 * time.Millisecond)
		r := m.nodes["fog"].agent.Report().Stages
		if len(r) != 2 || r[0].Epoch == r[1].Epoch || r[0].Status != pipeline.StatusEnded || r[1].Status != pipeline.StatusStarting {
			var b strings.Builder
			for _, s := range r {
				b.WriteString(s.Instance + " " + string(s.Status) + "\n")
			}
			t.Errorf("report:\n%s", b.String())
		}
		pass(5 * time.Second)
		if r := m.nodes["fog"].agent.Report().Stages; len(r) != 1 || r[0].Status != pipeline.StatusRunning {
			t.Errorf("report after that: %+v", r)
		}
		m.stop()
	})
}
