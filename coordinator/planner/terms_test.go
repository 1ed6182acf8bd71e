package planner

import (
	"log/slog"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// The leader dies in the middle of each timer. The next one starts with
// nothing in mind but the state, and acts all the same; it must neither forget
// what its predecessor waited for (dkron #998) nor act on half of two waits.
func TestTimersOutliveTheirLeader(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	listed := []tiering.Member{member("edge-1", tiering.Edge, 1, tiering.NodeAlive), member("cloud-1", tiering.Cloud, 2, tiering.NodeAlive)}
	round := func(t *testing.T, l *Leader, members []tiering.Member, at time.Time) {
		t.Helper()
		if err := l.ReconcileNodes(t.Context(), members, at); err != nil {
			t.Fatal(err)
		}
		if err := l.Replan(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	status := func(b *bare, id string) tiering.NodeStatus {
		n, ok := b.Snapshot().Node(id)
		if !ok {
			return ""
		}
		return n.Status
	}

	t.Run("grace for a node that is not listed", func(t *testing.T) {
		b, first := newBare(t)
		mesh(t, first, tiering.NodeAlive, tiering.NodeAlive, start)
		round(t, first, listed, start)
		half := start.Add(missingGrace / 2)
		round(t, first, listed, half)
		second := New(b, nil, quiet)
		round(t, second, listed, half)
		round(t, second, listed, start.Add(missingGrace))
		if got := status(b, "fog-1"); got != tiering.NodeAlive {
			t.Fatalf("the second leader has waited for half the grace, and fog-1 is %s", got)
		}
		round(t, second, listed, half.Add(missingGrace))
		if got := status(b, "fog-1"); got != tiering.NodeFailed {
			t.Fatalf("after the grace fog-1 is %s", got)
		}
	})

	t.Run("forgetting a dead node", func(t *testing.T) {
		b, first := newBare(t)
		mesh(t, first, tiering.NodeAlive, tiering.NodeAlive, start)
		mesh(t, first, tiering.NodeLeft, tiering.NodeAlive, start)
		second := New(b, nil, quiet)
		for _, after := range []time.Duration{forgetAfter / 2, forgetAfter - time.Second} {
			round(t, second, listed, start.Add(after))
		}
		if got := status(b, "fog-1"); got != tiering.NodeLeft {
			t.Fatalf("too early: %q", got)
		}
		// Since when it is dead is in the state: a change of leader costs a round.
		third := New(b, nil, quiet)
		round(t, third, listed, start.Add(forgetAfter))
		round(t, third, listed, start.Add(forgetAfter+time.Second))
		if got := status(b, "fog-1"); got != "" {
			t.Fatalf("fog-1 is still listed as %s", got)
		}
	})

	t.Run("a workflow that was refused", func(t *testing.T) {
		b, first := newBare(t)
		mesh(t, first, tiering.NodeAlive, tiering.NodeFailed, start)
		if _, _, err := first.Submit(t.Context(), workflow("people"), "", start); err != nil {
			t.Fatal(err)
		}
		mesh(t, first, tiering.NodeFailed, tiering.NodeFailed, start)
		if err := first.Replan(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		if w, _ := b.Snapshot().Workflow("people"); w.Status != state.Degraded {
			t.Fatalf("with nowhere to go it is %s", w.Status)
		}
		// The change comes while nobody leads.
		if _, err := b.Apply(&state.RegisterNode{Node: listed[1].Node, At: start}); err != nil {
			t.Fatal(err)
		}
		second := New(b, nil, quiet)
		if err := second.Replan(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		if w, _ := b.Snapshot().Workflow("people"); w.Status != state.Running || where(b, "people") != "cloud-1" {
			t.Fatalf("the second leader left it %s: %s", w.Status, w.Reason)
		}
	})
}
