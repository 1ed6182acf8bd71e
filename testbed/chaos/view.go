package chaos

import (
	"fmt"
	"slices"
	"time"
)

// staleAfter is how old the newest word of a node or coordinator may be to
// count. Each is asked several times in it.
const staleAfter = 2 * time.Second

// view is what is known at one moment of a round: the newest of everybody.
type view struct {
	plant  Plant
	at     time.Duration
	nodes  map[string]seenNode
	coords map[string]seenCoordinator
	heard  map[string]seenNode        // the newest of a node that answered
	states map[string]seenCoordinator // the newest with a state
	frames map[string]*delivery       // by source
}

type seenNode struct {
	NodeSeen
	at time.Duration
}

type seenCoordinator struct {
	CoordinatorSeen
	at time.Duration
}

// delivery follows the count of frames of a source.
type delivery struct {
	newest Frames
	known  bool
	looked time.Duration // the newest look
	last   time.Duration // the look that showed the newest delivered frame
	before time.Duration // the one before that, which did not show it
}

func newView(p Plant) *view {
	return &view{
		plant: p, nodes: map[string]seenNode{}, heard: map[string]seenNode{}, coords: map[string]seenCoordinator{},
		states: map[string]seenCoordinator{}, frames: map[string]*delivery{},
	}
}

// see takes the next observation.
func (v *view) see(o Observation) {
	v.at = o.At
	switch {
	case o.Node != nil:
		v.nodes[o.Node.Name] = seenNode{*o.Node, o.At}
		if o.Node.Answered {
			v.heard[o.Node.Name] = seenNode{*o.Node, o.At}
		}
		for _, f := range o.Node.Sources {
			d := v.frames[f.Source]
			if d == nil {
				d = &delivery{}
				v.frames[f.Source] = d
			}
			switch {
			case !d.known: // so it was when we began to look
			case f.Captured < d.newest.Captured && f.Delivered > 0, // started again
				f.Captured >= d.newest.Captured && f.Delivered > d.newest.Delivered:
				d.last, d.before = o.At, d.looked
			}
			d.newest, d.known, d.looked = f, true, o.At
		}
	case o.Coordinator != nil:
		c := seenCoordinator{*o.Coordinator, o.At}
		v.coords[c.Name] = c
		if c.State != nil {
			v.states[c.Name] = c
		}
	}
}

// lives reports whether a node is meant to do its work: it runs and is not
// paused.
func (v *view) lives(node string) bool {
	n, ok := v.nodes[node]
	return ok && n.Up && !n.Paused
}

// leader is who every living coordinator takes for the leader; empty: they do
// not agree, or nobody.
func (v *view) leader() string {
	leader := ""
	for _, name := range v.plant.Coordinators {
		if !v.lives(name) {
			continue
		}
		c, ok := v.coords[name]
		if !ok || !c.Answered || c.Leader == "" || v.at-c.at > staleAfter || leader != "" && leader != c.Leader {
			return ""
		}
		leader = c.Leader
	}
	return leader
}

// told is who tells what is wanted: the coordinator that takes itself for the
// leader, of several the one that knows most.
func (v *view) told() (s seenCoordinator, ok bool) {
	for _, name := range v.plant.Coordinators {
		c, known := v.states[name]
		if known && v.lives(name) && c.Leader == name && (!ok || c.Index > s.Index) {
			s, ok = c, true
		}
	}
	return s, ok
}

// running lists where each placement runs: starts and what ends already do not
// count. A node that just once does not answer has not stopped anything.
func (v *view) running() map[string][]string {
	out := map[string][]string{}
	for _, name := range v.plant.Nodes {
		now, n := v.nodes[name], v.heard[name]
		if !now.Up || n.PID != now.PID || v.at-n.at > staleAfter {
			continue
		}
		for _, i := range n.Instances {
			if i.Status != ended {
				out[i.ID] = append(out[i.ID], name)
			}
		}
	}
	return out
}

// ill says what is not well, the most telling first; empty: all is well. Frames
// must have been delivered since a moment. Nodes that do not live do not count,
// nor their cameras.
func (v *view) ill(since time.Duration) string {
	for _, name := range v.plant.Nodes {
		if n := v.nodes[name]; v.lives(name) && (!n.Answered || v.at-n.at > staleAfter) {
			return fmt.Sprintf("%s does not answer", name)
		}
	}
	leader := v.leader()
	switch {
	case leader == "":
		return "the coordinators have no leader that they agree on"
	case !v.lives(leader):
		return fmt.Sprintf("the coordinators take %s for their leader, which does not live", leader)
	}
	s, ok := v.states[leader]
	if !ok || s.at < since || v.at-s.at > staleAfter {
		return fmt.Sprintf("the leader %s does not say what it knows", leader)
	}
	if ill := v.illState(s.State); ill != "" {
		return ill
	}
	for _, src := range v.plant.Sources {
		if d := v.frames[src.Name]; v.lives(src.Node) && (d == nil || d.last <= since) {
			return fmt.Sprintf("no frame of %s is delivered", src.Name)
		}
	}
	return ""
}

// illState compares what the leader wants with what is.
func (v *view) illState(s *State) string {
	i := slices.IndexFunc(s.Workflows, func(w Workflow) bool { return w.Name == v.plant.Workflow })
	if i < 0 {
		return fmt.Sprintf("the leader knows no workflow %s", v.plant.Workflow)
	}
	away := slices.ContainsFunc(v.plant.Nodes, func(n string) bool { return !v.lives(n) && v.plant.hasSource(n) })
	if w := s.Workflows[i]; w.Status != "running" && !away {
		return fmt.Sprintf("workflow %s is %s", w.Name, w.Status)
	}
	running := v.running()
	placed := 0
	for _, m := range s.Nodes {
		for _, i := range v.nodes[m.Name].Instances {
			if v.lives(m.Name) && i.Status != ended && !slices.Contains(m.Placements, i.ID) {
				return fmt.Sprintf("%s runs on %s, which is not wanted", i.ID, m.Name)
			}
		}
		if v.lives(m.Name) && m.Status != "alive" {
			return fmt.Sprintf("%s lives, and the leader takes it for %s", m.Name, m.Status)
		}
		for _, id := range m.Placements {
			placed++
			switch at := running[id]; {
			case !v.lives(m.Name) && v.plant.hasSource(m.Name):
				// Its camera is nowhere else. What feeds on it may wait there, too.
			case !v.lives(m.Name):
				return fmt.Sprintf("%s is still placed on %s, which does not live", id, m.Name)
			case len(at) == 0 || !slices.Contains(at, m.Name):
				return fmt.Sprintf("%s is placed on %s and does not run there", id, m.Name)
			case len(at) > 1:
				return fmt.Sprintf("%s runs on %v at once", id, at)
			case v.status(m.Name, id) != "running":
				return fmt.Sprintf("%s on %s is %s", id, m.Name, v.status(m.Name, id))
			}
		}
	}
	if placed == 0 {
		return "nothing is placed"
	}
	return ""
}

func (v *view) status(node, id string) string {
	for _, i := range v.nodes[node].Instances {
		if i.ID == id {
			return i.Status
		}
	}
	return "missing"
}

// agree says how the living coordinators differ; empty: they know the same at
// the same index.
func (v *view) agree() string {
	first := ""
	for _, name := range v.plant.Coordinators {
		s, ok := v.states[name]
		switch {
		case !v.lives(name):
			continue
		case !ok || v.at-s.at > staleAfter:
			return fmt.Sprintf("%s does not say what it knows", name)
		case first == "":
			first = name
			continue
		}
		a, b := v.states[first], s
		if a.Index != b.Index {
			return fmt.Sprintf("%s is at index %d, %s at %d", first, a.Index, name, b.Index)
		}
		if d := difference(a.State, b.State); d != "" {
			return fmt.Sprintf("%s and %s differ at index %d: %s", first, name, a.Index, d)
		}
	}
	return ""
}

// difference names the first thing in which two states differ.
func difference(a, b *State) string {
	if !slices.EqualFunc(a.Workflows, b.Workflows, func(x, y Workflow) bool {
		return x.Name == y.Name && x.Version == y.Version && x.Status == y.Status && x.Instances == y.Instances && x.Submitted.Equal(y.Submitted)
	}) {
		return fmt.Sprintf("workflows %v and %v", a.Workflows, b.Workflows)
	}
	if !slices.EqualFunc(a.Nodes, b.Nodes, func(x, y Member) bool {
		return x.Name == y.Name && x.Status == y.Status && slices.Equal(x.Placements, y.Placements)
	}) {
		return fmt.Sprintf("nodes %v and %v", a.Nodes, b.Nodes)
	}
	return ""
}
