package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
)

// TestADrainLosesNoFrame moves a detector off its node under load. Whatever
// was dropped before, nothing more is lost for want of an instance; frames that
// a busy machine is late with are not the drain's fault.
func TestADrainLosesNoFrame(t *testing.T) {
	m := startDev(t, devOptions{media: t.TempDir()})
	doc := strings.Replace(people("videotest:", 2, "[512]"), "deadline: 2s", "deadline: 20s", 1)
	submit(t, m.Client, doc)
	delivered := func() uint64 { return status(t, m.Client, "people").Frames.Delivered }
	eventually(t, 2*time.Minute, "frames are delivered", func() bool { return delivered() >= 10 })
	before := status(t, m.Client, "people").Frames

	if n, err := m.Drain(t.Context(), "fog-1", true); err != nil || !n.Draining {
		t.Fatalf("%+v, %v", n, err)
	}
	eventually(t, 2*time.Minute, "nothing is left on fog-1", func() bool { n := nodeOf(t, m, "fog-1"); return n.Draining && len(n.Left) == 0 })
	if on := where(status(t, m.Client, "people"), "detect@512"); on != "cloud-1" {
		t.Fatalf("detect is on %s, want cloud-1", on)
	}
	moved := delivered()
	eventually(t, 2*time.Minute, "frames are delivered after the move", func() bool { return delivered() >= moved+6 })

	// The same for a node with a source that may run on any edge node: its
	// resize moves under load, the source at once.
	edge := where(status(t, m.Client, "people"), "gate")
	if _, err := m.Drain(t.Context(), edge, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "nothing is left on "+edge, func() bool { n := nodeOf(t, m, edge); return n.Draining && len(n.Left) == 0 })
	moved = delivered()
	eventually(t, 2*time.Minute, "frames are delivered after the second move", func() bool { return delivered() >= moved+6 })

	events, err := m.dev.nodes[0].coord.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[state.EventType]bool{}
	for _, e := range events {
		if seen[e.Type] = true; e.Type == state.NodeFailed {
			t.Skipf("this machine is too busy: %s, and what ran there was moved at once", e.Message)
		}
	}
	after := status(t, m.Client, "people").Frames
	mustBalance(t, after)
	for _, reason := range []pipeline.Reason{pipeline.ReasonNoRoute, pipeline.ReasonShutdown, pipeline.ReasonLost, pipeline.ReasonLink} {
		if before.Dropped[reason] != after.Dropped[reason] {
			t.Errorf("%d frames were dropped as %s by the drains: %v before, %v after", after.Dropped[reason]-before.Dropped[reason], reason, before.Dropped, after.Dropped)
		}
	}
	t.Logf("dropped before %v, after %v; %d of %d frames delivered", before.Dropped, after.Dropped, after.Delivered, after.Captured)

	for _, want := range []state.EventType{state.NodeDraining, state.TaskMoving, state.TaskMoved} {
		if !seen[want] {
			t.Errorf("no event %s among %v", want, slices.Collect(maps.Keys(seen)))
		}
	}

	// The nodes take tasks again, when there is something to place.
	for _, n := range []string{"fog-1", edge} {
		if n, err := m.Drain(t.Context(), n, false); err != nil || n.Draining {
			t.Fatalf("%+v, %v", n, err)
		}
	}
	if err := m.Stop(t.Context(), "people"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "no frame is in flight after the stop", func() bool { return status(t, m.Client, "people").Frames.InFlight == 0 })
	mustBalance(t, status(t, m.Client, "people").Frames)
	submit(t, m.Client, doc)
	if on := where(status(t, m.Client, "people"), "detect@512"); on != "fog-1" {
		t.Errorf("after the drain detect is on %s, want fog-1", on)
	}
}

func nodeOf(t *testing.T, m *mesh, id string) api.Node {
	t.Helper()
	nodes, err := m.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(nodes, func(n api.Node) bool { return n.ID == id })
	if i < 0 {
		t.Fatalf("no node %s", id)
	}
	return nodes[i]
}
