package experiment

import (
	"math"
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
	scenario, err := example(t, "../../examples/testbed/houmani-scaled.yaml")
	if err != nil {
		t.Fatal(err)
	}
	scenario.Measure.Warmup, scenario.Measure.Duration = 30*time.Second, 60*time.Second
	run := &study.Run{Name: "scaled"}
	truth := Correction{Pace: 0.7, Idle: 0.02}
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
	got, err := Correct(scenario.Costs, "scaled", all)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got.Pace-truth.Pace) > 0.05 || math.Abs(got.Idle-truth.Idle) > 0.005 {
		t.Errorf("%v, not %v", got, truth)
	}
	if got, err = Correct(truth.Apply(scenario.Costs), "scaled", all); err != nil || math.Abs(got.Pace-1) > 0.05 || math.Abs(got.Idle) > 0.005 {
		t.Errorf("of costs that are right: %v, %v", got, err)
	}
	if got, err = Correct(scenario.Costs, "another", all); err != nil || got != (Correction{Pace: 1}) {
		t.Errorf("of a run without outcomes: %v, %v", got, err)
	}
}

func TestCorrection(t *testing.T) {
	for _, c := range []struct {
		name string
		of   []account
		want Correction
	}{
		{"nothing ran", nil, Correction{Pace: 1}},
		{"no work", []account{{used: 3, time: 90}}, Correction{Pace: 1}},
		{"one run: all of it is pace", []account{{used: 45, work: 50, time: 270}}, Correction{Pace: 0.9}},
		{"runs alike", []account{{used: 44, work: 50, time: 270}, {used: 46, work: 50, time: 270}}, Correction{Pace: 0.9}},
		{"two loads", []account{{used: 45, work: 50, time: 250}, {used: 85, work: 100, time: 250}}, Correction{Pace: 0.8, Idle: 0.02}},
		{"idling cannot be less than none", []account{{used: 35, work: 50, time: 250}, {used: 75, work: 100, time: 250}}, Correction{Pace: 0.74}},
		{"used less than idling", []account{{used: -1, work: 2, time: 250}}, Correction{Pace: 1}},
	} {
		got := correction(c.of)
		if math.Abs(got.Pace-c.want.Pace) > 1e-9 || math.Abs(got.Idle-c.want.Idle) > 1e-9 {
			t.Errorf("%s: %+v, not %+v", c.name, got, c.want)
		}
	}
}

// A node that was started anew has an account of its own.
func TestAccountOfARestart(t *testing.T) {
	s, err := example(t, "../../examples/testbed/houmani-scaled.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rec := &testbed.Recording{Samples: []testbed.Sample{
		{At: -time.Second}, {Nodes: []testbed.NodeSample{{Node: "cloud-1", CPU: 9 * time.Second}}},
		{At: time.Second, Nodes: []testbed.NodeSample{{Node: "cloud-1", CPU: time.Second}}},
	}}
	if a, ok, err := accountOf(s, rec, s.Costs); ok || err != nil {
		t.Errorf("%+v, %v, %v", a, ok, err)
	}
}
