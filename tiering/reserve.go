package tiering

import "math"

// class is the set of tasks that one category's reservation need not tell
// apart: they ask for the same and run on the same nodes.
type class struct {
	category        Category
	model, platform string // required of a node; empty: any
	ask             Resources
	tiers           [2]Tier // in the order in which its reservation turns to them
	models          nodeSet // nodes that have the model
	platforms       nodeSet // nodes that have the platform
	draining        nodeSet // nodes that take nothing new
}

func newClass(v *View, t *Task, category Category, ask Resources) *class {
	c := &class{category: category, platform: t.Platform, ask: ask, tiers: preference(category), draining: v.mesh.draining}
	c.platforms = v.mesh.platforms[t.Platform]
	if t.Model != nil {
		c.model = t.Model.Name
		c.models = v.mesh.models[c.model]
	}
	return c
}

func (c *class) same(o *class) bool {
	return c.category == o.category && c.model == o.model && c.platform == o.platform && c.ask == o.ask && c.tiers == o.tiers
}

// turned is the class with its tiers the other way round.
func (c *class) turned() *class {
	next := *c
	next.tiers = [2]Tier{c.tiers[1], c.tiers[0]}
	return &next
}

// runs reports whether a new instance may run on the node.
func (c *class) runs(n int32) bool { return c.able(n) && !c.draining.has(n) }

// able reports whether the node has the model and the platform.
func (c *class) able(n int32) bool {
	return (c.model == "" || c.models.has(n)) && (c.platform == "" || c.platforms.has(n))
}

// preference is the order in which a category's reservation turns to the
// tiers: "HI tasks have a priority to be assigned to the Cloud and LI to the
// Fog" (section VI-B).
func preference(c Category) [2]Tier {
	if c == HI {
		return [2]Tier{Cloud, Fog}
	}
	return [2]Tier{Fog, Cloud}
}

// slot is the reservation for one instance: class says which tasks it is for.
type slot struct {
	class *class
	claim *claim
	taken bool // by a task, in Algorithm 3
}

// reservation is Algorithm 2 for one category (section VI-B), with the erratum
// of line 11: what the first tier cannot hold goes to the second, and only
// that.
//
// The paper counts how many instances fit a tier. Instances do not span nodes
// and not every node runs every class, so counting becomes a bipartite
// matching of instances and slots of equal size, built by augmenting paths:
// first within the preferred tier, then over both. An augmenting path never
// empties a slot, so the result
//
//   - places every instance whenever any assignment of full-sized slots does,
//   - has as many of them on the preferred tier as any such assignment,
//   - has, for each slot, a task that runs there.
//
// Instances left over go through the same search at half their size
// (Algorithm 4, adjust.go).
type reservation struct {
	draft *draft
	ask   Resources
	slots []*slot
}

// reserve sets slots aside for the demand, one class for each instance, all of
// one category. "Preferred" is what the class prefers: where links carry too
// little that is not what the category does (reach.go). It returns the classes of
// the instances that do not fit, which is nil when all do.
func reserve(d *draft, demand []*class) ([]*slot, []*class) {
	if len(demand) == 0 {
		return nil, nil
	}
	r := &reservation{draft: d, ask: demand[0].ask}
	rest := r.all(demand, func(c *class) (*claim, bool) { return r.full(c, c.tiers[:1]) })
	rest = r.all(rest, func(c *class) (*claim, bool) { return r.full(c, c.tiers[:]) })
	rest = r.all(rest, r.adjusted)
	return r.slots, rest
}

// all makes a slot for each class by the given way and returns those for which
// there is none.
func (r *reservation) all(demand []*class, room func(*class) (*claim, bool)) (rest []*class) {
	for _, c := range demand {
		if !r.augment(c, room) {
			rest = append(rest, c)
		}
	}
	return rest
}

// full reserves all that is asked for.
func (r *reservation) full(c *class, tiers []Tier) (*claim, bool) {
	for _, t := range tiers {
		for n := range r.draft.roomy(t, r.ask, c, math.MaxInt) {
			return r.draft.reserve(n, r.ask, r.ask), true
		}
	}
	return nil, false
}

// augment finds one more slot so that class c has one more: where there is
// room for c, or else where another class can make room by going elsewhere in
// turn. Slots are of one size, so on the way they only change their class.
func (r *reservation) augment(c *class, room func(*class) (*claim, bool)) bool {
	type step struct {
		class *class
		from  int   // index in steps of the class that wants this one's slot
		gives *slot // that slot
	}
	steps := []step{{class: c}}
	seen := func(x *class) bool {
		for i := range steps {
			if steps[i].class == x {
				return true
			}
		}
		return false
	}
	for i := 0; i < len(steps); i++ {
		if claim, ok := room(steps[i].class); ok {
			r.slots = append(r.slots, &slot{class: steps[i].class, claim: claim})
			for ; i > 0; i = steps[i].from {
				steps[i].gives.class = steps[steps[i].from].class
			}
			return true
		}
		for _, s := range r.slots {
			if !seen(s.class) && steps[i].class.runs(s.claim.node) {
				steps = append(steps, step{s.class, i, s})
			}
		}
	}
	return false
}
