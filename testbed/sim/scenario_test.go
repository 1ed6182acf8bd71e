package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// bench is a scenario of two edge nodes, one fog and one cloud node. Work on a
// frame: capture 2 ms, resize 4 ms, detect 20 ms in the fog, draw 6 ms in the
// cloud. Constant times, and links without jitter.
const bench = `
apiVersion: weft/v1
kind: Scenario
metadata: {name: bench}
spec:
  seed: 1
  nodes:
    - {name: edge, count: 2, tier: edge, cores: 1, memory: 1GiB, disk: 2GB}
    - {name: fog, count: 1, tier: fog, cores: 2, memory: 2GiB, disk: 10GB}
    - {name: cloud, count: COORDINATORS, tier: cloud, cores: 4, memory: 4GiB, disk: 20GB, coordinator: true}
  network:
    tiers:
      - {between: [edge, edge], delay: 1ms, rate: 1Gbit}
      - {between: [edge, fog], delay: 4ms, rate: 30Mbit}
      - {between: [fog, cloud], delay: 5ms, rate: 1Gbit}
      - {between: [cloud, cloud], delay: 1ms, rate: 1Gbit}
  workflow: people.yaml
  sources:
    - {name: cam, count: SOURCES, uri: "video:vtest.avi?loop=true", fps: FPS, resolution: 512}
  timeline:
TIMELINE
  measure: {warmup: 5s, duration: LENGTH, every: 500ms}
  costs:
    capture: 2ms
    idle: 0
    detect: 3s
    return: 1s
    tasks:
      resize: {work: 4ms, send: 1ms, receive: 1ms, bytes: 30kB, start: 100ms}
      "detect@512": {work: DETECT, send: 2ms, receive: 1ms, bytes: 30kB, start: 800ms}
      "detect@640": {work: 30ms, send: 2ms, receive: 1ms, bytes: 30kB, start: 800ms}
      draw: {work: 6ms, send: 3ms, receive: 2ms, bytes: 60kB, start: 200ms}
`

// setting fills in the bench.
type setting struct {
	sources, coordinators int
	fps                   float64
	detect                string
	length                time.Duration
	timeline              []string
	edit                  []string // pairs of old and new text
	workflow              []string // the same, of the workflow document
}

func (x setting) scenario(t testing.TB) *testbed.Scenario {
	t.Helper()
	if x.length == 0 {
		x.length = 30 * time.Second
	}
	if x.detect == "" {
		x.detect = "20ms"
	}
	timeline := "    []"
	if len(x.timeline) > 0 {
		timeline = "    - {" + strings.Join(x.timeline, "}\n    - {") + "}"
	}
	text := strings.NewReplacer(
		"SOURCES", fmt.Sprint(max(x.sources, 1)), "FPS", fmt.Sprint(max(x.fps, 1)), "DETECT", x.detect, "LENGTH", x.length.String(),
		"COORDINATORS", fmt.Sprint(max(x.coordinators, 1)), "TIMELINE", timeline,
	).Replace(bench)
	if len(x.edit) > 0 {
		text = strings.NewReplacer(x.edit...).Replace(text)
	}
	s, err := testbed.Parse("../../examples/testbed/bench.yaml", []byte(text), func(path string) ([]byte, error) {
		data, err := os.ReadFile(path)
		return []byte(strings.NewReplacer(x.workflow...).Replace(string(data))), err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (x setting) run(t testing.TB) *testbed.Recording {
	t.Helper()
	return simulate(t, Config{Scenario: x.scenario(t), Seed: 1})
}

func simulate(t testing.TB, cfg Config) *testbed.Recording {
	t.Helper()
	rec, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rec.Samples {
		if s := &rec.Samples[i]; !s.Frames.Balanced() {
			t.Fatalf("at %s: unbalanced: %+v", s.At, s.Frames)
		}
	}
	if !rec.Totals.Frames.Balanced() {
		t.Fatalf("unbalanced: %+v", rec.Totals.Frames)
	}
	return rec
}

// between is what became of frames from one moment to another.
func between(rec *testbed.Recording, from, to time.Duration) pipeline.Counts {
	var a, b *testbed.Sample
	for i := range rec.Samples {
		if s := &rec.Samples[i]; s.At <= from {
			a = s
		} else if s.At <= to {
			b = s
		}
	}
	out := pipeline.Counts{Captured: b.Frames.Captured - a.Frames.Captured, Delivered: b.Frames.Delivered - a.Frames.Delivered, Dropped: map[pipeline.Reason]uint64{}}
	for r, n := range b.Frames.Dropped {
		if n -= a.Frames.Dropped[r]; n > 0 {
			out.Dropped[r] = n
		}
	}
	return out
}

// marked finds the first decision of a type about a subject.
func marked(t *testing.T, rec *testbed.Recording, typ, subject string, from time.Duration) testbed.Mark {
	t.Helper()
	for _, m := range rec.Marks {
		if m.Kind == testbed.Decision && m.Type == typ && m.Subject == subject && m.At >= from {
			return m
		}
	}
	t.Fatalf("no %s of %s after %s in %+v", typ, subject, from, rec.Marks)
	return testbed.Mark{}
}

func encode(t testing.TB, rec *testbed.Recording) string {
	t.Helper()
	b, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// turbulent is a timeline with some of everything.
var turbulent = []string{
	"at: 2s, kill: fog-1, for: 9s", "at: 5s, sources: +2", "at: 13s, pause: edge-1, for: 6s",
	"at: 20s, partition: [edge, fog], for: 3s", "at: 26s, link: {between: [edge, fog], rate: 2Mbit, loss: 3%, jitter: 2ms}, for: 5s",
	"at: 28s, sources: -1", "at: 33s, stop: edge-2, for: 5s",
}

// The same seed gives the same recording, to the byte, and another another.
func TestDeterministic(t *testing.T) {
	x := setting{sources: 3, fps: 12, coordinators: 3, length: 45 * time.Second, timeline: turbulent}
	s := x.scenario(t)
	work := testbed.Costs{Tasks: map[string]testbed.TaskCosts{"draw": {Work: &testbed.Time{Mean: 6 * time.Millisecond, CV: 0.7}}}}
	s.Costs = s.Costs.Or(work)
	a := encode(t, simulate(t, Config{Scenario: s, Seed: 7}))
	if b := encode(t, simulate(t, Config{Scenario: s, Seed: 7})); a != b {
		t.Error("two runs of one seed differ")
	}
	if b := encode(t, simulate(t, Config{Scenario: s, Seed: 8})); a == b {
		t.Error("runs of two seeds are the same")
	}
}

// What is measured of one part of a mesh does not change when another part is
// added that it has nothing to do with.
func TestStreamsAreIndependent(t *testing.T) {
	random := testbed.Costs{Tasks: map[string]testbed.TaskCosts{"detect@512": {Work: &testbed.Time{Mean: 20 * time.Millisecond, CV: 0.7}}}}
	one := setting{fps: 5}.scenario(t)
	two := setting{fps: 5, edit: []string{"name: edge, count: 2", "name: edge, count: 3"}}.scenario(t)
	one.Costs, two.Costs = one.Costs.Or(random), two.Costs.Or(random)
	a, b := simulate(t, Config{Scenario: one, Seed: 3}), simulate(t, Config{Scenario: two, Seed: 3})
	for i := range a.Samples {
		if a.Samples[i].Latency != b.Samples[i].Latency {
			t.Fatalf("at %s latency is %+v, with one node more %+v", a.Samples[i].At, a.Samples[i].Latency, b.Samples[i].Latency)
		}
	}
}

// At light load a frame's latency is the sum of what is on its way.
func TestLightLoad(t *testing.T) {
	rec := setting{fps: 2}.run(t)
	const ms = time.Millisecond
	onAir := func(bytes, mbit int64) time.Duration { return time.Duration(bytes * 8000 / mbit) }
	want := 2*ms + 4*ms + // capture and resize, on edge-1
		2*ms + onAir(30_000, 30) + 4*ms + 1*ms + 20*ms + // to detect, on fog-1
		3*ms + onAir(60_000, 1000) + 5*ms + 2*ms + 6*ms // to draw, on cloud-1
	l := rec.Samples[len(rec.Samples)-1].Latency
	if (l.Mean-want).Abs() > time.Microsecond || (l.P99-want).Abs() > time.Microsecond {
		t.Errorf("latency %+v, want %s", l, want)
	}
	if f := rec.Totals.Frames; f.Captured != 60 || f.Delivered != 60 && f.InFlight == 0 || f.Lost() != 0 {
		t.Errorf("%+v, want 60 captured and delivered", f)
	}
	if rec.Totals.Throughput != 2 {
		t.Errorf("throughput %g, want 2", rec.Totals.Throughput)
	}
	for i, want := range []float64{0.004 + 0.002 + 0.002, 0, 0.020 + 0.001 + 0.003, 0.006 + 0.002} { // edge-1, edge-2, fog-1, cloud-1
		a, b := rec.Samples[10].Nodes[i], rec.Samples[len(rec.Samples)-1].Nodes[i]
		if got := (b.CPU - a.CPU).Seconds() / 60; got < want*0.97 || got > want*1.03 {
			t.Errorf("%s: %g s of cores a frame, want %g", b.Node, got, want)
		}
	}
}

// Over MQTT frames go by the broker; without one, there is no way for them.
func TestMQTT(t *testing.T) {
	x := setting{fps: 2, workflow: []string{"{from: resize, to: detect}", "{from: resize, to: detect, transport: mqtt}"}}
	if rec := x.run(t); rec.Totals.Frames.Dropped[pipeline.ReasonNoRoute] != rec.Totals.Frames.Captured {
		t.Errorf("without a broker: %+v", rec.Totals.Frames)
	}
	direct := setting{fps: 2}.run(t)
	x.edit = []string{"coordinator: true}", "coordinator: true, broker: true}"}
	rec := x.run(t)
	// From the edge to the cloud and back to the fog, not straight to the fog.
	last := len(rec.Samples) - 1
	if more := rec.Samples[last].Latency.Mean - direct.Samples[last].Latency.Mean; more != 10*time.Millisecond {
		t.Errorf("by the broker in the cloud it takes %s longer, want 10ms", more)
	}
}

// At overload the throughput is what the bottleneck can do, and latencies keep
// to the deadline.
func TestOverload(t *testing.T) {
	for _, x := range []struct {
		what   string
		set    setting
		want   float64 // frames a second
		within float64
	}{
		{"detection", setting{sources: 2, fps: 50, detect: "40ms"}, 25, 0.02},
		{"the link", setting{fps: 50, edit: []string{"delay: 4ms, rate: 30Mbit", "delay: 4ms, rate: 3Mbit"}}, 3e6 / 8 / 30e3, 0.03},
		{"a processor", setting{fps: 500, edit: []string{"capture: 2ms", "capture: 0s", "send: 2ms", "send: 0s"}}, 50, 0.02},
	} {
		rec := x.set.run(t)
		if got := rec.Totals.Throughput; got < x.want*(1-x.within) || got > x.want*(1+x.within) {
			t.Errorf("%s is the bottleneck: %g frames a second, want %g", x.what, got, x.want)
		}
		if worst := rec.Totals.Latency.Quantile(1); worst > 2020*time.Millisecond {
			t.Errorf("%s: delivered at the age of %s, the deadline is 2s", x.what, worst)
		}
	}
}
