package pipeline

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// At every step captured = delivered + filtered + dropped + in flight, and each frame's
// first fate is its only one.
func TestLedgerModel(t *testing.T) {
	reasons := []Reason{ReasonNone, ReasonQueueFull, ReasonDeadline, ReasonLink, ReasonLost, ReasonFiltered}
	rapid.Check(t, func(t *rapid.T) {
		const grace = 2 * time.Second
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		l, err := NewLedger(limit, grace)
		if err != nil {
			t.Fatal(err)
		}
		type open struct {
			id  FrameID
			due time.Time
		}
		var (
			now      = time.Now()
			inFlight []open
			ids      []FrameID
			want     = Counts{Dropped: map[Reason]uint64{}}
		)
		lose := func(i int) {
			inFlight = slices.Delete(inFlight, i, i+1)
			want.Dropped[ReasonLost]++
		}
		t.Repeat(map[string]func(*rapid.T){
			"capture": func(t *rapid.T) {
				id := FrameID{Workflow: "w", Source: "s", Epoch: 1, Seq: uint64(len(ids) + 1)}
				ids = append(ids, id)
				now = now.Add(1) // distinct due times make the order of loss unambiguous
				left := time.Duration(rapid.IntRange(-1, 5).Draw(t, "left")) * time.Second
				deadline, due := now.Add(left), now.Add(left+grace)
				if rapid.IntRange(0, 4).Draw(t, "none") == 0 {
					deadline, due = time.Time{}, now.Add(patience+grace)
				}
				if len(inFlight) == limit {
					first := 0
					for i := range inFlight {
						if inFlight[i].due.Before(inFlight[first].due) {
							first = i
						}
					}
					lose(first)
				}
				l.Captured(id, deadline, now)
				inFlight = append(inFlight, open{id, due})
				want.Captured++
			},
			"again": func(t *rapid.T) {
				if len(inFlight) == 0 {
					t.Skip("none in flight")
				}
				l.Captured(rapid.SampledFrom(inFlight).Draw(t, "id").id, now, now)
			},
			"settle": func(t *rapid.T) {
				if len(ids) == 0 {
					t.Skip("none captured")
				}
				id := rapid.SampledFrom(ids).Draw(t, "id")
				o := Outcome{Reason: rapid.SampledFrom(reasons).Draw(t, "reason"), Age: time.Millisecond}
				i := slices.IndexFunc(inFlight, func(o open) bool { return o.id == id })
				if l.Settle(id, o) != (i >= 0) {
					t.Fatalf("settled %s, which is in flight: %v", id, i >= 0)
				}
				if i < 0 {
					return
				}
				inFlight = slices.Delete(inFlight, i, i+1)
				switch o.Reason {
				case ReasonNone:
					want.Delivered++
				case ReasonFiltered:
					want.Filtered++
				default:
					want.Dropped[o.Reason]++
				}
			},
			"expire": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 70).Draw(t, "seconds"))*time.Second + time.Microsecond)
				n := 0
				for i := len(inFlight) - 1; i >= 0; i-- {
					if !now.Before(inFlight[i].due) {
						lose(i)
						n++
					}
				}
				if got := l.Expire(now); got != n {
					t.Fatalf("%d expired, want %d", got, n)
				}
			},
			"": func(t *rapid.T) {
				want.InFlight = uint64(len(inFlight))
				got := l.Counts()
				if !got.Balanced() {
					t.Fatalf("unbalanced: %+v", got)
				}
				if got.Captured != want.Captured || got.Delivered != want.Delivered || got.Filtered != want.Filtered || got.InFlight != want.InFlight || got.Lost() != want.Lost() {
					t.Fatalf("got %+v, want %+v", got, want)
				}
				for r, n := range want.Dropped {
					if got.Dropped[r] != n {
						t.Fatalf("%s: got %d, want %d", r, got.Dropped[r], n)
					}
				}
				if n := l.Latency().Count(); uint64(n) != want.Delivered {
					t.Fatalf("%d latencies, want %d", n, want.Delivered)
				}
				if got.InFlight > uint64(limit) {
					t.Fatalf("%d in flight, at most %d", got.InFlight, limit)
				}
			},
		})
	})
}

func TestNewLedgerRefuses(t *testing.T) {
	for _, c := range []struct {
		limit int
		grace time.Duration
	}{{0, time.Second}, {1, -1}} {
		if _, err := NewLedger(c.limit, c.grace); err == nil {
			t.Errorf("limit %d, grace %s: no error", c.limit, c.grace)
		}
	}
}
