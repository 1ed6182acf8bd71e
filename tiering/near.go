package tiering

import (
	"fmt"
	"time"
)

// nearSlack is how much further than the nearest still counts as equally near,
// for each predecessor. Round trips are estimates: Serf's coordinates are off
// by about that much inside a data centre, and a choice should not hang on
// noise.
const nearSlack = time.Millisecond

// anchor is what a task should be near to: an instance of a predecessor.
type anchor struct {
	node   int32
	name   string // of the source or task, for people
	source bool
}

// maxAnchors bounds the round trips looked up for one task. Distinct nodes
// count, in the order of the links and instances.
const maxAnchors = 8

func addAnchor(to []anchor, a anchor) []anchor {
	if len(to) >= maxAnchors {
		return to
	}
	for i := range to {
		if to[i].node == a.node {
			return to
		}
	}
	return append(to, a)
}

// distance is how far a node is from a set of anchors. Distances from the same
// set are compared field by field, in this order: "measured round trip, then
// tier" (Algorithm 3, step 8).
type distance struct {
	unknown int           // anchors to which the round trip is not known
	rtt     time.Duration // sum over the others
	apart   int           // anchors on other nodes
	tiers   int           // sum of tier distances
}

func (v *View) distance(n int32, anchors []anchor) distance {
	var d distance
	for i := range anchors {
		a := anchors[i].node
		if a == n {
			continue
		}
		d.apart++
		d.tiers += Distance(v.mesh.nodes[a].Tier, v.mesh.nodes[n].Tier)
		if rtt, ok := v.roundTrip(a, n); ok {
			d.rtt += rtt
		} else {
			d.unknown++
		}
	}
	return d
}

func (v *View) roundTrip(a, b int32) (time.Duration, bool) {
	if v.rtt == nil {
		return 0, false
	}
	return v.rtt(v.mesh.nodes[a].ID, v.mesh.nodes[b].ID)
}

// nearest returns which of the anchors, at least one, is nearest to a node.
func (v *View) nearest(n int32, anchors []anchor) int {
	best, closest := 0, v.distance(n, anchors[:1])
	for i := 1; i < len(anchors); i++ {
		if d := v.distance(n, anchors[i:i+1]); d.less(closest) {
			best, closest = i, d
		}
	}
	return best
}

// nearness says for people how near a node is to the nearest of its anchors:
// "source gate (same node)", "detect@512 (fog-1, 4.1 ms)".
func (v *View) nearness(n int32, anchors []anchor) string {
	i := v.nearest(n, anchors)
	a, d := anchors[i], v.distance(n, anchors[i:i+1])
	name := a.name
	if a.source {
		name = "source " + name
	}
	switch {
	case a.node == n:
		return name + " (same node)"
	case d.unknown == 0:
		return fmt.Sprintf("%s (%s, %.1f ms)", name, v.mesh.nodes[a.node].ID, d.rtt.Seconds()*1000)
	case d.tiers == 0:
		return fmt.Sprintf("%s (%s, same tier)", name, v.mesh.nodes[a.node].ID)
	}
	return fmt.Sprintf("%s (%s, %s away)", name, v.mesh.nodes[a.node].ID, count(d.tiers, "tier"))
}

func (d distance) less(o distance) bool {
	switch {
	case d.unknown != o.unknown:
		return d.unknown < o.unknown
	case d.rtt != o.rtt:
		return d.rtt < o.rtt
	case d.apart != o.apart:
		return d.apart < o.apart
	}
	return d.tiers < o.tiers
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
