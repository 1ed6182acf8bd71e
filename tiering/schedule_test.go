package tiering

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// chain is a workflow of one source per given node ("" for any) and NI tasks
// one after the other.
func chain(sources []string, tasks ...Task) *Workflow {
	w := &Workflow{Name: "w"}
	for i, n := range sources {
		name := fmt.Sprintf("cam%d", i)
		w.Sources = append(w.Sources, Source{Name: name, Node: n, Resolution: 416})
		w.Links = append(w.Links, Link{From: name, To: tasks[0].Name})
	}
	for i, t := range tasks {
		t.Group, t.Replicas = t.Name, max(1, t.Replicas)
		w.Tasks = append(w.Tasks, t)
		if i > 0 {
			w.Links = append(w.Links, Link{From: tasks[i-1].Name, To: t.Name})
		}
	}
	return w
}

func pre(name string, r Resources) Task { return Task{Name: name, Type: Preprocess, Request: r} }

func tripTable(ms map[string]float64) RoundTrips {
	return func(a, b string) (time.Duration, bool) {
		d, ok := ms[min(a, b)+" "+max(a, b)]
		return time.Duration(d * float64(time.Millisecond)), ok
	}
}

// Algorithm 3, step 8.
func TestNearestToPredecessor(t *testing.T) {
	small, big := res(1, 1), res(8, 8)
	tests := []struct {
		name   string
		nodes  []Node
		rtt    map[string]float64
		task   Task
		want   string // node
		reason string
	}{
		{"same node", []Node{node("gate", Edge, big), node("edge-2", Edge, big)}, nil, pre("t", small),
			"gate", "NI: nearest to source cam0 (same node)"},
		{"same tier when round trips are unknown", []Node{node("gate", Edge, res(0, 0)), node("edge-2", Edge, small), node("fog", Fog, big), node("cloud", Cloud, big)}, nil, pre("t", small),
			"edge-2", "NI: edge-2 is nearest to source cam0 (gate, same tier)"},
		{"then the next tier", []Node{node("gate", Edge, res(0, 0)), node("fog", Fog, small), node("cloud", Cloud, big)}, nil, pre("t", small),
			"fog", "NI: fog is nearest to source cam0 (gate, 1 tier away)"},
		{"a measured round trip counts before the tier", []Node{node("gate", Edge, res(0, 0)), node("edge-2", Edge, big), node("fog", Fog, small)},
			map[string]float64{"edge-2 gate": 18, "fog gate": 4}, pre("t", small),
			"fog", "NI: fog is nearest to source cam0 (gate, 4.0 ms)"},
		{"a measured node before one unheard of", []Node{node("gate", Edge, res(0, 0)), node("edge-2", Edge, big), node("fog", Fog, small)},
			map[string]float64{"fog gate": 40}, pre("t", small),
			"fog", "NI: fog is nearest to source cam0 (gate, 40.0 ms)"},
		{"within a millisecond the tier counts", []Node{node("gate", Edge, res(0, 0)), node("edge-2", Edge, small), node("fog", Fog, big)},
			map[string]float64{"edge-2 gate": 0.9, "fog gate": 0.2}, pre("t", small),
			"edge-2", "NI: edge-2 is nearest to source cam0 (gate, 0.9 ms)"},
		{"equally near: most free", []Node{node("gate", Edge, res(0, 0)), node("fog-1", Fog, small), node("fog-2", Fog, res(6.5, 8))}, nil, pre("t", small),
			"fog-2", "NI: fog-2 has most free (6.5 cores)"},
		{"nobody else has room", []Node{node("gate", Edge, res(0, 0)), node("cloud", Cloud, big)}, nil, pre("t", small),
			"cloud", "NI: only cloud has room"},
		{"intensive, within the tier of its category", []Node{node("gate", Edge, big), node("fog-1", Fog, big), node("fog-2", Fog, small), node("cloud", Cloud, big)},
			map[string]float64{"fog-1 gate": 30, "fog-2 gate": 4, "cloud gate": 1}, Task{Name: "t", Type: ShallowModel, Request: small},
			"fog-2", "LI: fog first; fog-2 is nearest to source cam0 (gate, 4.0 ms)"},
		{"most free of the cloud", []Node{node("gate", Edge, big), node("cloud-1", Cloud, res(6.5, 8)), node("cloud-2", Cloud, small)}, nil,
			Task{Name: "t", Type: Postprocess, Store: true, Request: small},
			"cloud-1", "HI: cloud first; cloud-1 has most free (6.5 cores)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := NewView(1, tt.nodes, nil, tripTable(tt.rtt))
			for seed := range uint64(5) {
				p, err := Schedule(v, chain([]string{"gate"}, tt.task), seeded(seed))
				if err != nil {
					t.Fatal(err)
				}
				x := find(t, p, "t", 0)
				if x.Node != tt.want || x.Reason != tt.reason {
					t.Errorf("on %s: %q, want %s: %q", x.Node, x.Reason, tt.want, tt.reason)
				}
			}
		})
	}
}

func TestTiesAreDrawnFromTheSeed(t *testing.T) {
	var nodes []Node
	for i := range 4 {
		nodes = append(nodes, node(fmt.Sprintf("cloud-%d", i), Cloud, res(8, 8)))
	}
	drawn := map[string]bool{}
	for seed := range uint64(40) {
		reversed := slices.Clone(nodes)
		slices.Reverse(reversed)
		p, _ := Schedule(NewView(1, nodes, nil, nil), stores(1, res(1, 1)), seeded(seed))
		q, _ := Schedule(NewView(1, reversed, nil, nil), stores(1, res(1, 1)), seeded(seed))
		if !reflect.DeepEqual(p, q) {
			t.Fatalf("seed %d: two replicas disagree: %s%s", seed, describe(p), describe(q))
		}
		drawn[p.Place[0].Node] = true
	}
	if len(drawn) != 4 {
		t.Errorf("40 seeds drew %v, want each of 4 equals", drawn)
	}
}

func TestReplicasSpread(t *testing.T) {
	var nodes []Node
	for i := range 3 {
		nodes = append(nodes, node(fmt.Sprintf("fog-%d", i), Fog, res(8, 8)))
	}
	v := NewView(1, nodes, nil, nil)
	for _, typ := range []TaskType{ShallowModel, Postprocess} {
		p := mustSchedule(t, v, chain(nil, Task{Name: "t", Type: typ, Request: res(1, 1), Replicas: 4}))
		if on := tally(p); len(on) != 3 || max(on["fog-0"], on["fog-1"], on["fog-2"]) != 2 {
			t.Errorf("%s: 4 replicas on %v, want 3 nodes", typ, on)
		}
	}
}

func TestReplicasSpreadBeforeTheyAreNear(t *testing.T) {
	nodes := []Node{node("gate", Edge, res(8, 8)), node("yard", Edge, res(8, 8)), node("fog", Fog, res(8, 8))}
	w := chain([]string{"gate"}, pre("resize", res(1, 1)), Task{Name: "crop", Type: Preprocess, Request: res(1, 1), Replicas: 2})
	p := mustSchedule(t, NewView(1, nodes, nil, nil), w)
	if a, b := find(t, p, "crop", 0).Node, find(t, p, "crop", 1).Node; a != "gate" || b != "yard" {
		t.Errorf("crop is on %s and %s, want gate and the next nearest, yard", a, b)
	}
}

func TestReservedSlotsAreExchangedAndMoved(t *testing.T) {
	trips := tripTable(map[string]float64{"fog-1 gate": 30, "fog-2 gate": 4, "fog-1 fog-2": 30})
	task := func(name, model string) Task {
		return Task{Name: name, Type: ShallowModel, Request: res(1, 1), Model: &Model{Name: model, Family: model, Resolution: 416}}
	}
	nodes := []Node{node("gate", Edge, res(0, 0)), node("fog-1", Fog, res(1, 1), "a", "b"), node("fog-2", Fog, res(1, 1), "a", "b")}

	t.Run("the first takes the nearer slot from another class", func(t *testing.T) {
		p := mustSchedule(t, NewView(1, nodes, nil, trips), chain([]string{"gate"}, task("t0", "a"), task("t1", "b")))
		if find(t, p, "t0", 0).Node != "fog-2" || find(t, p, "t1", 0).Node != "fog-1" {
			t.Error(describe(p))
		}
	})
	t.Run("what a moved slot leaves is free for others", func(t *testing.T) {
		p := mustSchedule(t, NewView(1, nodes, nil, trips), chain([]string{"gate"}, task("t0", "a"), pre("t1", res(1, 1))))
		if find(t, p, "t0", 0).Node != "fog-2" || find(t, p, "t1", 0).Node != "fog-1" {
			t.Error(describe(p))
		}
	})
}

func TestAnchorsAreDistinctAndBounded(t *testing.T) {
	var anchors []anchor
	for i := range 3 * maxAnchors {
		anchors = addAnchor(anchors, anchor{node: int32(i / 2)})
	}
	if len(anchors) != maxAnchors || anchors[maxAnchors-1].node != maxAnchors-1 {
		t.Errorf("anchors %v, want the first %d nodes", anchors, maxAnchors)
	}
}

func TestSourceOnDeadNodeIsUnplaced(t *testing.T) {
	v := NewView(1, []Node{node("gate", Edge, res(2, 2)), node("yard", Edge, res(2, 2))}, nil, nil)
	p := mustSchedule(t, v, chain([]string{"gate", "roof"}, pre("resize", res(1, 1))))
	want := []Unplaced{{"cam1", "node roof is not alive"}}
	if !reflect.DeepEqual(p.Unplaced, want) {
		t.Errorf("unplaced %v, want %v", p.Unplaced, want)
	}
	if len(p.Place) != 2 || find(t, p, "resize", 0).Node != "gate" {
		t.Errorf("want cam0 and one resize beside it:%s", describe(p))
	}

	p = mustSchedule(t, v, chain([]string{"roof"}, pre("resize", res(1, 1)), pre("next", res(1, 1))))
	if len(p.Unplaced) != 2 || p.Unplaced[1].Name != "resize" || len(p.Place) != 1 {
		t.Errorf("without any source want resize unplaced, next placed:%s", describe(p))
	}
	v = NewView(1, []Node{node("fog", Fog, res(2, 2))}, nil, nil)
	p = mustSchedule(t, v, chain([]string{""}, pre("resize", res(1, 1))))
	if len(p.Unplaced) == 0 || !strings.HasPrefix(p.Unplaced[0].Reason, "no edge node is alive") {
		t.Errorf("unplaced %v, want it to say that there is no edge", p.Unplaced)
	}
}

// replay is the reference for what a plan does to the placements of the state.
func replay(placements []Placement, p *Plan) []Placement {
	byID := map[string]Placement{}
	for _, x := range placements {
		byID[x.ID] = x
	}
	for _, id := range p.Remove {
		delete(byID, id)
	}
	for _, a := range p.Adjust {
		x := byID[a.Placement]
		x.Reserved = a.To
		byID[a.Placement] = x
	}
	for _, x := range p.Place {
		byID[x.ID] = x
	}
	var out []Placement
	for _, x := range byID {
		out = append(out, x)
	}
	return out
}

func without(nodes []Node, id string) []Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return n.ID == id })
}

func TestReplanning(t *testing.T) {
	nodes := paperMesh()
	rtt := paperRoundTrips(nodes)
	w := paperWorkflow(0)
	for i := range 11 {
		name := fmt.Sprintf("cam-%02d", i+1)
		w.Sources = append(w.Sources, Source{Name: name, Node: nodes[i].ID, Resolution: 512})
		w.Links = append(w.Links, Link{From: name, To: "resize"})
	}
	first := mustSchedule(t, NewView(1, nodes, nil, rtt), w)
	placed := replay(nil, first)

	t.Run("nothing changed, nothing to do", func(t *testing.T) {
		if p := mustSchedule(t, NewView(2, nodes, placed, rtt), w); !p.Empty() || len(p.Keep) != len(placed) {
			t.Error(describe(p))
		}
	})
	t.Run("a fog node fails: only what ran there moves, under the same name", func(t *testing.T) {
		lost := find(t, first, "yolov4@416", 0)
		p := mustSchedule(t, NewView(2, without(nodes, lost.Node), placed, rtt), w)
		if len(p.Place) != 1 || p.Place[0].ID != lost.ID || p.Place[0].Node == lost.Node || len(p.Remove) != 0 {
			t.Error(describe(p))
		}
		after := replay(placed, p)
		if p := mustSchedule(t, NewView(3, nodes, after, rtt), w); !p.Empty() {
			t.Errorf("the node's return moves something:%s", describe(p))
		}
	})
	t.Run("an edge node fails and returns: its source and resize go and come", func(t *testing.T) {
		p := mustSchedule(t, NewView(2, without(nodes, "edge-03"), placed, rtt), w)
		if want := []string{"objects/cam-03#0", "objects/resize#2"}; len(p.Place) != 0 || !slices.Equal(p.Remove, want) {
			t.Errorf("want only %v removed:%s", want, describe(p))
		}
		after := replay(placed, p)
		if p := mustSchedule(t, NewView(3, without(nodes, "edge-03"), after, rtt), w); !p.Empty() {
			t.Errorf("planned twice:%s", describe(p))
		}
		p = mustSchedule(t, NewView(4, nodes, after, rtt), w)
		if len(p.Place) != 2 || len(p.Remove) != 0 || find(t, p, "resize", 2).Node != "edge-03" {
			t.Errorf("want cam-03 and resize#2 back on edge-03:%s", describe(p))
		}
	})
	t.Run("a task is dropped from the workflow", func(t *testing.T) {
		less := *w
		less.Tasks = w.Tasks[:3]
		p := mustSchedule(t, NewView(2, nodes, placed, rtt), &less)
		if len(p.Place) != 0 || !slices.Equal(p.Remove, []string{"objects/draw#0"}) {
			t.Error(describe(p))
		}
	})
	t.Run("a task asks for more", func(t *testing.T) {
		more := *w
		more.Tasks = slices.Clone(w.Tasks)
		more.Tasks[1].Request = res(3, 32)
		p := mustSchedule(t, NewView(2, nodes, placed, rtt), &more)
		if len(p.Place) != 1 || find(t, p, "yolov4@416", 0).Reserved != res(3, 32) {
			t.Error(describe(p))
		}
	})
	t.Run("a task changes its category", func(t *testing.T) {
		light := *w
		light.Tasks = slices.Clone(w.Tasks)
		light.Tasks[3].Store, light.Tasks[3].Request = false, res(4, 32)
		p := mustSchedule(t, NewView(2, nodes, placed, rtt), &light)
		if len(p.Place) != 1 || find(t, p, "draw", 0).Category != NI {
			t.Error(describe(p))
		}
	})
	t.Run("a source is attached to another node", func(t *testing.T) {
		turned := *w
		turned.Sources = slices.Clone(w.Sources)
		turned.Sources[0].Node = "edge-02"
		p := mustSchedule(t, NewView(2, nodes, placed, rtt), &turned)
		if len(p.Place) != 1 || find(t, p, "cam-01", 0).Node != "edge-02" || len(p.Remove) != 0 {
			t.Error(describe(p))
		}
	})
	t.Run("a node lost the model", func(t *testing.T) {
		bare := slices.Clone(nodes)
		bare[11].Models, bare[12].Models = nil, nil // both fog nodes
		more := slices.Concat(bare, []Node{node("cloud-2", Cloud, res(8, 64), "yolov4")})
		p := mustSchedule(t, NewView(2, more, placed, rtt), w)
		if len(p.Place) != 1 || find(t, p, "yolov4@416", 0).Node != "cloud-2" {
			t.Error(describe(p))
		}
	})
}

func TestReplacedTaskGivesBackWhatItHad(t *testing.T) {
	nodes := []Node{node("cloud", Cloud, res(4, 4))}
	placed := replay(nil, mustSchedule(t, NewView(1, nodes, nil, nil), stores(1, res(3, 1))))
	v := NewView(2, nodes, placed, nil)
	if x := find(t, mustSchedule(t, v, stores(1, res(4, 1))), "store0", 0); x.Reserved != res(4, 1) {
		t.Errorf("got %v, want all 4 cores: its own 3 count as free", x.Reserved)
	}
	if p, err := Schedule(v, stores(1, res(9, 1)), seeded(1)); !errors.Is(err, ErrRefused) {
		t.Errorf("half of 9 cores is more than there are: %v%s", err, describe(p))
	}
}

// A lost node stops nothing elsewhere, even if its source moves to a node that
// has an instance of the entry task.
func TestEntryInstancesOutliveTheirHost(t *testing.T) {
	nodes := []Node{node("e1", Edge, res(0, 0)), node("e2", Edge, res(9, 9)), node("fog", Fog, res(9, 9))}
	w := chain([]string{"", ""}, pre("resize", res(1, 1)))
	placed := replay(nil, mustSchedule(t, NewView(1, nodes, nil, nil), w))
	p := mustSchedule(t, NewView(2, without(nodes, "e1"), placed, nil), w)
	if len(p.Place) != 1 || !p.Place[0].Source || len(p.Remove) != 0 || len(p.Keep) != 3 {
		t.Errorf("want only the source of e1 moved:%s", describe(p))
	}
}

// A filter is on each node that has a camera, and so is what follows it.
func TestWhatFollowsAFilterIsAnEntryTask(t *testing.T) {
	nodes := []Node{node("e1", Edge, res(4, 4)), node("e2", Edge, res(4, 4)), node("fog", Fog, res(9, 9))}
	still := pre("still", res(1, 1))
	still.Operation = OperationFilter
	w := chain([]string{"e1", "e2"}, still, pre("resize", res(1, 1)), pre("draw", res(1, 1)))
	p := mustSchedule(t, NewView(1, nodes, nil, nil), w)
	var got []string
	for _, x := range p.Place {
		if !x.Source {
			got = append(got, x.Task+" "+x.Node)
		}
	}
	slices.Sort(got)
	want := []string{"draw e1", "resize e1", "resize e2", "still e1", "still e2"}
	if got[0] = got[0][:5] + "e1"; !slices.Equal(got, want) {
		t.Errorf("placed %q, want %q (draw anywhere):%s", got, want, describe(p))
	}
	again := mustSchedule(t, NewView(2, nodes, replay(nil, p), nil), w)
	if len(again.Place) != 0 || len(again.Remove) != 0 {
		t.Errorf("a second plan changes something:%s", describe(again))
	}
}

func TestSourceMovesAndEntryTaskFollows(t *testing.T) {
	nodes := []Node{node("e1", Edge, res(1, 1)), node("e2", Edge, res(1, 1)), node("e3", Edge, res(1, 1))}
	w := chain([]string{"", ""}, pre("resize", res(1, 1)))
	placed := replay(nil, mustSchedule(t, NewView(1, nodes, nil, nil), w))
	var lost, idle string
	used := map[string]string{}
	for _, p := range placed {
		used[p.Node] = p.ID
		if p.ID == "w/resize#0" {
			lost = p.Node
		}
	}
	for _, n := range nodes {
		if used[n.ID] == "" {
			idle = n.ID
		}
	}
	p := mustSchedule(t, NewView(2, without(nodes, lost), placed, nil), w)
	if len(p.Place) != 2 || find(t, p, "cam0", 0).Node != idle || find(t, p, "resize", 0).Node != idle {
		t.Errorf("want cam0 and resize#0 on %s, the idle node:%s", idle, describe(p))
	}
}
