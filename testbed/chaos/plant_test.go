package chaos

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering/workflow"
)

func TestPlantOfTheExample(t *testing.T) {
	s, err := testbed.Load(filepath.Join("..", "..", "examples", "testbed", "chaos.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlant(s)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"coord-1", "coord-2", "coord-3"}; !reflect.DeepEqual(p.Coordinators, want) || len(p.Workers) != 5 || len(p.Nodes) != 8 {
		t.Errorf("%+v", p)
	}
	if p.Workflow != "people" || p.Deadline != 2*time.Second || len(p.Sources) != 1 || p.Sources[0].Node != "edge-1" || p.Sources[0].FPS != 5 {
		t.Errorf("%+v", p)
	}
	if !p.hasSource("edge-1") || p.hasSource("fog-1") {
		t.Errorf("cameras at the wrong nodes: %+v", p.Sources)
	}
}

// What is submitted in every round is a workflow.
func TestProbeDocument(t *testing.T) {
	p := plant()
	p.Sources[0].URI = "video:vtest.avi?loop=true&start=40s"
	w, err := workflow.Parse("probe", probeDocument("probe-7", p), catalog.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	if w.Name != "probe-7" || !strings.HasPrefix(w.Name, probePrefix) || len(w.Sources) != 1 || w.Sources[0].URI != p.Sources[0].URI || w.Sources[0].Node != "edge-1" {
		t.Errorf("%+v", w)
	}
}

func TestScenariosThatDoNotServe(t *testing.T) {
	s, err := testbed.Load(filepath.Join("..", "..", "examples", "testbed", "faults.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewPlant(s)
	for _, want := range []string{"cloud-1 takes tasks, too", "use 3, so that 1|2 is a partition", "it has a timeline"} {
		if !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), want) {
			t.Errorf("faults.yaml: %v, want …%s", err, want)
		}
	}
}
