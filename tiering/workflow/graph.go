package workflow

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/yamlfile"
)

// graph checks how the steps hang together, once every link joins two known
// steps: no cycle, every source leads somewhere, every task is reached, and
// each source is analysed at a resolution that its way offers.
func (c *checker) graph() {
	spec := &c.in.Spec
	next := make([][]int, len(spec.Tasks))     // tasks after each task
	starts := make([][]int, len(spec.Sources)) // tasks after each source
	for _, l := range spec.Links {
		to := c.names[l.To]
		for _, from := range l.starts(spec.Sources) {
			if i := c.names[from]; i < 0 {
				starts[^i] = append(starts[^i], to)
			} else {
				next[i] = append(next[i], to)
			}
		}
	}
	c.order = sorted(next)
	if len(c.order) < len(spec.Tasks) {
		c.cycle(next)
		return
	}
	reached := make([]bool, len(spec.Tasks))
	for i := range spec.Sources {
		if len(starts[i]) == 0 {
			c.add(yamlfile.Item("spec.sources", i)+".name", "source %q leads nowhere; add a link from it to a task", spec.Sources[i].Name)
		}
		way := reach(starts[i], next)
		for t, on := range way {
			reached[t] = reached[t] || on
		}
		c.resolutions = append(c.resolutions, c.resolution(i, way))
	}
	for t := range spec.Tasks {
		if filters(&spec.Tasks[t]) && reached[t] && !slices.ContainsFunc(c.order, func(o int) bool {
			return reach(slices.Clone(next[t]), next)[o] && analyses(spec.Tasks[o].Type)
		}) {
			c.add(yamlfile.Item("spec.tasks", t)+".name", "nothing analyses what the filter %q lets pass; link it to a task with models, or to one that leads there", spec.Tasks[t].Name)
		}
	}
	for t, on := range reached {
		if !on {
			c.add(yamlfile.Item("spec.tasks", t)+".name", "no frames reach task %q; link a source or a task that is reached to it", spec.Tasks[t].Name)
		}
	}
}

// sorted returns the tasks in topological order, those that could come at the
// same place as the document has them; tasks on or behind a cycle are missing.
func sorted(next [][]int) []int {
	waits := make([]int, len(next))
	for _, tos := range next {
		for _, t := range tos {
			waits[t]++
		}
	}
	var order []int
	for len(order) < len(next) {
		i := slices.Index(waits, 0)
		if i < 0 {
			break
		}
		waits[i] = -1 // taken
		order = append(order, i)
		for _, t := range next[i] {
			waits[t]--
		}
	}
	return order
}

// cycle reports one cycle, at the link that closes it.
func (c *checker) cycle(next [][]int) {
	var (
		path  []int
		state = make([]int, len(next)) // 0 new, 1 on the path, 2 done
		visit func(t int) []int
	)
	visit = func(t int) []int {
		if state[t] == 1 {
			return append(slices.Clone(path[slices.Index(path, t):]), t)
		}
		if state[t] == 2 {
			return nil
		}
		state[t], path = 1, append(path, t)
		for _, to := range next[t] {
			if found := visit(to); found != nil {
				return found
			}
		}
		state[t], path = 2, path[:len(path)-1]
		return nil
	}
	for t := range next {
		found := visit(t)
		if found == nil {
			continue
		}
		names := make([]string, len(found))
		for i, t := range found {
			names[i] = c.in.Spec.Tasks[t].Name
		}
		from, to := names[len(names)-2], names[len(names)-1]
		i := slices.IndexFunc(c.in.Spec.Links, func(l link) bool { return l.From == from && l.To == to })
		c.add(yamlfile.Item("spec.links", i), "the links make a cycle: %s; remove one of them", strings.Join(names, " → "))
		return
	}
}

// reach returns which tasks frames come to from the given ones.
func reach(from []int, next [][]int) []bool {
	reached := make([]bool, len(next))
	for len(from) > 0 {
		t := from[len(from)-1]
		from = from[:len(from)-1]
		if !reached[t] {
			reached[t] = true
			from = append(from, next[t]...)
		}
	}
	return reached
}

// resolution returns at which resolution a source is analysed: one that every
// analysis task on its way offers, the highest if the document names none.
func (c *checker) resolution(i int, way []bool) int {
	s, field := &c.in.Spec.Sources[i], yamlfile.Item("spec.sources", i)+".resolution"
	var (
		offered []int
		tasks   []string
	)
	for t := range c.in.Spec.Tasks {
		task := &c.in.Spec.Tasks[t]
		if _, known := operations[task.Type]; way[t] && !known {
			return 0 // reported already
		}
		if !way[t] || !analyses(task.Type) {
			continue
		}
		here := c.offers(task)
		if len(here) == 0 {
			return 0 // reported already
		}
		if len(tasks) == 0 {
			offered = here
		}
		offered = slices.DeleteFunc(offered, func(r int) bool { return !slices.Contains(here, r) })
		tasks = append(tasks, task.Name)
	}
	switch {
	case len(tasks) == 0:
		if slices.Contains(way, true) {
			c.add(field, "nothing analyses the frames of source %q; link it to a task with models", s.Name)
		}
	case len(offered) == 0:
		c.add(field, "the tasks %s, which analyse source %q, have no resolution in common", enumerate(tasks, "and"), s.Name)
	case s.Resolution == nil:
		return slices.Max(offered)
	case !slices.Contains(offered, *s.Resolution):
		c.add(field, "%s does not offer %d; use %s", enumerate(tasks, "and"), *s.Resolution, oneOf(texts(offered)))
	default:
		return *s.Resolution
	}
	return 0
}

// offers returns the resolutions of a task's models, ascending.
func (c *checker) offers(t *task) []int {
	var out []int
	for _, m := range t.Models {
		if known, ok := c.models.Lookup(m.Name); ok {
			out = append(out, m.offered(known)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
