package planner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// agents is what agents have reported.
type agents struct {
	up      map[string]bool // "placement on node"
	follows map[string]uint64
}

func newAgents() *agents { return &agents{map[string]bool{}, map[string]uint64{}} }

func (a *agents) Up(placement, node string) bool { return a.up[placement+" on "+node] }

func (a *agents) Follows(node string, index uint64) bool { return a.follows[node] >= index }

// starts has every instance that a node is to run be up.
func (a *agents) starts(b *bare, nodes ...string) {
	for _, n := range nodes {
		for _, as := range b.Snapshot().Assignments(n) {
			a.up[as.Placement.ID+" on "+n] = true
		}
	}
}

// follow has nodes act on the state as it is.
func (a *agents) follow(b *bare, nodes ...string) {
	for _, n := range nodes {
		a.follows[n] = b.Snapshot().Revision()
	}
}

const detector = "people/detect@640#0"

// draining is a mesh that drains the node of its detector, which has begun to
// move from one to the other.
func draining(t *testing.T) (b *bare, l *Leader, a *agents, from, to string) {
	t.Helper()
	b, l = newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	if _, _, err := l.Submit(t.Context(), workflow("people"), "document", start); err != nil {
		t.Fatal(err)
	}
	from, to, a = where(b, "people"), "cloud-1", newAgents()
	if from == to {
		to = "fog-1"
	}
	a.starts(b, from, "edge-1")
	drain(t, b, from, true)
	move(t, l, a)
	if p := placement(b, detector); p.Node != to || p.From != from || p.Switched != 0 {
		t.Fatalf("%+v, want it on its way from %s to %s", p, from, to)
	}
	return b, l, a, from, to
}

func drain(t *testing.T, b *bare, node string, on bool) {
	t.Helper()
	if _, err := b.Apply(&state.SetNodeDrain{Node: node, Drain: on, At: start}); err != nil {
		t.Fatal(err)
	}
}

func move(t *testing.T, l *Leader, a *agents) {
	t.Helper()
	if err := l.Move(t.Context(), a, start); err != nil {
		t.Fatal(err)
	}
}

func placement(b *bare, id string) tiering.Placement {
	for _, p := range b.Snapshot().Placements() {
		if p.ID == id {
			return p
		}
	}
	return tiering.Placement{}
}

func TestMoveTakesOneStepAfterTheOther(t *testing.T) {
	b, l, a, from, to := draining(t)
	idle := func(why string) {
		t.Helper()
		n := len(b.log)
		move(t, l, a)
		if len(b.log) != n {
			t.Fatalf("%s, and %T was written", why, b.log[n])
		}
	}
	idle("the new instance is not up")
	a.starts(b, to)
	move(t, l, a)
	if p := placement(b, detector); p.Switched == 0 || p.From != from {
		t.Fatalf("the new instance is up: %+v", p)
	}
	a.follow(b, "edge-1", to)
	idle("the old node has not heard of it")
	a.follow(b, from)
	a.follows["edge-1"]--
	idle("the camera's node has not heard of it")
	a.follow(b, "edge-1")

	// A new leader goes on where the other left off.
	l = New(b, nil, l.log)
	move(t, l, a)
	if p := placement(b, detector); p.From != "" || p.Node != to {
		t.Fatalf("every node sends frames to the new instance: %+v", p)
	}
	idle("it has moved")
	drain(t, b, from, false)
	if err := l.Replan(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	idle("the drain is over, and nothing moves back")
}

// A new leader knows from the state alone what moves.
func TestMoveUnderANewLeader(t *testing.T) {
	b, l, _, from, to := draining(t)
	l, a := New(b, nil, l.log), newAgents()
	move(t, l, a)
	if p := placement(b, detector); p.From != from || p.Switched != 0 {
		t.Fatalf("before any report: %+v", p)
	}
	a.starts(b, to)
	move(t, l, a)
	a.follow(b, "edge-1", from, to)
	move(t, l, a)
	if p := placement(b, detector); p.From != "" || p.Node != to {
		t.Fatalf("%+v", p)
	}
}

func TestMovesThatAreDisturbed(t *testing.T) {
	status := func(fog, cloud tiering.NodeStatus) func(*testing.T, *bare, *Leader) {
		return func(t *testing.T, _ *bare, l *Leader) { t.Helper(); mesh(t, l, fog, cloud, start.Add(time.Second)) }
	}
	const alive, failed = tiering.NodeAlive, tiering.NodeFailed
	for name, c := range map[string]struct {
		do     func(*testing.T, *bare, *Leader)
		node   string // "from", "to" or a node
		moving bool
		status state.Status
		reason string
	}{
		"the old node dies": {func(t *testing.T, b *bare, l *Leader) {
			fog, cloud := alive, failed
			if placement(b, detector).From == "fog-1" {
				fog, cloud = failed, alive
			}
			status(fog, cloud)(t, b, l)
		}, "to", false, state.Running, ""},
		"the new node dies, and there is no other": {func(t *testing.T, b *bare, l *Leader) {
			fog, cloud := failed, alive
			if placement(b, detector).From == "fog-1" {
				fog, cloud = alive, failed
			}
			status(fog, cloud)(t, b, l)
		}, "to", true, state.Running, "which is draining"},
		"the new node dies, and there is another": {func(t *testing.T, b *bare, l *Leader) {
			members := []tiering.Member{member("edge-1", tiering.Edge, 1, alive), member("fog-9", tiering.Fog, 2, alive)}
			p := placement(b, detector)
			members = append(members, member(p.Node, p.Tier, 2, failed))
			if err := l.ReconcileNodes(t.Context(), members, start); err != nil {
				t.Fatal(err)
			}
		}, "fog-9", true, state.Running, ""},
		"the new node dies when the drain is over": {func(t *testing.T, b *bare, l *Leader) {
			p := placement(b, detector)
			if _, err := b.Apply(&state.SetNodeStatus{Node: p.Node, Status: failed, At: start}); err != nil {
				t.Fatal(err)
			}
			drain(t, b, p.From, false)
		}, "from", false, state.Running, ""},
		"both nodes die": {status(failed, failed), "to", false, state.Degraded, "detect@640 does not fit"},
		"the drain ends": {func(t *testing.T, b *bare, _ *Leader) { drain(t, b, placement(b, detector).From, false) }, "from", false, state.Running, ""},
		"the new node is drained, too": {func(t *testing.T, b *bare, l *Leader) {
			members := []tiering.Member{member("fog-9", tiering.Fog, 2, alive)}
			if err := l.ReconcileNodes(t.Context(), members, start); err != nil {
				t.Fatal(err)
			}
			drain(t, b, placement(b, detector).Node, true)
		}, "fog-9", true, state.Running, ""},
		"the workflow is stopped": {func(t *testing.T, b *bare, _ *Leader) {
			if _, err := b.Apply(&state.StopWorkflow{Name: "people", At: start}); err != nil {
				t.Fatal(err)
			}
		}, "", false, state.Stopped, ""},
		"the workflow is submitted again": {func(t *testing.T, _ *bare, l *Leader) {
			w := workflow("people")
			w.Sources[0].FPS = 2
			if _, _, err := l.Submit(t.Context(), w, "another", start); err != nil {
				t.Fatal(err)
			}
		}, "to", true, state.Running, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, l, a, from, to := draining(t)
			c.do(t, b, l)
			for range 3 {
				if err := l.Replan(t.Context(), start); err != nil {
					t.Fatal(err)
				}
				move(t, l, a)
			}
			want := c.node
			switch want {
			case "from":
				want = from
			case "to":
				want = to
			}
			p := placement(b, detector)
			w, _ := b.Snapshot().Workflow("people")
			if p.Node != want || (p.From != "") != c.moving || w.Status != c.status || !strings.Contains(w.Reason, c.reason) || c.reason == "" && w.Reason != "" {
				t.Errorf("it is on %s, from %q, want %s; workflow is %s: %s", p.Node, p.From, want, w.Status, w.Reason)
			}
			if c.moving && p.From != from {
				t.Errorf("it comes from %s, want %s, which serves", p.From, from)
			}
		})
	}
}

// What finds no room stays, says why once, and moves when there is room. The
// camera is attached, and nothing is said of it.
func TestWhatStays(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeFailed, start)
	w := workflow("people")
	w.Sources[0].Node = "edge-1"
	if _, _, err := l.Submit(t.Context(), w, "document", start); err != nil {
		t.Fatal(err)
	}
	a := newAgents()
	drain(t, b, "fog-1", true)
	drain(t, b, "edge-1", true)
	n := len(b.log)
	for range 3 {
		move(t, l, a)
	}
	got, _ := b.Snapshot().Workflow("people")
	want := "detect@640 stays on fog-1, which is draining: no fog node that is not draining could run it; no cloud node is alive"
	if len(b.log) != n+1 || got.Status != state.Running || got.Reason != want {
		t.Fatalf("%d commands; workflow is %s: %s", len(b.log)-n, got.Status, got.Reason)
	}
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	move(t, l, a)
	if p := placement(b, detector); p.Node != "cloud-1" || p.From != "fog-1" || p.Stays != "" {
		t.Fatalf("there is room: %+v", p)
	}
	if got, _ := b.Snapshot().Workflow("people"); got.Reason != "" {
		t.Errorf("the reason lasts: %s", got.Reason)
	}
}

// A move that is overtaken is no error; the next round sees what is then.
func TestMoveIsOvertaken(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	if _, _, err := l.Submit(t.Context(), workflow("people"), "", start); err != nil {
		t.Fatal(err)
	}
	from := where(b, "people")
	drain(t, b, from, true)
	b.before = func(cmd state.Command) {
		b.before = nil
		to := cmd.(*state.CommitPlan).Plan.Place[0].Node
		if _, err := b.Apply(&state.SetNodeStatus{Node: to, Status: tiering.NodeFailed, At: start}); err != nil {
			t.Fatal(err)
		}
	}
	move(t, l, newAgents())
	if p := placement(b, detector); p.Node != from {
		t.Fatalf("moved to %s, which has died", p.Node)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	n := len(b.log)
	if err := l.Move(done, newAgents(), start); err != nil || len(b.log) != n {
		t.Errorf("after its end: %d commands, %v", len(b.log)-n, err)
	}
	broken := errors.New("no majority")
	l = New(failing{b, broken}, nil, l.log)
	mesh(t, New(b, nil, l.log), tiering.NodeAlive, tiering.NodeAlive, start)
	if err := l.Move(t.Context(), newAgents(), start); !errors.Is(err, broken) {
		t.Errorf("a write that fails: %v", err)
	}
}

type failing struct {
	*bare
	err error
}

func (f failing) Apply(state.Command) (state.Result, error) { return state.Result{}, f.err }

// TestMovesNeverBreak drains nodes at random, under changing leaders, with
// agents that hear of things late and instances that take their time to start.
// By whatever the camera's node has heard of, frames go to an instance of the
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
		running := map[string]bool{} // nodes on which the detector runs
		hear := func(n string) {
			heard[n] = b.Snapshot().Assignments(n)
			a.follow(b, n)
			has := slices.ContainsFunc(heard[n], func(x tiering.Assignment) bool { return x.Placement.ID == detector })
			if !has {
				running[n] = false
				a.up[detector+" on "+n] = false
			}
		}
		up := func(n string) {
			if slices.ContainsFunc(heard[n], func(x tiering.Assignment) bool { return x.Placement.ID == detector }) {
				running[n] = true
				a.up[detector+" on "+n] = true
			}
		}
		all := append([]string{"edge-1"}, ids...)
		for _, n := range all {
			hear(n)
			up(n)
		}
		serves := func() {
			for _, as := range heard["edge-1"] {
				if as.Source == nil {
					continue
				}
				if len(as.Next) != 1 || !running[as.Next[0].Node] {
					rt.Fatalf("frames go to %+v, and it runs on %v", as.Next, running)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"drain": func(rt *rapid.T) {
				drain(t, b, rapid.SampledFrom(ids).Draw(rt, "node"), rapid.Bool().Draw(rt, "on"))
			},
			"hear":   func(rt *rapid.T) { hear(rapid.SampledFrom(all).Draw(rt, "node")) },
			"up":     func(rt *rapid.T) { up(rapid.SampledFrom(ids).Draw(rt, "node")) },
			"leader": func(*rapid.T) { l = New(b, nil, l.log) },
			"round": func(*rapid.T) {
				must(l.Replan(t.Context(), start))
				must(l.Move(t.Context(), a, start))
			},
			"": func(*rapid.T) { serves() },
		})
		for range 12 {
			must(l.Replan(t.Context(), start))
			must(l.Move(t.Context(), a, start))
			for _, n := range all {
				hear(n)
				up(n)
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
