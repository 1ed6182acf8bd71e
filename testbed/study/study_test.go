package study

import (
	"fmt"
	"os"
	"testing"

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

func TestVariants(t *testing.T) {
	s := example(t)
	all, err := s.Runs[0].Variants()
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name    string
		rule    tiering.AdaptingRule
		sources int
		knobs   string
	}{
		{"E1", tiering.AdaptOff, 3, "[resolution]"},
		{"e2-Rate", tiering.AdaptUtility, 2, "[resolution rate]"},
		{"E3", tiering.AdaptFastest, 3, "[resolution]"},
	}
	if len(all) != len(want) {
		t.Fatalf("%d variants, want %d", len(all), len(want))
	}
	for i, v := range all {
		w, err := v.Scenario.WorkflowSpec(nil)
		if err != nil {
			t.Fatal(err)
		}
		x := want[i]
		if v.Experiment.Name != x.name || w.Adapting.Rule != x.rule || len(w.Sources) != x.sources || fmt.Sprint(w.Adapting.Knobs) != x.knobs {
			t.Errorf("variant %d is %s, %s with %v over %d sources, want %+v", i, v.Experiment.Name, w.Adapting.Rule, w.Adapting.Knobs, len(w.Sources), x)
		}
	}
	if n := len(s.Runs[0].Scenario.Sources); n != 3 {
		t.Errorf("the scenario itself has %d sources now", n)
	}
	// A run names those that it wants, and has them in the study's order.
	if r := s.Runs[1]; len(r.Experiments) != 2 || r.Experiments[0].Name != "E1" || r.Experiments[1].Name != "E3" || len(r.Methods) != 2 {
		t.Errorf("run %+v", r)
	}
}
