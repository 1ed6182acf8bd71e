package des

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Events come in the order of time, and of scheduling where times are equal,
// whatever is added while others are taken.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			q    Queue
			want []Event // pending, by a stable sort
			n    int32
		)
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "what") > 0 {
				at := time.Duration(rapid.IntRange(0, 20).Draw(t, "at"))
				n++
				q.Add(at, 7, n, -n, uint32(n))
				want = append(want, Event{At: max(at, q.Now()), A: n})
				slices.SortStableFunc(want, func(a, b Event) int { return int(a.At - b.At) })
				continue
			}
			e, ok := q.Next()
			if ok != (len(want) > 0) {
				t.Fatalf("next: %v, with %d pending", ok, len(want))
			}
			if !ok {
				continue
			}
			if e.A != want[0].A || e.At != want[0].At || e.B != -e.A || e.C != uint32(e.A) || e.Kind != 7 {
				t.Fatalf("got %+v, want number %d at %d", e, want[0].A, want[0].At)
			}
			if q.Now() != e.At {
				t.Fatalf("the clock says %d at an event of %d", q.Now(), e.At)
			}
			want = want[1:]
		}
		if q.Len() != len(want) {
			t.Fatalf("%d pending, want %d", q.Len(), len(want))
		}
	})
}

// A queue that has grown to what is pending allocates nothing.
func TestNoAllocation(t *testing.T) {
	var q Queue
	for i := range 100 {
		q.Add(time.Duration(i), 0, 0, 0, 0)
	}
	if n := testing.AllocsPerRun(1000, func() {
		e, _ := q.Next()
		q.Add(e.At+100, 0, 0, 0, 0)
	}); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, pending := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			var q Queue
			s := NewStream(1, "bench")
			for range pending {
				q.Add(s.Uniform(time.Second), 0, 0, 0, 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				e, _ := q.Next()
				q.Add(e.At+s.Uniform(time.Second), 0, 0, 0, 0)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
