package tiering

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// View is the mesh at one index of the state: who is alive and what is in use.
// It is immutable; With makes the next one. A View may be shared between
// goroutines as far as its RoundTrips may.
type View struct {
	index uint64
	rtt   RoundTrips
	mesh  *mesh
	loads []*load            // by node
	free  [Cloud + 1][]int32 // nodes by tier, most free first
	hosts []int32            // nodes of the edge, fewest sources first, then most free
	plans [256]workflowShard // placements by workflow
}

// mesh is what does not change from a view to the next. A node is known by its
// place in nodes.
type mesh struct {
	nodes     []Node // by ID
	byID      map[string]int32
	models    map[string]nodeSet
	platforms map[string]nodeSet
	draining  nodeSet
	uplinks   []float64 // of the fog, most first; in bits a second, +Inf where nobody said
}

// load is what is in use on a node. It is never modified once in a View.
type load struct {
	free      Resources // may be negative if a node came back smaller
	slack     Resources // what Algorithm 4 could still take from intensive
	sources   int
	intensive []hold // reservations of every workflow, by ID
}

// hold is the reservation of one intensive placement.
type hold struct {
	id       string
	asked    Resources
	reserved Resources
}

func (h *hold) slack() Resources { return h.reserved.Sub(h.asked.Half()).Max(Resources{}) }

// workflowShard holds the placements of the workflows whose names hash to it:
// With copies one shard, not the map of every workflow.
type workflowShard map[string][]Placement

func shardOf(workflow string) uint8 {
	h := uint32(2166136261) // FNV-1a
	for i := range len(workflow) {
		h = (h ^ uint32(workflow[i])) * 16777619
	}
	return uint8(h ^ h>>8 ^ h>>16 ^ h>>24)
}

// NewView indexes the live nodes and every placement of the state at index.
// Placements on other nodes are remembered, as lost. rtt may be nil: no round
// trip is known then.
func NewView(index uint64, nodes []Node, placements []Placement, rtt RoundTrips) *View {
	v := &View{index: index, rtt: rtt, mesh: newMesh(nodes)}
	v.loads = make([]*load, len(v.mesh.nodes))
	for i := range v.loads {
		v.loads[i] = &load{free: v.mesh.nodes[i].Capacity}
	}
	for i := range v.plans {
		v.plans[i] = workflowShard{}
	}
	for _, p := range placements {
		shard := v.plans[shardOf(p.Workflow)]
		shard[p.Workflow] = append(shard[p.Workflow], p)
		if n, ok := v.mesh.byID[p.Node]; ok {
			v.loads[n].add(&p)
		}
	}
	for n, l := range v.loads {
		l.settle()
		if t := v.mesh.nodes[n].Tier; t <= Cloud {
			v.free[t] = append(v.free[t], int32(n))
		}
	}
	for _, order := range v.free {
		slices.SortFunc(order, v.compareFree)
	}
	v.hosts = slices.Clone(v.free[Edge])
	slices.SortFunc(v.hosts, v.compareHosts)
	return v
}

func newMesh(nodes []Node) *mesh {
	m := &mesh{
		nodes:     slices.Clone(nodes),
		byID:      make(map[string]int32, len(nodes)),
		models:    map[string]nodeSet{},
		platforms: map[string]nodeSet{},
	}
	slices.SortStableFunc(m.nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	m.nodes = slices.CompactFunc(m.nodes, func(a, b Node) bool { return a.ID == b.ID })
	for i := range m.nodes {
		n := &m.nodes[i]
		m.byID[n.ID] = int32(i)
		if n.Tier == Fog {
			m.uplinks = append(m.uplinks, n.uplink())
		}
		for _, name := range n.Models {
			m.models[name] = m.models[name].with(int32(i), len(m.nodes))
		}
		for _, p := range n.Platforms {
			if p.Count > 0 {
				m.platforms[p.Type] = m.platforms[p.Type].with(int32(i), len(m.nodes))
			}
		}
	}
	slices.Sort(m.uplinks)
	slices.Reverse(m.uplinks)
	return m
}

// nodeSet is a set of nodes, one bit each.
type nodeSet []uint64

func (s nodeSet) with(n int32, size int) nodeSet {
	if s == nil {
		s = make(nodeSet, (size+63)/64)
	}
	s[n/64] |= 1 << (n % 64)
	return s
}

func (s nodeSet) has(n int32) bool { return s != nil && s[n/64]&(1<<(n%64)) != 0 }

func (l *load) add(p *Placement) {
	l.free = l.free.Sub(p.Reserved)
	if p.Source {
		l.sources++
	}
	if p.Category.Intensive() {
		l.intensive = append(l.intensive, hold{p.ID, p.Requested, p.Reserved})
	}
}

func (l *load) remove(p *Placement) {
	l.free = l.free.Add(p.Reserved)
	if p.Source {
		l.sources--
	}
	l.intensive = slices.DeleteFunc(l.intensive, func(h hold) bool { return h.id == p.ID })
}

// settle restores what add and remove leave undone.
func (l *load) settle() {
	slices.SortFunc(l.intensive, func(a, b hold) int { return cmp.Compare(a.id, b.id) })
	l.slack = Resources{}
	for i := range l.intensive {
		l.slack = l.slack.Add(l.intensive[i].slack())
	}
}

// compareFree orders nodes by free CPU, memory and disk, most first, then by
// ID.
func (v *View) compareFree(a, b int32) int {
	f, g := v.loads[a].free, v.loads[b].free
	return cmp.Or(cmp.Compare(g.CPU, f.CPU), cmp.Compare(g.Memory, f.Memory),
		cmp.Compare(g.Disk, f.Disk), cmp.Compare(a, b))
}

func (v *View) compareHosts(a, b int32) int {
	return cmp.Or(cmp.Compare(v.loads[a].sources, v.loads[b].sources), v.compareFree(a, b))
}

// Drain returns the view with these nodes draining: what they have stays valid,
// and they get nothing new.
func (v *View) Drain(nodes ...string) *View {
	next, m := *v, *v.mesh
	m.draining = nil
	for _, id := range nodes {
		if n, ok := m.byID[id]; ok {
			m.draining = m.draining.with(n, len(m.nodes))
		}
	}
	next.mesh = &m
	return &next
}

// Index is the index of the state that the view was made from.
func (v *View) Index() uint64 { return v.index }

// Node returns the live node of that ID.
func (v *View) Node(id string) (Node, bool) {
	n, ok := v.mesh.byID[id]
	if !ok {
		return Node{}, false
	}
	return v.mesh.nodes[n], true
}

// Free returns what is not in use on a live node.
func (v *View) Free(node string) (Resources, bool) {
	n, ok := v.mesh.byID[node]
	if !ok {
		return Resources{}, false
	}
	return v.loads[n].free, true
}

// Nodes returns the live nodes, by ID.
func (v *View) Nodes() []Node { return slices.Clone(v.mesh.nodes) }

// Takes reports whether a new instance of the task may run on a live node: it
// has the model and the platform, and is not draining. Whether there is room is
// another matter.
func (v *View) Takes(node string, t *Task) bool {
	n, ok := v.mesh.byID[node]
	return ok && newClass(v, t, NI, t.Request).runs(n)
}

// RoundTrip is the round trip between two live nodes; false: not known.
func (v *View) RoundTrip(a, b string) (time.Duration, bool) {
	x, ok := v.mesh.byID[a]
	y, also := v.mesh.byID[b]
	if !ok || !also {
		return 0, false
	}
	return v.roundTrip(x, y)
}

// Placements returns the workflow's placements, those on dead nodes included,
// sources first, then by task and instance.
func (v *View) Placements(workflow string) []Placement {
	out := slices.Clone(v.plans[shardOf(workflow)][workflow])
	slices.SortFunc(out, func(a, b Placement) int {
		switch {
		case a.Source != b.Source && a.Source:
			return -1
		case a.Source != b.Source:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Task, b.Task), cmp.Compare(a.Instance, b.Instance))
	})
	return out
}

// With returns the view as it is once the plan, made from v, is carried out.
// It shares with v whatever the plan leaves alone: the cost is a copy of some
// ten bytes a node and a search for each node touched.
func (v *View) With(p *Plan) *View {
	next := *v
	next.loads = slices.Clone(v.loads)
	e := &edit{view: &next, touched: map[int32]bool{}, cloned: map[uint8]bool{}}

	gone := make(map[string]bool, len(p.Place)+len(p.Remove))
	for _, id := range p.Remove {
		gone[id] = true
	}
	for i := range p.Place {
		gone[p.Place[i].ID] = true // a moved slot leaves its old node
	}
	old := v.plans[shardOf(p.Workflow)][p.Workflow]
	own := make([]Placement, 0, len(old)+len(p.Place))
	for i := range old {
		if !gone[old[i].ID] {
			own = append(own, old[i])
		} else if l := e.load(old[i].Node); l != nil {
			l.remove(&old[i])
		}
	}
	for i := range p.Place {
		own = append(own, p.Place[i])
		if l := e.load(p.Place[i].Node); l != nil {
			l.add(&p.Place[i])
		}
	}
	e.shard(p.Workflow)[p.Workflow] = own
	for _, a := range p.Adjust {
		e.adjust(a)
	}
	e.finish(v)
	return &next
}

// At is the same view of a later index, at which nothing of it has changed.
func (v *View) At(index uint64) *View {
	if v.index == index {
		return v
	}
	next := *v
	next.index = index
	return &next
}

// edit is a View in the making.
type edit struct {
	view    *View
	touched map[int32]bool
	cloned  map[uint8]bool
}

func (e *edit) load(node string) *load {
	n, ok := e.view.mesh.byID[node]
	if !ok {
		return nil
	}
	if !e.touched[n] {
		e.touched[n] = true
		l := *e.view.loads[n]
		l.intensive = slices.Clone(l.intensive)
		e.view.loads[n] = &l
	}
	return e.view.loads[n]
}

func (e *edit) shard(workflow string) workflowShard {
	i := shardOf(workflow)
	if !e.cloned[i] {
		e.cloned[i] = true
		e.view.plans[i] = maps.Clone(e.view.plans[i])
	}
	return e.view.plans[i]
}

func (e *edit) adjust(a Adjustment) {
	workflow, _, _ := strings.Cut(a.Placement, "/")
	shard := e.shard(workflow)
	i := slices.IndexFunc(shard[workflow], func(p Placement) bool { return p.ID == a.Placement })
	if i < 0 {
		return
	}
	placements := slices.Clone(shard[workflow])
	shard[workflow] = placements
	l := e.load(placements[i].Node)
	if l != nil {
		l.remove(&placements[i])
	}
	placements[i].Reserved = a.To
	if l != nil {
		l.add(&placements[i])
	}
}

// finish brings the order of the touched nodes up to date.
func (e *edit) finish(old *View) {
	var moved [Cloud + 1][]int32
	for n := range e.touched {
		e.view.loads[n].settle()
		if t := e.view.mesh.nodes[n].Tier; t <= Cloud {
			moved[t] = append(moved[t], n)
		}
	}
	for t, nodes := range moved {
		e.view.free[t] = reorder(old.free[t], nodes, old.compareFree, e.view.compareFree)
	}
	e.view.hosts = reorder(old.hosts, moved[Edge], old.compareHosts, e.view.compareHosts)
}

// reorder returns a copy of order, sorted by old, in which the moved nodes are
// where now puts them.
func reorder(order, moved []int32, old, now func(a, b int32) int) []int32 {
	if len(moved) == 0 {
		return order
	}
	next := slices.Clone(order)
	for _, n := range moved {
		i, _ := slices.BinarySearchFunc(next, n, old)
		next = slices.Delete(next, i, i+1)
	}
	for _, n := range moved {
		i, _ := slices.BinarySearchFunc(next, n, now)
		next = slices.Insert(next, i, n)
	}
	return next
}
