package tiering

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// stores are n HI tasks.
func stores(n int, r Resources) *Workflow {
	w := &Workflow{Name: "w"}
	for i := range n {
		name := fmt.Sprintf("store%d", i)
		w.Tasks = append(w.Tasks, Task{Name: name, Group: name, Type: Postprocess, Store: true, Request: r, Replicas: 1})
	}
	return w
}

// shallow are n LI tasks.
func shallow(n int, r Resources) *Workflow {
	w := stores(n, r)
	for i := range w.Tasks {
		w.Tasks[i].Type, w.Tasks[i].Store = ShallowModel, false
	}
	return w
}

func tally(p *Plan) map[string]int {
	on := map[string]int{}
	for _, x := range p.Place {
		on[x.Node]++
	}
	return on
}

// Algorithm 2 with the erratum of line 11, and its mirror image for LI.
func TestAlgorithm2(t *testing.T) {
	fog, cloud := node("fog", Fog, res(4, 64)), node("cloud", Cloud, res(4, 64))
	tests := []struct {
		name       string
		w          *Workflow
		fog, cloud int
		reason     string // of the last task, in part
	}{
		{"lines 4-6: HI fit the cloud", stores(2, res(2, 1)), 0, 2, "HI: cloud first"},
		{"lines 7-14: cloudHI on the cloud, remainHI on the fog", stores(3, res(2, 1)), 1, 2, "HI: cloud is full, fog next"},
		{"line 11 charges the cloud for cloudHI only", stores(4, res(2, 1)), 2, 2, ""},
		{"LI fit the fog", shallow(2, res(2, 1)), 2, 0, "LI: fog first"},
		{"LI: the rest to the cloud", shallow(3, res(2, 1)), 2, 1, "LI: fog is full, cloud next"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := NewView(1, []Node{fog, cloud}, nil, nil)
			p := mustSchedule(t, v, tt.w)
			if on := tally(p); on["fog"] != tt.fog || on["cloud"] != tt.cloud {
				t.Errorf("placed %v, want fog %d, cloud %d", on, tt.fog, tt.cloud)
			}
			reasons := ""
			for _, x := range p.Place {
				reasons += x.Reason + "\n"
				if x.Reserved != x.Requested {
					t.Errorf("%s got %v of %v although all fit", x.ID, x.Reserved, x.Requested)
				}
			}
			if !strings.Contains(reasons, tt.reason) {
				t.Errorf("no reason says %q:\n%s", tt.reason, reasons)
			}
		})
	}
}

// "It gives HI tasks a higher placement priority than LI tasks."
func TestHighIntensiveReserveBeforeLow(t *testing.T) {
	w := shallow(1, res(4, 1)) // first in the workflow
	w.Tasks = append(w.Tasks, stores(1, res(4, 1)).Tasks...)
	w.Tasks[1].Name, w.Tasks[1].Group = "draw", "draw"
	p := mustSchedule(t, NewView(1, []Node{node("cloud", Cloud, res(6, 4))}, nil, nil), w)
	if hi, li := find(t, p, "draw", 0), find(t, p, "store0", 0); hi.Reserved.CPU != 4000 || li.Reserved.CPU != 2000 {
		t.Errorf("want HI in full, LI with the rest:%s", describe(p))
	}
	want := []Reservation{
		{Node: "cloud", Tier: Cloud, Category: HI, Count: 1, Each: res(4, 1), Asked: res(4, 1)},
		{Node: "cloud", Tier: Cloud, Category: LI, Count: 1, Each: res(2, 1), Asked: res(4, 1)},
	}
	if !slices.Equal(p.Reservations, want) {
		t.Errorf("reservations %+v, want %+v", p.Reservations, want)
	}
}

func TestInstancesDoNotSpanNodes(t *testing.T) {
	// Three cloud nodes of 3 cores hold three instances of 2, not four.
	nodes := []Node{node("fog", Fog, res(8, 8))}
	for i := range 3 {
		nodes = append(nodes, node(fmt.Sprintf("cloud-%d", i), Cloud, res(3, 8)))
	}
	p := mustSchedule(t, NewView(1, nodes, nil, nil), stores(4, res(2, 1)))
	if on := tally(p); on["fog"] != 1 || len(p.Adjust) != 0 {
		t.Errorf("placed %v, want one on the fog", on)
	}
}

func TestReservedSlotsMatchModelsAndPlatforms(t *testing.T) {
	with := func(model, platform string) Task {
		t := Task{Name: "on-" + model + platform, Type: ShallowModel, Platform: platform, Request: res(2, 1), Replicas: 1}
		if t.Group = t.Name; model != "" {
			t.Model = &Model{Name: model, Family: model, Resolution: 416}
		}
		return t
	}
	gpu := node("gpu", Fog, res(2, 4), "a", "b")
	gpu.Platforms = append(gpu.Platforms, Platform{"cuda", 1})

	t.Run("who can go elsewhere makes room", func(t *testing.T) {
		// The first task fits all three nodes, the second two of them, the third one.
		nodes := []Node{gpu, node("fog-a", Fog, res(2, 4), "a"), node("fog-b", Fog, res(2, 4), "b")}
		w := &Workflow{Name: "w", Tasks: []Task{with("", ""), with("a", ""), with("", "cuda")}}
		for seed := range uint64(10) {
			p, err := Schedule(NewView(1, nodes, nil, nil), w, seeded(seed))
			if err != nil {
				t.Fatal(err)
			}
			got := find(t, p, "on-", 0).Node + " " + find(t, p, "on-a", 0).Node + " " + find(t, p, "on-cuda", 0).Node
			if got != "fog-b fog-a gpu" {
				t.Errorf("seed %d: %s, want the only matching, fog-b fog-a gpu", seed, got)
			}
		}
	})
	t.Run("within the preferred tier before the other is used", func(t *testing.T) {
		// fog-1 comes first and runs both. Were it left to a, b would have to go to the cloud.
		nodes := []Node{node("fog-1", Fog, res(2, 4), "a", "b"), node("fog-2", Fog, res(2, 4), "a"), node("cloud", Cloud, res(8, 8), "a", "b")}
		w := &Workflow{Name: "w", Tasks: []Task{with("a", ""), with("b", "")}}
		p := mustSchedule(t, NewView(1, nodes, nil, nil), w)
		if find(t, p, "on-a", 0).Node != "fog-2" || find(t, p, "on-b", 0).Node != "fog-1" {
			t.Error(describe(p))
		}
	})
	t.Run("also from tier to tier", func(t *testing.T) {
		// The fog has one slot. The first task could have it, but only the second needs it.
		nodes := []Node{node("fog", Fog, res(2, 4), "a"), node("cloud", Cloud, res(2, 4), "b")}
		w := &Workflow{Name: "w", Tasks: []Task{with("", ""), with("a", "")}}
		p := mustSchedule(t, NewView(1, nodes, nil, nil), w)
		if find(t, p, "on-", 0).Node != "cloud" || find(t, p, "on-a", 0).Node != "fog" {
			t.Error(describe(p))
		}
	})
	t.Run("the reason names what the first tier lacks", func(t *testing.T) {
		nodes := []Node{node("fog", Fog, res(8, 8), "a"), node("cloud", Cloud, res(2, 4), "b")}
		p := mustSchedule(t, NewView(1, nodes, nil, nil), &Workflow{Name: "w", Tasks: []Task{with("b", "")}})
		if got, want := find(t, p, "on-b", 0).Reason, "LI: no fog node has model b, cloud next; only cloud has room"; got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	})
}
