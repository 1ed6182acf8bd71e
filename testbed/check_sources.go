package testbed

import (
	"slices"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/tiering"
)

const (
	maxSources = 1000 // of a workflow
	maxFPS     = 1000
)

// sources expands the sources, and those that the timeline adds. What the
// workflow document knows of sources, too, is checked with that.
func (c *checker) sources() bool {
	before := len(c.problems)
	taken := map[string]bool{}
	for i := range c.in.Spec.Sources {
		in, field := &c.in.Spec.Sources[i], yamlfile.Item("spec.sources", i)
		nodes := c.places(field+".on", in.On)
		if n := or(in.Count, 1); n < 1 || n > maxSources {
			c.add(field+".count", "%d is out of range; use 1 to %d", n, maxSources)
			continue
		}
		if len(c.s.Sources)+or(in.Count, 1) > maxSources {
			c.add(field, "more than %d sources; use fewer", maxSources)
			return false
		}
		if !(in.FPS > 0 && in.FPS <= maxFPS) {
			c.add(field+".fps", "%g is out of range; use a rate above 0 and at most %d frames a second", in.FPS, maxFPS)
		}
		for k, name := range names(in.Name, in.Count) {
			if taken[name] {
				c.add(field+".name", "there is a source %q already; names must differ", name)
				break
			}
			taken[name] = true
			if len(nodes) > 0 {
				c.s.Sources = append(c.s.Sources, in.expand(name, nodes, k))
				c.entries = append(c.entries, i)
			}
		}
	}
	if len(c.problems) > before {
		return false
	}
	c.reserve(taken)
	return true
}

// expand is the k-th source of the entry, from 0.
func (in *sourceForm) expand(name string, nodes []string, k int) Source {
	return Source{Name: name, URI: in.URI, Node: nodes[k%len(nodes)], FPS: in.FPS, Resolution: or(in.Resolution, 0)}
}

// places lists the nodes that sources may be attached to, in the scenario's
// order within a tier; nil after a mistake.
func (c *checker) places(field string, on places) []string {
	if on == nil {
		on = places{tiering.Edge.String()}
	}
	var out []string
	for _, word := range on {
		end, ok := c.end(field, word)
		if !ok {
			return nil
		}
		found := false
		for _, n := range c.s.Nodes {
			if end.holds(n) {
				found = true
				if slices.Contains(out, n.Name) {
					c.add(field, "%s is listed twice", n.Name)
					return nil
				}
				out = append(out, n.Name)
			}
		}
		if !found {
			c.add(field, "there is no node in the tier %s; name another, or nodes", word)
			return nil
		}
	}
	return out
}

// reserve makes the sources that the timeline adds to those of the start: as
// many as ever run at once.
func (c *checker) reserve(taken map[string]bool) {
	run, most := len(c.s.Sources), len(c.s.Sources)
	if run == 0 {
		return // timeline reports changes of what there is none of
	}
	order := c.byTime()
	for _, i := range order {
		if d := c.in.Spec.Timeline[i].Sources; d != nil {
			run = max(run+int(*d), 1)
			most = max(most, run)
		}
	}
	last := len(c.in.Spec.Sources) - 1
	in := &c.in.Spec.Sources[last]
	for k := or(in.Count, 1); len(c.s.Sources)+len(c.s.Reserve) < min(most, maxSources); k++ {
		name := numbered(in.Name, k+1)
		if taken[name] {
			c.add(yamlfile.Item("spec.sources", last)+".name",
				"the source that the timeline adds would be %q, which there is already; use another name here", name)
			return
		}
		c.s.Reserve = append(c.s.Reserve, in.expand(name, c.places("", in.On), k))
		c.entries = append(c.entries, last)
	}
}
