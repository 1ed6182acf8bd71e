package tiering

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Of a workflow with intensive tasks of one category only, it is claimed:
//
//   - if any assignment of its instances to fog and cloud nodes holds all of
//     them in full, nothing is adjusted, and no such assignment has more of
//     them on the preferred tier (Algorithm 2);
//   - it is refused if and only if no assignment holds all of them at half,
//     with every reservation on the nodes at its half (Algorithm 4).
//
// With both categories the claims hold for HI, and for LI in what HI left.
func TestReservationAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawMesh(t)
		for i := range nodes {
			nodes[i].Capacity = drawResources(t, 9, "capacity")
		}
		before, slack := drawHeld(t, nodes)
		w := drawIntensive(t)
		view := NewView(1, nodes, before, nil)
		first := preference(Categorise(w.Tasks)[w.Tasks[0].Name])[0]

		var ask Resources
		for _, task := range w.Tasks {
			ask = ask.Max(task.Request)
		}
		free := map[string]Resources{}
		shrunk := map[string]Resources{}
		for _, n := range nodes {
			free[n.ID], _ = view.Free(n.ID)
			shrunk[n.ID] = free[n.ID].Add(slack[n.ID])
		}
		var demand []*Task
		for i := range w.Tasks {
			for range w.Tasks[i].Replicas {
				demand = append(demand, &w.Tasks[i])
			}
		}
		full := brute(nodes, demand, ask, free, first)
		half := brute(nodes, demand, ask.Half(), shrunk, first)

		p, err := Schedule(view, w, seeded(rapid.Uint64().Draw(t, "seed")))
		if refused := errors.Is(err, ErrRefused); refused != (half < 0) {
			t.Fatalf("refused: %v; brute force finds an assignment at half: %v; %v", refused, half >= 0, err)
		}
		if err != nil {
			return
		}
		preferred, cut := 0, len(p.Adjust) > 0
		for _, x := range p.Place {
			if x.Tier == first {
				preferred++
			}
			cut = cut || x.Reserved != x.Requested
		}
		if cut != (full < 0) {
			t.Fatalf("adjusted: %v; brute force finds an assignment in full: %v:%s", cut, full >= 0, describe(p))
		}
		if full >= 0 && preferred != full {
			t.Fatalf("%d on the %s, brute force has %d there:%s", preferred, first, full, describe(p))
		}
	})
}

// drawHeld draws intensive reservations of other workflows that are within the
// capacity, and what Algorithm 4 could take from them, by node.
func drawHeld(t *rapid.T, nodes []Node) ([]Placement, map[string]Resources) {
	var placements []Placement
	slack, used := map[string]Resources{}, map[string]Resources{}
	for i := range rapid.IntRange(0, 5).Draw(t, "held") {
		n := rapid.SampledFrom(nodes).Draw(t, "on")
		asked := drawResources(t, 6, "asked")
		less := asked.Sub(asked.Half())
		less = less.Min(drawResources(t, 3, "less"))
		p := held(fmt.Sprintf("o%d", i), n.ID, n.Tier, asked, asked.Sub(less))
		if n.Tier == Edge || !used[n.ID].Add(p.Reserved).Fits(n.Capacity) {
			continue
		}
		used[n.ID] = used[n.ID].Add(p.Reserved)
		slack[n.ID] = slack[n.ID].Add(p.Reserved.Sub(asked.Half()))
		placements = append(placements, p)
	}
	return placements, slack
}

// drawIntensive draws a workflow of tasks of one category with up to four
// classes.
func drawIntensive(t *rapid.T) *Workflow {
	w := &Workflow{Name: "w"}
	high := rapid.Bool().Draw(t, "HI")
	for i := range rapid.IntRange(1, 3).Draw(t, "tasks") {
		task := Task{
			Name: fmt.Sprintf("t%d", i), Group: fmt.Sprintf("t%d", i), Type: ShallowModel, Store: high,
			Request: drawResources(t, 5, "request"), Replicas: rapid.IntRange(1, 2).Draw(t, "replicas"),
		}
		if m := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "model"); m != "" {
			task.Model = &Model{Name: m, Family: m, Resolution: 416}
		}
		if rapid.IntRange(0, 4).Draw(t, "needs cuda") == 0 {
			task.Platform = "cuda"
		}
		w.Tasks = append(w.Tasks, task)
	}
	return w
}

// brute tries every assignment of the demand and returns the most instances
// that one which holds all of them has on a tier, or a negative number if none
// does.
func brute(nodes []Node, demand []*Task, each Resources, free map[string]Resources, tier Tier) int {
	if len(demand) == 0 {
		return 0
	}
	best := math.MinInt
	for i := range nodes {
		n, task := &nodes[i], demand[0]
		if n.Tier == Edge || !each.Fits(free[n.ID]) ||
			task.Model != nil && !n.HasModel(task.Model.Name) || !n.HasPlatform(task.Platform) {
			continue
		}
		free[n.ID] = free[n.ID].Sub(each)
		on := brute(nodes, demand[1:], each, free, tier)
		free[n.ID] = free[n.ID].Add(each)
		if n.Tier == tier {
			on++
		}
		best = max(best, on)
	}
	return best
}
