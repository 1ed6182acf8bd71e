package planner

import (
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

// A node is to say what the models of workflows cost that run there, or could.
func TestProfiled(t *testing.T) {
	b, l := newBare(t)
	members := []tiering.Member{}
	for _, m := range []struct {
		id     string
		tier   tiering.Tier
		cores  int64
		gpus   int
		models []string
	}{
		{"edge-1", tiering.Edge, 1, 0, []string{"hog-people", "yolo"}}, {"fog-1", tiering.Fog, 2, 0, []string{"hog-people", "yolo"}},
		{"fog-2", tiering.Fog, 2, 1, []string{"yolo"}}, {"fog-3", tiering.Fog, 2, 0, []string{"hog-people"}}, {"c1", tiering.Cloud, 0, 0, []string{"yolo"}},
	} {
		x := member(m.id, m.tier, m.cores, tiering.NodeAlive)
		x.Node.Models = m.models
		x.Node.Platforms = append(x.Node.Platforms, tiering.Platform{Type: "cuda", Count: m.gpus})
		members = append(members, x)
	}
	if err := l.ReconcileNodes(t.Context(), members, start.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	w := workflow("cars")
	w.Sources[0].Node = "edge-1"
	w.Tasks[0].Model.Name = "yolo"
	again := w.Tasks[0]
	model := *again.Model
	model.Resolution = 416
	again.Name, again.Model, again.Backend = "detect@416", &model, tiering.Backend{Name: "cuda"}
	w.Tasks = append(w.Tasks, again)
	if _, _, err := l.Submit(t.Context(), w, "document", start); err != nil {
		t.Fatal(err)
	}
	resolution := w.Tasks[0].Model.Resolution
	low, high := profile.Key{Model: "yolo", Resolution: 416, Backend: "cpu"}, profile.Key{Model: "yolo", Resolution: resolution, Backend: "cpu"}
	onGPU := profile.Key{Model: "yolo", Resolution: 416, Backend: "cuda"}
	for node, want := range map[string][]profile.Key{
		"edge-1": nil, "fog-1": {low, high}, "fog-2": {onGPU, high}, "fog-3": nil, "c1": nil, "nobody": nil,
	} {
		if got := Profiled(b.Snapshot(), node); !slices.Equal(got, want) {
			t.Errorf("%s is to measure %v, want %v", node, got, want)
		}
	}
	if _, err := b.Apply(&state.StopWorkflow{Name: "cars", At: start}); err != nil {
		t.Fatal(err)
	}
	if got := Profiled(b.Snapshot(), "fog-1"); len(got) != 0 {
		t.Errorf("once it is stopped: %v", got)
	}
}
