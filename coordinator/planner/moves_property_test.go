package planner

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// TestMovesNeverBreak drains nodes at random, under changing leaders, with
// agents that hear of things late and instances that take their time to start.
// What runs on a node and what was last said of it are two things: it stops, or
// crashes with all else there, and its last report still says that it is up. By
// whatever the camera's node has heard of, frames go to an instance of the
// detector that is up. In the end it is where it can be.
func TestMovesNeverBreak(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, l := newBare(t)
		members := []tiering.Member{member("edge-1", tiering.Edge, 1, tiering.NodeAlive)}
		ids := []string{"fog-1", "fog-2", "cloud-1"}
		for _, id := range ids {
			tier := tiering.Fog
			if id == "cloud-1" {
				tier = tiering.Cloud
			}
			members = append(members, member(id, tier, 2, tiering.NodeAlive))
		}
		must := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		must(l.ReconcileNodes(t.Context(), members, start))
		w := workflow("people")
		w.Sources[0].Node = "edge-1"
		_, _, err := l.Submit(t.Context(), w, "", start)
		must(err)

		// What agents run and know: the state as each has last heard of it.
		heard := map[string][]tiering.Assignment{}
		a := newAgents()
		asOf := map[string]uint64{}
		running := map[string]bool{} // nodes on which the detector runs
		dead := map[string]bool{}
		hear := func(n string) {
			if dead[n] {
				return
			}
			heard[n], asOf[n] = b.Snapshot().Assignments(n), b.Snapshot().Revision()
			has := slices.ContainsFunc(heard[n], func(x tiering.Assignment) bool { return x.Placement.ID == detector })
			running[n] = running[n] && has
		}
		up := func(n string) {
			if slices.ContainsFunc(heard[n], func(x tiering.Assignment) bool { return x.Placement.ID == detector }) {
				running[n] = true
			}
		}
		report := func(n string) {
			if !dead[n] {
				a.follows[n], a.up[detector+" on "+n] = asOf[n], running[n]
			}
		}
		sends := func() string { // where the camera's node sends frames
			for _, as := range heard["edge-1"] {
				if as.Source != nil && len(as.Next) == 1 {
					return as.Next[0].Node
				}
			}
			return ""
		}
		crash := func(n string) {
			heard[n], asOf[n], running[n], dead[n] = nil, 0, false, true
			_, err := b.Apply(&state.SetNodeStatus{Node: n, Status: tiering.NodeFailed, At: start})
			must(err)
		}
		back := func(n string) {
			dead[n] = false
			_, err := b.Apply(&state.SetNodeStatus{Node: n, Status: tiering.NodeAlive, At: start})
			must(err)
		}
		all := append([]string{"edge-1"}, ids...)
		for _, n := range all {
			hear(n)
			up(n)
			report(n)
		}
		serves := func() {
			if !running[sends()] {
				rt.Fatalf("frames go to %q, and it runs on %v", sends(), running)
			}
		}
		// Most of what happens concerns the nodes between which it moves.
		one := func(rt *rapid.T) string {
			p := placement(b, detector)
			from := p.From
			if from == "" {
				from = p.Node
			}
			return rapid.SampledFrom(append([]string{p.Node, p.Node, from, from}, ids...)).Draw(rt, "node")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"drain": func(rt *rapid.T) {
				id := one(rt)
				to := placement(b, detector).Node
				for range rapid.IntRange(1, 2).Draw(rt, "times") {
					n, _ := b.Snapshot().Node(id)
					drain(t, b, id, !n.Drain)
					if rapid.Bool().Draw(rt, "heard") {
						hear(to)
					}
				}
			},
			"agent": func(rt *rapid.T) {
				n, how := one(rt), rapid.IntRange(0, 7).Draw(rt, "how")
				if how&1 == 0 {
					hear(n)
				}
				if how&2 == 0 {
					up(n)
				}
				if how&4 == 0 {
					report(n)
				}
			},
			"camera": func(*rapid.T) {
				hear("edge-1")
				report("edge-1")
			},
			"leader": func(*rapid.T) { l = New(b, nil, l.log) },
			"crash": func(rt *rapid.T) {
				// The loss of what frames go to is no matter of moves.
				if n := one(rt); n != sends() && !dead[n] {
					crash(n)
				}
			},
			"back": func(rt *rapid.T) {
				if n := one(rt); dead[n] {
					back(n)
				}
			},
			"round": func(rt *rapid.T) {
				for range rapid.IntRange(1, 2).Draw(rt, "rounds") {
					must(l.Replan(t.Context(), start))
					must(l.Move(t.Context(), a, start))
				}
			},
			"": func(*rapid.T) { serves() },
		})
		for n := range dead {
			if dead[n] {
				back(n)
			}
		}
		for range 12 {
			must(l.Replan(t.Context(), start))
			must(l.Move(t.Context(), a, start))
			for _, n := range all {
				hear(n)
				up(n)
				report(n)
			}
			serves()
		}
		p := placement(b, detector)
		n, _ := b.Snapshot().Node(p.Node)
		free := slices.ContainsFunc(ids, func(id string) bool { n, _ := b.Snapshot().Node(id); return !n.Drain })
		if p.From != "" || n.Drain && free {
			rt.Fatalf("%+v is not done; %s drains: %v", p, n.ID, n.Drain)
		}
	})
}
