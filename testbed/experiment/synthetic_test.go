package experiment

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

var update = flag.Bool("update", false, "write the golden files anew")

const synthText = "# a small continuum\nname: small\n"

// synthScenario is three tiers, five sources, and a timeline: the fog dies and
// comes back, its link is squeezed and restored.
func synthScenario() *testbed.Scenario {
	slow := int64(3e6)
	fog := testbed.Ends{A: testbed.End{Tier: tiering.Fog}, B: testbed.End{Tier: tiering.Cloud}}
	s := &testbed.Scenario{
		Name: "small", Seed: 7, CPUScale: 0.5,
		Nodes: []testbed.Node{
			{Name: "edge-1", Tier: tiering.Edge, Cores: 1000, Memory: 1 << 30},
			{Name: "edge-2", Tier: tiering.Edge, Cores: 1000, Memory: 1 << 30},
			{Name: "fog-1", Tier: tiering.Fog, Cores: 2000, Memory: 4 << 30, Broker: true},
			{Name: "cloud-1", Tier: tiering.Cloud, Cores: 4000, Memory: 8 << 30, Coordinator: true},
		},
		Workflow: testbed.Workflow{Name: "people"},
		Timeline: []testbed.Event{
			{At: 30 * time.Second, Action: testbed.Kill, Node: "fog-1"},
			{At: 60 * time.Second, Action: testbed.Start, Node: "fog-1"},
			{At: 80 * time.Second, Action: testbed.Change, Ends: fog, Link: testbed.LinkChange{Rate: &slow}},
			{At: 100 * time.Second, Action: testbed.Restore, Ends: fog},
		},
		Measure: testbed.Measure{Warmup: 10 * time.Second, Duration: 120 * time.Second, Every: time.Second},
	}
	for i := range 5 {
		s.Sources = append(s.Sources, testbed.Source{
			Name: fmt.Sprintf("camera-%d", i+1), URI: "video:street", Node: fmt.Sprintf("edge-%d", i%2+1), FPS: 5, Resolution: 640,
		})
	}
	return s
}

// outage is a time in which every frame is lost, for a reason.
type outage struct {
	from, to time.Duration
	reason   pipeline.Reason
}

// fate is what became of one frame.
type fate struct {
	captured, settled time.Duration
	reason            pipeline.Reason // "": delivered
}

// synthFates plays the frames of a run. Times come before, in and after the
// outages; a squeezed link makes frames late.
func synthFates(s *testbed.Scenario, rng *rand.Rand, outages []outage, squeeze [2]time.Duration) []fate {
	var out []fate
	for _, src := range s.Sources {
		step := time.Duration(float64(time.Second) / src.FPS)
		for at := -s.Measure.Warmup + time.Duration(rng.Int64N(int64(step))); at < s.Measure.Duration; at += step {
			mean, spread := 60.0, 12.0
			switch {
			case at < -s.Measure.Warmup+3*time.Second:
				mean = 300 // models are being loaded
			case at >= squeeze[0] && at < squeeze[1]:
				mean, spread = 480, 120
			case len(outages) > 0 && at >= outages[0].to && at < 62*time.Second:
				mean = 110 // over the cloud
			}
			latency := time.Duration(max(mean+spread*rng.NormFloat64()+spread*rng.ExpFloat64(), 5) * float64(time.Millisecond))
			f := fate{at, at + latency, pipeline.ReasonNone}
			for _, o := range outages {
				if at >= o.from && at < o.to {
					f.reason = o.reason
				}
			}
			if f.reason == "" && latency > 700*time.Millisecond {
				f.settled, f.reason = at+700*time.Millisecond, pipeline.ReasonDeadline
			}
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b fate) int { return int(a.settled - b.settled) })
	return out
}

// noPlots writes a result folder without plots, which take the race detector
// seconds.
func noPlots(dir string, r *Result) error {
	rec, err := Create(dir, r.ScenarioText)
	if err != nil {
		return err
	}
	return rec.finish(r, nil)
}

// sampleFates counts fates, in order of when they settled, at every sample.
func sampleFates(s *testbed.Scenario, fates []fate, nodes func(at time.Duration) []testbed.NodeSample) []testbed.Sample {
	captures := make([]time.Duration, len(fates))
	for i, f := range fates {
		captures[i] = f.captured
	}
	slices.Sort(captures)
	var out []testbed.Sample
	dropped := map[pipeline.Reason]uint64{}
	captured, settled, delivered := 0, 0, uint64(0)
	for at := -s.Measure.Warmup; at <= s.Measure.Duration; at += s.Measure.Every {
		for captured < len(captures) && captures[captured] <= at {
			captured++
		}
		var latencies []time.Duration
		sum := time.Duration(0)
		for ; settled < len(fates) && fates[settled].settled <= at; settled++ {
			f := fates[settled]
			if f.reason != "" {
				dropped[f.reason]++
				continue
			}
			delivered++
			latencies = append(latencies, f.settled-f.captured)
			sum += f.settled - f.captured
		}
		x := testbed.Sample{At: at, Sources: len(s.Sources), Frames: pipeline.Counts{
			Captured: uint64(captured), Delivered: delivered, InFlight: uint64(captured - settled), Dropped: maps.Clone(dropped),
		}}
		if n := len(latencies); n > 0 {
			slices.Sort(latencies)
			x.Latency = testbed.Latency{
				Frames: uint64(n), Mean: sum / time.Duration(n), P50: latencies[n/2], P95: latencies[n*95/100], P99: latencies[n*99/100],
			}
		}
		for _, task := range []string{"resize", "detect@640"} {
			x.Stages = append(x.Stages, testbed.StageSample{Task: task, Received: uint64(settled), Processed: delivered})
		}
		if nodes != nil {
			x.Nodes = nodes(at)
		}
		out = append(out, x)
	}
	return out
}

// synthesize is a run with the shape of a real one.
func synthesize(s *testbed.Scenario, m testbed.Method, run int) testbed.Recording {
	rng := rand.New(rand.NewPCG(uint64(run), uint64(len(m))))
	back := 33200*time.Millisecond + time.Duration(rng.IntN(800))*time.Millisecond
	fates := synthFates(s, rng, []outage{{30 * time.Second, back, pipeline.ReasonNoRoute}, {62 * time.Second, 62300 * time.Millisecond, pipeline.ReasonShutdown}},
		[2]time.Duration{80 * time.Second, 100 * time.Second})
	cpu := map[string]float64{}
	nodes := func(at time.Duration) []testbed.NodeSample {
		var out []testbed.NodeSample
		for _, n := range s.Nodes {
			up := n.Name != "fog-1" || at < 31*time.Second || at >= 61*time.Second
			use := 0.05
			switch working := at >= back && at < 62*time.Second; {
			case n.Tier == tiering.Edge:
				use = 0.22
			case n.Name == "fog-1" && up && !working, n.Name == "cloud-1" && working:
				use = 0.75
			case !up:
				use = 0
			}
			cpu[n.Name] += use * (1 + 0.1*rng.NormFloat64()) * s.Measure.Every.Seconds()
			out = append(out, testbed.NodeSample{Node: n.Name, Up: up, CPU: time.Duration(max(cpu[n.Name], 0) * float64(time.Second)), Memory: 120 << 20})
		}
		return out
	}
	rec := testbed.Recording{Method: m, Scenario: s.Name, Seed: s.Seed, Run: run, Took: 131200 * time.Millisecond, Samples: sampleFates(s, fates, nodes)}
	idle, detect, size := 0.012, 2300*time.Millisecond, int64(61204)
	rec.Costs = testbed.Costs{Idle: &idle, Detect: &detect, Capture: &testbed.Time{Mean: 3200 * time.Microsecond, CV: 0.1}, Tasks: map[string]testbed.TaskCosts{
		"resize":     {Work: &testbed.Time{Mean: 2100 * time.Microsecond, CV: 0.2}},
		"detect@640": {Work: &testbed.Time{Mean: 31 * time.Millisecond, CV: 0.15}, Bytes: &size},
	}}
	if m == testbed.Emulated {
		rec.Began = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC).Add(time.Duration(run) * 3 * time.Minute)
		rec.Shaping = "netem and tbf"
		rec.Links = synthLinks(s)
	} else {
		rec.Took, rec.Simulated = 41*time.Millisecond, 152_000
	}
	rec.Marks = synthMarks(s, back)
	rec.Totals = synthTotals(s, fates)
	return rec
}

func synthMarks(s *testbed.Scenario, back time.Duration) []testbed.Mark {
	decided := func(at time.Duration, kind, subject, message string) testbed.Mark {
		return testbed.Mark{At: at, Kind: testbed.Decision, Type: kind, Subject: subject, Message: message}
	}
	out := []testbed.Mark{
		decided(-9900*time.Millisecond, "task-placed", "people/camera-1#0", "people/camera-1#0 placed on edge-1: it is attached there"),
		decided(-9800*time.Millisecond, "task-placed", "people/resize#0", "people/resize#0 placed on edge-1: near its sources"),
		decided(-9800*time.Millisecond, "task-placed", "people/detect@640#0", "people/detect@640#0 placed on fog-1: most room"),
		decided(32300*time.Millisecond, "node-failed", "fog-1", "fog node fog-1 stopped answering"),
		decided(32400*time.Millisecond, "task-moved", "people/detect@640#0", "people/detect@640#0 moved from fog-1 to cloud-1: fog-1 has failed"),
		decided(back, "workflow-running", "people", "every task of people runs"),
		decided(61200*time.Millisecond, "node-returned", "fog-1", "fog node fog-1 is back"),
		decided(62*time.Second, "task-moved", "people/detect@640#0", "people/detect@640#0 moved from cloud-1 to fog-1: nearer to its sources"),
	}
	for _, e := range s.Timeline {
		out = append(out, testbed.Mark{At: e.At + 3*time.Millisecond, Kind: testbed.Timeline, Type: string(e.Action), Subject: e.Node, Message: e.String()})
	}
	slices.SortFunc(out, func(a, b testbed.Mark) int { return int(a.At - b.At) })
	return out
}

func synthTotals(s *testbed.Scenario, fates []fate) testbed.Totals {
	t := testbed.Totals{Duration: s.Measure.Duration, Latency: pipeline.NewHistogram(), Frames: pipeline.Counts{Dropped: map[pipeline.Reason]uint64{}}}
	work, queue, transfer := pipeline.NewHistogram(), pipeline.NewHistogram(), pipeline.NewHistogram()
	for i, f := range fates {
		if f.captured < 0 {
			continue
		}
		t.Frames.Captured++
		switch {
		case f.settled > s.Measure.Duration:
			t.Frames.InFlight++
		case f.reason != "":
			t.Frames.Dropped[f.reason]++
		default:
			t.Frames.Delivered++
			t.Latency.Record(f.settled - f.captured)
			work.Record(time.Duration(31+i%7) * time.Millisecond)
			queue.Record(time.Duration(3+i%11) * time.Millisecond)
			transfer.Record(time.Duration(8+i%3) * time.Millisecond)
		}
	}
	t.Throughput = float64(t.Frames.Delivered) / s.Measure.Duration.Seconds()
	t.Stages = []testbed.StageTotals{
		{Task: "resize", Processed: t.Frames.Captured, Work: transfer},
		{Task: "detect@640", Processed: t.Frames.Delivered, Dropped: t.Frames.Dropped, Queue: queue, Transfer: transfer, Work: work},
	}
	t.Placements = []tiering.Placement{{ID: "people/resize#0", Node: "edge-1"}, {ID: "people/detect@640#0", Node: "fog-1"}}
	return t
}

func synthLinks(s *testbed.Scenario) []testbed.LinkCheck {
	var out []testbed.LinkCheck
	for i, a := range s.Nodes {
		for k, b := range s.Nodes[i+1:] {
			l := testbed.Link{Delay: time.Duration(int(b.Tier)*4) * time.Millisecond, Rate: 100e6, Queue: 1000}
			c := testbed.LinkCheck{From: a.Name, To: b.Name, Asked: l, RoundTrip: 2*l.Delay + time.Duration(100+17*k)*time.Microsecond, Throughput: 98.2e6}
			if b.Tier == tiering.Cloud && a.Tier == tiering.Fog {
				c.Asked.Rate, c.Throughput = 10e9, 0
			}
			c.Verdicts = []testbed.Verdict{{What: "round trip", OK: true, Asked: fmt.Sprintf("%v ± 10 %%", 2*l.Delay), Found: c.RoundTrip.String()}}
			if c.Throughput > 0 {
				c.Verdicts = append(c.Verdicts, testbed.Verdict{What: "throughput", OK: true, Asked: "100 Mbit/s ± 5 %", Found: "98.2 Mbit/s"})
			}
			out = append(out, c)
		}
	}
	return out
}

// synthResult is several runs of each method.
func synthResult(emulated, simulated int) *Result {
	s := synthScenario()
	r := &Result{
		Scenario: s, ScenarioFile: "scenarios/small.yaml", ScenarioText: []byte(synthText), Version: "1.2.3",
		Machine: Machine{CPU: "Example CPU 9000", Cores: 2, Memory: 8 << 30, OS: "debian 12", Kernel: "6.1.0", Arch: "amd64", Go: "go1.26"},
		Command: "weft testbed run scenarios/small.yaml --out results --repeat 3",
	}
	for i := range emulated {
		r.Recordings = append(r.Recordings, synthesize(s, testbed.Emulated, i+1))
	}
	for i := range simulated {
		r.Recordings = append(r.Recordings, synthesize(s, testbed.Simulated, i+1))
	}
	return r
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make it with -update", err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs; look at it, and accept it with -update. Got:\n%s", path, got)
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
