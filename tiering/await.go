package tiering

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
)

// Await is Schedule for a mesh whose nodes get models from each other. Where
// the workflow would fit if every node had its models, and somebody can hand out
// those that are missing, the plan changes nothing yet: it says for which models
// the workflow waits, and on which nodes. What runs of it goes on until then.
func Await(v *View, w *Workflow, rng *rand.Rand) (*Plan, error) {
	plan, err := Schedule(v, w, rng)
	if !errors.Is(err, ErrRefused) {
		return plan, err
	}
	richer := v.having(w.Models())
	if richer == nil {
		return nil, err
	}
	then, still := Schedule(richer, w, rng)
	if still != nil {
		return nil, err // its own words: that of the mesh as it is
	}
	out := &Plan{
		Workflow: w.Name, Index: v.index, Awaits: true, Categories: then.Categories,
		Reservations: []Reservation{}, Place: []Placement{}, Keep: []Placement{}, Adjust: []Adjustment{}, Remove: []string{},
	}
	waits := map[string][]string{} // nodes by task
	for _, p := range slices.Concat(then.Place, then.Keep) {
		if t, ok := w.Task(p.Task); ok && !p.Source && v.lacks(p.Node, t) && !slices.Contains(waits[p.Task], p.Node) {
			waits[p.Task] = append(waits[p.Task], p.Node)
		}
	}
	for i := range w.Tasks {
		if nodes := waits[w.Tasks[i].Name]; len(nodes) > 0 {
			slices.Sort(nodes)
			out.Unplaced = append(out.Unplaced, Unplaced{w.Tasks[i].Name, "waiting for model " + w.Tasks[i].Model.Name + " on " + strings.Join(nodes, ", ")})
		}
	}
	return out, nil
}

// Models are the names of the models that the workflow's tasks load, sorted.
func (w *Workflow) Models() []string {
	var out []string
	for i := range w.Tasks {
		if m := w.Tasks[i].Model; m != nil {
			out = append(out, m.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// HandsOut reports whether other nodes can get from this one the files of
// models that it has: it listens where they reach it, with certificates.
func (n *Node) HandsOut() bool {
	return n.Addresses.API != "" || strings.HasPrefix(n.Addresses.HTTP, "https://")
}

// lacks reports whether a live node cannot load the task's model.
func (v *View) lacks(node string, t *Task) bool {
	n, ok := v.mesh.byID[node]
	return ok && t.Model != nil && !v.mesh.models[t.Model.Name].has(n)
}

// having is the view as it will be when every node has got those of the models
// that somebody can hand out; nil: there is none that a node does not have.
func (v *View) having(models []string) *View {
	next := *v
	next.mesh = &mesh{nodes: v.mesh.nodes, byID: v.mesh.byID, platforms: v.mesh.platforms, draining: v.mesh.draining, uplinks: v.mesh.uplinks, models: map[string]nodeSet{}}
	news := false
	for name, set := range v.mesh.models {
		next.mesh.models[name] = set
	}
	for _, name := range models {
		have := v.mesh.models[name]
		handed := false
		for i := range v.mesh.nodes {
			handed = handed || have.has(int32(i)) && v.mesh.nodes[i].HandsOut()
		}
		if !handed {
			continue
		}
		all := slices.Clone(have)
		for i := range v.mesh.nodes {
			news = news || !all.has(int32(i))
			all = all.with(int32(i), len(v.mesh.nodes))
		}
		next.mesh.models[name] = all
	}
	if !news {
		return nil
	}
	return &next
}
