package live

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

func TestRun(t *testing.T) { inBubble(t, mustRun) }

func mustRun(t *testing.T, m *mesh) {
	s := scenario(t, `
  measure: {warmup: 300ms, duration: 900ms, every: 100ms}
  timeline:
    - {at: 100ms, kill: fog-1}
    - {at: 200ms, start: fog-1}
    - {at: 300ms, partition: [edge, fog], for: 100ms}
    - {at: 500ms, sources: +1}
    - {at: 600ms, drain: fog-1, for: 100ms}
`)
	c, g := config(t, m, s)
	var samples []testbed.Sample
	var progress []string
	c.Sample = func(x testbed.Sample) error { samples = append(samples, x); return nil }
	c.Progress = func(p Progress) { progress = append(progress, p.Phase) }
	rec, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"kill fog-1", "start fog-1", "partition edge–fog", "heal edge–fog"}; !slices.Equal(g.applied, want) {
		t.Errorf("applied %q, want %q", g.applied, want)
	}
	if want := []string{"fog-1 true", "fog-1 false"}; !slices.Equal(m.drains, want) {
		t.Errorf("drains %q, want %q", m.drains, want)
	}
	if n := len(m.submitted); n != 2 || len(m.submitted[0].Sources) != 2 || len(m.submitted[1].Sources) != 3 {
		t.Errorf("%d submissions", n)
	}
	if !slices.Equal(m.stopped, []string{"people"}) {
		t.Errorf("stopped %q", m.stopped)
	}
	if len(samples) != len(rec.Samples) || len(samples) != 13 {
		t.Errorf("%d samples kept, %d recorded, want 13", len(samples), len(rec.Samples))
	}
	first, last := rec.Samples[0], rec.Samples[len(rec.Samples)-1]
	if first.At >= 0 || last.At < s.Measure.Duration || first.Sources != 2 || last.Sources != 3 || len(last.Nodes) != 4 || len(last.Stages) != 4 {
		t.Errorf("from %+v to %+v", first, last)
	}
	for i, x := range rec.Samples {
		if !x.Frames.Balanced() {
			t.Errorf("sample %d: %+v does not balance", i, x.Frames)
		}
	}
	var marks []string
	for _, x := range rec.Marks {
		if x.Error != "" {
			t.Errorf("%s: %s", x.Message, x.Error)
		}
		marks = append(marks, x.Type)
	}
	if !slices.Contains(marks, "task-moved") || !slices.Contains(marks, "sources") || len(marks) != 8 {
		t.Errorf("marks %v", marks)
	}
	if !slices.IsSortedFunc(rec.Marks, func(a, b testbed.Mark) int { return int(a.At - b.At) }) {
		t.Errorf("marks are out of order: %v", rec.Marks)
	}
	tot := rec.Totals
	if !tot.Frames.Balanced() || tot.Frames.Delivered == 0 || tot.Frames.Delivered >= last.Frames.Delivered || tot.Latency.Count() != int64(tot.Frames.Delivered) {
		t.Errorf("totals %+v of %+v", tot.Frames, last.Frames)
	}
	if want := 10 * speedUp * 0.8; math.Abs(tot.Throughput-want) > 1 {
		t.Errorf("throughput %.0f, want about %.0f", tot.Throughput, want)
	}
	if d := tot.Stages[1]; d.Task != "detect@512" || d.Work.Count() == 0 || (d.Work.Mean()-50*time.Millisecond).Abs() > time.Millisecond || d.Dropped[pipeline.ReasonQueueFull] == 0 {
		t.Errorf("stage %+v", d)
	}
	if len(progress) < len(samples) {
		t.Errorf("told of %d steps", len(progress))
	}
}

// An event that fails is marked, and the run goes on; a sample that cannot be
// kept ends it.
func TestRunWithTrouble(t *testing.T) { inBubble(t, mustReport) }

func mustReport(t *testing.T, m *mesh) {
	c, g := config(t, m, scenario(t, `
  measure: {warmup: 100ms, duration: 400ms, every: 100ms}
  timeline: [{at: 100ms, kill: fog-1}]
`))
	g.fail = errors.New("no such process")
	rec, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(rec.Marks, func(x testbed.Mark) bool { return x.Type == "kill" }); i < 0 || rec.Marks[i].Error != "no such process" {
		t.Errorf("marks %+v", rec.Marks)
	}
	full := errors.New("no space left on device")
	c.Sample = func(x testbed.Sample) error {
		if x.At > 0 {
			return full
		}
		return nil
	}
	rec, err = Run(t.Context(), c)
	if !errors.Is(err, full) || rec == nil || len(rec.Samples) == 0 {
		t.Errorf("%v with %+v", err, rec)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.Sample = func(testbed.Sample) error { cancel(); return nil }
	if _, err = Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if len(m.stopped) != 3 {
		t.Errorf("stopped %q: each run has to stop its workflow", m.stopped)
	}
}

// Sums grow also when a new leader counts anew.
func TestRunOverAChangeOfLeader(t *testing.T) { inBubble(t, mustGrow) }

func mustGrow(t *testing.T, m *mesh) {
	c, _ := config(t, m, scenario(t, `
  measure: {warmup: 300ms, duration: 2s, every: 100ms}
  timeline: [{at: 300ms, pause: cloud-1, for: 200ms}]
`))
	rec, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var before uint64
	for _, x := range rec.Samples {
		if x.Frames.Delivered < before || !x.Frames.Balanced() {
			t.Fatalf("at %s %d are delivered, after %d", x.At, x.Frames.Delivered, before)
		}
		before = x.Frames.Delivered
	}
	if rec.Totals.Latency.Count() == 0 || rec.Totals.Frames.Delivered < 50 || !rec.Totals.Frames.Balanced() {
		t.Errorf("totals %+v", rec.Totals.Frames)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := m.captured(); before > all {
		t.Errorf("%d frames delivered, of %d that there were", before, all)
	}
}

// What a new leader never hears of, since it has ended, is not forgotten, and
// nothing is counted twice.
func TestMeter(t *testing.T) {
	at := time.Now()
	status := func(captured, delivered uint64, lost uint64) api.WorkflowStatus {
		return api.WorkflowStatus{
			Frames:  pipeline.Counts{Captured: captured, Delivered: delivered, InFlight: captured - delivered - lost, Dropped: map[pipeline.Reason]uint64{pipeline.ReasonLost: lost}},
			Latency: repeated(time.Millisecond, delivered),
			Stages:  []api.StageStatus{{Task: "draw", Processed: delivered, Execute: repeated(time.Millisecond, delivered)}},
		}
	}
	m := newMeter()
	for i, x := range []struct {
		after               time.Duration
		s                   api.WorkflowStatus
		captured, delivered uint64
	}{
		{0, status(100, 90, 0), 100, 90},
		{time.Second, status(110, 95, 5), 110, 95},       // a node is gone, with frames
		{2 * time.Second, status(120, 112, 0), 120, 112}, // and back
		{3 * time.Second, status(30, 28, 0), 120, 112},   // a new leader
		{4 * time.Second, status(90, 85, 0), 120, 112},   // hears of more
		{5 * time.Second, status(130, 121, 0), 130, 121}, // and of all
		{6 * time.Second, status(40, 36, 0), 130, 121},   // another, who never will
		{10 * time.Second, status(48, 44, 0), 130, 121},
		{11 * time.Second, status(50, 46, 0), 130, 121},
		{12 * time.Second, status(60, 56, 0), 140, 131},
	} {
		m.add(x.s, at.Add(x.after))
		got := m.reading()
		if !got.frames.Balanced() || got.frames.Captured != x.captured || got.frames.Delivered != x.delivered || got.lat.Count() != int64(x.delivered) || got.stages[0].Processed != x.delivered {
			t.Errorf("%d: %+v, %d latencies, %d processed; want %d captured and %d delivered", i, got.frames, got.lat.Count(), got.stages[0].Processed, x.captured, x.delivered)
		}
	}
}

func TestAwaitNodesIsPatient(t *testing.T) { inBubble(t, mustWait) }

func mustWait(t *testing.T, m *mesh) {
	m.missing = "fog-1"
	c, _ := config(t, m, scenario(t, ""))
	c.Progress = func(p Progress) {
		if strings.Contains(p.Phase, "3 of 4") {
			m.mu.Lock()
			m.missing = ""
			m.mu.Unlock()
		}
	}
	if err := AwaitNodes(t.Context(), c); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m.missing = "fog-1"
	c.Progress = func(Progress) { cancel() }
	if err := AwaitNodes(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestWaitingSaysWhy(t *testing.T) {
	got := waiting(api.WorkflowStatus{
		Sources: []api.SourceStatus{{Source: "gate", Status: pipeline.StatusRunning}, {Source: "yard", Status: pipeline.StatusRetrying, Message: "no such file"}},
		Stages:  []api.StageStatus{{Task: "draw", Status: pipeline.StatusStarting}},
	})
	if want := "source yard is retrying (no such file); task draw is starting"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a calibration makes of a mesh whose costs are known.
func TestCalibrate(t *testing.T) { inBubble(t, mustCalibrate) }

func mustCalibrate(t *testing.T, m *mesh) {
	s := scenario(t, `
  costs: {detect: 2500ms, tasks: {draw: {work: 7ms}}}
`)
	c, g := config(t, m, s)
	got, err := Calibrate(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.limits) != 1 || g.limits[0] {
		t.Errorf("limits %v: calibration is without quotas", g.limits)
	}
	w := m.submitted[0]
	if w.Name != "people-calibration" || len(w.Sources) != 2 || w.Sources[0].Node != "edge-1" || w.Sources[1].Node != "edge-1" || w.Sources[0].FPS != slow || len(m.submitted) != 2 || m.submitted[1].Sources[0].FPS != fast ||
		w.Sources[1].FPS == w.Sources[0].FPS ||
		w.Sources[0].Resolution == w.Sources[1].Resolution {
		t.Errorf("calibrated with %+v", w.Sources)
	}
	if !slices.Equal(m.stopped, []string{"people-calibration"}) {
		t.Errorf("stopped %q", m.stopped)
	}
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if (got - want).Abs() > want/4+50*time.Microsecond {
			t.Errorf("%s: %s, want about %s", what, got, want)
		}
	}
	near("capture", got.Capture.Mean, 3*time.Millisecond)
	near("resize", got.Tasks["resize"].Work.Mean, 2100*time.Microsecond)
	near("detect", got.Tasks["detect@512"].Work.Mean, 50*time.Millisecond)
	near("draw, as the scenario says", got.Tasks["draw"].Work.Mean, 7*time.Millisecond)
	near("membership, as the scenario says", *got.Detect, 2500*time.Millisecond)
	// 21 kB are sent once and received once off the edge for each of the two
	// detectors and draw; fog and cloud use 3 ms for a frame beyond their work.
	near("send to draw", got.Tasks["draw"].Send.Mean, got.Tasks["draw"].Receive.Mean)
	if b := *got.Tasks["detect@512"].Bytes; b < 20_000 || b > 22_000 {
		t.Errorf("%d bytes a frame", b)
	}
	if *got.Idle < 0.008 || *got.Idle > 0.012 || *got.Coordinate < 0.016 || *got.Coordinate > 0.024 {
		t.Errorf("idle %g, coordinating %g cores, want 0.01 and 0.02", *got.Idle, *got.Coordinate)
	}
}

func TestNetworkCosts(t *testing.T) {
	s := scenario(t, "")
	spec, err := s.WorkflowSpec(s.Sources)
	if err != nil {
		t.Fatal(err)
	}
	// A byte costs 100 ns on either side, to encode a frame 4 ms, and each of
	// two sources takes 0.05 cores to read pictures. The fog is 4 ms and 30
	// Mbit/s from the edge and 5 ms from the cloud.
	counted := func(resized uint64) phase {
		n := resized / 2 // of each detector
		d := time.Duration(n)
		stage := func(task string, frames uint64, work, link time.Duration) api.StageStatus {
			x := api.StageStatus{Task: task, Processed: frames, Execute: repeated(work, frames), Transfer: repeated(time.Millisecond, frames), Bytes: frames * 20_000}
			sides := time.Duration(float64(wire(&x)) * 200)
			if task != "draw" {
				sides += 4*time.Millisecond + time.Duration(float64(wire(&x))*8/30e6*1e9)
			}
			x.Transfer = repeated(link+sides, frames)
			return x
		}
		resize := stage("resize", resized, 2*time.Millisecond, 0)
		resize.Transfer, resize.Bytes = nil, 0
		draw := stage("draw", resized, 5*time.Millisecond, 5*time.Millisecond)
		p := phase{lasted: 10 * time.Second, status: api.WorkflowStatus{
			Sources: []api.SourceStatus{{Source: "a", Node: "edge-1"}, {Source: "b", Node: "edge-1"}},
			Stages:  []api.StageStatus{resize, stage("detect@512", n, 50*time.Millisecond, 4*time.Millisecond), stage("detect@640", n, 80*time.Millisecond, 9*time.Millisecond), draw},
			Placements: []tiering.Placement{
				{Task: "a", Source: true, Node: "edge-1"}, {Task: "resize", Node: "edge-1"}, {Task: "detect@512", Node: "fog-1"},
				{Task: "detect@640", Node: "cloud-1"}, {Task: "draw", Node: "cloud-1"},
			},
		}}
		frame := time.Duration(float64(wire(&p.status.Stages[1])) * 100) // either side of a transfer
		p.used = map[string]time.Duration{
			"edge-1":  2*d*(2*time.Millisecond+frame+4*time.Millisecond) + 2*500*time.Millisecond,
			"fog-1":   d*(50*time.Millisecond+2*frame) + 5*time.Second, // of which it idles
			"cloud-1": d*(80*time.Millisecond+2*frame) + 2*d*(5*time.Millisecond+frame),
		}
		return p
	}
	k := &calibration{Config: &Config{Scenario: s}, spec: spec, idle: map[string]float64{"fog-1": 0.5}, phases: [2]phase{counted(40), counted(120)}}
	work := map[string]testbed.Time{}
	for i := range k.phases[1].status.Stages {
		work[k.phases[1].status.Stages[i].Task] = workOf(&k.phases[1].status.Stages[i], 1)
	}
	x := &k.phases[1].status.Stages[1]
	if fast, slow := workOf(x, 1), workOf(x, 0.05); fast.Mean != 20*slow.Mean || fast.CV != slow.CV || slow.Mean == 0 {
		t.Errorf("on a core of a twentieth of the speed %v is %v", fast, slow)
	}
	n := k.network(work)
	if math.Abs(n.perByte-100) > 5 || (n.encode-4*time.Millisecond).Abs() > 300*time.Microsecond || n.share != 1 || math.Abs(n.reading-0.05) > 0.005 {
		t.Errorf("%+v; want 100 ns a byte, 4ms to encode, 0.05 cores to read, all of the CPU", n)
	}

	// Others had most of the CPU: spans are four times what the nodes used.
	for task, w := range work {
		w.Mean *= 4
		work[task] = w
	}
	if n = k.network(work); n.share < 0.2 || n.share > 0.3 {
		t.Errorf("%v of the CPU, want about a quarter", n.share)
	}
}

// Nodes that weftd and its cameras keep busy whatever is decided are told of.
func TestOverheadIsToldOf(t *testing.T) {
	s := &testbed.Scenario{CPUScale: 0.05, Nodes: []testbed.Node{
		{Name: "edge-1", Cores: 1000}, {Name: "edge-2", Cores: 1000}, {Name: "edge-3", Cores: 1000}, {Name: "cloud-1", Cores: 8000},
	}, Sources: []testbed.Source{{Node: "edge-1", FPS: 1}, {Node: "edge-2", FPS: 1}, {Node: "edge-2", FPS: 1}, {Node: "cloud-1", FPS: 2}}}
	k := &calibration{Config: &Config{Scenario: s}, idle: map[string]float64{"edge-1": 0.03, "edge-2": 0.03, "edge-3": 0.03, "cloud-1": 0.07}}
	// 0.037, 0.044 and 0.03 of 0.05 cores, and 0.084 of 0.4.
	if got := k.tight(7 * time.Millisecond); got.nodes != 2 || got.worst != "edge-2" || math.Abs(got.needs-0.044) > 1e-9 || math.Abs(got.has-0.05) > 1e-9 {
		t.Errorf("%+v", got)
	}
	if got := k.tight(2 * time.Millisecond); got.nodes != 0 {
		t.Errorf("%+v, with pictures that take 2 ms", got)
	}
}
