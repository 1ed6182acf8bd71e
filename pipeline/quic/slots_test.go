package quic

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/pipeline"
)

func TestRank(t *testing.T) {
	t0 := time.Now()
	at := func(age, allowance time.Duration) *pipeline.Frame {
		f := &pipeline.Frame{Captured: t0.Add(-age)}
		if allowance > 0 {
			f.Deadline = f.Captured.Add(allowance)
		}
		return f
	}
	for _, c := range []struct {
		name          string
		first, second *pipeline.Frame
	}{
		{"newer", at(0, time.Second), at(500*time.Millisecond, time.Second)},
		{"newer, none with a deadline", at(0, 0), at(time.Second, 0)},
		{"more urgent although older", at(time.Second, 2*time.Second), at(0, 3*time.Second)},
		{"with a deadline although older", at(time.Hour, 2*time.Hour), at(0, 0)},
	} {
		if !rankOf(c.first).before(rankOf(c.second)) || rankOf(c.second).before(rankOf(c.first)) {
			t.Errorf("%s: not first", c.name)
		}
	}
}

// Whatever comes and goes: who is admitted is the best that waits, a frame
// waits only while one no less urgent is being written or urgencies have run
// out, and a more urgent frame's stream always has the lower value.
func TestSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s slots
		t0 := time.Now()
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch op := rapid.SampledFrom([]string{"enter", "leave"}).Draw(t, "op"); {
			case op == "leave" && len(s.writing) > 0:
				s.leave(rapid.SampledFrom(s.writing).Draw(t, "who"))
			case op == "leave" && len(s.waiting) > 0:
				t.Fatalf("%d wait and none is written", len(s.waiting))
			default:
				r := rank{time.Duration(rapid.IntRange(1, 10).Draw(t, "allowance")), t0.Add(time.Duration(i))}
				s.queue(&slot{rank: r, ready: make(chan struct{})})
			}
			if len(s.writing) == 0 && len(s.waiting) > 0 {
				t.Fatalf("%d wait and none is written", len(s.waiting))
			}
			for j, w := range s.writing {
				select {
				case <-w.ready:
				default:
					t.Fatal("one is written that has not been told")
				}
				if w.urgency < urgencyFirst || w.urgency > urgencyLast {
					t.Fatalf("urgency %d", w.urgency)
				}
				if j > 0 && (s.writing[j-1].urgency >= w.urgency || s.writing[j-1].rank.allowance >= w.rank.allowance) {
					t.Fatalf("writing %s: not the more urgent first", describe(s.writing))
				}
			}
			for j, w := range s.waiting {
				select {
				case <-w.ready:
					t.Fatal("one waits that has been told to write")
				default:
				}
				if j > 0 && w.rank.before(s.waiting[j-1].rank) {
					t.Fatalf("waiting %s: not the best first", describe(s.waiting))
				}
				first := s.writing[0]
				if w.rank.allowance < first.rank.allowance && first.urgency > urgencyFirst {
					t.Fatalf("writing %s, waiting %s: more urgent and yet it waits", describe(s.writing), describe(s.waiting))
				}
			}
		}
	})
}

func describe(list []*slot) (out string) {
	for _, e := range list {
		out += fmt.Sprintf("[allowance %d, urgency %d]", e.rank.allowance, e.urgency)
	}
	return out
}

// One that stops waiting, because its time is over or the connection is gone,
// leaves nothing behind.
func TestSlotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s slots
		r := rank{time.Second, time.Now()}
		first, ok := s.enter(t.Context(), r, nil)
		if !ok {
			t.Fatal("not admitted where nobody is")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, ok := s.enter(ctx, r, nil); ok {
			t.Error("admitted beside another")
		}
		gone := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(gone) })
		if _, ok := s.enter(t.Context(), r, gone); ok {
			t.Error("admitted beside another")
		}
		if len(s.waiting) != 0 {
			t.Errorf("%d wait, want none", len(s.waiting))
		}
		s.leave(first)
		second, ok := s.enter(t.Context(), r, nil)
		if !ok {
			t.Error("not admitted after the first left")
		}
		s.leave(second)
	})
}
