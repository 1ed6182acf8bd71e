package study

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/experiment"
	"github.com/weft-mesh/weft/tiering"
)

// example is the document with every key.
func example(t *testing.T) *Study {
	t.Helper()
	data, err := os.ReadFile("testdata/good/every-key.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parse("every-key.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestArms(t *testing.T) {
	s := example(t)
	arms, err := s.Runs[0].Arms()
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name    string
		kind    experiment.ArmKind
		rule    tiering.AdaptingRule
		sources int
		knobs   string
	}{
		{"E1", experiment.ArmFixed, tiering.AdaptOff, 3, "[resolution]"},
		{"e2-Rate", experiment.ArmAdapted, tiering.AdaptUtility, 2, "[resolution rate]"},
		{"E3", experiment.ArmAdapted, tiering.AdaptFastest, 3, "[resolution]"},
	}
	if len(arms) != len(want) {
		t.Fatalf("%d arms, want %d", len(arms), len(want))
	}
	for i, a := range arms {
		w, err := a.Scenario.WorkflowSpec(nil)
		if err != nil {
			t.Fatal(err)
		}
		x := want[i]
		if a.Name != x.name || a.Kind != x.kind || a.Rule != x.rule || w.Adapting.Rule != x.rule || len(w.Sources) != x.sources || fmt.Sprint(w.Adapting.Knobs) != x.knobs {
			t.Errorf("arm %d is %s, %s, %s with %v over %d sources, want %+v", i, a.Name, a.Kind, w.Adapting.Rule, w.Adapting.Knobs, len(w.Sources), x)
		}
	}
	// A run names those that it wants, and has them in the study's order.
	if r := s.Runs[1]; len(r.Experiments) != 2 || r.Experiments[0].Name != "E1" || r.Experiments[1].Name != "E3" || !r.Has(testbed.Emulated) || !r.Has(testbed.Simulated) {
		t.Errorf("run %+v", r)
	}
}

func TestSweeps(t *testing.T) {
	s := example(t)
	at := func(sweep, value int) *testbed.Scenario {
		t.Helper()
		x, err := s.Sweeps[sweep].At(value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.WorkflowSpec(nil); err != nil {
			t.Fatal(err)
		}
		return x
	}
	for i, want := range []string{"[cam-1 edge-1]", "[cam-1 edge-1 cam-2 edge-2 cam-3 edge-1]",
		"[cam-1 edge-1 cam-2 edge-2 cam-3 edge-1 more-4 edge-2 more-5 edge-1 more-6 edge-2 more-7 edge-1]"} {
		var got []string
		for _, x := range at(0, i).Sources {
			got = append(got, x.Name, x.Node)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%v sources: %v, want %s", s.Sweeps[0].Label(i), got, want)
		}
	}
	for i, want := range []string{"3 Mbit/s", "30 Mbit/s", "unshaped"} {
		x := at(1, i)
		edge, _ := testbed.NewTopology(x).Link("edge-1", "fog-1")
		core, _ := testbed.NewTopology(x).Link("fog-1", "cloud-1")
		if testbed.FormatRate(edge.Rate) != want || s.Sweeps[1].Label(i) != want || core.Rate != 1e9 || edge.Delay.String() != "4ms" {
			t.Errorf("uplink %d: %+v, %+v, want %s", i, edge, core, want)
		}
	}
	if w, err := at(2, 1).WorkflowSpec(nil); err != nil || w.Objectives.MinAccuracy != 0.85 {
		t.Errorf("asked for %+v, %v", w.Objectives, err)
	}
	if w, err := at(3, 1).WorkflowSpec(nil); err != nil || w.Adapting.Theta != 2 || w.Adapting.Rule != tiering.AdaptUtility || w.Objectives.MinAccuracy != 0.8 {
		t.Errorf("Θ is %+v, %v", w.Adapting, err)
	}
	// What is varied is a copy.
	if x := s.Sweeps[0].Scenario; len(x.Sources) != 3 || !slices.ContainsFunc(x.Network.Tiers, func(l testbed.TierLink) bool { return l.Link.Rate == 30e6 }) {
		t.Errorf("the scenario itself has changed: %+v", x)
	}
}
