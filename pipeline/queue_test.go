package pipeline

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// testFrame is a frame that remembers its outcomes.
type testFrame struct {
	*Frame
	outcomes *[]Outcome
}

func newTestFrame(seq uint64, deadline time.Time) testFrame {
	var outcomes []Outcome
	f := &Frame{ID: FrameID{Seq: seq}, Deadline: deadline, Quality: 512}
	f.OnSettle(func(o Outcome) { outcomes = append(outcomes, o) })
	return testFrame{f, &outcomes}
}

func newTestQueue(t interface{ Fatal(...any) }, capacity int) *Queue {
	q, err := NewQueue("detect", capacity)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// The queue does what a slice does of which the front is cut off, and all but
// the end after it was full.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.IntRange(1, 5).Draw(t, "capacity")
		q := newTestQueue(t, capacity)
		var (
			now     = time.Now()
			seq     uint64
			model   []testFrame
			all     []testFrame
			popped  = map[uint64]bool{}
			want    = map[Reason]uint64{}
			closed  bool
			overrun bool
		)
		drop := func(f testFrame, r Reason) {
			want[r]++
			if len(*f.outcomes) != 1 || (*f.outcomes)[0].Reason != r || (*f.outcomes)[0].Stage != "detect" {
				t.Fatalf("frame %d: outcomes %+v, want one: %s", f.ID.Seq, *f.outcomes, r)
			}
		}
		pop := func(take func(time.Time) (*Frame, time.Duration, bool), newest bool) {
			f, _, ok := take(now)
			if !newest {
				overrun = overrun && len(model) > 1
				for overrun && len(model) > 1 {
					drop(model[0], ReasonQueueFull)
					model = model[1:]
				}
			}
			for len(model) > 0 {
				i := 0
				if newest {
					i = len(model) - 1
				}
				m := model[i]
				model = slices.Delete(model, i, i+1)
				if m.Late(now) {
					drop(m, ReasonDeadline)
					continue
				}
				if !ok || f != m.Frame {
					t.Fatalf("popped %v, %v, want frame %d", f, ok, m.ID.Seq)
				}
				popped[f.ID.Seq] = true
				return
			}
			if ok {
				t.Fatalf("popped %v out of an empty queue", f)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				seq++
				var deadline time.Time
				if d := rapid.IntRange(-1, 6).Draw(t, "deadline"); d < 6 {
					deadline = now.Add(time.Duration(d) * time.Second)
				}
				f := newTestFrame(seq, deadline)
				all = append(all, f)
				if q.Push(f.Frame, now) == closed {
					t.Fatalf("push to a queue with closed = %v", closed)
				}
				switch {
				case closed:
					popped[seq] = true // still ours
				case f.Late(now):
					drop(f, ReasonDeadline)
				default:
					model = append(model, f)
					if len(model) > capacity {
						drop(model[0], ReasonQueueFull)
						model = model[1:]
						overrun = true
					}
				}
			},
			"pop":       func(t *rapid.T) { pop(q.Pop, false) },
			"popNewest": func(t *rapid.T) { pop(q.PopNewest, true) },
			"wait":      func(t *rapid.T) { now = now.Add(time.Second) },
			"close": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "really") > 0 {
					t.Skip("seldom")
				}
				q.Close(now)
				closed = true
				for _, f := range model {
					drop(f, ReasonShutdown)
				}
				model = nil
			},
			"": func(t *rapid.T) {
				if q.Len() != len(model) {
					t.Fatalf("length %d, want %d", q.Len(), len(model))
				}
				for r, n := range q.Dropped() {
					if want[r] != n {
						t.Fatalf("%d dropped as %s, want %d", n, r, want[r])
					}
				}
				for _, f := range all {
					n := len(*f.outcomes)
					queued := slices.ContainsFunc(model, func(m testFrame) bool { return m.Frame == f.Frame })
					if kept := queued || popped[f.ID.Seq]; kept != (n == 0) || n > 1 {
						t.Fatalf("frame %d: kept %v, settled %d times", f.ID.Seq, kept, n)
					}
				}
			},
		})
	})
}

func TestQueueWaitedAndReady(t *testing.T) {
	q := newTestQueue(t, 4)
	now := time.Now()
	q.Push(newTestFrame(1, time.Time{}).Frame, now)
	q.Push(newTestFrame(2, time.Time{}).Frame, now.Add(time.Second))
	// Two consumers that each pop once per value of Ready get one each.
	for want := time.Duration(3); want > 1; want-- {
		select {
		case <-q.Ready():
		default:
			t.Fatal("frames wait and the queue is not ready")
		}
		if _, waited, ok := q.Pop(now.Add(3 * time.Second)); !ok || waited != want*time.Second {
			t.Errorf("waited %s, %v, want %ds", waited, ok, want)
		}
	}
	select {
	case <-q.Ready():
		t.Error("ready although empty")
	default:
	}
}

func TestQueueDrain(t *testing.T) {
	q := newTestQueue(t, 4)
	now := time.Now()
	var want []*Frame
	for i := range 3 {
		f := newTestFrame(uint64(i), time.Time{})
		want = append(want, f.Frame)
		q.Push(f.Frame, now)
	}
	if got := q.Drain(); !slices.Equal(got, want) {
		t.Errorf("drained %v, want %v", got, want)
	}
	if q.Push(want[0], now) {
		t.Error("a drained queue took a frame")
	}
	select {
	case <-q.Shut():
	default:
		t.Error("a drained queue is not shut")
	}
	q.Close(now)
	if len(q.Dropped()) != 0 {
		t.Errorf("dropped %v, want nothing", q.Dropped())
	}
}

func TestNewQueueRefuses(t *testing.T) {
	if _, err := NewQueue("detect", 0); err == nil {
		t.Error("a queue of no capacity was made")
	}
}
