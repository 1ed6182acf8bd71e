package pipeline

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each frame that was added, and not taken back, is settled exactly once:
// by its own peer, by the break of its own connection, or when it is overdue.
func TestPendingModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const grace = time.Second
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		p := NewPending(limit, grace)
		type entry struct {
			testFrame
			ref  uint64
			peer string
			due  time.Time
		}
		var (
			now     = time.Now()
			open    []entry
			settled []testFrame
			back    []testFrame
		)
		take := func(i int) entry {
			e := open[i]
			open = slices.Delete(open, i, i+1)
			return e
		}
		expect := func(e entry, r Reason) {
			settled = append(settled, e.testFrame)
			if len(*e.outcomes) != 1 || (*e.outcomes)[0].Reason != r {
				t.Fatalf("frame %d: outcomes %+v, want one: %q", e.ID.Seq, *e.outcomes, r)
			}
		}
		peer := rapid.SampledFrom([]string{"a", "b"})
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				e := entry{peer: peer.Draw(t, "peer"), due: now.Add(patience)}
				e.testFrame = newTestFrame(1, time.Time{})
				if rapid.Bool().Draw(t, "deadline") {
					e.Deadline = now.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "left")) * time.Second)
					e.due = e.Deadline.Add(grace)
				}
				var err error
				e.ref, err = p.Add(e.peer, e.Frame, now)
				if full := len(open) == limit; full != errors.Is(err, ErrFull) {
					t.Fatalf("add: %v with %d of %d", err, len(open), limit)
				}
				if err == nil {
					open = append(open, e)
				} else {
					back = append(back, e.testFrame)
				}
			},
			"settle": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("none open")
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "i")
				by, r := peer.Draw(t, "by"), rapid.SampledFrom([]Reason{ReasonNone, ReasonStage}).Draw(t, "reason")
				ok := p.Settle(by, Settlement{open[i].ref, Outcome{Reason: r}})
				if ok != (by == open[i].peer) {
					t.Fatalf("settled by %s what is %s's: %v", by, open[i].peer, ok)
				}
				if ok {
					e := take(i)
					expect(e, r)
					if p.Settle(by, Settlement{e.ref, Outcome{}}) || p.Remove(e.ref) {
						t.Fatal("what is settled was settled again")
					}
				}
			},
			"remove": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("none open")
				}
				e := take(rapid.IntRange(0, len(open)-1).Draw(t, "i"))
				if !p.Remove(e.ref) {
					t.Fatal("what is open could not be taken back")
				}
				back = append(back, e.testFrame)
			},
			"break": func(t *rapid.T) {
				gone := peer.Draw(t, "peer")
				n := p.Break(gone, now)
				for i := len(open) - 1; i >= 0; i-- {
					if open[i].peer == gone {
						expect(take(i), ReasonLink)
						n--
					}
				}
				if n != 0 {
					t.Fatalf("%d more were settled than were %s's", n, gone)
				}
			},
			"expire": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "seconds")) * time.Second)
				n := p.Expire(now)
				for i := len(open) - 1; i >= 0; i-- {
					if !now.Before(open[i].due) {
						expect(take(i), ReasonLink)
						n--
					}
				}
				if n != 0 {
					t.Fatalf("%d more expired than were overdue", n)
				}
			},
			"": func(t *rapid.T) {
				if p.Len() != len(open) {
					t.Fatalf("%d open, want %d", p.Len(), len(open))
				}
				next, ok := p.Next()
				if ok != (len(open) > 0) || slices.ContainsFunc(open, func(e entry) bool { return e.due.Before(next) }) {
					t.Fatalf("next at %s (%v) is not the first of %d", next, ok, len(open))
				}
				for _, e := range open {
					back = append(back, e.testFrame)
				}
				for _, f := range back {
					if len(*f.outcomes) != 0 {
						t.Fatalf("settled too early: %+v", *f.outcomes)
					}
				}
				back = back[:len(back)-len(open)]
			},
		})
		if n := p.Close(now); n != len(open) || p.Len() != 0 {
			t.Fatalf("close settled %d of %d and left %d", n, len(open), p.Len())
		}
		for _, e := range open {
			expect(e, ReasonLink)
		}
		for _, f := range settled {
			if len(*f.outcomes) != 1 {
				t.Fatalf("settled %d times", len(*f.outcomes))
			}
		}
	})
}
