package tiering

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Move plans how one placement of a workflow leaves the node that it is on, as
// Schedule would place it on the other nodes that are not draining. Everything
// else stays; Algorithm 4 may shrink what it stays beside.
//
// An instance of a task moves while it runs: the placement says From where, and
// its node serves until the new instance is up. Until then nothing is reserved
// for it there any more: a draining node gives the room to nobody. A source,
// which cannot run twice, moves at once.
//
// Without a plan, why says what it lacks. The same view, workflow and state of
// rng give the same plan.
func Move(v *View, w *Workflow, id string, rng *rand.Rand) (plan *Plan, why string) {
	s := newScheduler(v, w, rng)
	s.leaves = id
	leaving, why := s.stayBut(id)
	if why != "" {
		return nil, why
	}
	if leaving.Source {
		if why := s.moveSource(leaving); why != "" {
			return nil, why
		}
		return s.finish(), ""
	}
	task := slices.IndexFunc(w.Tasks, func(t Task) bool { return t.Name == leaving.Task })
	if task < 0 {
		return nil, "the workflow has no task " + leaving.Task + " any more"
	}
	in := instance{task: task, number: leaving.Instance, near: s.beside(task, leaving)}
	s.draft.drop(leaving)
	missing := []instance{in}
	s.turn(missing)
	err := s.reserve(missing)
	if err == nil {
		err = s.place(&missing[0])
	}
	if refused, ok := errors.AsType[*Refused](err); ok {
		return nil, refused.short()
	} else if err != nil {
		return nil, err.Error()
	}
	return s.finish(), ""
}

// stayBut keeps what the workflow has on live nodes, but for one placement,
// which it returns.
func (s *scheduler) stayBut(id string) (leaving *Placement, why string) {
	for i := range s.before {
		p := &s.before[i]
		n, alive := s.nodeOf(p)
		task := slices.IndexFunc(s.workflow.Tasks, func(t Task) bool { return t.Name == p.Task })
		switch {
		case p.ID == id:
			leaving = p
		case !alive:
		case p.Source:
			s.plan.Keep = append(s.plan.Keep, *p)
			s.hosts(p.Task, n)
		case task >= 0:
			s.plan.Keep = append(s.plan.Keep, *p)
			s.runs(task, n)
		}
	}
	if leaving == nil {
		return nil, "it is not placed"
	}
	s.old[id] = leaving
	return leaving, ""
}

// moveSource places a source elsewhere.
func (s *scheduler) moveSource(leaving *Placement) (why string) {
	src, ok := s.workflow.Source(leaving.Task)
	if !ok {
		return "the workflow has no source " + leaving.Task + " any more"
	}
	if src.Node != "" {
		return "it is attached to " + src.Node
	}
	n, reason := s.sourceNode(src, map[int32]int{})
	if n < 0 {
		return reason
	}
	to := &s.view.mesh.nodes[n]
	if to.ID == leaving.Node {
		return fmt.Sprintf("%s is not draining", to.ID)
	}
	s.plan.Place = append(s.plan.Place, Placement{
		ID: leaving.ID, Workflow: leaving.Workflow, Task: leaving.Task, Source: true,
		Node: to.ID, Tier: to.Tier, Reason: "source: " + reason,
	})
	return ""
}

// beside is what an instance is to be near to when it leaves its node: an entry
// task serves the source there, if that stays; nil: near its predecessors.
func (s *scheduler) beside(task int, leaving *Placement) []anchor {
	for _, src := range s.entrySources(task) {
		for _, a := range s.at[src.Name] {
			if s.view.mesh.nodes[a.node].ID == leaving.Node {
				return []anchor{a}
			}
		}
	}
	return nil
}

// from is the node that an instance moves from, which serves until the one on
// node to is up; empty: there is none that could, or it does not move. A node
// that is lost takes what ran there with it, and a task that asks for
// something else by now is not what serves.
func (s *scheduler) from(id string, c *class, to int32) string {
	p := s.old[id]
	if p == nil || p.From == "" && id != s.leaves || p.Category != c.category || p.Requested != c.ask {
		return ""
	}
	serving := p.Serves(func(node string) bool { _, ok := s.view.mesh.byID[node]; return ok })
	n, alive := s.view.mesh.byID[serving]
	if !alive || n == to || !c.able(n) {
		return ""
	}
	return serving
}
