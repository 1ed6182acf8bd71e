package sim

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// The costs that are missing are named, all of them, with where to get them.
func TestMissingCosts(t *testing.T) {
	x := setting{timeline: []string{"at: 5s, kill: fog-1, for: 5s"}}
	whole := x.scenario(t)
	for name, c := range map[string]struct {
		costs testbed.Costs
		want  string
	}{
		"all": {testbed.Costs{}, "costs are missing: capture, idle, detect, return, tasks.resize.work, tasks.resize.start, " +
			"tasks.detect@512.work, tasks.detect@512.start, tasks.detect@640.start, tasks.draw.work, tasks.draw.start; " +
			"state them under costs: in the scenario, or take the costs file of an emulated run of it"},
		"some":       {without512(whole.Costs), "costs are missing: tasks.detect@512.work; "},
		"of the way": {noBytes(whole.Costs), "frames go from fog-1 to task draw on cloud-1: costs are missing: tasks.draw.bytes; "},
	} {
		s := *whole
		s.Costs = testbed.Costs{}
		_, err := Run(t.Context(), Config{Scenario: &s, Costs: c.costs})
		if !errors.Is(err, ErrCosts) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
	// Without faults nobody has to know how fast they are seen.
	s := *whole
	s.Timeline, s.Costs.Detect, s.Costs.Return = nil, nil, nil
	if _, err := Run(t.Context(), Config{Scenario: &s}); err != nil {
		t.Error(err)
	}
}

func without512(c testbed.Costs) testbed.Costs {
	c = c.Or(testbed.Costs{})
	x := c.Tasks["detect@512"]
	x.Work = nil
	c.Tasks["detect@512"] = x
	return c
}

func noBytes(c testbed.Costs) testbed.Costs {
	c = c.Or(testbed.Costs{})
	x := c.Tasks["draw"]
	x.Bytes = nil
	c.Tasks["draw"] = x
	return c
}

// The scenario's costs come before those that were measured, and the recording
// says which were used.
func TestCostsOfScenarioFirst(t *testing.T) {
	s := setting{fps: 2, length: 5 * time.Second}.scenario(t)
	measured := testbed.Costs{Capture: &testbed.Time{Mean: time.Second}}
	rec, err := Run(t.Context(), Config{Scenario: s, Costs: measured})
	if err != nil {
		t.Fatal(err)
	}
	if rec.Costs.Capture.Mean != 2*time.Millisecond {
		t.Errorf("a capture takes %s, the scenario says 2ms", rec.Costs.Capture.Mean)
	}
}

func TestCannotSimulate(t *testing.T) {
	for name, c := range map[string]struct {
		set  setting
		want string
	}{
		"nothing left for frames": {setting{edit: []string{"idle: 0", "idle: 1"}}, "node edge-1 has 1 cores (1 core at a CPU scale of 1), all of which weftd takes"},
		"no room":                 {setting{edit: []string{"cores: 2,", "cores: 100m,", "cores: 4,", "cores: 100m,"}}, "workflow people: "},
	} {
		_, err := Run(t.Context(), Config{Scenario: c.set.scenario(t)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
	var refused *tiering.Refused
	_, err := Run(t.Context(), Config{Scenario: setting{edit: []string{"cores: 2,", "cores: 100m,", "cores: 4,", "cores: 100m,"}}.scenario(t)})
	if !errors.As(err, &refused) {
		t.Errorf("%v is no refusal", err)
	}
	if _, err := Run(t.Context(), Config{}); !errors.Is(err, ErrConfig) {
		t.Errorf("no scenario: %v", err)
	}
	if _, err := Run(t.Context(), Config{Scenario: setting{}.scenario(t), CPUScale: -1}); !errors.Is(err, ErrConfig) {
		t.Errorf("a negative scale: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := setting{fps: 20, length: time.Hour}.scenario(t)
	last := time.Duration(0)
	_, err := Run(ctx, Config{Scenario: s, Progress: func(virtual, _ time.Duration) {
		if last = virtual; virtual > time.Minute {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || last > 5*time.Minute {
		t.Errorf("%v after %s", err, last)
	}
}

// The samples are from the beginning of the warm-up to the end, and progress is
// told at each.
func TestSamples(t *testing.T) {
	s := setting{fps: 4, length: 10 * time.Second}.scenario(t)
	var told []time.Duration
	rec := simulate(t, Config{Scenario: s, Progress: func(virtual, total time.Duration) {
		if total != 15*time.Second {
			t.Errorf("%s in all, want 15s", total)
		}
		told = append(told, virtual)
	}})
	if len(rec.Samples) != 31 || len(told) != 31 {
		t.Fatalf("%d samples, progress told %d times, want 31", len(rec.Samples), len(told))
	}
	for i := range rec.Samples {
		if at := time.Duration(i)*500*time.Millisecond - 5*time.Second; rec.Samples[i].At != at || told[i] != at+5*time.Second {
			t.Errorf("sample %d at %s, told %s", i, rec.Samples[i].At, told[i])
		}
	}
	if !slices.IsSortedFunc(rec.Marks, func(a, b testbed.Mark) int { return int(a.At - b.At) }) {
		t.Error("marks are out of order")
	}
	if rec.Method != testbed.Simulated || rec.Scenario != "bench" || rec.Simulated == 0 || !rec.Began.IsZero() {
		t.Errorf("%+v", rec)
	}
	stages := rec.Totals.Stages
	if len(stages) != 4 || stages[0].Processed != 40 || stages[0].Work.Count() != 40 || stages[1].Transfer.Count() != 40 || stages[0].Transfer.Count() != 0 {
		t.Errorf("%+v", stages)
	}
	if len(rec.Totals.Placements) != 6 {
		t.Errorf("placements %+v", rec.Totals.Placements)
	}
}

// A node with a twentieth of a core works a twentieth as fast.
func TestCPUScale(t *testing.T) {
	x := setting{sources: 1, fps: 50, detect: "40ms"}
	whole := simulate(t, Config{Scenario: x.scenario(t), Seed: 1})
	part := simulate(t, Config{Scenario: x.scenario(t), Seed: 1, CPUScale: 0.25})
	// On the fog: one of two cores is enough for detection; of half a core it
	// gets what decoding and encoding leave.
	if a, b := whole.Totals.Throughput, part.Totals.Throughput; a < 24 || b > 0.5*a || b < 0.3*a {
		t.Errorf("throughput %g, at a quarter of the speed %g", a, b)
	}
}

// BenchmarkHoumani is the scale of Houmani et al., section VII: 14 nodes, 19
// sources of 25 frames a second, 20 minutes.
func BenchmarkHoumani(b *testing.B) {
	s, err := testbed.Load("../../examples/testbed/houmani.yaml")
	if err != nil {
		b.Fatal(err)
	}
	work := map[string]time.Duration{"resize": 2 * time.Millisecond, "detect@416": 6 * time.Millisecond, "detect@512": 8 * time.Millisecond, "draw": 2 * time.Millisecond}
	idle, bytes, start := 0.01, int64(50_000), 500*time.Millisecond
	costs := testbed.Costs{Capture: &testbed.Time{Mean: time.Millisecond}, Idle: &idle, Tasks: map[string]testbed.TaskCosts{}}
	for name, w := range work {
		costs.Tasks[name] = testbed.TaskCosts{
			Work: &testbed.Time{Mean: w, CV: 0.2}, Send: &testbed.Time{Mean: time.Millisecond, CV: 0.2},
			Receive: &testbed.Time{Mean: time.Millisecond / 2, CV: 0.2}, Bytes: &bytes, Start: &start,
		}
	}
	for _, speed := range []struct {
		name string
		fps  float64
	}{{"fps=25", 25}, {"fps=5", 5}} {
		b.Run(speed.name, func(b *testing.B) {
			x := *s
			x.Sources = nil
			x.Measure.Duration = 20 * time.Minute
			for i := range 19 {
				src := s.Sources[min(i, 1)]
				src.Name, src.FPS, src.Node = nodeName(int32(i)), speed.fps, s.Nodes[i%11].Name
				x.Sources = append(x.Sources, src)
			}
			b.ReportAllocs()
			events := uint64(0)
			for b.Loop() {
				rec, err := Run(b.Context(), Config{Scenario: &x, Costs: costs, CPUScale: 1, Seed: 1})
				if err != nil {
					b.Fatal(err)
				}
				events += rec.Simulated
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(events)/float64(b.N), "events/op")
		})
	}
}
