package quic

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
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

// path is a connection of a test: only what it says of its packets.
func path(q *quic.ConnectionStats) *lane {
	return &lane{out: &outbound{}, stats: func() quic.ConnectionStats { return *q }}
}

// Whatever comes and goes: who is admitted is the best that waits, a frame waits
// only while over every connection one no less urgent is being written or
// urgencies have run out (over any, if the path is crowded), and a more urgent
// frame's stream always has the lower value.
func TestLanes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			l       lanes
			stats   quic.ConnectionStats
			written []*slot
		)
		admitted := func(e *slot) bool { return !e.waits() }
		t0 := time.Now()
		l.add(path(&stats))
		for i := range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch op := rapid.SampledFrom([]string{"enter", "enter", "leave", "leave", "add", "remove", "crowd"}).Draw(t, "op"); {
			case op == "leave" && len(written) > 0:
				e := rapid.SampledFrom(written).Draw(t, "who")
				l.leave(e)
				written = slices.DeleteFunc(written, func(o *slot) bool { return o == e })
			case op == "add" && len(l.lanes) < maxLanes:
				l.add(path(&stats))
			case op == "remove" && len(l.lanes) > 1:
				// Those who write over it learn it from the connection, and leave.
				x := rapid.SampledFrom(l.lanes).Draw(t, "which")
				l.remove(x.out)
				for _, e := range slices.Clone(x.writing) {
					l.leave(e)
					written = slices.DeleteFunc(written, func(o *slot) bool { return o == e })
				}
			case op == "crowd":
				stats.SmoothedRTT = time.Duration(rapid.IntRange(0, 1).Draw(t, "crowded")) * time.Second
			default:
				l.queue(rank{time.Duration(rapid.IntRange(1, 10).Draw(t, "allowance")), t0.Add(time.Duration(i))})
			}
			least := rank{allowance: math.MaxInt64}
			written = written[:0]
			for _, x := range l.lanes {
				for j, w := range x.writing {
					written = append(written, w)
					if !admitted(w) || w.lane != x {
						t.Fatal("one is written that has not been told")
					}
					if w.urgency < urgencyFirst || w.urgency > urgencyLast {
						t.Fatalf("urgency %d", w.urgency)
					}
					if j > 0 && (x.writing[j-1].urgency >= w.urgency || x.writing[j-1].rank.allowance >= w.rank.allowance) {
						t.Fatalf("writing %s: not the more urgent first", describe(x.writing))
					}
					if w.rank.allowance < least.allowance {
						least = w.rank
					}
				}
			}
			if len(written) == 0 && len(l.waiting) > 0 {
				t.Fatalf("%d wait and none is written", len(l.waiting))
			}
			for j, w := range l.waiting {
				if admitted(w) {
					t.Fatal("one waits that has been told to write")
				}
				if j > 0 && w.rank.before(l.waiting[j-1].rank) {
					t.Fatalf("waiting %s: not the best first", describe(l.waiting))
				}
			}
			// Room that came up since nobody came or left is for the next who does.
			l.mu.Lock()
			l.admit()
			l.mu.Unlock()
			if len(l.waiting) == 0 {
				continue
			}
			best := l.waiting[0].rank
			for _, x := range l.lanes {
				free := len(x.writing) == 0
				over := !free && best.allowance < x.writing[0].rank.allowance && x.writing[0].urgency > urgencyFirst
				if crowded(stats) && best.allowance >= least.allowance {
					break // it is not its turn
				}
				if free || over {
					t.Fatalf("waiting %s while it could be written beside %s", describe(l.waiting), describe(x.writing))
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

// Another connection is of use where packets get lost and none wait.
func TestWanting(t *testing.T) {
	var l lanes
	if l.wanting() {
		t.Error("another beside none")
	}
	stats := quic.ConnectionStats{MinRTT: 40 * time.Millisecond, SmoothedRTT: 41 * time.Millisecond, PacketsSent: 1000, PacketsLost: 5}
	l.add(path(&stats))
	for _, c := range []struct {
		sent, lost uint64
		rtt        time.Duration
		want       bool
	}{
		{1000, 5, 41, false}, // that was before
		{2000, 5, 41, false},
		{2000, 15, 41, true},
		{2000, 15, 100, false},   // they wait
		{200_000, 15, 41, false}, // next to none
		{2000, 4, 41, false},     // one arrived that was taken for lost
	} {
		stats.PacketsSent, stats.PacketsLost, stats.SmoothedRTT = c.sent, c.lost, c.rtt*time.Millisecond
		if got := l.wanting(); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
	stats.PacketsSent, stats.PacketsLost, stats.SmoothedRTT = 0, 0, 0
	for range maxLanes - 1 {
		l.add(path(&stats))
	}
	if stats.PacketsSent, stats.PacketsLost = 1000, 100; l.wanting() {
		t.Errorf("another beside %d", l.len())
	}
}

// One that stops waiting, because its time is over or the last connection is
// gone, leaves nothing behind.
func TestSlotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lanes
		r := rank{time.Second, time.Now()}
		if e := l.queue(r); l.await(t.Context(), e) {
			t.Error("admitted where there is no connection")
		}
		first, second := path(&quic.ConnectionStats{}), path(&quic.ConnectionStats{})
		l.add(first)
		a := l.queue(r)
		if !l.await(t.Context(), a) {
			t.Fatal("not admitted where nobody is")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if l.await(ctx, l.queue(r)) {
			t.Error("admitted beside another")
		}
		if len(l.waiting) != 0 {
			t.Errorf("%d wait, want none", len(l.waiting))
		}
		// It waits for the first connection, and goes over the second.
		b := l.queue(r)
		l.add(second)
		if !l.await(t.Context(), b) || b.lane != second {
			t.Errorf("admitted over %p, want the other connection", b.lane)
		}
		time.AfterFunc(time.Second, func() { l.remove(first.out); l.remove(second.out) })
		if l.await(t.Context(), l.queue(r)) {
			t.Error("admitted though all connections are gone")
		}
		synctest.Wait() // for the one that removes them
		if len(l.waiting) != 0 || l.len() != 0 {
			t.Errorf("%d wait for %d connections", len(l.waiting), l.len())
		}
		l.leave(a)
		l.leave(b)
	})
}
