package baseline

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/weft-mesh/weft/tiering"
)

// Placer plans a workflow on a view.
type Placer = func(v *tiering.View, w *tiering.Workflow, rng *rand.Rand) (*tiering.Plan, error)

// spot is an instance that is to be placed.
type spot struct {
	task     *tiering.Task
	instance int
	near     []string // nodes of what feeds it; of an entry task the one of its source
}

// chooser picks one of the nodes that could take the instance, at least one; nil:
// none of them will do.
type chooser func(f *filler, s spot, fits []*tiering.Node) *tiering.Node

// filler places one instance after the other.
type filler struct {
	view   *tiering.View
	nodes  []tiering.Node
	free   map[string]tiering.Resources
	plan   *tiering.Plan
	at     map[string][]string       // nodes by source and group
	count  map[string]map[string]int // instances by task and node
	before map[string]tiering.Placement
}

// fill places the workflow's sources and then its tasks in order, each instance
// where choose says.
func fill(v *tiering.View, w *tiering.Workflow, choose chooser) *tiering.Plan {
	f := &filler{
		view: v, nodes: v.Nodes(), free: map[string]tiering.Resources{}, at: map[string][]string{}, count: map[string]map[string]int{},
		before: map[string]tiering.Placement{},
		plan: &tiering.Plan{
			Workflow: w.Name, Index: v.Index(), Categories: map[string]tiering.Category{}, Reservations: []tiering.Reservation{},
			Place: []tiering.Placement{}, Keep: []tiering.Placement{}, Adjust: []tiering.Adjustment{}, Remove: []string{},
		},
	}
	for i := range f.nodes {
		f.free[f.nodes[i].ID], _ = v.Free(f.nodes[i].ID)
	}
	for _, p := range v.Placements(w.Name) {
		f.before[p.ID] = p
	}
	f.sources(w)
	spots := map[string][]spot{} // by task
	for i := range w.Tasks {
		t := &w.Tasks[i]
		f.plan.Categories[t.Name] = tiering.NI
		f.count[t.Name] = map[string]int{}
		spots[t.Name] = f.wanted(w, t)
	}
	f.giveBack(w, spots)
	for i := range w.Tasks {
		f.task(w, &w.Tasks[i], spots[w.Tasks[i].Name], choose)
	}
	for id := range f.before {
		f.plan.Remove = append(f.plan.Remove, id)
	}
	slices.Sort(f.plan.Remove)
	return f.plan
}

func (f *filler) node(id string) *tiering.Node {
	i := slices.IndexFunc(f.nodes, func(n tiering.Node) bool { return n.ID == id })
	if i < 0 {
		return nil
	}
	return &f.nodes[i]
}

// sources places those that are not placed: on their own node, else on the edge
// node with the fewest.
func (f *filler) sources(w *tiering.Workflow) {
	hosts := map[string]int{}
	for i := range w.Sources {
		s := &w.Sources[i]
		id := tiering.SlotID(w.Name, s.Name, 0)
		if p, ok := f.before[id]; ok && f.node(p.Node) != nil && (s.Node == "" || s.Node == p.Node) {
			f.plan.Keep = append(f.plan.Keep, p)
			delete(f.before, id)
			f.at[s.Name] = []string{p.Node}
			hosts[p.Node]++
			continue
		}
		n := f.node(s.Node)
		for k := range f.nodes {
			if x := &f.nodes[k]; s.Node == "" && x.Tier == tiering.Edge && (n == nil || hosts[x.ID] < hosts[n.ID]) {
				n = x
			}
		}
		if n == nil {
			f.plan.Unplaced = append(f.plan.Unplaced, tiering.Unplaced{Name: s.Name, Reason: "its node is not alive"})
			continue
		}
		hosts[n.ID]++
		f.at[s.Name] = []string{n.ID}
		f.plan.Place = append(f.plan.Place, tiering.Placement{
			ID: id, Workflow: w.Name, Task: s.Name, Source: true, Node: n.ID, Tier: n.Tier, Reason: "source",
		})
		delete(f.before, id)
	}
}

// wanted are the instances of a task: its replicas, and of an entry task one for
// each node that has a source, as tiering has it.
func (f *filler) wanted(w *tiering.Workflow, t *tiering.Task) []spot {
	var hosts []string
	if entry(w, t.Group) && t.Type == tiering.Preprocess && !t.Store {
		for i := range w.Sources {
			for _, n := range f.at[w.Sources[i].Name] {
				if !slices.Contains(hosts, n) {
					hosts = append(hosts, n)
				}
			}
		}
	}
	out := make([]spot, max(1, t.Replicas, len(hosts)))
	for i := range out {
		out[i] = spot{task: t, instance: i}
		if len(hosts) > 0 {
			out[i].near = []string{hosts[i%len(hosts)]}
		}
	}
	return out
}

// entry reports whether what comes to a group are sources' frames as they are.
func entry(w *tiering.Workflow, group string) bool {
	for _, name := range w.Predecessors(group) {
		if _, ok := w.Source(name); ok {
			continue
		}
		filters := slices.ContainsFunc(w.Tasks, func(t tiering.Task) bool { return t.Group == name && t.Operation == tiering.OperationFilter })
		if !filters || !entry(w, name) {
			return false
		}
	}
	return true
}

// giveBack frees what instances hold that do not stay.
func (f *filler) giveBack(w *tiering.Workflow, spots map[string][]spot) {
	for _, p := range f.before {
		if !f.stays(w, p, spots[p.Task]) && f.node(p.Node) != nil {
			f.free[p.Node] = f.free[p.Node].Add(p.Reserved)
		}
	}
}

// stays reports whether a placement is what would be asked for today.
func (f *filler) stays(w *tiering.Workflow, p tiering.Placement, spots []spot) bool {
	t, ok := w.Task(p.Task)
	n := f.node(p.Node)
	return ok && n != nil && p.Instance < len(spots) && p.Requested == t.Request && p.From == "" &&
		n.HasPlatform(t.Platform) && (t.Model == nil || n.HasModel(t.Model.Name))
}

func (f *filler) task(w *tiering.Workflow, t *tiering.Task, spots []spot, choose chooser) {
	left := 0
	var runs []string // where its instances are
	for _, s := range spots {
		id := tiering.SlotID(w.Name, t.Name, s.instance)
		if p, ok := f.before[id]; ok && f.stays(w, p, spots) {
			f.plan.Keep = append(f.plan.Keep, p)
			delete(f.before, id)
			f.count[t.Name][p.Node]++
			runs = append(runs, p.Node)
			continue
		}
		if s.near == nil {
			s.near = f.predecessors(w, t.Group)
		}
		var fits []*tiering.Node
		for k := range f.nodes {
			if n := &f.nodes[k]; f.view.Takes(n.ID, t) && t.Request.Fits(f.free[n.ID]) {
				fits = append(fits, n)
			}
		}
		var n *tiering.Node
		if len(fits) > 0 {
			n = choose(f, s, fits)
		}
		if n == nil {
			left++
			continue
		}
		f.free[n.ID] = f.free[n.ID].Sub(t.Request)
		f.count[t.Name][n.ID]++
		runs = append(runs, n.ID)
		f.plan.Place = append(f.plan.Place, tiering.Placement{
			ID: id, Workflow: w.Name, Task: t.Name, Instance: s.instance, Node: n.ID, Tier: n.Tier,
			Category: tiering.NI, Requested: t.Request, Reserved: t.Request, Reason: "baseline",
		})
		delete(f.before, id)
	}
	f.at[t.Group] = append(f.at[t.Group], runs...)
	if left > 0 {
		f.plan.Unplaced = append(f.plan.Unplaced, tiering.Unplaced{
			Name: t.Name, Reason: fmt.Sprintf("no room for %d of its %d instances", left, len(spots)),
		})
	}
}

func (f *filler) predecessors(w *tiering.Workflow, group string) []string {
	var out []string
	for _, name := range w.Predecessors(group) {
		out = append(out, f.at[name]...)
	}
	return out
}
