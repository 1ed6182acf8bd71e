package mqtt

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// Of frames that wait, the newer goes before the older and, of two of an age,
// the one with less time allowed.
func TestUrgency(t *testing.T) {
	base := time.Now()
	out := newOutbox(nil)
	add := func(name string, captured, budget time.Duration) {
		f := &pipeline.Frame{Captured: base.Add(captured)}
		if budget > 0 {
			f.Deadline = f.Captured.Add(budget)
		}
		if err := out.addFrame(newOutgoing("fog-1", name, f)); err != nil {
			t.Fatal(err)
		}
	}
	add("older", 0, time.Second)
	add("no deadline", time.Second, 0)
	add("newest", 2*time.Second, time.Second)
	add("urgent", 2*time.Second, 500*time.Millisecond)
	add("middle", time.Second, time.Second)
	out.addPicture(publication{topic: "picture"})
	out.addResult(publication{topic: "result"})
	out.addSettlement(party{"edge-1", "R"}, pipeline.Settlement{Ref: 1})
	out.addClock(control{ping: true})

	var got []string
	for it, ok := out.take(10); ok; it, ok = out.take(10) {
		switch {
		case it.frame != nil:
			got = append(got, it.frame.instance)
		case it.result != nil:
			got = append(got, it.result.topic)
		case it.picture != nil:
			got = append(got, it.picture.topic)
		case it.control.ping:
			got = append(got, "ping")
		default:
			got = append(got, "settlements")
		}
	}
	const want = "ping settlements result urgent newest middle older no deadline picture"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("order: %s\nwant:  %s", s, want)
	}
}

// Settlements go in batches by node, none is lost or said twice, and no more
// wait than there is room for.
func TestSettlementBatches(t *testing.T) {
	out := newOutbox(nil)
	a, b := party{"a", "1"}, party{"b", "1"}
	for i := range uint64(10) {
		out.addSettlement(a, pipeline.Settlement{Ref: i})
		if i < 2 {
			out.addSettlement(b, pipeline.Settlement{Ref: i})
		}
	}
	var order []string
	heard := map[party][]uint64{}
	for it, ok := out.take(4); ok; it, ok = out.take(4) {
		order = append(order, it.control.to.node)
		if n := len(it.control.settlements); n > 4 {
			t.Errorf("batch of %d", n)
		}
		for _, s := range it.control.settlements {
			heard[it.control.to] = append(heard[it.control.to], s.Ref)
		}
	}
	if s := strings.Join(order, ""); s != "abaa" || len(heard[a]) != 10 || len(heard[b]) != 2 {
		t.Errorf("batches %s with %v", s, heard)
	}
	for i, ref := range heard[a] {
		if ref != uint64(i) {
			t.Fatalf("refs of a: %v, want them in order", heard[a])
		}
	}
	for i := range uint64(maxSettlements + 5) {
		out.addSettlement(a, pipeline.Settlement{Ref: i})
	}
	if n := out.losses().settlements; n != 5 {
		t.Errorf("lost %d settlements, want 5", n)
	}
}
