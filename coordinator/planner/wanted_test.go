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

// A workflow that runs is submitted with a model that has to come: it goes on
// with what it has, and takes the new one when that is there.
func TestAWorkflowRunsOnWhileItsNextModelComes(t *testing.T) {
	b, l := newBare(t)
	has := func(fog ...string) {
		t.Helper()
		edge, f, c := member("edge-1", tiering.Edge, 1, tiering.NodeAlive), member("fog-1", tiering.Fog, 2, tiering.NodeAlive), member("c1", tiering.Cloud, 0, tiering.NodeAlive)
		f.Node.Models, c.Node.Models, c.Node.Addresses.API = append([]string{"hog-people"}, fog...), []string{"hog-people", "yolo", "yolox"}, "c1:7949"
		if err := l.ReconcileNodes(t.Context(), []tiering.Member{edge, f, c}, start.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := l.Replan(t.Context(), start); err != nil {
			t.Fatal(err)
		}
	}
	submit := func(model string) *tiering.Plan {
		t.Helper()
		w := workflow("cars")
		w.Tasks[0].Model.Name = model
		plan, _, err := l.Submit(t.Context(), w, "with "+model, start)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	runs := func(version uint64, model, next string) {
		t.Helper()
		w, _ := b.Snapshot().Workflow("cars")
		waits := ""
		if w.Next != nil {
			waits = w.Next.Spec.Tasks[0].Model.Name
		}
		if w.Status != state.Running || w.Version != version || w.Spec.Tasks[0].Model.Name != model || waits != next || where(b, "cars") != "fog-1" {
			t.Fatalf("version %d is %s with %s on %q, and %q waits", w.Version, w.Status, w.Spec.Tasks[0].Model.Name, where(b, "cars"), waits)
		}
	}
	quiet := func() {
		t.Helper()
		if err := l.Replan(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		if l.Behind() {
			t.Fatal("nothing has changed, and there is something to try")
		}
	}
	has()
	submit("hog-people")
	runs(1, "hog-people", "")
	if plan := submit("yolo"); !plan.Awaits || !plan.Empty() {
		t.Fatalf("%+v", plan)
	}
	runs(1, "hog-people", "yolo")
	if got := Wanted(b.Snapshot(), "fog-1"); !slices.Equal(got, []string{"hog-people", "yolo"}) {
		t.Errorf("fog-1 is to have %v", got)
	}
	quiet()
	n := len(b.log)
	submit("yolo") // the same again
	quiet()
	if len(b.log) != n {
		t.Fatalf("nothing had changed, and %T was written", b.log[n])
	}
	submit("yolox") // takes its place
	runs(1, "hog-people", "yolox")
	has("yolo") // too late
	runs(1, "hog-people", "yolox")
	submit("hog-people") // back to what runs
	runs(4, "hog-people", "")
	has("yolo", "yolox")
	runs(4, "hog-people", "")
	has()
	submit("yolo")
	has("yolo")
	runs(5, "yolo", "")
	quiet()

	// Who has it goes away: why it waits is told, and what runs goes on.
	has("yolo")
	submit("yolox")
	edge, f := member("edge-1", tiering.Edge, 1, tiering.NodeAlive), member("fog-1", tiering.Fog, 2, tiering.NodeAlive)
	f.Node.Models = []string{"hog-people", "yolo"}
	gone := member("c1", tiering.Cloud, 0, tiering.NodeFailed)
	if err := l.ReconcileNodes(t.Context(), []tiering.Member{edge, f, gone}, start.Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	quiet()
	runs(5, "yolo", "yolox")
	if w, _ := b.Snapshot().Workflow("cars"); !strings.Contains(w.Next.Reason, "no fog node has model yolox") {
		t.Errorf("it waits: %s", w.Next.Reason)
	}
	has("yolo") // back
	if w, _ := b.Snapshot().Workflow("cars"); !strings.Contains(w.Next.Reason, "waiting for model yolox on fog-1") {
		t.Errorf("it waits: %s", w.Next.Reason)
	}
	if _, err := b.Apply(&state.StopWorkflow{Name: "cars", At: start}); err != nil {
		t.Fatal(err)
	}
	has("yolo", "yolox")
	if w, _ := b.Snapshot().Workflow("cars"); w.Status != state.Stopped || w.Next != nil || len(Wanted(b.Snapshot(), "fog-1")) > 0 {
		t.Errorf("it is %s, and %+v waits", w.Status, w.Next)
	}
}
