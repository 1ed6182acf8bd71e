package planner

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// A workflow whose model only a coordinator has waits until a node that can run
// it has got it, and says so.
func TestSubmitWaitsForAModel(t *testing.T) {
	b, l := newBare(t)
	has := func(fog ...string) {
		t.Helper()
		edge, f, c := member("edge-1", tiering.Edge, 1, tiering.NodeAlive), member("fog-1", tiering.Fog, 2, tiering.NodeAlive), member("c1", tiering.Cloud, 0, tiering.NodeAlive)
		f.Node.Models, c.Node.Models, c.Node.Addresses.API = append([]string{"hog-people"}, fog...), []string{"hog-people", "yolo"}, "c1:7949"
		if err := l.ReconcileNodes(t.Context(), []tiering.Member{edge, f, c}, start.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	has()
	w := workflow("cars")
	w.Sources[0].Node = "edge-1"
	w.Tasks[0].Model.Name = "yolo"
	plan, _, err := l.Submit(t.Context(), w, "document", start)
	if err != nil || len(plan.Place) != 0 {
		t.Fatalf("%+v, %v", plan, err)
	}
	got, _ := b.Snapshot().Workflow("cars")
	if got.Status != state.Pending || !strings.Contains(got.Reason, "detect@640: waiting for model yolo on fog-1") {
		t.Errorf("it is %s: %s", got.Status, got.Reason)
	}
	for node, want := range map[string][]string{"fog-1": {"yolo"}, "c1": {"yolo"}, "edge-1": {"yolo"}, "edge-2": nil} {
		if got := Wanted(b.Snapshot(), node); !slices.Equal(got, want) {
			t.Errorf("%s is to have %v, want %v", node, got, want)
		}
	}
	n := len(b.log)
	for range 3 { // the same again, and rounds of the leader, write nothing
		if _, _, err := l.Submit(t.Context(), w, "document", start); err != nil {
			t.Fatal(err)
		}
		if err := l.Replan(t.Context(), start); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.log) != n {
		t.Errorf("nothing had changed, and %T was written", b.log[n])
	}
	has("yolo")
	if err := l.Replan(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	if got, _ = b.Snapshot().Workflow("cars"); got.Status != state.Running || where(b, "cars") != "fog-1" {
		t.Errorf("it is %s: %s, on %s", got.Status, got.Reason, where(b, "cars"))
	}
	if _, err := b.Apply(&state.StopWorkflow{Name: "cars", At: start}); err != nil {
		t.Fatal(err)
	}
	if got := Wanted(b.Snapshot(), "fog-1"); len(got) != 0 {
		t.Errorf("nothing runs, and %v is wanted", got)
	}
}
