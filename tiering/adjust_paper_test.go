package tiering

import (
	"errors"
	"strings"
	"testing"
)

// held is an intensive placement of another workflow.
func held(workflow, node string, t Tier, asked, reserved Resources) Placement {
	return Placement{
		ID: SlotID(workflow, "x", 0), Workflow: workflow, Task: "x", Node: node, Tier: t,
		Category: HI, Requested: asked, Reserved: reserved,
	}
}

// Algorithm 4, steps 2-5: the free part is enough.
func TestAdjustTakesWhatIsFree(t *testing.T) {
	nodes := []Node{node("fog", Fog, res(1.9, 64)), node("cloud-1", Cloud, res(2.5, 64)), node("cloud-2", Cloud, res(3, 64))}
	p := mustSchedule(t, NewView(1, nodes, nil, nil), stores(1, res(4, 8)))
	x := find(t, p, "store0", 0)
	if x.Node != "cloud-2" || x.Reserved != res(3, 8) || x.Requested != res(4, 8) {
		t.Errorf("got %+v, want 3 of 4 cores on cloud-2, which has most free, and all of the memory", x)
	}
	if want := "adjusted to 75 % (3 of 4 cores)"; !strings.HasSuffix(x.Reason, want) {
		t.Errorf("reason %q, want it to end in %q", x.Reason, want)
	}
	if len(p.Adjust) != 0 {
		t.Errorf("adjusts %v, want nothing else touched", p.Adjust)
	}
}

// Algorithm 4, steps 6-13: others are reduced evenly, none below its half.
func TestAdjustShrinksOthersEvenly(t *testing.T) {
	nodes := []Node{node("cloud", Cloud, res(8, 64))}
	before := []Placement{
		held("a", "cloud", Cloud, res(3, 1), res(3, 1)),
		held("b", "cloud", Cloud, res(3, 1), res(3, 1)),
		held("c", "cloud", Cloud, res(2, 1), res(1.2, 1)), // can give 0.2
	}
	p := mustSchedule(t, NewView(1, nodes, before, nil), stores(1, res(4, 8)))
	if x := find(t, p, "store0", 0); x.Reserved != res(2, 8) {
		t.Errorf("reserved %v, want half of the CPU asked for", x.Reserved)
	}
	// 0.8 cores are free, 1.2 are missing: 0.4 each, but c has only 0.2.
	want := []Adjustment{
		{"a/x#0", res(3, 1), res(2.5, 1)},
		{"b/x#0", res(3, 1), res(2.5, 1)},
		{"c/x#0", res(1.2, 1), res(1, 1)},
	}
	if len(p.Adjust) != len(want) {
		t.Fatalf("adjusts %v", p.Adjust)
	}
	for i := range want {
		if p.Adjust[i] != want[i] {
			t.Errorf("adjusts %v, want %v", p.Adjust[i], want[i])
		}
	}
	if free, _ := NewView(1, nodes, before, nil).With(p).Free("cloud"); free.CPU != 0 {
		t.Errorf("%v free after the plan, want no CPU", free)
	}
}

func TestAdjustShrinksOwnReservations(t *testing.T) {
	p := mustSchedule(t, NewView(1, []Node{node("cloud", Cloud, res(4, 64))}, nil, nil), stores(3, res(2, 1)))
	for i, want := range []float64{1.5, 1.5, 1} {
		if got := p.Place[i].Reserved.CPU; got != int64(want*1000) {
			t.Errorf("%s got %d, want %g cores", p.Place[i].ID, got, want)
		}
	}
	if len(p.Adjust) != 0 {
		t.Errorf("adjusts %v, want only its own new ones cut", p.Adjust)
	}
	p = mustSchedule(t, NewView(1, []Node{node("cloud", Cloud, res(4, 64))}, nil, nil), stores(4, res(2, 1)))
	for _, x := range p.Place {
		if x.Reserved.CPU != 1000 {
			t.Errorf("%s got %d, want 1 core each for four", x.ID, x.Reserved.CPU)
		}
	}
}

func TestAdjustPrefersTheTierOfTheCategory(t *testing.T) {
	nodes := []Node{node("cloud", Cloud, res(3, 64)), node("fog", Fog, res(3, 64))}
	v := NewView(1, nodes, nil, nil)
	if x := find(t, mustSchedule(t, v, stores(1, res(4, 1))), "store0", 0); x.Node != "cloud" {
		t.Errorf("HI with equally much free is on %s, want cloud", x.Node)
	}
	if x := find(t, mustSchedule(t, v, shallow(1, res(4, 1))), "store0", 0); x.Node != "fog" {
		t.Errorf("LI with equally much free is on %s, want fog", x.Node)
	}
}

func TestAdjustTriesTheNextNode(t *testing.T) {
	// full has more free, but what it holds is at its half already.
	nodes := []Node{node("cloud-1", Cloud, res(4, 64)), node("cloud-2", Cloud, res(4, 64))}
	before := []Placement{
		held("a", "cloud-1", Cloud, res(6, 1), res(3, 1)),
		held("b", "cloud-2", Cloud, res(4, 1), res(4, 1)),
	}
	p := mustSchedule(t, NewView(1, nodes, before, nil), stores(1, res(4, 1)))
	if x := find(t, p, "store0", 0); x.Node != "cloud-2" || x.Reserved.CPU != 2000 {
		t.Errorf("placed %+v, want half of 4 cores on cloud-2", x)
	}
}

// "else the workflow is refused, says what is short where, and reserves
// nothing".
func TestRefused(t *testing.T) {
	gpu := Task{Name: "gpu", Group: "gpu", Type: ShallowModel, Platform: "cuda", Request: res(1, 1),
		Model: &Model{Name: "yolox", Family: "yolox", Resolution: 416}}
	cloud, fog, edge := node("cloud", Cloud, res(2.5, 64), "hog"), node("fog", Fog, res(1, 64), "yolox"), node("edge", Edge, res(64, 64), "yolox")
	ni := &Workflow{Name: "w", Tasks: []Task{{Name: "resize", Group: "resize", Type: Preprocess, Request: res(65, 1)}}}
	tests := []struct {
		name  string
		nodes []Node
		w     *Workflow
		want  string
	}{
		{"cores", []Node{cloud, edge}, stores(1, res(6, 1)),
			"workflow w refused: cloud is short of 3.5 cores (needs 6, has 2.5 free); no fog node is alive: HI store0 does not fit, even at half of what is asked for"},
		{"both tiers", []Node{cloud, fog, edge}, stores(3, res(2.5, 1)),
			"workflow w refused: cloud is short of 5 cores (needs 7.5, has 2.5 free); fog is short of 6.5 cores (needs 7.5, has 1 free): HI store0, store1, store2 do not fit, even at half of what is asked for"},
		{"memory, LI", []Node{fog, cloud}, shallow(1, res(1, 160)),
			"workflow w refused: fog is short of 96 GiB memory (needs 160 GiB, has 64 GiB free); cloud is short of 96 GiB memory (needs 160 GiB, has 64 GiB free): LI store0 does not fit, even at half of what is asked for"},
		{"in pieces", []Node{node("f1", Fog, res(1, 9)), node("f2", Fog, res(1.2, 9)), node("f3", Fog, res(1, 9))}, shallow(1, res(3, 1)),
			"workflow w refused: fog is short of 1.8 cores on one node (needs 3, f2 has 1.2 free); no cloud node is alive: LI store0 does not fit, even at half of what is asked for"},
		{"model and platform", []Node{fog, cloud}, &Workflow{Name: "w", Tasks: []Task{gpu}},
			"workflow w refused: no fog node has platform cuda; no cloud node has model yolox: LI gpu does not fit, even at half of what is asked for"},
		{"NI on every tier, in full", []Node{cloud, fog, edge}, ni,
			"workflow w refused: edge is short of 1 core (needs 65, has 64 free); fog is short of 64 cores (needs 65, has 1 free); cloud is short of 62.5 cores (needs 65, has 2.5 free): NI resize does not fit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := NewView(1, tt.nodes, nil, nil)
			p, err := Schedule(v, tt.w, seeded(1))
			if p != nil || !errors.Is(err, ErrRefused) {
				t.Fatalf("Schedule = %v, %v, want it refused", p, err)
			}
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
			for _, n := range tt.nodes {
				if free, _ := v.Free(n.ID); free != n.Capacity {
					t.Errorf("%s has %v free after the refusal, want all", n.ID, free)
				}
			}
		})
	}
}

func TestRefusedStopsAtEveryonesHalf(t *testing.T) {
	nodes := []Node{node("cloud", Cloud, res(4, 64))}
	before := []Placement{held("a", "cloud", Cloud, res(4, 1), res(4, 1))}
	if _, err := Schedule(NewView(1, nodes, before, nil), stores(1, res(4, 1)), seeded(1)); err != nil {
		t.Errorf("4 cores asked, 2 to be had: %v", err)
	}
	if _, err := Schedule(NewView(1, nodes, before, nil), stores(1, res(4.002, 1)), seeded(1)); !errors.Is(err, ErrRefused) {
		t.Errorf("4.002 cores asked, 2 to be had: %v, want it refused", err)
	}
}
