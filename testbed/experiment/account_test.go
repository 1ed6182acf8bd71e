package experiment

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/sim"
	"github.com/weft-mesh/weft/testbed/study"
	"github.com/weft-mesh/weft/tiering"
)

// What is simulated with other costs than those that are believed shows which they
// were: with 19 sources and one, adapted and not, on machines that have no time left
// and on idle ones.
func TestCorrect(t *testing.T) {
	scenario, err := example(t, "../sim/testdata/crowded.yaml")
	if err != nil {
		t.Fatal(err)
	}
	scenario.Measure.Warmup, scenario.Measure.Duration = 30*time.Second, 60*time.Second
	run := &study.Run{Name: "scaled"}
	truth := Correction{Pace: map[string]float64{"detect@416": 0.6, "detect@512": 0.9, "draw": 0.9}, Idle: 0.01}
	outcomes := func(count int) StudyOutcome {
		s, err := scenario.Adapting(scenario.Sources[:count], tiering.AdaptUtility, []tiering.Knob{tiering.KnobResolution})
		if err != nil {
			t.Fatal(err)
		}
		s.Sources = scenario.Sources[:count]
		s.Costs = truth.Apply(scenario.Costs)
		rec, err := sim.Run(t.Context(), sim.Config{Scenario: s, Costs: s.Costs, Seed: 1, CPUScale: s.CPUScale})
		if err != nil {
			t.Fatal(err)
		}
		return StudyOutcome{Run: run, Method: testbed.Emulated, Arm: Arm{Scenario: s}, recs: []*testbed.Recording{rec}}
	}
	all := []StudyOutcome{outcomes(19), outcomes(1), outcomes(5)}
	near := func(what string, got Correction, pace map[string]float64, idle float64) {
		t.Helper()
		for task, want := range pace {
			if math.Abs(got.Pace[task]-want) > 0.05 {
				t.Errorf("%s: %v, want %v", what, got.Pace, pace)
				break
			}
		}
		if len(got.Pace) != len(pace) || math.Abs(got.Idle-idle) > 0.004 {
			t.Errorf("%s: %v, %.4f; want %v, %.4f", what, got.Pace, got.Idle, pace, idle)
		}
	}
	got, err := Correct(scenario.Costs, "scaled", all)
	if err != nil {
		t.Fatal(err)
	}
	near("found", got, truth.Pace, truth.Idle)
	if words := got.String(); !strings.Contains(words, "(detect@416)") || !strings.Contains(words, "(detect@512, draw)") {
		t.Error(words)
	}
	if got, err = Correct(truth.Apply(scenario.Costs), "scaled", all); err != nil {
		t.Fatal(err)
	}
	near("of costs that are right", got, map[string]float64{"detect@416": 1, "detect@512": 1, "draw": 1}, 0)
	if got, err = Correct(scenario.Costs, "another", all); err != nil || len(got.Pace) > 0 || got.Idle != 0 {
		t.Errorf("of a run without outcomes: %v, %v", got, err)
	}
	if same := got.Apply(scenario.Costs); same.Tasks["draw"].Work.Mean != scenario.Costs.Tasks["draw"].Work.Mean || *same.Idle != *scenario.Costs.Idle {
		t.Errorf("what nothing is said of is %+v", same)
	}
}

func TestCorrection(t *testing.T) {
	for _, c := range []struct {
		name string
		of   []account
		pace float64
		idle float64
	}{
		{"nothing ran", nil, 1, 0},
		{"no work", []account{{used: 3, time: 90}}, 1, 0},
		{"one run: all of it is pace", []account{{used: 45, work: 50, time: 270}}, 0.9, 0},
		{"runs alike", []account{{used: 44, work: 50, time: 270}, {used: 46, work: 50, time: 270}}, 0.9, 0},
		{"runs nearly alike: noise is not idling", []account{{used: 44.5, work: 50, time: 270}, {used: 45, work: 51, time: 270}}, (44.5*50 + 45*51) / (50*50 + 51*51.), 0},
		{"two loads", []account{{used: 45, work: 50, time: 250}, {used: 85, work: 100, time: 250}}, 0.8, 0.02},
		{"idling cannot be less than none", []account{{used: 35, work: 50, time: 250}, {used: 75, work: 100, time: 250}}, 0.74, 0},
		{"used less than idling", []account{{used: -1, work: 2, time: 250}}, 1, 0},
	} {
		if pace, idle := correction(c.of); math.Abs(pace-c.pace) > 1e-9 || math.Abs(idle-c.idle) > 1e-9 {
			t.Errorf("%s: %g, %g; want %g, %g", c.name, pace, idle, c.pace, c.idle)
		}
	}
}

// A node that was started anew had other things to do than frames.
func TestAccountOfARestart(t *testing.T) {
	s, err := example(t, "../sim/testdata/crowded.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rec := &testbed.Recording{Totals: testbed.Totals{Placements: []tiering.Placement{
		{Task: "cam-1", Node: "edge-1", Source: true}, {Task: "resize", Node: "edge-1"}, {Task: "draw", Node: "cloud-1"},
	}}}
	for at := -time.Second; at <= 2*time.Second; at += time.Second {
		x := testbed.Sample{At: at}
		for _, n := range s.Nodes {
			x.Nodes = append(x.Nodes, testbed.NodeSample{Node: n.Name, Up: true, CPU: 2*time.Second + at})
		}
		rec.Samples = append(rec.Samples, x)
	}
	l, err := newLedger(s, rec, s.Costs)
	if err != nil || l == nil {
		t.Fatal(l, err)
	}
	if a := l.of([]string{"draw"}); math.Abs(a.used-(2-2*(0.02+0.03))) > 1e-9 || a.time != 2 || a.work != 0 {
		t.Errorf("%+v", a)
	}
	if groups := together([]*ledger{l}); len(groups) != 1 || !slices.Equal(groups[0], []string{"draw"}) {
		t.Errorf("what is on a node with a source is told: %v", groups)
	}
	rec.Samples[2].Nodes[0].Up = false
	if l, err := newLedger(s, rec, s.Costs); l != nil || err != nil {
		t.Errorf("with a node that was down: %+v, %v", l, err)
	}
	rec.Samples = rec.Samples[:2]
	if l, err := newLedger(s, rec, s.Costs); l != nil || err != nil {
		t.Errorf("of no time at all: %+v, %v", l, err)
	}
}

// What idling is said to take leaves every node something for frames.
func TestCorrectLeavesRoom(t *testing.T) {
	s, err := example(t, "../sim/testdata/crowded.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []StudyOutcome
	for _, load := range []time.Duration{time.Second, 30 * time.Second} {
		rec := &testbed.Recording{Samples: make([]testbed.Sample, 2)}
		rec.Samples[1].At = 90 * time.Second
		for _, n := range s.Nodes {
			rec.Samples[0].Nodes = append(rec.Samples[0].Nodes, testbed.NodeSample{Node: n.Name, Up: true, CPU: 1})
			rec.Samples[1].Nodes = append(rec.Samples[1].Nodes, testbed.NodeSample{Node: n.Name, Up: true, CPU: 20*time.Second + load})
		}
		rec.Totals.Placements = []tiering.Placement{{Task: "draw", Node: "cloud-1"}}
		rec.Totals.Stages = []testbed.StageTotals{{Task: "draw", Processed: uint64(load.Seconds() / 0.024)}}
		all = append(all, StudyOutcome{Run: &study.Run{Name: "scaled"}, Method: testbed.Emulated, Arm: Arm{Scenario: s}, recs: []*testbed.Recording{rec}})
	}
	got, err := Correct(s.Costs, "scaled", all)
	if err != nil || math.Abs(got.Pace["draw"]-1) > 0.01 || math.Abs(got.Idle-0.015) > 1e-9 { // of 0.05 cores 0.02 idle already
		t.Errorf("%+v, %v; want a pace of 1, and half of what an edge node has left", got, err)
	}
}
