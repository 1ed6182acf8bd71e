package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

var everywhere = []string{"gate#0@edge", "resize#0@edge", "detect#0@fog", "draw#0@cloud"}

// restarted is a mesh that ran the workflow at index 2, whose agents were
// restarted a moment ago while no coordinator answers.
func restarted(t *testing.T, cfg Config) *mesh {
	t.Helper()
	m := newMeshWith(t, newShop(), cfg)
	m.script.set(2, assignments(people(), usual()))
	pass(5 * time.Second)
	m.script.fail(true, false) // the last words of the first run get through
	m.restart("edge", "fog", "cloud")
	synctest.Wait()
	m.runs()
	return m
}

// Agents that restart while no coordinator answers go on with what they ran.
// When one answers, at the same index or a later one, nothing is restarted that
// is still wanted.
func TestResume(t *testing.T) {
	t.Parallel()
	for _, index := range []uint64{2, 1000} {
		synctest.Test(t, func(t *testing.T) {
			m := restarted(t, Config{})
			pass(3*time.Second - time.Millisecond)
			m.runs()
			pass(time.Millisecond)
			m.runs(everywhere...)
			pass(10 * time.Second)
			if r := m.nodes["edge"].agent.Report(); r.Run != "run-2" || r.Sources[0].Frames.Delivered < 195 {
				t.Errorf("10 s after: %+v", r)
			}
			before, starts := m.nodes["edge"].agent.Report(), len(m.shop.entries("open", ""))
			m.script.set(index, assignments(people(), usual()))
			m.script.fail(false, false)
			pass(10 * time.Second)
			after := m.nodes["edge"].agent.Report()
			if len(m.shop.entries("open", "")) != starts || len(m.shop.entries("close", "")) != len(everywhere) ||
				after.Sources[0].Epoch != before.Sources[0].Epoch || after.Sources[0].Frames.Delivered < 390 {
				t.Errorf("after a coordinator answered at index %d: %+v, before %+v", index, after, before)
			}
			// It is asked for news only, and what is new is done.
			asked := m.script.questions()
			pass(time.Minute)
			if n := m.script.questions() - asked; n > 3*3 {
				t.Errorf("it was asked %d times in a minute without news", n)
			}
			m.script.set(index+1, nil)
			pass(5 * time.Second)
			m.runs()
			m.stop()
			m.settled()
		})
	}
}

// What was moved while a node was away is not started there, also if its
// peers take a while to be found.
func TestWhatWasMovedIsNotResumed(t *testing.T) {
	t.Parallel()
	for _, away := range []time.Duration{0, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			m := newMesh(t, newShop())
			m.script.want(assignments(people(), usual()))
			pass(5 * time.Second)
			m.nodes["fog"].stop()
			moved := usual()
			moved["detect"] = "cloud"
			m.script.want(assignments(people(), moved))
			m.script.cut("fog")
			m.start("fog")
			pass(away)
			m.script.cut()
			pass(10 * time.Second)
			m.runs("gate#0@edge", "resize#0@edge", "detect#0@cloud", "draw#0@cloud")
			if n := len(m.shop.entries("open", "people/detect#0@fog")); n != 1 {
				t.Errorf("away for %v: detection was started %d times on fog", away, n)
			}
			m.stop()
			m.settled()
			m.drawnOnce()
		})
	}
}

// A coordinator that answers, and does not know the node yet, is not taken for
// none: what was moved meanwhile is not started here. For ever it is not waited
// for, and one that does not answer at all later on is none.
func TestAnUnknownNodeWaits(t *testing.T) {
	t.Parallel()
	moved := usual()
	moved["detect"] = "cloud"
	elsewhere := []string{"gate#0@edge", "resize#0@edge", "detect#0@cloud", "draw#0@cloud"}
	both := append(slices.Clone(elsewhere), "detect#0@fog")
	for name, c := range map[string]struct {
		answers func(m *mesh)
		after   time.Duration
		runs    []string
	}{
		"it is known in the end": {func(m *mesh) {
			pass(50 * time.Second)
			m.script.estrange(nil)
		}, 5 * time.Second, elsewhere},
		"it is not known for long": {func(*mesh) {}, unknownFor - time.Second, elsewhere},
		"it is never known":        {func(*mesh) {}, unknownFor + time.Second, both},
		"then nobody answers": {func(m *mesh) {
			pass(20 * time.Second)
			m.script.cut("fog")
		}, 4 * time.Second, both},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMesh(t, newShop())
				m.script.want(assignments(people(), usual()))
				pass(5 * time.Second)
				m.nodes["fog"].stop()
				m.script.want(assignments(people(), moved))
				pass(5 * time.Second) // the others follow, and ask for news
				m.script.estrange(fmt.Errorf("no: %w", ErrUnknown))
				asked := m.script.questions()
				m.start("fog")
				c.answers(m)
				pass(c.after)
				m.runs(c.runs...)
				if n := len(m.shop.entries("open", "people/detect#0@fog")); (n == 1) != (len(c.runs) == len(elsewhere)) {
					t.Errorf("detection was started %d times on fog", n)
				}
				if n := m.script.questions() - asked; n > 300 {
					t.Errorf("it was asked %d times", n)
				}
				m.stop()
			})
		})
	}
}

// A coordinator that takes the question and never answers holds up nothing.
func TestResumeDespiteSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		m.script.want(assignments(people(), usual()))
		pass(5 * time.Second)
		m.script.mu.Lock()
		m.script.mute = true
		m.script.mu.Unlock()
		m.restart("edge", "fog", "cloud")
		pass(3 * time.Second)
		m.runs(everywhere...)
		m.stop()
	})
}

// After a restart, too, a coordinator that lags is not believed, and one whose
// log has begun anew is after a while; what it says then is what the next run
// goes by.
func TestResumeAndOlderAssignments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMeshWith(t, newShop(), Config{Every: 10 * time.Second})
		w := people()
		w.Sources[0].FPS = 1
		m.script.set(100, assignments(w, usual()))
		pass(5 * time.Second)
		m.script.set(99, nil) // lags
		m.restart("edge", "fog", "cloud")
		pass(2 * time.Second)
		m.runs()
		pass(10 * time.Second)
		m.runs(everywhere...)
		m.script.set(100, assignments(w, usual()))
		pass(10 * time.Second)
		m.runs(everywhere...)

		moved := usual()
		moved["detect"] = "cloud"
		m.script.set(5, assignments(w, moved)) // has begun anew
		pass(outdatedFor + 10*time.Second)
		now := []string{"gate#0@edge", "resize#0@edge", "detect#0@cloud", "draw#0@cloud"}
		m.runs(now...)
		m.restart("edge", "fog", "cloud")
		pass(time.Second)
		m.runs(now...)
		for id, n := range m.nodes {
			if held, _ := n.journal.is(); held.index != 5 {
				t.Errorf("the journal of %s is of index %d", id, held.index)
			}
		}
		m.stop()
		m.settled()
	})
}

// A node that is cut off from the coordinators and restarts takes up what runs
// elsewhere by now. Once it is in touch again, it stops that at once: no frame
// captured after that is analysed here, and none was analysed twice.
func TestOverlapEndsWhenBackInTouch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type work struct {
			captured, done time.Time
			node           string
			frame          pipeline.FrameID
		}
		var (
			mu       sync.Mutex
			detected []work
		)
		s := newShop()
		s.work = func(_ context.Context, a tiering.Assignment, f *pipeline.Frame) error {
			if a.Task.Name == "detect" {
				mu.Lock()
				defer mu.Unlock()
				detected = append(detected, work{f.Captured, time.Now(), a.Placement.Node, f.ID})
			}
			return nil
		}
		m := newMesh(t, s)
		on := map[string]string{"gate": "edge", "resize": "edge", "detect": "edge", "draw": "edge"}
		m.script.want(assignments(people(), on))
		pass(5 * time.Second)

		m.nodes["edge"].stop() // its last words are heard
		m.script.cut("edge")
		moved := map[string]string{"gate": "fog", "resize": "fog", "detect": "fog", "draw": "cloud"}
		m.script.want(assignments(people(), moved))
		m.start("edge")
		pass(30 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "detect#0@edge", "draw#0@edge",
			"gate#0@fog", "resize#0@fog", "detect#0@fog", "draw#0@cloud")
		fog := m.nodes["fog"].agent.Report()

		m.script.cut()
		healed := time.Now()
		pass(10 * time.Second)
		m.runs("gate#0@fog", "resize#0@fog", "detect#0@fog", "draw#0@cloud")
		if now := m.nodes["fog"].agent.Report(); now.Stages[0].Epoch != fog.Stages[0].Epoch || now.Sources[0].Epoch != fog.Sources[0].Epoch {
			t.Errorf("what had been moved was restarted: %+v, was %+v", now, fog)
		}
		closed := m.shop.entries("close", "people/gate#0@edge")
		told := bubbleStart.Add(closed[len(closed)-1].at) // the camera is let go at once
		if told.Sub(healed) > retryMax {
			t.Errorf("it took %v to ask again", told.Sub(healed))
		}
		mu.Lock()
		defer mu.Unlock()
		var last time.Time
		seen := map[pipeline.FrameID]string{}
		twice := 0 // frames of the scene, not of the mesh: two cameras look at it
		for _, d := range detected {
			if n, again := seen[d.frame]; again {
				t.Errorf("frame %v was analysed on %s and %s", d.frame, n, d.node)
			}
			seen[d.frame] = d.node
			if d.node != "edge" {
				continue
			}
			if d.captured.After(told) {
				t.Errorf("edge analysed a frame captured %v after it was told", d.captured.Sub(told))
			}
			if last = d.done; d.captured.After(healed) {
				twice++
			}
		}
		t.Logf("in touch %v after the cut was over; the last frame here %v after that; %d frames analysed in both places since",
			told.Sub(healed), max(last.Sub(told), 0), twice)
		m.stop()
		m.settled()
		m.drawnOnce()
	})
}

// complaints collects warnings and what takes them back.
type complaints struct {
	slog.Handler
	mu   sync.Mutex
	said []string
}

func (c *complaints) Enabled(context.Context, slog.Level) bool { return true }
func (c *complaints) WithAttrs([]slog.Attr) slog.Handler       { return c }

func (c *complaints) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "journal") {
		c.mu.Lock()
		defer c.mu.Unlock()
		text := r.Message
		r.Attrs(func(a slog.Attr) bool { text += fmt.Sprintf("; %v", a.Value); return true })
		c.said = append(c.said, text)
	}
	return nil
}

// A disk that takes nothing stops nothing. It is complained of once, and once
// it takes something again it has the newest.
func TestJournalCannotBeWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &complaints{Handler: slog.DiscardHandler}
		m := newMeshWith(t, newShop(), Config{Log: slog.New(log), Every: 10 * time.Second})
		w := people()
		w.Sources[0].FPS = 1
		disk := m.nodes["edge"].journal
		disk.set(errors.New("no space left on device"), nil)
		m.script.set(10, assignments(w, usual()))
		pass(5 * time.Second)
		m.runs(everywhere...)
		m.script.set(11, assignments(w, map[string]string{"gate": "edge", "resize": "edge"}))
		pass(2 * time.Minute)
		if held, saves := disk.is(); held.index != 0 || saves < 4 || saves > 7 {
			t.Errorf("%+v after %d tries in two minutes", held, saves)
		}
		disk.set(nil, nil)
		pass(saveAgain)
		if held, _ := disk.is(); held.index != 11 || len(held.assignments) != 2 {
			t.Errorf("when there is room again, the journal is %+v", held)
		}
		want := []string{
			"cannot write the journal, will try again: until then this node needs a coordinator after a restart; no space left on device",
			"the journal is written again",
		}
		if !slices.Equal(log.said, want) {
			t.Errorf("said %q", log.said)
		}
		// News of others is not worth a write.
		_, saves := disk.is()
		for index := range uint64(20) {
			m.script.set(20+index, assignments(w, map[string]string{"gate": "edge", "resize": "edge"}))
			pass(time.Second)
		}
		if _, now := disk.is(); now != saves {
			t.Errorf("%d writes of the same assignments", now-saves)
		}
		m.stop()
		m.settled()
	})
}

// A journal that cannot be used is complained of, and the agent waits for a
// coordinator.
func TestJournalCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &complaints{Handler: slog.DiscardHandler}
		m := newMeshWith(t, newShop(), Config{Log: slog.New(log)})
		m.script.want(assignments(people(), usual()))
		pass(5 * time.Second)
		m.script.fail(true, true)
		m.nodes["fog"].journal.set(nil, errors.New("assignments: damaged"))
		m.restart("fog")
		pass(30 * time.Second)
		m.runs("gate#0@edge", "resize#0@edge", "draw#0@cloud")
		m.script.fail(false, false)
		pass(10 * time.Second)
		m.runs(everywhere...)
		want := []string{"cannot use the journal of the last run: nothing runs here until a coordinator answers; assignments: damaged"}
		if !slices.Equal(log.said, want) {
			t.Errorf("said %q", log.said)
		}
		m.stop()
		m.settled()
	})
}
