package adapter

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

const ms = time.Millisecond

// line is two qualities of one step, whose frames come over a network.
type line struct {
	m        *meter
	reports  map[string]*pipeline.StageReport
	profiled time.Duration // of every task; 0: it was not
}

func newLine() *line {
	return &line{m: newMeter(), reports: map[string]*pipeline.StageReport{}}
}

// period lets frames pass a task.
func (l *line) period(task string, frames int, transfer func(i int) time.Duration) {
	r := l.reports[task]
	if r == nil {
		r = &pipeline.StageReport{Task: task, Queue: pipeline.NewHistogram(), Transfer: pipeline.NewHistogram(), Execute: pipeline.NewHistogram()}
		l.reports[task] = r
	}
	for i := range frames {
		r.Transfer.Record(transfer(i))
		r.Execute.Record(30 * ms)
	}
	var all []kpi.Instance
	for name, r := range l.reports {
		now := *r
		now.Transfer, now.Execute = r.Transfer.Clone(), r.Execute.Clone()
		all = append(all, kpi.Instance{ID: "streets/" + name + "#0", Node: "fog-1", Stage: &now})
	}
	l.m.glance(all)
	l.m.observe(all, 10*time.Second)
	l.m.forget(streets(1), func(string, *tiering.Task) (time.Duration, bool) { return l.profiled, l.profiled > 0 })
}

func always(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// On a link that is full most frames wait. What it takes itself is what the
// quickest took.
func TestTransferWithoutTheWait(t *testing.T) {
	l := newLine()
	l.period("detect@512", 100, func(i int) time.Duration { return 100*ms + time.Duration(i)*10*ms })
	if x := l.m.costs.Transfer["detect@512"]; x < 100*ms || x > 250*ms {
		t.Errorf("%v, want little more than 100 ms", x)
	}
}

// What the link takes of a transfer is known by itself, if agents say.
func TestTheLinksPartOfATransfer(t *testing.T) {
	l := newLine()
	l.period("detect@512", 10, always(20*ms))
	if _, known := l.m.costs.Link["detect@512"]; known {
		t.Error("nobody said what the link takes")
	}
	l.reports["detect@512"].Link = pipeline.NewHistogram()
	for range 10 {
		l.reports["detect@512"].Link.Record(12 * ms)
	}
	l.period("detect@512", 10, always(20*ms))
	if x := l.m.costs.Link["detect@512"]; x < 11*ms || x > 13*ms {
		t.Errorf("the link takes %v, want 12 ms", x)
	}
	for range 10 { // nothing is worked, so that it is forgotten
		l.period("detect@416", 10, always(ms))
	}
	if _, known := l.m.costs.Link["detect@512"]; known {
		t.Error("it is known for ever")
	}
}

// Of a way that is not taken nothing is known after a while, and after a longer
// one if that did not last; what is worked there stays known.
func TestForget(t *testing.T) {
	l := newLine()
	l.period("detect@512", 20, always(200*ms))
	away := func() (periods int) {
		for {
			l.period("detect@416", 20, always(100*ms))
			periods++
			if _, known := l.m.costs.Transfer["detect@512"]; !known {
				return periods
			}
		}
	}
	for i, want := range []int{2, 4, 8} {
		if n := away(); n != want {
			t.Errorf("time %d: forgotten after %d periods, want %d", i, n, want)
		}
		l.period("detect@512", 20, always(200*ms))
	}
	if d := l.m.costs.Execute["detect@512"]["fog-1"]; (d - 30*ms).Abs() > ms {
		t.Errorf("execution: %v", l.m.costs.Execute)
	}
	for range lasting {
		l.period("detect@512", 20, always(200*ms))
	}
	if n := away(); n != leastPatience {
		t.Errorf("after it had lasted: forgotten after %d periods, want %d", n, leastPatience)
	}
}

// Without any frame nothing is forgotten, since nothing else would be known.
func TestNothingIsForgottenInSilence(t *testing.T) {
	l := newLine()
	l.period("detect@512", 20, always(200*ms))
	for range 100 {
		l.period("detect@512", 0, nil)
		l.m.fade()
	}
	x := l.m.costs.Transfer["detect@512"]
	if x <= 0 || x > ms || l.m.costs.Execute["detect@512"]["fog-1"] <= 0 {
		t.Errorf("faded to %v, %v; want next to nothing", x, l.m.costs.Execute)
	}
}

// What a node was slow at once is no reason for good not to try it again: where it
// was profiled, that is what is known of it after a while.
func TestForgetExecution(t *testing.T) {
	for _, profiled := range []time.Duration{0, 25 * ms} {
		l := newLine()
		l.profiled = profiled
		l.period("detect@512", 20, always(200*ms))
		for range leastPatience {
			l.period("detect@416", 20, always(100*ms))
		}
		_, known := l.m.costs.Execute["detect@512"]["fog-1"]
		if known != (profiled == 0) {
			t.Errorf("profiled as %v, measured is known: %v", profiled, known)
		}
	}
}

// A link that is suddenly slower is seen at the first look after it, and not for the
// quick frames before it taken for what it was.
func TestGlance(t *testing.T) {
	l := newLine()
	l.period("detect@512", 100, always(50*ms))
	r := l.reports["detect@512"]
	look := func(frames int, d time.Duration) time.Duration {
		for range frames {
			r.Transfer.Record(d)
			r.Execute.Record(30 * ms)
		}
		now := *r
		now.Transfer, now.Execute = r.Transfer.Clone(), r.Execute.Clone()
		if got := l.m.glance([]kpi.Instance{{ID: "streets/detect@512#0", Node: "fog-1", Stage: &now}}); got != (frames > 0) {
			t.Errorf("frames were analysed: %v", got)
		}
		return l.m.costs.Transfer["detect@512"]
	}
	for _, x := range []struct {
		frames    int
		way, want time.Duration
	}{{20, 50 * ms, 50 * ms}, {0, 0, 50 * ms}, {fewest, 400 * ms, 400 * ms}, {fewest - 1, 50 * ms, 400 * ms}, {1, 50 * ms, 50 * ms}} {
		if got := look(x.frames, x.way); (got - x.want).Abs() > 5*ms {
			t.Errorf("%d frames took %v: it is taken for %v, want %v", x.frames, x.way, got, x.want)
		}
	}
}

// A camera of one frame in five seconds is measured like others, over more periods.
func TestFewFrames(t *testing.T) {
	m := newMeter()
	stage := &pipeline.StageReport{Task: "detect@512", Queue: pipeline.NewHistogram(), Transfer: pipeline.NewHistogram(), Execute: pipeline.NewHistogram()}
	source := &pipeline.SourceReport{Source: "cam", Status: pipeline.StatusRunning, Capture: pipeline.NewHistogram(), Latency: pipeline.NewHistogram()}
	rate := 0.0
	for period := range 14 {
		if period > 0 {
			for range 2 {
				stage.Execute.Record(30 * ms)
				source.Frames.Captured++
				source.Capture.Record(ms)
				source.Latency.Record(100 * ms)
			}
		}
		a, b := *stage, *source
		a.Execute, b.Capture, b.Latency = stage.Execute.Clone(), source.Capture.Clone(), source.Latency.Clone()
		m.observe([]kpi.Instance{{ID: "d", Node: "fog-1", Stage: &a}, {ID: "s", Node: "edge-1", Source: &b}}, 10*time.Second)
		if r, ok := m.rates["cam"]; ok {
			rate = r
		}
	}
	if d := m.costs.Execute["detect@512"]["fog-1"]; (d - 30*ms).Abs() > ms {
		t.Errorf("execution takes %v", d)
	}
	if rate != 0.2 || m.latency["cam"] == 0 {
		t.Errorf("%g frames a second, latency %v", rate, m.latency)
	}
}

// The rate is that of the camera, also where frames are skipped or its quality has
// changed within the period.
func TestRateWithSkippedFrames(t *testing.T) {
	m := newMeter()
	r := &pipeline.SourceReport{Source: "cam", Status: pipeline.StatusRunning, Capture: pipeline.NewHistogram(), Latency: pipeline.NewHistogram()}
	for _, x := range []struct {
		captured, skipped uint64
		every             int
	}{{0, 0, 1}, {50, 0, 1}, {37, 13, 2}, {25, 25, 2}} {
		r.Frames.Captured += x.captured
		r.Skipped += x.skipped
		now := *r
		now.Quality = &tiering.Quality{Resolution: 512, Every: x.every}
		m.observe([]kpi.Instance{{ID: "s", Node: "edge-1", Source: &now}}, 10*time.Second)
		if got := m.rates["cam"]; x.captured > 0 && got != 5 {
			t.Errorf("%+v: %g frames a second, want 5", x, got)
		}
	}
}

// Nor does a source whose first picture with fewer frames is none that is skipped.
func TestRateAsFewerFramesBegin(t *testing.T) {
	m := newMeter()
	for i, captured := range []uint64{50, 100} {
		r := &pipeline.SourceReport{Source: "cam", Status: pipeline.StatusRunning, Capture: pipeline.NewHistogram(), Latency: pipeline.NewHistogram(),
			Frames: pipeline.Counts{Captured: captured}, RanMS: int64(captured * 200), Quality: &tiering.Quality{Resolution: 512, Every: 1 + i}}
		m.observe([]kpi.Instance{{ID: "s", Node: "edge-1", Source: r}}, 10*time.Second)
	}
	if got := m.rates["cam"]; got != 5 {
		t.Errorf("%g frames a second, want 5", got)
	}
}

// Reports that were long under way do not change the rate: it is by the agent's clock.
func TestRateOfLateReports(t *testing.T) {
	m := newMeter()
	for i, ran := range []int64{10_000, 20_000, 26_000, 40_000} { // looked at every 10 s
		r := &pipeline.SourceReport{Source: "cam", Status: pipeline.StatusRunning, Capture: pipeline.NewHistogram(), Latency: pipeline.NewHistogram(),
			Frames: pipeline.Counts{Captured: uint64(ran / 200)}, RanMS: ran}
		m.observe([]kpi.Instance{{ID: "s", Node: "edge-1", Source: r}}, 10*time.Second)
		if got := m.rates["cam"]; i > 0 && got != 5 {
			t.Errorf("after %d ms %g frames a second, want 5", ran, got)
		}
	}
}

// An instance's first frames take longer than those after them, and are not what
// it is known by.
func TestStartIsCold(t *testing.T) {
	seen := func(m *meter, r *pipeline.StageReport, frames int, takes time.Duration) {
		for range frames {
			r.Execute.Record(takes)
		}
		now := *r
		now.Execute = r.Execute.Clone()
		m.observe([]kpi.Instance{{ID: "streets/detect@512#0", Node: "fog-1", Stage: &now}}, time.Second)
	}
	report := func() *pipeline.StageReport {
		return &pipeline.StageReport{Task: "detect@512", Queue: pipeline.NewHistogram(), Transfer: pipeline.NewHistogram(), Execute: pipeline.NewHistogram()}
	}
	takes := func(m *meter) time.Duration { return m.costs.Execute["detect@512"]["fog-1"].Round(10 * ms) }

	m, r := newMeter(), report()
	for _, step := range []struct {
		frames      int
		takes, want time.Duration
	}{{0, 0, 0}, {2, 400 * ms, 0}, {3, 400 * ms, 0}, {2, 100 * ms, 0}, {2, 100 * ms, 100 * ms}, {40, 200 * ms, 180 * ms}} {
		seen(m, r, step.frames, step.takes)
		if got := takes(m); got != step.want {
			t.Fatalf("after %d frames a frame takes %v, want %v", r.Execute.Count(), got, step.want)
		}
	}
	m, r = newMeter(), report()
	if seen(m, r, 100, 100*ms); takes(m) != 100*ms {
		t.Errorf("an instance that has long run takes %v as a new leader hears of it, want 100 ms", takes(m))
	}
}
