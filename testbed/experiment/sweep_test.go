package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

func sweepScenario(t *testing.T, file string) *testbed.Scenario {
	t.Helper()
	s, err := testbed.Load("../../examples/testbed/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParameters(t *testing.T) {
	s := sweepScenario(t, "sweeps.yaml")
	for _, x := range []struct {
		parameter Parameter
		value     float64
		got       func(*testbed.Scenario, *tiering.Workflow) float64
	}{
		{SweepSources, 3, func(s *testbed.Scenario, _ *tiering.Workflow) float64 { return float64(len(s.Sources)) }},
		{SweepSources, 40, func(_ *testbed.Scenario, w *tiering.Workflow) float64 { return float64(len(w.Sources)) }},
		{SweepEdgeFog, 5, func(s *testbed.Scenario, _ *tiering.Workflow) float64 { return float64(s.Uplink(tiering.Edge)) / 1e6 }},
		{SweepFogCloud, 0.5, func(s *testbed.Scenario, _ *tiering.Workflow) float64 { return float64(s.Uplink(tiering.Fog)) / 1e6 }},
		{SweepMinAccuracy, 0.4, func(_ *testbed.Scenario, w *tiering.Workflow) float64 { return w.Objectives.MinAccuracy }},
		{SweepTheta, 2, func(_ *testbed.Scenario, w *tiering.Workflow) float64 { return w.Adapting.Theta }},
	} {
		at, err := x.parameter.Apply(s, x.value)
		if err != nil {
			t.Fatal(err)
		}
		w, err := at.WorkflowSpec(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.got(at, w); math.Abs(got-x.value) > 1e-9 {
			t.Errorf("%s is %g, want %g", x.parameter, got, x.value)
		}
	}
	if n := len(s.Sources); n != 19 || s.Uplink(tiering.Fog) != 10e9 {
		t.Errorf("the scenario itself changed: %d sources, %d bit/s", n, s.Uplink(tiering.Fog))
	}
	for p, v := range map[Parameter]float64{SweepSources: 1.5, SweepEdgeFog: 0, "speed": 1} {
		if _, err := p.Apply(s, v); !errors.Is(err, ErrSweep) {
			t.Errorf("%s of %g: %v", p, v, err)
		}
	}
}

func TestSweepArms(t *testing.T) {
	arms, err := SweepArms(sweepScenario(t, "sweeps.yaml"), true)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range arms {
		a := &arms[i]
		names = append(names, a.Name)
		w, err := a.Scenario.WorkflowSpec(nil)
		if err != nil {
			t.Fatal(err)
		}
		if filters := w.Tasks[0].Operation == tiering.OperationFilter; filters != strings.Contains(a.Name, "filter") {
			t.Errorf("%s: filters: %v", a.Name, filters)
		}
		if w.Adapting.Rule != a.Rule || (a.Placer != nil) != (a.Kind == ArmPlaced) {
			t.Errorf("%s is adapted by %s, and placed by another: %v", a.Name, w.Adapting.Rule, a.Placer != nil)
		}
	}
	want := "weft, only resolution, only rate, only model, filter alone, weft and filter, best quality for all, 416-only, half 512, half 416, " +
		"cloud-only, cloud-only, adapted, fog-only, fog-only, adapted, edge-only, edge-only, adapted, random, random, adapted, greedy, greedy, adapted"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("arms:\n%s, want\n%s", got, want)
	}
}

// made says what a run of an arm came to: all frames delivered, at a latency.
func made(a *Arm, latency float64) ArmRun {
	w, _ := a.Scenario.WorkflowSpec(nil)
	return ArmRun{Run: 1, Seed: 1, Asked: 100, Captured: 100, Delivered: 100, Stands: 1, F1: 0.4, Latency: latency, Utility: 0.4 - w.Adapting.Theta*latency}
}

func TestBestArm(t *testing.T) {
	s := sweepScenario(t, "sweeps.yaml")
	arms, err := SweepArms(s, false)
	if err != nil {
		t.Fatal(err)
	}
	p := SweepPoint{Value: 19, Arms: arms}
	for i := range arms {
		p.Runs = append(p.Runs, []ArmRun{made(&arms[i], 0.5)})
	}
	if best, ratio := p.best(); arms[best].Name != armOurs || ratio != 1 {
		t.Errorf("all alike: %s, %g", arms[best].Name, ratio)
	}
	fast := p.arm("fog-only, adapted")
	p.Runs[fast][0] = made(&arms[fast], 0)
	if best, ratio := p.best(); best != fast || math.Abs(ratio-0.75) > 1e-9 {
		t.Errorf("one is better by a quarter of 0.4: %s, %g", arms[best].Name, ratio)
	}
	p.Runs[fast][0].F1 = 0.3 // 0.35 is asked for
	if best, _ := p.best(); best == fast {
		t.Error("the best misses the accuracy asked for")
	}
	for i := range arms {
		p.Runs[i][0].F1, p.Runs[i][0].Utility = 0.4, -1
	}
	p.Runs[fast][0].Utility = -0.5
	if _, ratio := p.best(); ratio != 0 {
		t.Errorf("twice as bad as a negative utility: %g, want 0", ratio)
	}
}

// Whatever runs them: each arm once a seed, everything in the folder.
func TestWriteSweeps(t *testing.T) {
	s := sweepScenario(t, "sweeps.yaml")
	r, err := NewSweep(s, Sweep{SweepEdgeFog, []float64{1, 30}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMap(s, SweepFogCloud, []float64{1, 8}, []float64{1, 100})
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Points {
		for k := range r.Points[i].Arms {
			x := made(&r.Points[i].Arms[k], float64(k)/10)
			slow := x
			x.Makespan, slow.Makespan = 1, 100 // the interval goes below 0, of which there is no logarithm
			r.Points[i].Runs = append(r.Points[i].Runs, []ArmRun{x, slow})
		}
	}
	for i := range m.Points {
		for k := range m.Points[i] {
			p := &m.Points[i][k]
			p.Runs = [][]ArmRun{{made(&p.Arms[0], 0)}, {made(&p.Arms[1], float64(k))}}
		}
	}
	dir := t.TempDir()
	sum, err := WriteSweeps(dir, About{Method: testbed.Simulated, Version: "v1"}, s.Name, []*SweepRuns{r}, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Worst == nil || sum.Worst.Ratio != 1 || !sum.Map.Still[0][0] || math.Abs(sum.Map.Gain[1][1]-0.2) > 1e-9 {
		t.Errorf("%+v, %+v", sum.Worst, sum.Map)
	}
	for name, want := range map[string]string{
		"sweeps.md": "| ratio | 1 | 1 |", "raw.csv": "edge-fog,30,\"cloud-only, adapted\"", "sweeps.json": `"utility_ratio_to_best": 1`,
		"edge-fog-utility.png": "PNG", "edge-fog-makespan.png": "PNG", "edge-fog-f1.png": "PNG", "map-fog-cloud.png": "PNG",
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s has no %q: %v", name, want, err)
		}
	}
	data, _ := os.ReadFile(filepath.Join(dir, "sweeps.json"))
	if err := json.Unmarshal(data, &SweepsSummary{}); err != nil {
		t.Error(err)
	}
}

// An error of one run ends them all, and names it.
func TestAFailedRun(t *testing.T) {
	r, err := NewSweep(sweepScenario(t, "sweeps.yaml"), Sweep{SweepTheta, []float64{0.2}})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("out of luck")
	err = RunPoints(t.Context(), []*SweepPoint{&r.Points[0]}, 1, func(context.Context, *Arm, int) (*testbed.Recording, error) { return nil, broken }, func() {})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "at 0.2, arm ") {
		t.Error(err)
	}
}

func TestOptimum(t *testing.T) {
	s, err := SweepSources.Apply(sweepScenario(t, "optimum.yaml"), 2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewOptimum(s, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Arms) != 1+3*4*4*4 { // distributions, and a node for each of three tasks
		t.Errorf("%d arms", len(p.Arms))
	}
	for i := range p.Arms {
		p.Runs = append(p.Runs, []ArmRun{made(&p.Arms[i], 1)})
		switch p.Arms[i].Name {
		case "512-only; detect@416 on edge-1; detect@512 on fog-1; draw on fog-1":
			p.Runs[i][0].Utility = 0.8
		case "416-only; detect@416 on fog-1; detect@512 on fog-1; draw on cloud-1":
			p.Runs[i][0].Utility = 0.4
		}
	}
	o := OptimumOf(SweepSources, p)
	if !strings.HasPrefix(o.Best, "416-only") || o.Utility != 0.4 || !strings.HasPrefix(o.Anywhere, "512-only") || o.AnywhereUtility != 0.8 || math.Abs(o.Ratio-0.5) > 1e-9 {
		t.Errorf("%+v", o)
	}
	many := sweepScenario(t, "sweeps.yaml")
	if _, err := NewOptimum(many, 1); !errors.Is(err, ErrSweep) {
		t.Errorf("every placement on 14 nodes: %v", err)
	}
}
