package tiering

import (
	"fmt"
	"testing"
)

func TestViewShowsLiveNodes(t *testing.T) {
	placements := []Placement{
		held("a", "cloud", Cloud, res(3, 2), res(2, 1)),
		held("b", "dead", Cloud, res(3, 2), res(2, 1)),
	}
	v := NewView(42, []Node{node("cloud", Cloud, res(8, 4)), node("edge", Edge, res(1, 1))}, placements, nil)
	if v.Index() != 42 {
		t.Errorf("index %d, want 42", v.Index())
	}
	if free, ok := v.Free("cloud"); !ok || free != res(6, 3) {
		t.Errorf("cloud has %v free, %v; want what is not reserved", free, ok)
	}
	if n, ok := v.Node("edge"); !ok || n.Tier != Edge {
		t.Errorf("edge is %+v, %v", n, ok)
	}
	if _, ok := v.Free("dead"); ok {
		t.Error("a node that is not alive has something free")
	}
	if _, ok := v.Node("dead"); ok {
		t.Error("a node that is not alive is shown")
	}
	if got := v.Placements("b"); len(got) != 1 || got[0].Node != "dead" {
		t.Errorf("placements of b are %+v, want the one on the dead node remembered", got)
	}
}

func TestWithIgnoresAdjustmentsOfTheUnknown(t *testing.T) {
	v := NewView(1, []Node{node("cloud", Cloud, res(8, 4))}, nil, nil)
	next := v.With(&Plan{Workflow: "w", Adjust: []Adjustment{{"gone/x#0", res(2, 1), res(1, 1)}}})
	if free, _ := next.Free("cloud"); free != res(8, 4) {
		t.Errorf("cloud has %v free, want all", free)
	}
}

// More nodes than choose compares: the fewest sources must still be found.
func TestSourcesSpreadOverALargeEdge(t *testing.T) {
	var nodes []Node
	for i := range 3 * maxCandidates {
		nodes = append(nodes, node(fmt.Sprintf("edge-%03d", i), Edge, res(1, 1)))
	}
	v := NewView(1, nodes, nil, nil)
	w := &Workflow{Name: "w"}
	for i := range nodes {
		w.Sources = append(w.Sources, Source{Name: fmt.Sprintf("cam%d", i)})
	}
	p := mustSchedule(t, v, w)
	if on := tally(p); len(on) != len(nodes) {
		t.Errorf("%d sources on %d nodes, want one each", len(w.Sources), len(on))
	}
	w.Name = "again"
	if on := tally(mustSchedule(t, v.With(p), w)); len(on) != len(nodes) {
		t.Errorf("%d more sources on %d nodes, want one each", len(w.Sources), len(on))
	}
}
