package tiering

import "slices"

// placeSources keeps or places the workflow's sources. A source that is
// attached to a dead node stays unplaced and the workflow goes on without it:
// its camera is not to be had elsewhere.
func (s *scheduler) placeSources() {
	for i := range s.before {
		s.old[s.before[i].ID] = &s.before[i]
	}
	var missing []*Source
	for i := range s.workflow.Sources {
		src := &s.workflow.Sources[i]
		p, ok := s.old[SlotID(s.workflow.Name, src.Name, 0)]
		if n, alive := s.nodeOf(p); ok && alive && p.Source && s.suits(src, n) {
			s.keep(p)
			s.hosts(src.Name, n)
		} else {
			missing = append(missing, src)
		}
	}
	fresh := map[int32]int{} // sources of this plan, by node
	for _, src := range missing {
		n, reason := s.sourceNode(src, fresh)
		if n < 0 {
			s.plan.Unplaced = append(s.plan.Unplaced, Unplaced{src.Name, reason})
			continue
		}
		fresh[n]++
		s.plan.Place = append(s.plan.Place, Placement{
			ID: SlotID(s.workflow.Name, src.Name, 0), Workflow: s.workflow.Name, Task: src.Name, Source: true,
			Node: s.view.mesh.nodes[n].ID, Tier: s.view.mesh.nodes[n].Tier, Reason: "source: " + reason,
		})
		s.hosts(src.Name, n)
	}
}

// suits reports whether the source may run on the node.
func (s *scheduler) suits(src *Source, n int32) bool {
	if src.Node != "" {
		return s.view.mesh.nodes[n].ID == src.Node
	}
	return s.view.mesh.nodes[n].Tier == Edge
}

// sourceNode is where a source is to run, or -1, and why: its own node, else
// the edge node with the fewest sources, then with most free, then drawn.
func (s *scheduler) sourceNode(src *Source, fresh map[int32]int) (int32, string) {
	if src.Node != "" {
		n, ok := s.view.mesh.byID[src.Node]
		switch {
		case !ok:
			return -1, "node " + src.Node + " is not alive"
		case s.view.mesh.draining.has(n):
			return -1, "node " + src.Node + " is draining"
		}
		return n, "attached to " + src.Node
	}
	var best []int32
	var fewest int
	var free int64
	for _, n := range s.view.hosts { // fewest sources, then most free, first
		if s.view.mesh.draining.has(n) {
			continue
		}
		l := s.view.loads[n]
		if len(best) > 0 && l.sources > fewest || len(best) >= maxCandidates && l.sources == fewest {
			break // nobody further on has fewer
		}
		switch c := l.sources + fresh[n]; {
		case len(best) == 0 || c < fewest || c == fewest && l.free.CPU > free:
			best, fewest, free = append(best[:0], n), c, l.free.CPU
		case c == fewest && l.free.CPU == free:
			best = append(best, n)
		}
	}
	switch len(best) {
	case 0:
		if len(s.view.hosts) > 0 {
			return -1, "every edge node that is alive is draining"
		}
		return -1, "no edge node is alive: start one, or name the source's node"
	case 1:
		return best[0], s.view.mesh.nodes[best[0]].ID + " has the fewest sources of the edge"
	}
	n := best[s.rng.IntN(len(best))]
	return n, s.view.mesh.nodes[n].ID + " drawn from " + count(len(best), "edge node") + " with the fewest sources"
}

// keepTasks keeps the task placements that are still wanted, gives back what
// the others hold, and lists the instances that are missing, in the order of
// the tasks.
func (s *scheduler) keepTasks() []instance {
	index := make(map[string]int, len(s.workflow.Tasks))
	for i := range s.workflow.Tasks {
		index[s.workflow.Tasks[i].Name] = i
	}
	valid := make([][]*Placement, len(s.workflow.Tasks)) // by instance, since before is
	for i := range s.before {
		p := &s.before[i]
		if t, ok := index[p.Task]; ok && !p.Source && s.valid(t, p) {
			valid[t] = append(valid[t], p)
		}
	}
	var missing []instance
	for t := range s.workflow.Tasks {
		kept, wanted := s.replicas(t, valid[t])
		if sources := s.entrySources(t); sources != nil {
			kept, wanted = s.perHost(t, valid[t], sources)
		}
		for _, p := range kept {
			n, _ := s.nodeOf(p)
			s.keep(p)
			s.runs(t, n)
		}
		missing = append(missing, wanted...)
	}
	for i := range s.before {
		if p := &s.before[i]; s.old[p.ID] != nil && !p.Source {
			s.draft.drop(p)
		}
	}
	return missing
}

// valid reports whether a placement is what would be asked for today.
func (s *scheduler) valid(task int, p *Placement) bool {
	n, alive := s.nodeOf(p)
	c := s.classes[task]
	return alive && p.Category == c.category && p.Requested == c.ask && c.able(n) &&
		!(c.category.Intensive() && s.view.mesh.nodes[n].Tier == Edge)
}

// replicas keeps instances 0 to Replicas-1 and wants the missing ones.
func (s *scheduler) replicas(task int, valid []*Placement) (kept []*Placement, wanted []instance) {
	n := max(1, s.workflow.Tasks[task].Replicas)
	for _, p := range valid {
		if p.Instance < n {
			kept = append(kept, p)
		}
	}
	for i := range n {
		if !slices.ContainsFunc(kept, func(p *Placement) bool { return p.Instance == i }) {
			wanted = append(wanted, instance{task: task, number: i})
		}
	}
	return kept, wanted
}

// entrySources are the sources that feed an entry task of category NI, at once
// or through filters; nil for other tasks.
func (s *scheduler) entrySources(task int) []*Source {
	if s.classes[task].category != NI {
		return nil
	}
	return s.workflow.feeders(s.workflow.Tasks[task].Group)
}

// perHost wants one instance of an entry task for each node that hosts one of
// its sources (section VII: eleven of resize, one for each edge node), and
// more if Replicas asks for more. With no source placed it wants none.
//
// Instances are not tied to hosts by number, since hosts come and go: one that
// is on a host serves it, any other serves the nearest host without. As many as
// there are sources are kept even when hosts are fewer: a lost node stops
// nothing on other nodes, and its return starts nothing but what it lost.
func (s *scheduler) perHost(task int, valid []*Placement, sources []*Source) (kept []*Placement, wanted []instance) {
	t := &s.workflow.Tasks[task]
	var open []anchor // hosts without an instance
	for _, src := range sources {
		for _, at := range s.at[src.Name] {
			if !slices.ContainsFunc(open, func(a anchor) bool { return a.node == at.node }) {
				open = append(open, at)
			}
		}
	}
	hosts := slices.Clone(open)
	if len(hosts) == 0 && len(valid) == 0 {
		s.plan.Unplaced = append(s.plan.Unplaced, Unplaced{t.Name, "none of its sources has a node"})
		return nil, nil
	}

	var spare []*Placement
	for _, p := range valid {
		n, _ := s.nodeOf(p)
		if i := slices.IndexFunc(open, func(a anchor) bool { return a.node == n }); i >= 0 {
			open = slices.Delete(open, i, i+1)
			kept = append(kept, p)
		} else {
			spare = append(spare, p)
		}
	}
	limit := max(t.Replicas, len(sources))
	spare = spare[:min(len(spare), limit-len(kept))]
	for _, p := range spare {
		if n, _ := s.nodeOf(p); len(open) > 0 {
			i := s.view.nearest(n, open)
			open = slices.Delete(open, i, i+1)
		}
	}
	kept = append(kept, spare...)

	number := 0
	want := func(host anchor) {
		for slices.ContainsFunc(kept, func(p *Placement) bool { return p.Instance == number }) {
			number++
		}
		wanted = append(wanted, instance{task: task, number: number, near: []anchor{host}})
		number++
	}
	for _, host := range open {
		want(host)
	}
	for i := len(kept) + len(wanted); i < t.Replicas && len(hosts) > 0; i++ {
		want(hosts[i%len(hosts)])
	}
	return kept, wanted
}

func (s *scheduler) keep(p *Placement) {
	s.plan.Keep = append(s.plan.Keep, *p)
	delete(s.old, p.ID)
}

func (s *scheduler) hosts(source string, n int32) {
	s.at[source] = []anchor{{node: n, name: source, source: true}}
}

// nodeOf returns the live node of a placement, which may be nil.
func (s *scheduler) nodeOf(p *Placement) (int32, bool) {
	if p == nil {
		return 0, false
	}
	n, ok := s.view.mesh.byID[p.Node]
	return n, ok
}
