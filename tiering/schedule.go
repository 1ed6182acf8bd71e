package tiering

import (
	"math/rand/v2"
	"slices"
)

// Schedule plans a workflow on the mesh that v shows: Algorithm 3 of Houmani et
// al. (section VI-B) after Algorithms 2 and 4.
//
// Sources go first: to the node they are attached to, or to an edge node. Then
// Algorithm 2 (reserve.go, adjust.go) settles how many HI and LI instances go
// to the cloud and to the fog, with a slot for each as the proof that they fit.
// Then the tasks are taken in order. An NI task takes what is free on any tier;
// an intensive one takes a reserved slot, may exchange it with another task of
// its category, or move it within its tier to a node that has as much free.
// Each time the node nearest to the predecessor wins (choose.go).
//
// An entry task of category NI gets one instance for each node that hosts one
// of its sources, near that node; any other task gets its Replicas. What follows
// a filter is an entry task if it would be one without.
//
// Placements that the workflow has on live nodes are kept while they are what
// would be asked for today: same category, same request, model and platform
// there. So a second call plans nothing, a lost node moves only what ran there,
// and its return moves nothing back.
//
// The error is a *Refused. The same view, workflow and state of rng give the
// same plan.
func Schedule(v *View, w *Workflow, rng *rand.Rand) (*Plan, error) {
	s := newScheduler(v, w, rng)
	s.placeSources()
	missing := s.keepTasks()
	s.turn(missing)
	if err := s.reserve(missing); err != nil {
		return nil, err
	}
	for i := range missing {
		if err := s.place(&missing[i]); err != nil {
			return nil, err
		}
	}
	return s.finish(), nil
}

type scheduler struct {
	view     *View
	workflow *Workflow
	rng      *rand.Rand
	draft    *draft
	plan     *Plan

	classes []*class              // by task; equal ones are the same pointer
	turned  []*class              // of these, with their tiers the other way round
	running [][]int32             // by task: the nodes of its instances so far
	at      map[string][]anchor   // where each source and task group runs
	slots   map[Category][]*slot  // what Algorithm 2 reserved
	before  []Placement           // the workflow's in the view
	old     map[string]*Placement // of these what is not kept, by ID
	leaves  string                // the placement that is to leave its node; empty: none
}

// instance is one instance of a task that is to be placed.
type instance struct {
	task   int // index in the workflow
	number int
	near   []anchor // nil: near the task's predecessors
	class  *class   // nil: the task's
}

func (s *scheduler) class(in *instance) *class {
	if in.class != nil {
		return in.class
	}
	return s.classes[in.task]
}

func newScheduler(v *View, w *Workflow, rng *rand.Rand) *scheduler {
	categories := Categorise(w.Tasks)
	s := &scheduler{
		view: v, workflow: w, rng: rng, draft: newDraft(v),
		plan: &Plan{
			Workflow: w.Name, Index: v.index, Categories: categories,
			Reservations: []Reservation{}, Place: []Placement{}, Keep: []Placement{},
			Adjust: []Adjustment{}, Remove: []string{},
		},
		classes: make([]*class, len(w.Tasks)),
		running: make([][]int32, len(w.Tasks)),
		at:      make(map[string][]anchor, len(w.Sources)+len(w.Tasks)),
		slots:   map[Category][]*slot{},
		before:  v.Placements(w.Name),
		old:     map[string]*Placement{},
	}
	asks := asks(w.Tasks, categories)
	for i := range w.Tasks {
		c := newClass(v, &w.Tasks[i], categories[w.Tasks[i].Name], asks[i])
		if k := slices.IndexFunc(s.classes[:i], c.same); k >= 0 {
			c = s.classes[k]
		}
		s.classes[i] = c
	}
	return s
}

// reserve runs Algorithm 2: HI before LI.
func (s *scheduler) reserve(missing []instance) error {
	for _, category := range []Category{HI, LI} {
		var demand []*class
		for i := range missing {
			if c := s.class(&missing[i]); c.category == category {
				demand = append(demand, c)
			}
		}
		free := s.draft.snapshot()
		slots, rest := reserve(s.draft, demand)
		if len(rest) > 0 {
			return s.refuse(rest[0], len(demand), free)
		}
		s.slots[category] = slots
	}
	return nil
}

// place runs Algorithm 3 for one instance.
func (s *scheduler) place(in *instance) error {
	task, class := &s.workflow.Tasks[in.task], s.class(in)
	anchors := in.near
	if anchors == nil {
		anchors = s.predecessors(task.Group)
	}
	var all []candidate
	if class.category.Intensive() {
		all = s.reserved(class, anchors)
	} else if all = s.anywhere(class, anchors, in.task); len(all) == 0 {
		return s.refuse(class, 1, s.draft.snapshot())
	}
	open := s.open()
	for i := range all {
		all[i].siblings = s.siblings(in.task, all[i].node)
		all[i].distance = s.view.distance(all[i].node, anchors)
		if class.category.Intensive() {
			all[i].free = s.draft.free(all[i].node).CPU + open[all[i].node]
		}
	}
	c, how, equals := choose(all, len(anchors), s.rng)
	reason := s.why(&c, how, equals, anchors)
	got := class.ask
	if class.category.Intensive() {
		got = s.claim(&c)
		reason = s.tierReason(class, c.node) + "; " + reason + adjustedReason(class.ask, got)
	} else {
		s.draft.take(c.node, got)
	}
	id := SlotID(s.workflow.Name, task.Name, in.number)
	s.plan.Place = append(s.plan.Place, Placement{
		ID: id, Workflow: s.workflow.Name, Task: task.Name, Instance: in.number, From: s.from(id, class, c.node),
		Node: s.view.mesh.nodes[c.node].ID, Tier: s.view.mesh.nodes[c.node].Tier,
		Category: class.category, Requested: class.ask, Reserved: got,
		Reason: string(class.category) + ": " + reason,
	})
	s.runs(in.task, c.node)
	return nil
}

// open is the CPU of slots, by node, that no task has taken yet: they are there as
// the proof that everything fits, and may still move. Counted as used, they would
// have the tasks keep away from where the first of them were put.
func (s *scheduler) open() map[int32]int64 {
	out := map[int32]int64{}
	for _, slots := range s.slots {
		for _, x := range slots {
			if !x.taken {
				out[x.claim.node] += x.claim.reserved.CPU
			}
		}
	}
	return out
}

// predecessors are the instances that feed a group.
func (s *scheduler) predecessors(group string) []anchor {
	var anchors []anchor
	for _, name := range s.workflow.Predecessors(group) {
		for _, a := range s.at[name] {
			anchors = addAnchor(anchors, a)
		}
	}
	return anchors
}

// runs notes that an instance of the task is on the node.
func (s *scheduler) runs(task int, n int32) {
	t := &s.workflow.Tasks[task]
	s.running[task] = append(s.running[task], n)
	s.at[t.Group] = append(s.at[t.Group], anchor{node: n, name: t.Name})
}

func (s *scheduler) siblings(task int, n int32) int {
	count := 0
	for _, m := range s.running[task] {
		if m == n {
			count++
		}
	}
	return count
}

// anywhere lists the nodes where an NI task finds its resources free, on any
// tier: "remaining free resources" of Algorithm 3, steps 6 and 7.
func (s *scheduler) anywhere(class *class, anchors []anchor, task int) []candidate {
	var all []candidate
	for _, a := range anchors {
		if class.runs(a.node) && class.ask.Fits(s.draft.free(a.node)) {
			all = append(all, candidate{node: a.node, free: s.draft.free(a.node).CPU})
		}
	}
	if len(anchors) == 1 && len(all) == 1 && s.siblings(task, all[0].node) == 0 {
		return all // nothing is nearer than the same node
	}
	listed := all
	for _, t := range Tiers() {
		all = s.roomy(all, listed, t, class, candidate{})
	}
	return all
}

// roomy adds to all, as copies of like, the nodes of a tier with room for one
// instance that are not listed.
func (s *scheduler) roomy(all, listed []candidate, t Tier, class *class, like candidate) []candidate {
	for n := range s.draft.roomy(t, class.ask, class, maxCandidates) {
		if !slices.ContainsFunc(listed, func(c candidate) bool { return c.node == n }) {
			like.node, like.free = n, s.draft.free(n).CPU
			all = append(all, like)
		}
	}
	return all
}

// reserved lists the nodes where the category's reservation lets the class
// run: "resources reserved for its category" of Algorithm 3, steps 4 and 5.
//
//   - a slot of the class;
//   - a slot of another class that prefers the same tier, which can take one of
//     this class in exchange;
//   - a node with as much free, in the tier of a slot of the class, which moves
//     there. Slots that Algorithm 4 cut stay where they are.
//
// Each leaves every other instance with a slot that it can use.
func (s *scheduler) reserved(class *class, anchors []anchor) []candidate {
	var own []*slot
	for _, x := range s.slots[class.category] {
		if !x.taken && x.class == class {
			own = append(own, x)
		}
	}
	var all []candidate
	add := func(x, swap *slot) {
		n := x.claim.node
		if !slices.ContainsFunc(all, func(c candidate) bool { return c.node == n }) {
			all = append(all, candidate{node: n, slot: x, swap: swap, free: s.draft.free(n).CPU + x.claim.reserved.CPU})
		}
	}
	for _, x := range own {
		add(x, nil)
	}
	for _, x := range s.slots[class.category] {
		if x.taken || x.class == class || x.class.tiers != class.tiers || !class.runs(x.claim.node) {
			continue
		}
		if i := slices.IndexFunc(own, func(o *slot) bool { return x.class.runs(o.claim.node) }); i >= 0 {
			add(x, own[i])
		}
	}
	for _, t := range class.tiers {
		i := slices.IndexFunc(own, func(x *slot) bool {
			return s.view.mesh.nodes[x.claim.node].Tier == t && x.claim.reserved == class.ask
		})
		if i < 0 {
			continue
		}
		move := candidate{slot: own[i], move: true}
		for _, a := range anchors {
			if s.view.mesh.nodes[a.node].Tier == t && class.runs(a.node) && class.ask.Fits(s.draft.free(a.node)) &&
				!slices.ContainsFunc(all, func(c candidate) bool { return c.node == a.node }) {
				move.node, move.free = a.node, s.draft.free(a.node).CPU
				all = append(all, move)
			}
		}
		all = s.roomy(all, all, t, class, move)
	}
	return all
}

// claim takes the candidate's slot and returns what is reserved there.
func (s *scheduler) claim(c *candidate) Resources {
	if c.swap != nil {
		c.slot.class, c.swap.class = c.swap.class, c.slot.class
	}
	if c.move {
		s.draft.move(c.slot.claim, c.node)
	}
	c.slot.taken = true
	return c.slot.claim.reserved
}

// finish completes the plan: what to shrink, what to remove, and the
// reservations in sum.
func (s *scheduler) finish() *Plan {
	p := s.plan
	p.Adjust = s.draft.adjustments()
	for i := range p.Place {
		delete(s.old, p.Place[i].ID) // moves
	}
	for id := range s.old {
		p.Remove = append(p.Remove, id)
	}
	slices.Sort(p.Remove)
	for _, category := range []Category{HI, LI} {
		p.Reservations = append(p.Reservations, sumReservations(p.Place, category)...)
	}
	return p
}

func sumReservations(placed []Placement, category Category) []Reservation {
	var out []Reservation
	for i := range placed {
		p := &placed[i]
		if p.Category != category {
			continue
		}
		r := Reservation{Node: p.Node, Tier: p.Tier, Category: category, Each: p.Reserved, Asked: p.Requested}
		k := slices.IndexFunc(out, func(o Reservation) bool { return o.Node == r.Node && o.Each == r.Each })
		if k < 0 {
			k = len(out)
			out = append(out, r)
		}
		out[k].Count++
	}
	return out
}
