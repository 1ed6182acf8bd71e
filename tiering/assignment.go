package tiering

import (
	"cmp"
	"slices"
)

// Assignments derives what the agent on a node runs, in the order of
// workflows, then sources and tasks, then instances.
//
// Frames go along the workflow's links to every placed instance of the group
// that a link leads to; the agent picks one with Discover. Only instances on
// the given nodes, by ID, are offered: pass the live ones. Placements that name
// no step of their workflow are passed over.
//
// A placement that moves is run by both nodes, and offered on the one that
// serves.
//
// adapted is what was decided of the sources, by workflow; it may be nil.
func Assignments(node string, workflows []*Workflow, placements []Placement, nodes map[string]Node, adapted map[string]*Adaptation) []Assignment {
	byWorkflow := map[string][]*Placement{}
	for i := range placements {
		p := &placements[i]
		byWorkflow[p.Workflow] = append(byWorkflow[p.Workflow], p)
	}
	out := []Assignment{}
	for _, w := range slices.SortedFunc(slices.Values(workflows), func(a, b *Workflow) int { return cmp.Compare(a.Name, b.Name) }) {
		placed := byWorkflow[w.Name]
		if !slices.ContainsFunc(placed, func(p *Placement) bool { return p.Node == node || p.From == node }) {
			continue
		}
		a := newAssigner(w, placed, nodes)
		a.adapted = adapted[w.Name]
		for _, p := range placed {
			switch node {
			case p.Node:
				out = a.assign(out, *p)
			case p.From:
				left := *p
				left.Node, left.Tier = node, nodes[node].Tier
				out = a.assign(out, left)
			}
		}
	}
	return out
}

// SourceQuality is that at which the source's frames are to be analysed.
func (a *Assignment) SourceQuality() Quality {
	if a.Quality != nil {
		return *a.Quality
	}
	return Quality{Resolution: a.Source.Resolution, Every: 1}
}

// assigner makes the assignments of one workflow.
type assigner struct {
	workflow *Workflow
	step     map[string]int // place of a source or task in the workflow
	offers   map[string][]Offer
	adapted  *Adaptation
}

func newAssigner(w *Workflow, placed []*Placement, nodes map[string]Node) *assigner {
	a := &assigner{workflow: w, step: map[string]int{}, offers: map[string][]Offer{}}
	for i := range w.Sources {
		a.step[w.Sources[i].Name] = i
	}
	for i := range w.Tasks {
		a.step[w.Tasks[i].Name] = len(w.Sources) + i
	}
	slices.SortFunc(placed, func(x, y *Placement) int {
		return cmp.Or(cmp.Compare(a.step[x.Task], a.step[y.Task]), cmp.Compare(x.Instance, y.Instance))
	})
	alive := func(node string) bool { _, ok := nodes[node]; return ok }
	for _, p := range placed {
		n, alive := nodes[p.Serves(alive)]
		t, ok := w.Task(p.Task)
		if !alive || !ok || p.Source {
			continue
		}
		o := Offer{
			Instance: p.ID, Group: t.Group, Node: n.ID, Tier: n.Tier,
			Address: n.Addresses.Data, Accepts: Data{Type: "image"},
		}
		if t.Model != nil {
			o.Accepts.Resolution, o.Accepts.Model, o.Fit = t.Model.Resolution, t.Model.Name, t.Model.Fit
		}
		a.offers[t.Group] = append(a.offers[t.Group], o)
	}
	return a
}

// assign appends the assignment of a placement.
func (a *assigner) assign(out []Assignment, p Placement) []Assignment {
	as := Assignment{Placement: p, Objectives: a.workflow.Objectives, Groups: []string{}, Next: []Offer{}}
	from := p.Task
	if p.Source {
		src, ok := a.workflow.Source(p.Task)
		if !ok {
			return out
		}
		as.Source = src
		a.adapted.source(&as)
	} else {
		task, ok := a.workflow.Task(p.Task)
		if !ok {
			return out
		}
		as.Task, from = task, task.Group
	}
	for _, l := range a.workflow.Links {
		if l.From != from {
			continue
		}
		if !slices.Contains(as.Groups, l.To) {
			as.Groups = append(as.Groups, l.To)
		}
		for _, o := range a.offers[l.To] {
			o.Link = l
			if l.Transport == MQTT {
				o.Address = o.Node
			}
			as.Next = append(as.Next, o)
		}
	}
	return append(out, as)
}
