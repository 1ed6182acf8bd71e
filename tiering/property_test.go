package tiering

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What is claimed of every plan, and checked here on random small meshes that
// other workflows have partly filled:
//
//   - no node is over its capacity, counting every workflow;
//   - no intensive task is on the edge, and every task's node has its model and
//     platform;
//   - nothing reserved is below half of what was asked, nor above it, shrunk
//     reservations of other workflows included;
//   - every task has its instances;
//   - equal seeds give equal plans, in whatever order nodes and placements come;
//   - the view that With makes is the view of the new state;
//   - a refused workflow leaves the view as it was and says what is short;
//   - the same holds for a new version of a workflow;
//   - planning again changes nothing; a lost node moves only what ran there,
//     and its return moves nothing.
//
// Optimality is claimed of one category at a time and checked against brute
// force in brute_test.go.

func drawResources(t *rapid.T, most int64, label string) Resources {
	part := rapid.Int64Range(0, most)
	return Resources{part.Draw(t, label+" cpu"), part.Draw(t, label+" memory"), part.Draw(t, label+" disk")}
}

func drawMesh(t *rapid.T) []Node {
	nodes := make([]Node, rapid.IntRange(1, 7).Draw(t, "nodes"))
	for i := range nodes {
		tier := rapid.SampledFrom(Tiers()).Draw(t, "tier")
		nodes[i] = Node{ID: fmt.Sprintf("n%d", i), Tier: tier, Capacity: drawResources(t, 12, "capacity").Add(Resources{2, 2, 2})}
		for _, m := range []string{"a", "b"} {
			if rapid.IntRange(0, 3).Draw(t, "has "+m) > 0 {
				nodes[i].Models = append(nodes[i].Models, m)
			}
		}
		if rapid.Bool().Draw(t, "cuda") {
			nodes[i].Platforms = []Platform{{"cuda", 1}}
		}
	}
	return nodes
}

func drawWorkflow(t *rapid.T, name string, mesh []Node) *Workflow {
	w := &Workflow{Name: name}
	from := []string{}
	for i := range rapid.IntRange(0, 3).Draw(t, "sources") {
		s := Source{Name: fmt.Sprintf("cam%d", i)}
		if rapid.Bool().Draw(t, "attached") {
			s.Node = fmt.Sprintf("n%d", rapid.IntRange(0, len(mesh)).Draw(t, "to")) // the last is no node
		}
		w.Sources = append(w.Sources, s)
		from = append(from, s.Name)
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "tasks") {
		task := Task{Name: fmt.Sprintf("t%d", i), Replicas: rapid.IntRange(0, 3).Draw(t, "replicas")}
		task.Group = task.Name
		task.Type = rapid.SampledFrom([]TaskType{Preprocess, ShallowModel, DeepModel, Postprocess}).Draw(t, "type")
		task.Store = rapid.IntRange(0, 3).Draw(t, "store") == 0
		task.Request = drawResources(t, 5, "request")
		if task.Type == ShallowModel || task.Type == DeepModel {
			name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "model")
			task.Model = &Model{Name: name, Family: "f", Resolution: rapid.SampledFrom([]int{416, 512}).Draw(t, "resolution")}
		}
		if rapid.IntRange(0, 5).Draw(t, "needs cuda") == 0 {
			task.Platform = "cuda"
		}
		w.Tasks = append(w.Tasks, task)
		for _, f := range from {
			w.Links = append(w.Links, Link{From: f, To: task.Group})
		}
		from = []string{task.Group}
	}
	return w
}

func drawTrips(t *rapid.T) RoundTrips {
	if rapid.Bool().Draw(t, "no round trips") {
		return nil
	}
	known := rapid.IntRange(1, 4).Draw(t, "known")
	return func(a, b string) (time.Duration, bool) {
		h := int(shardOf(min(a, b) + max(a, b)))
		return time.Duration(h) * time.Millisecond / 10, h%4 < known
	}
}

// check verifies the claims about the state that a plan leads to.
func check(t *rapid.T, nodes []Node, workflows map[string]*Workflow, placements []Placement) {
	used := map[string]Resources{}
	byID := map[string]bool{}
	for _, p := range placements {
		if byID[p.ID] {
			t.Fatalf("%s is placed twice", p.ID)
		}
		byID[p.ID] = true
		used[p.Node] = used[p.Node].Add(p.Reserved)
		i := slices.IndexFunc(nodes, func(n Node) bool { return n.ID == p.Node })
		if i < 0 {
			continue // of another workflow, on a lost node
		}
		n := &nodes[i]
		if p.Tier != n.Tier || p.ID != SlotID(p.Workflow, p.Task, p.Instance) || p.Reason == "" {
			t.Fatalf("ill-formed placement %+v", p)
		}
		if p.Source {
			continue
		}
		task, ok := workflows[p.Workflow].Task(p.Task)
		if !ok {
			t.Fatalf("%s is not in its workflow", p.ID)
		}
		if p.Category.Intensive() && n.Tier == Edge {
			t.Fatalf("%s is %s on the edge", p.ID, p.Category)
		}
		if task.Model != nil && !n.HasModel(task.Model.Name) || !n.HasPlatform(task.Platform) {
			t.Fatalf("%s is on %s, which cannot run it", p.ID, p.Node)
		}
		if !p.Requested.Half().Fits(p.Reserved) || !p.Reserved.Fits(p.Requested) || !task.Request.Fits(p.Requested) {
			t.Fatalf("%s has %v of %v", p.ID, p.Reserved, p.Requested)
		}
		if p.Category == NI && p.Reserved != p.Requested {
			t.Fatalf("NI %s was adjusted", p.ID)
		}
	}
	for _, n := range nodes {
		if !used[n.ID].Fits(n.Capacity) {
			t.Fatalf("%s has %v in use of %v", n.ID, used[n.ID], n.Capacity)
		}
	}
}

// complete verifies that a plan gives every task its instances.
func complete(t *rapid.T, w *Workflow, p *Plan) {
	instances, hosts := map[string]int{}, map[string]bool{}
	for _, x := range slices.Concat(p.Place, p.Keep) {
		instances[x.Task]++
		if x.Source {
			hosts[x.Node] = true
		}
	}
	for i, task := range w.Tasks {
		want := max(1, task.Replicas)
		if i == 0 && p.Categories[task.Name] == NI && len(w.Sources) > 0 {
			if want = max(want, len(hosts)); len(hosts) == 0 {
				want = 0
			}
			if got := instances[task.Name]; len(p.Keep) > 0 && got > want && got <= max(task.Replicas, len(w.Sources)) {
				continue // spare ones, since sources share nodes after a loss
			}
		}
		if instances[task.Name] != want {
			t.Fatalf("%s has %d instances, want %d:%s", task.Name, instances[task.Name], want, describe(p))
		}
	}
	for _, s := range w.Sources {
		unplaced := slices.ContainsFunc(p.Unplaced, func(u Unplaced) bool { return u.Name == s.Name })
		if (instances[s.Name] == 1) == unplaced {
			t.Fatalf("source %s is placed %d times, unplaced: %v", s.Name, instances[s.Name], unplaced)
		}
	}
}

func shuffled[T any](t *rapid.T, in []T) []T { return rapid.Permutation(in).Draw(t, "order") }

func sortedByID(placements []Placement) []Placement {
	return slices.SortedFunc(slices.Values(placements), func(a, b Placement) int { return cmp.Compare(a.ID, b.ID) })
}

// sameView compares what views say, not how they share it.
func sameView(t *rapid.T, got, want *View) {
	for i := range want.loads {
		g, w := *got.loads[i], *want.loads[i]
		if len(g.intensive) == 0 && len(w.intensive) == 0 {
			g.intensive, w.intensive = nil, nil
		}
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("%s: load %+v, want %+v", want.mesh.nodes[i].ID, g, w)
		}
	}
	if !reflect.DeepEqual(got.free, want.free) || !slices.Equal(got.hosts, want.hosts) {
		t.Fatalf("order %v %v, want %v %v", got.free, got.hosts, want.free, want.hosts)
	}
	for i := range want.plans {
		for w := range want.plans[i] {
			if g, w := got.Placements(w), want.Placements(w); !reflect.DeepEqual(g, w) {
				t.Fatalf("placements %+v, want %+v", g, w)
			}
		}
	}
}

func TestPlansKeepTheirPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, rtt := drawMesh(t), drawTrips(t)
		seed := rapid.Uint64Range(0, 99).Draw(t, "seed")
		workflows := map[string]*Workflow{}
		var state []Placement
		view := NewView(1, nodes, nil, rtt)
		for i := range rapid.IntRange(1, 4).Draw(t, "workflows") {
			w := drawWorkflow(t, fmt.Sprintf("w%d", i), nodes)
			workflows[w.Name] = w
			p, err := Schedule(view, w, seeded(seed))
			again, errAgain := Schedule(NewView(1, shuffled(t, nodes), shuffled(t, state), rtt), w, seeded(seed))
			if !reflect.DeepEqual(p, again) || !reflect.DeepEqual(err, errAgain) {
				t.Fatalf("equal seeds, different plans: %+v, %v and %+v, %v", p, err, again, errAgain)
			}
			sameView(t, view, NewView(1, nodes, state, rtt)) // Schedule leaves it alone
			if err != nil {
				delete(workflows, w.Name)
				checkRefused(t, err)
				continue
			}
			before, old := state, view
			state, view = replay(state, p), view.With(p)
			sameView(t, old, NewView(1, nodes, before, rtt))
			check(t, nodes, workflows, state)
			complete(t, w, p)
			checkAdjustments(t, before, p)
			sameView(t, view, NewView(1, nodes, state, rtt))
		}
		// A new document under an old name: what differs is placed anew.
		name := rapid.SampledFrom([]string{"w0", "w1", "w2", "w3"}).Draw(t, "resubmitted")
		next := drawWorkflow(t, name, nodes)
		if p, err := Schedule(view, next, seeded(seed)); err == nil {
			workflows[name] = next
			before, old := state, view
			state, view = replay(state, p), view.With(p)
			check(t, nodes, workflows, state)
			complete(t, next, p)
			sameView(t, old, NewView(1, nodes, before, rtt))
			sameView(t, view, NewView(1, nodes, state, rtt))
		}
		for _, w := range workflows {
			p, err := Schedule(view, w, seeded(seed+1))
			if err != nil || !p.Empty() {
				t.Fatalf("planning %s again: %v%s", w.Name, err, describe(p))
			}
		}
		checkLoss(t, nodes, rtt, workflows, state)
	})
}

func checkRefused(t *rapid.T, err error) {
	var refused *Refused
	if !errors.As(err, &refused) || !errors.Is(err, ErrRefused) {
		t.Fatalf("error %v, want a *Refused", err)
	}
	if len(refused.Shortages) == 0 || len(refused.Tasks) == 0 {
		t.Fatalf("%v does not say what is short", err)
	}
	for _, s := range refused.Shortages {
		if s.Missing <= 0 || s.Missing != s.Needed-s.Free {
			t.Fatalf("shortage %+v does not add up", s)
		}
	}
}

// checkAdjustments verifies that a plan shrinks others only for a reservation
// of its own, on the same node, that gets no more than its half for it.
func checkAdjustments(t *rapid.T, before []Placement, p *Plan) {
	for _, a := range p.Adjust {
		i := slices.IndexFunc(before, func(x Placement) bool { return x.ID == a.Placement })
		if i < 0 || before[i].Reserved != a.From || a.From == a.To || !a.To.Fits(a.From) {
			t.Fatalf("adjustment %+v of no such placement", a)
		}
		if !slices.ContainsFunc(p.Place, func(x Placement) bool {
			half := x.Requested.Half()
			return x.Node == before[i].Node && x.Category.Intensive() &&
				(x.Reserved.CPU == half.CPU || x.Reserved.Memory == half.Memory || x.Reserved.Disk == half.Disk)
		}) {
			t.Fatalf("%+v for nothing:%s", a, describe(p))
		}
	}
}

// checkLoss takes a node away and brings it back.
func checkLoss(t *rapid.T, nodes []Node, rtt RoundTrips, workflows map[string]*Workflow, state []Placement) {
	lost := rapid.SampledFrom(nodes).Draw(t, "lost").ID
	left := without(nodes, lost)
	names := []string{}
	for name := range workflows {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w := workflows[name]
		var stays []Placement
		for _, x := range state {
			if x.Workflow == name && x.Node != lost {
				stays = append(stays, x)
			}
		}
		view := NewView(2, left, state, rtt)
		p, err := Schedule(view, w, seeded(3))
		if err != nil {
			checkRefused(t, err)
			continue
		}
		if !reflect.DeepEqual(sortedByID(p.Keep), sortedByID(stays)) {
			t.Fatalf("kept %+v, want all that runs on live nodes, %+v", p.Keep, stays)
		}
		state = replay(state, p)
		sameView(t, view.With(p), NewView(2, left, state, rtt))
		check(t, left, workflows, state)
		complete(t, w, p)
		if slices.ContainsFunc(state, func(x Placement) bool { return x.Workflow == name && x.Node == lost }) {
			t.Fatalf("%s still has placements on %s:%s", name, lost, describe(p))
		}
		if p, err := Schedule(NewView(3, left, state, rtt), w, seeded(4)); err != nil || !p.Empty() {
			t.Fatalf("planning %s again after the loss: %v%s", name, err, describe(p))
		}
	}
	for _, name := range names {
		view := NewView(4, nodes, state, rtt)
		p, err := Schedule(view, workflows[name], seeded(5))
		if err != nil {
			continue // it was refused without the node, and others took its room
		}
		stays := view.Placements(name)
		if len(p.Remove) != 0 || !reflect.DeepEqual(sortedByID(p.Keep), sortedByID(stays)) {
			t.Fatalf("the return of %s moves %s:%s", lost, name, describe(p))
		}
	}
}

func TestEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := rapid.SliceOfN(rapid.Int64Range(0, 20), 1, 6).Draw(t, "limits")
		total := int64(0)
		for _, l := range limits {
			total += l
		}
		need := rapid.Int64Range(0, total).Draw(t, "need")
		cuts := evenly(need, limits)
		sum, most := int64(0), slices.Max(cuts)
		for i, c := range cuts {
			if sum += c; c < 0 || c > limits[i] {
				t.Fatalf("cut %d of %d", c, limits[i])
			}
			if c < most-1 && c < limits[i] {
				t.Fatalf("cuts %v of %v: number %d could give more", cuts, limits, i)
			}
		}
		if sum != need {
			t.Fatalf("cuts %v sum to %d, want %d", cuts, sum, need)
		}
	})
}
