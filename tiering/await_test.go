package tiering

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestAwait(t *testing.T) {
	node := func(id string, tier Tier, cores int64, api string, models ...string) Node {
		return Node{ID: id, Tier: tier, Capacity: Resources{CPU: cores * 1000, Memory: 8 << 30, Disk: 1 << 40}, Models: models, Addresses: Addresses{API: api}}
	}
	detect := func(model string) *Workflow {
		return &Workflow{
			Name: "w", Sources: []Source{{Name: "cam", Node: "edge-1", Resolution: 416}},
			Tasks: []Task{{Name: "detect@416", Group: "detect", Type: DeepModel, Operation: "detect", Replicas: 1,
				Model: &Model{Name: model, Family: model, Resolution: 416}, Request: Resources{CPU: 2000}}},
			Links: []Link{{From: "cam", To: "detect"}},
		}
	}
	edge := node("edge-1", Edge, 1, "")
	for name, c := range map[string]struct {
		nodes  []Node
		placed []Placement
		waits  string // reason
		place  int
		refuse bool
	}{
		"a node has it": {nodes: []Node{edge, node("fog-1", Fog, 4, "", "yolo"), node("fog-2", Fog, 4, "a:1")}, place: 2},
		"only who runs nothing has it": {
			nodes: []Node{edge, node("c", Cloud, 0, "a:1", "yolo"), node("fog-1", Fog, 4, "")}, waits: "waiting for model yolo on fog-1"},
		"only who is full has it": {
			nodes: []Node{edge, node("fog-2", Fog, 1, "a:1", "yolo"), node("fog-1", Fog, 4, "")}, place: 2}, // half is accepted
		"who has it hands nothing out": {nodes: []Node{edge, node("c", Cloud, 0, "", "yolo"), node("fog-1", Fog, 4, "")}, refuse: true},
		"nobody has it":                {nodes: []Node{edge, node("c", Cloud, 0, "a:1"), node("fog-1", Fog, 4, "")}, refuse: true},
		"it would not fit either":      {nodes: []Node{edge, node("c", Cloud, 0, "a:1", "yolo"), node("fog-1", Fog, 0, "")}, refuse: true},
		"only the edge has room":       {nodes: []Node{edge, node("c", Cloud, 0, "a:1", "yolo")}, refuse: true},
		"it runs with another model": {
			nodes:  []Node{edge, node("c", Cloud, 0, "a:1", "yolo"), node("fog-1", Fog, 4, "", "hog")},
			placed: []Placement{{ID: "w/detect@416#0", Workflow: "w", Task: "detect@416", Node: "fog-1", Tier: Fog, Category: LI, Requested: Resources{CPU: 2000}, Reserved: Resources{CPU: 2000}}},
			waits:  "waiting for model yolo on fog-1",
		},
	} {
		v := NewView(7, c.nodes, c.placed, nil)
		plan, err := Await(v, detect("yolo"), rand.New(rand.NewPCG(1, 2)))
		if c.refuse {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%s: %+v, %v", name, plan, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var waits []Unplaced
		if c.waits != "" {
			waits = []Unplaced{{"detect@416", c.waits}}
		}
		if len(plan.Place) != c.place || !reflect.DeepEqual(plan.Unplaced, waits) || plan.Awaits != (c.waits != "") || plan.Awaits && !plan.Empty() {
			t.Errorf("%s: %+v", name, plan)
		}
	}
}
