package agent

import (
	"testing"
	"testing/synctest"
	"time"
)

// While no coordinator answers everything goes on; when one answers again,
// whatever its index, nothing restarts that is still wanted.
func TestCoordinatorUnreachable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		w := people()
		w.Sources[0].FPS = 2
		m.script.want(assignments(w, usual()))
		pass(5 * time.Second)
		before := m.nodes["edge"].agent.Report().Sources[0].Frames.Delivered
		starts := len(m.shop.entries("open", ""))

		m.script.fail(true, true)
		asked := m.script.questions()
		pass(2 * time.Minute)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@fog", "draw#0@cloud")
		if n := m.nodes["edge"].agent.Report().Sources[0].Frames.Delivered - before; n < 2*60*2-2 {
			t.Errorf("%d frames delivered in two minutes without a coordinator", n)
		}
		// 5 s apart in the end, times 3 agents.
		if n := m.script.questions() - asked; n < 3*24 || n > 3*60 {
			t.Errorf("it was asked %d times meanwhile", n)
		}

		m.script.fail(false, false)
		pass(10 * time.Second)
		m.script.set(1000, assignments(w, usual()))
		pass(10 * time.Second)
		if n := len(m.shop.entries("open", "")) - starts; n > 0 {
			t.Errorf("%d instances were restarted", n)
		}
		m.stop()
		m.settled()
	})
}

// A coordinator that lags or replays its log is not believed; one whose log
// has begun anew is, after a while.
func TestOlderAssignments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMeshWith(t, newShop(), Config{Every: 10 * time.Second})
		w := people()
		w.Sources[0].FPS = 1
		m.script.set(100, assignments(w, usual()))
		pass(5 * time.Second)
		all := []string{"gate#0@edge", "resize#0@edge", "detect#0@fog", "draw#0@cloud"}

		// Two lags, together longer than what is waited for.
		for range 2 {
			m.script.set(99, nil)
			pass(outdatedFor * 2 / 3)
			m.runs(all...)
			m.script.set(101, assignments(w, usual()))
			pass(5 * time.Second)
		}
		// An outage, and then one that has only begun to replay its log.
		m.script.fail(true, true)
		pass(time.Minute)
		m.script.set(3, nil)
		m.script.fail(false, false)
		pass(outdatedFor * 2 / 3)
		m.runs(all...)
		m.script.set(101, assignments(w, usual()))
		pass(5 * time.Second)
		if n := len(m.shop.entries("open", "")); n != len(all) {
			t.Errorf("%d starts of %d instances", n, len(all))
		}

		asked := m.script.questions()
		m.script.set(5, nil)
		pass(outdatedFor + 5*time.Second)
		m.runs()
		if n := m.script.questions() - asked; n > 3*700 {
			t.Errorf("a coordinator that has nothing new was asked %d times", n)
		}
		m.script.set(6, assignments(w, usual()))
		pass(5 * time.Second)
		m.runs(all...)
		m.stop()
		m.settled()
	})
}

// A coordinator that answers at once without news, say because it shuts down
// or knows nothing yet, is not asked in a tight loop.
func TestNoNewsIsNotPressed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		m.script.set(0, assignments(people(), usual()))
		pass(10 * time.Second)
		if n := m.script.questions(); n > 3*105 {
			t.Errorf("asked %d times in 10 s", n)
		}
		m.runs()
		m.stop()
	})
}
