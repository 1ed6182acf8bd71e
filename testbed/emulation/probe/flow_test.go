package probe

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestPacketRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := packet{
			token: rapid.Uint64().Draw(t, "token"), flow: rapid.Uint32().Draw(t, "flow"), seq: rapid.Uint32().Draw(t, "seq"),
			kind: kind(rapid.Uint8().Draw(t, "kind")), in: rapid.Int64().Draw(t, "in"), out: rapid.Int64().Draw(t, "out"),
		}
		b := make([]byte, rapid.IntRange(smallSize, largeSize).Draw(t, "size"))
		p.put(b)
		if got, ok := parse(b, p.token); !ok || got != p {
			t.Fatalf("%+v, %v, want %+v", got, ok, p)
		}
		if got, ok := parse(b, p.token+1); ok {
			t.Fatalf("took a stranger's %+v", got)
		}
		if got, ok := parse(b[:smallSize-1], p.token); ok {
			t.Fatalf("took half of %+v", got)
		}
	})
	if _, ok := parse(bytes.Repeat([]byte{7}, 3), 0x0707070707070707); ok {
		t.Error("took three bytes")
	}
}

func TestFlowCountsOnce(t *testing.T) {
	f := newFlow(1, 3)
	for _, seq := range []uint32{2, 2, 0, 3, 1 << 31} { // one twice, two that were never sent
		f.arrive(arrival{seq: seq})
	}
	if f.over() || f.complete() {
		t.Error("over with one packet missing")
	}
	f.marked()
	f.marked()
	if !f.over() || f.complete() {
		t.Errorf("after a mark: over %v, complete %v", f.over(), f.complete())
	}
	f.arrive(arrival{seq: 1})
	if !f.complete() {
		t.Error("not complete with all packets")
	}
	if n := len(f.taken()); n != 3 {
		t.Errorf("%d arrivals, want 3", n)
	}
	f.arrive(arrival{seq: 1})
	if n := len(f.taken()); n != 3 {
		t.Errorf("%d arrivals after they were taken", n)
	}
}
