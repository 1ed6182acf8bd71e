package sim

import "github.com/weft-mesh/weft/coordinator/planner"

// progress is what the leader hears of moves from the agents' reports.
type progress struct{ *control }

var _ planner.Progress = progress{}

// Up implements planner.Progress.
func (p progress) Up(placement, node string, since uint64) bool {
	n, ok := p.hears(node)
	if !ok || p.agents[n].matched < since {
		return false
	}
	r, runs := p.agents[n].running[placement]
	if !runs {
		return false
	}
	if r.feed != none {
		return true
	}
	x := &p.instances[r.instance]
	return x.ready && !x.stopping && !x.ended
}

// Follows implements planner.Progress.
func (p progress) Follows(node string, index uint64) bool {
	n, ok := p.hears(node)
	return ok && p.agents[n].matched >= index
}

// hears is false for a node whose reports do not reach the leader.
func (p progress) hears(node string) (int32, bool) {
	n, ok := p.number[node]
	return n, ok && p.leader != none && p.nodes[n].running() && p.joined[n][p.leader]
}
