package survey

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/adaptation/quality"
	"github.com/weft-mesh/weft/tiering"
)

// path is the way of frames that the task analyses.
func (s *surveyor) path(analysis *tiering.Task) (quality.Path, error) {
	path := quality.Path{{Task: "capture", Execution: quality.Visit{Delay: s.Costs.Capture}}}
	from, apart := s.sources, true
	s.analysed = false
	for i := range s.groups {
		g := &s.groups[i]
		task := g.tasks[0]
		if g.analyses {
			task = analysis
		}
		here, name := s.placed[task.Name], task.Name
		if s.analysed {
			if here = s.pools[g.name][analysis.Name]; s.several(g.name) {
				name += " on " + names(here)
			}
		}
		if len(here) == 0 {
			return nil, fmt.Errorf("%w: no instance of %s runs", ErrUnknown, task.Name)
		}
		step := quality.Step{Task: task.Name}
		step.Transfer = s.link(g, task, from, here, apart)
		beside := apart && len(here) > 1 && edge(here)
		service, ok := s.service(g, task, here)
		if !ok {
			return nil, fmt.Errorf("%w: no frame has passed %s yet", ErrUnknown, g.name)
		}
		station := quality.Station{Name: name, Servers: len(here)}
		if beside {
			station = own(station, share(len(s.sources), len(here)))
		}
		s.station(station)
		step.Execution = quality.Visit{Station: station.Name, Service: service}
		if !beside {
			step.Nodes = s.crowded(task, here, service)
		}
		path = append(path, step)
		s.analysed = s.analysed || g.analyses
		from, apart = here, beside
	}
	return path, nil
}

// crowded are the nodes among those of a task's instances that do less at a time than
// there are instances on them: stations that all tasks on them share, each of which
// gets its share of the task's frames.
func (s *surveyor) crowded(t *tiering.Task, here []tiering.Placement, service time.Duration) []quality.Visit {
	var out []quality.Visit
	for _, n := range nodes(here) {
		takes, at := s.Costs.Execute[t.Name][n], float64(s.Costs.Turns[t.Name][n])
		if cores, alone := s.Costs.Cores[n], s.Costs.Alone[t.Name][n]; cores > 0 && (alone > 0 || at > 0) {
			takes, at = alone, cores
		}
		if at == 0 {
			continue
		}
		if takes == 0 { // it was not measured there
			takes = service
		}
		count := 0
		for _, p := range here {
			if p.Node == n {
				count++
			}
		}
		servers := max(1, math.Ceil(at-0.1)) // what is learnt is no better known
		station := "processors of " + n
		s.station(quality.Station{Name: station, Servers: int(servers)})
		share := float64(count) / float64(len(here)) * servers / at
		out = append(out, quality.Visit{Station: station, Service: time.Duration(share * float64(takes))})
	}
	return out
}

// discover leaves of the placements those that frames get to.
func (s *surveyor) discover() {
	from := s.sources
	for _, g := range s.groups {
		var next []tiering.Placement
		for _, t := range g.tasks {
			s.placed[t.Name] = s.found(from, s.placed[t.Name])
			next = append(next, s.placed[t.Name]...)
		}
		if len(next) > 0 {
			from = next
		}
	}
	s.pool()
}

// pool finds who shares which instances of the groups after analysis: what a
// detector sends on goes to those near it, which may be others than those near
// another detector.
func (s *surveyor) pool() {
	s.pools = map[string]map[string][]tiering.Placement{}
	at := map[string][]tiering.Placement{} // where frames are, by the task that analysed them
	var order []string
	for _, g := range s.groups {
		if g.analyses {
			for _, t := range g.tasks {
				if here := s.placed[t.Name]; len(here) > 0 {
					order, at[t.Name] = append(order, t.Name), here
				}
			}
			continue
		}
		if len(order) == 0 {
			continue
		}
		var shared [][]tiering.Placement
		of := map[string]int{} // in shared
		for _, name := range order {
			mine := s.found(at[name], s.placed[g.tasks[0].Name])
			of[name] = len(shared)
			for i := range shared { // who has one in common has all in common
				if overlap(shared[i], mine) {
					mine = union(shared[i], mine)
					shared[i] = nil
					for k, v := range of {
						if v == i {
							of[k] = len(shared)
						}
					}
				}
			}
			shared = append(shared, mine)
		}
		s.pools[g.name] = map[string][]tiering.Placement{}
		for _, name := range order {
			s.pools[g.name][name] = shared[of[name]]
			at[name] = shared[of[name]]
		}
	}
}

// several reports whether the qualities do not all share one pool of a group.
func (s *surveyor) several(group string) bool {
	seen := map[string]bool{}
	for _, p := range s.pools[group] {
		seen[names(p)] = true
	}
	return len(seen) > 1
}

func overlap(a, b []tiering.Placement) bool {
	return slices.ContainsFunc(a, func(p tiering.Placement) bool {
		return slices.ContainsFunc(b, func(o tiering.Placement) bool { return o.ID == p.ID || o.Node == p.Node })
	})
}

func union(a, b []tiering.Placement) []tiering.Placement {
	out := slices.Clone(a)
	for _, p := range b {
		if !slices.ContainsFunc(out, func(o tiering.Placement) bool { return o.ID == p.ID }) {
			out = append(out, p)
		}
	}
	return out
}

// names are the nodes of placements, in their own order.
func names(ps []tiering.Placement) string {
	all := nodes(ps)
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// found are the instances that frames go to from there: discovery goes to the
// nearest, so that those farther away stand idle.
func (s *surveyor) found(from, to []tiering.Placement) []tiering.Placement {
	offers := make([]tiering.Offer, len(to))
	for i, p := range to {
		offers[i] = tiering.Offer{Instance: p.ID, Node: p.Node, Tier: p.Tier}
	}
	used, asked := map[string]bool{}, map[string]bool{}
	for _, p := range from {
		if asked[p.Node] || len(used) == len(to) {
			continue
		}
		asked[p.Node] = true
		for _, o := range tiering.Nearest(tiering.Data{}, p.Node, p.Tier, offers, s.RTT) {
			used[o.Instance] = true
		}
	}
	var out []tiering.Placement
	for _, p := range to {
		if used[p.ID] {
			out = append(out, p)
		}
	}
	return out
}

// own is the station as each few sources have one.
func own(st quality.Station, sources int) quality.Station {
	st.Servers, st.Each = 1, sources
	st.Variability = variability(sources)
	return st
}

// variability is that of the frames of so many sources. Those of one camera come at
// even distances and hardly ever meet; those of many in no step, like chance.
func variability(sources int) float64 { return 0.5 * max(0.1, 1-1/float64(sources)) }

// link is what frames pass on their way to a task from where the last step was.
// Those that have an instance on their own node stay there. It is the uplink of
// where they come from, which all the qualities share that come from there.
func (s *surveyor) link(g *group, t *tiering.Task, from, here []tiering.Placement, apart bool) []quality.Visit {
	var away []tiering.Placement
	near := nodes(here)
	for _, p := range from {
		if !slices.Contains(near, p.Node) {
			away = append(away, p)
		}
	}
	if len(away) == 0 {
		return nil
	}
	senders := nodes(away)
	name := "to " + g.name
	if s.analysed {
		slices.Sort(senders)
		name += " from " + strings.Join(senders, ", ")
	}
	station := quality.Station{Name: name, Servers: len(senders)}
	if apart {
		station = own(station, share(len(s.sources), len(senders)))
	}
	if len(senders) == 1 {
		station.Each = 0 // all share it
	}
	s.station(station)
	w := s.way(g, t, from, here)
	scale := func(d time.Duration) time.Duration {
		return time.Duration(float64(d) * float64(len(away)) / float64(len(from)))
	}
	return []quality.Visit{{Station: station.Name, Service: scale(w.send), Delay: scale(w.propagate)}}
}

func (s *surveyor) station(st quality.Station) {
	if !slices.ContainsFunc(s.stations, func(o quality.Station) bool { return o.Name == st.Name }) {
		if len(s.sources) == 1 {
			st.Variability = variability(1)
		}
		s.stations = append(s.stations, st)
	}
}

// service is the mean time that the instances take for a frame. Of one whose
// node has not been seen at work it is what was profiled there; without that, it
// counts like the others, or like those on other nodes if none was seen.
func (s *surveyor) service(g *group, t *tiering.Task, here []tiering.Placement) (time.Duration, bool) {
	measured := s.Costs.Execute[t.Name]
	var known []time.Duration
	for _, p := range here {
		d := measured[p.Node]
		if alone := s.Costs.Alone[t.Name][p.Node]; s.Costs.Cores[p.Node] > 0 && alone > 0 {
			d = alone // the rest is the wait for the node
		}
		if d <= 0 && s.Profiled != nil {
			d, _ = s.Profiled(p.Node, t)
		}
		if d > 0 {
			known = append(known, d)
		}
	}
	if len(known) > 0 {
		_, pooled := quality.Pool(known...)
		return pooled, true
	}
	anywhere := func(o *tiering.Task) (time.Duration, bool) {
		var all []time.Duration
		for _, d := range s.Costs.Execute[o.Name] {
			if d > 0 {
				all = append(all, d)
			}
		}
		_, pooled := quality.Pool(all...)
		return pooled, len(all) > 0
	}
	if d, ok := anywhere(t); ok {
		return d, true
	}
	d, from := s.scaled(g, t, anywhere)
	return d, from != nil
}

// way is what frames take to a task on another node: equation 2.
type way struct{ send, propagate time.Duration } // size over bandwidth; what the link is not taken for

// way is as it was measured, or as long as the way to another task of the group
// is: of that, what frames take to be sent goes with their size. Where nothing was
// sent yet, that is not known, and taken for nothing.
func (s *surveyor) way(g *group, t *tiering.Task, from, here []tiering.Placement) way {
	half := func(o *tiering.Task) time.Duration {
		to := s.placed[o.Name]
		if o.Name == t.Name {
			to = here
		}
		return s.roundTrip(from, to) / 2
	}
	link := func(o *tiering.Task) (time.Duration, bool) {
		if d, ok := s.Costs.Link[o.Name]; ok {
			return d, true
		}
		d, ok := s.Costs.Transfer[o.Name]
		return d, ok
	}
	send := func(o *tiering.Task) (time.Duration, bool) {
		d, ok := link(o)
		return max(0, d-half(o)), ok
	}
	handle := func(o *tiering.Task) (time.Duration, bool) { // encode, at the sender
		d, ok := s.Costs.Link[o.Name]
		return max(0, s.Costs.Transfer[o.Name]-d), ok
	}
	estimate := func(of func(*tiering.Task) (time.Duration, bool)) time.Duration {
		d, ok := of(t)
		if !ok {
			d, _ = s.scaled(g, t, of)
		}
		return d
	}
	propagate := half(t)
	if d, ok := link(t); ok {
		propagate = min(propagate, d)
	}
	return way{estimate(send), propagate + estimate(handle)}
}

// scaled estimates what was not measured of a task from the task of the same
// group that is nearest in resolution, of the same model if there is one: both
// work and bytes go with the number of pixels. It says which task that was; nil:
// none was measured.
func (s *surveyor) scaled(g *group, t *tiering.Task, measured func(*tiering.Task) (time.Duration, bool)) (best time.Duration, from *tiering.Task) {
	distance := 0.0
	for _, o := range g.tasks {
		d, ok := measured(o)
		if !ok || o.Model == nil || t.Model == nil {
			continue
		}
		ratio := float64(t.Model.Resolution) / float64(o.Model.Resolution)
		far := max(ratio, 1/ratio)
		if o.Model.Name != t.Model.Name {
			far += 100
		}
		if from == nil || far < distance {
			from, distance, best = o, far, time.Duration(float64(d)*ratio*ratio)
		}
	}
	return best, from
}

// roundTrip is the mean between different nodes of the two sets; 0: not known.
func (s *surveyor) roundTrip(from, to []tiering.Placement) time.Duration {
	var sum time.Duration
	n := 0
	for _, a := range nodes(from) {
		for _, b := range nodes(to) {
			if a == b || s.RTT == nil {
				continue
			}
			if d, ok := s.RTT(a, b); ok {
				sum += d
				n++
			}
		}
	}
	if n == 0 {
		return 0
	}
	return sum / time.Duration(n)
}

func nodes(ps []tiering.Placement) []string {
	var out []string
	for _, p := range ps {
		if !slices.Contains(out, p.Node) {
			out = append(out, p.Node)
		}
	}
	return out
}

func edge(ps []tiering.Placement) bool {
	return !slices.ContainsFunc(ps, func(p tiering.Placement) bool { return p.Tier != tiering.Edge })
}

// share is how many of the sources come to one of so many, at most.
func share(sources, among int) int { return (sources + among - 1) / among }
