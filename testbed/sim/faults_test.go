package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// flows is when frames are delivered again after a moment: the first sample
// with any.
func flows(t *testing.T, rec *testbed.Recording, after time.Duration) time.Duration {
	t.Helper()
	for i := 1; i < len(rec.Samples); i++ {
		if s := &rec.Samples[i]; s.At > after && s.Latency.Frames > 0 {
			return s.At
		}
	}
	t.Fatalf("no frame is delivered after %s", after)
	return 0
}

func near(t *testing.T, what string, got, want, within time.Duration) {
	t.Helper()
	if (got - want).Abs() > within {
		t.Errorf("%s at %s, want %s ± %s", what, got, want, within)
	}
}

// The fog node dies: detection moves to the cloud once membership has noticed,
// and frames flow when it has started there. When the node is back, what runs
// stays where it is.
func TestKill(t *testing.T) {
	rec := setting{sources: 2, fps: 5, length: 40 * time.Second, timeline: []string{"at: 10s, kill: fog-1, for: 15s"}}.run(t)
	near(t, "failure", marked(t, rec, string(state.NodeFailed), "fog-1", 0).At, 13*time.Second, 0)
	moved := marked(t, rec, string(state.TaskMoved), "people/detect@512#0", 0)
	near(t, "move", moved.At, 13*time.Second, 0)
	near(t, "frames", flows(t, rec, 11*time.Second), 14*time.Second, 500*time.Millisecond) // started after 0.8 s
	near(t, "return", marked(t, rec, string(state.NodeReturned), "fog-1", 0).At, 26*time.Second, 0)
	if c := between(rec, 15*time.Second, 40*time.Second); c.Lost() > 0 || c.Delivered != 250 {
		t.Errorf("after the move %+v, want 250 delivered", c)
	}
	lost := between(rec, 10*time.Second, 20*time.Second)
	if n := lost.Lost(); n < 35 || n > 42 { // 10 a second for 3.8 s
		t.Errorf("%+v lost, want some 38", lost)
	}
	if rec.Totals.Frames.Captured != 400 {
		t.Errorf("%+v, want 400 captured", rec.Totals.Frames)
	}
	for i := range rec.Samples {
		s := &rec.Samples[i]
		if up := s.At < 10*time.Second || s.At >= 25*time.Second; s.Nodes[2].Up != up && s.At != 10*time.Second {
			t.Errorf("at %s fog-1 is up: %v", s.At, s.Nodes[2].Up)
		}
	}
}

// A node that comes back before it was missed changes nothing but the frames
// that it had.
func TestKillNotNoticed(t *testing.T) {
	rec := setting{fps: 5, timeline: []string{"at: 10s, kill: fog-1, for: 2s"}}.run(t)
	for _, m := range rec.Marks {
		if m.Kind == testbed.Decision && m.At > 0 {
			t.Errorf("a decision: %+v", m)
		}
	}
	if c := between(rec, 14*time.Second, 30*time.Second); c.Delivered != 80 {
		t.Errorf("%+v after the return, want 80 delivered", c)
	}
}

// A source's node dies: what it had in flight is lost, nothing is captured,
// and the source comes back with the node.
func TestKillSource(t *testing.T) {
	rec := setting{fps: 20, detect: "100ms", timeline: []string{"at: 10s, kill: edge-1, for: 10s"}}.run(t)
	if n := rec.Totals.Frames.Dropped[pipeline.ReasonLost]; n == 0 || n > 12 {
		t.Errorf("%d frames lost with their source, want what was in flight", n)
	}
	if c := between(rec, 10*time.Second, 20*time.Second); c.Captured > 1 {
		t.Errorf("%+v captured by a dead node", c)
	}
	if rec.Samples[len(rec.Samples)-1].Sources != 1 {
		t.Error("the source is not back")
	}
	if c := between(rec, 25*time.Second, 30*time.Second); c.Captured != 100 || c.Delivered < 45 {
		t.Errorf("%+v after its return", c)
	}
}

// A node that is told to stop says good-bye when its stages have ended, and the
// leader need not wait for failure detection.
func TestStop(t *testing.T) {
	rec := setting{fps: 5, timeline: []string{"at: 10s, stop: fog-1"}}.run(t)
	left := marked(t, rec, string(state.NodeLeft), "fog-1", 0)
	near(t, "good-bye", left.At, 12*time.Second, 100*time.Millisecond) // frames come until the drain is over
	near(t, "move", marked(t, rec, string(state.TaskMoved), "people/detect@512#0", 0).At, left.At, 0)
	if c := between(rec, 10*time.Second, 30*time.Second); c.Lost() > 6 { // 0.8 s to start
		t.Errorf("%+v", c)
	}
}

// A node that stands still fails like a dead one, returns when it goes on, and
// works on nothing meanwhile.
func TestPause(t *testing.T) {
	rec := setting{fps: 5, timeline: []string{"at: 10s, pause: fog-1, for: 10s"}}.run(t)
	near(t, "failure", marked(t, rec, string(state.NodeFailed), "fog-1", 0).At, 13*time.Second, 0)
	near(t, "return", marked(t, rec, string(state.NodeReturned), "fog-1", 0).At, 21*time.Second, 0)
	near(t, "frames", flows(t, rec, 11*time.Second), 14*time.Second, 500*time.Millisecond)
	var before, after time.Duration
	for i := range rec.Samples {
		switch s := &rec.Samples[i]; s.At {
		case 10500 * time.Millisecond:
			before = s.Nodes[2].CPU
		case 20 * time.Second:
			after = s.Nodes[2].CPU
		}
	}
	if before != after {
		t.Errorf("fog-1 worked for %s while it stood still", after-before)
	}
}

// Fog and cloud are parted for 20 s: the leader in the cloud sees all others
// fail, and no frame comes through; afterwards everything is back.
func TestPartition(t *testing.T) {
	rec := setting{sources: 2, fps: 5, length: time.Minute, timeline: []string{"at: 10s, partition: [fog, cloud], for: 20s"}}.run(t)
	for _, n := range []string{"edge-1", "edge-2", "fog-1"} {
		near(t, n+" failed", marked(t, rec, string(state.NodeFailed), n, 0).At, 13*time.Second, 0)
		near(t, n+" returned", marked(t, rec, string(state.NodeReturned), n, 0).At, 31*time.Second, 0)
	}
	if c := between(rec, 11*time.Second, 30*time.Second); c.Delivered > 0 || c.Captured != 190 {
		t.Errorf("%+v while the network was parted", c)
	}
	if back := flows(t, rec, 13*time.Second); back < 31*time.Second || back > 40*time.Second {
		t.Errorf("frames flow again at %s", back)
	}
	if c := between(rec, 45*time.Second, time.Minute); c.Delivered != 150 || c.Lost() > 0 {
		t.Errorf("%+v when all is well", c)
	}
	if d := rec.Totals.Frames.Dropped; d[pipeline.ReasonLink] == 0 || d[pipeline.ReasonDeadline] == 0 {
		t.Errorf("dropped %v, want some by link and by deadline", d)
	}
}

// A cut shorter than the connections' patience breaks none: what was written
// into it arrives late, or is late.
func TestShortCut(t *testing.T) {
	rec := setting{fps: 5, timeline: []string{"at: 10s, partition: [edge, fog], for: 500ms"}}.run(t)
	if d := rec.Totals.Frames; d.Dropped[pipeline.ReasonLink] > 0 || d.Lost() > 3 {
		t.Errorf("%+v", d)
	}
	if s := rec.Totals.Latency.Quantile(1); s < 400*time.Millisecond {
		t.Errorf("no frame took longer than %s", s)
	}
}

// A link gets ten times slower: frames take ten times as long on it, and no
// more come through than it carries.
func TestSqueeze(t *testing.T) {
	rec := setting{fps: 20, timeline: []string{"at: 10s, link: {between: [edge, fog], rate: 3Mbit}, for: 10s"}}.run(t)
	var before, during testbed.Latency
	for i := range rec.Samples {
		switch s := &rec.Samples[i]; s.At {
		case 9 * time.Second:
			before = s.Latency
		case 18 * time.Second:
			during = s.Latency
		}
	}
	if more := during.P50 - before.P50; more < 72*time.Millisecond { // 30 kB at 3 instead of 30 Mbit/s
		t.Errorf("latency grew by %s only", more)
	}
	if c := between(rec, 12*time.Second, 20*time.Second); c.Delivered < 97 || c.Delivered > 102 { // 12.5 a second
		t.Errorf("%+v over a link of 3 Mbit/s", c)
	}
	if c := between(rec, 23*time.Second, 30*time.Second); c.Delivered != 140 {
		t.Errorf("%+v when it is as it was", c)
	}
}

// More sources, and fewer again.
func TestSources(t *testing.T) {
	rec := setting{fps: 5, timeline: []string{"at: 10s, sources: +3", "at: 20s, sources: -2"}}.run(t)
	for i := range rec.Samples {
		s := &rec.Samples[i]
		want := 1
		switch {
		case s.At > 20*time.Second:
			want = 2
		case s.At > 10*time.Second:
			want = 4
		}
		if s.Sources != want && s.At != 10*time.Second && s.At != 20*time.Second {
			t.Errorf("at %s %d sources run, want %d", s.At, s.Sources, want)
		}
	}
	if c := between(rec, 11*time.Second, 20*time.Second); c.Captured != 180 {
		t.Errorf("%+v of four sources", c)
	}
	if d := rec.Totals.Frames; d.Lost() > 0 {
		t.Errorf("%+v: sources that stop wait for their frames", d)
	}
}

// Of three coordinators the leader dies: another is elected, then decides.
func TestElection(t *testing.T) {
	rec := setting{fps: 5, coordinators: 3, length: 40 * time.Second, timeline: []string{
		"at: 9s, kill: cloud-1", "at: 10s, kill: fog-1",
	}}.run(t)
	at := marked(t, rec, string(state.NodeFailed), "cloud-1", 0).At
	if at < 12*time.Second || at > 12500*time.Millisecond {
		t.Errorf("cloud-1 is missed at %s", at)
	}
	near(t, "failure", marked(t, rec, string(state.NodeFailed), "fog-1", 0).At, 13*time.Second, 0)
	if c := between(rec, 20*time.Second, 40*time.Second); c.Delivered != 100 {
		t.Errorf("%+v with another leader, want 100 delivered", c)
	}
}

// Without a majority nothing is decided, and what runs goes on.
func TestNoMajority(t *testing.T) {
	rec := setting{sources: 1, fps: 5, coordinators: 3, timeline: []string{
		"at: 5s, kill: cloud-2", "at: 5s, kill: cloud-3", "at: 20s, sources: +1",
	}}.run(t)
	for _, m := range rec.Marks {
		if m.Kind == testbed.Decision && m.At > 0 {
			t.Errorf("a decision without a majority: %+v", m)
		}
	}
	i := slices.IndexFunc(rec.Marks, func(m testbed.Mark) bool { return m.Type == string(testbed.Sources) })
	if i < 0 || rec.Marks[i].Error != "no coordinator leads" {
		t.Errorf("the event that needs a leader: %+v", rec.Marks)
	}
	if c := between(rec, 10*time.Second, 30*time.Second); c.Captured != 100 {
		t.Errorf("%+v", c)
	}
}

// A node that drains loses nothing: its detector runs elsewhere before frames
// go there, and ends here after. When the drain is over, what runs stays where
// it is.
func TestDrain(t *testing.T) {
	rec := setting{sources: 2, fps: 5, length: 40 * time.Second, timeline: []string{"at: 10s, drain: fog-1, for: 15s"}}.run(t)
	near(t, "drain", marked(t, rec, string(state.NodeDraining), "fog-1", 0).At, 10*time.Second, 0)
	moved := marked(t, rec, string(state.TaskMoved), "people/detect@512#0", 0)
	// Started after 0.8 s, which is reported, and then that frames go there.
	if moved.At < 10800*time.Millisecond || moved.At > 14*time.Second {
		t.Errorf("moved at %s", moved.At)
	}
	near(t, "end of the drain", marked(t, rec, string(state.NodeUndrained), "fog-1", 0).At, 25*time.Second, 0)
	if c := between(rec, 0, 40*time.Second); c.Lost() > 0 || c.Captured != 400 || c.Delivered < 398 {
		t.Errorf("%+v, want all delivered", c)
	}
	for _, m := range rec.Marks {
		if m.Kind == testbed.Decision && m.At > 25*time.Second {
			t.Errorf("after the drain: %+v", m)
		}
		if m.Error != "" {
			t.Errorf("%s: %s", m.Message, m.Error)
		}
	}
	cpu := func(from, to time.Duration) (used time.Duration) {
		for i := range rec.Samples {
			switch s := &rec.Samples[i]; s.At {
			case from:
				used -= s.Nodes[2].CPU
			case to:
				used += s.Nodes[2].CPU
			}
		}
		return used
	}
	if before, after := cpu(5*time.Second, 10*time.Second), cpu(30*time.Second, 35*time.Second); after*2 > before {
		t.Errorf("fog-1 worked for %s in 5 s before, and for %s when it had drained", before, after)
	}
}

// What cannot move stays, and serves.
func TestDrainOfTheOnlyCamera(t *testing.T) {
	rec := setting{fps: 5, timeline: []string{"at: 10s, drain: edge-1"}}.run(t)
	if c := between(rec, 12*time.Second, 30*time.Second); c.Lost() > 0 || c.Captured != 90 {
		t.Errorf("%+v", c)
	}
}
