package relay

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring
		var want []int
		for i := range rapid.IntRange(0, 200).Draw(t, "steps") {
			if len(want) > 0 && rapid.IntRange(0, 2).Draw(t, "step") == 0 {
				if got := r.pop().size; got != want[0] {
					t.Fatalf("popped %d, want %d", got, want[0])
				}
				want = want[1:]
			} else {
				r.push(transit{size: i})
				want = append(want, i)
			}
			if r.len() != len(want) {
				t.Fatalf("%d, want %d", r.len(), len(want))
			}
			for k, w := range want {
				if got := r.at(k).size; got != w {
					t.Fatalf("at %d is %d, want %d", k, got, w)
				}
			}
		}
	})
}

// The schedule is compared with a search through all lines.
func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s schedule
		lines := make([]*line, rapid.IntRange(1, 12).Draw(t, "lines"))
		for i := range lines {
			lines[i] = &line{place: -1}
		}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			l := rapid.SampledFrom(lines).Draw(t, "line")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				if l.line.len() > 0 {
					l.next()
				}
			case 1: // it is cut
				for l.line.len() > 0 {
					l.next()
				}
			case 2: // it is timed anew
				if l.line.len() > 0 {
					l.line.at(0).due = time.Duration(rapid.IntRange(0, 50).Draw(t, "due"))
				}
			default:
				l.line.push(transit{due: time.Duration(rapid.IntRange(0, 50).Draw(t, "due"))})
			}
			s.update(l)
			var dues []time.Duration
			for _, l := range lines {
				if due, ok := l.due(); ok {
					dues = append(dues, due)
				}
			}
			got, due, ok := s.next()
			if ok != (len(dues) > 0) || len(s.lines) != len(dues) {
				t.Fatalf("%d lines are scheduled, %d have packets", len(s.lines), len(dues))
			}
			if !ok {
				continue
			}
			if first, _ := got.due(); due != slices.Min(dues) || due != first {
				t.Fatalf("next is %s, of a line with %s, want %s", due, first, slices.Min(dues))
			}
		}
	})
}

func TestPoolIsBounded(t *testing.T) {
	p := pool{most: slab + 10}
	var got []*packet
	for x := p.get(); x != nil; x = p.get() {
		got = append(got, x)
	}
	if len(got) != slab+10 {
		t.Fatalf("%d packets, want %d", len(got), slab+10)
	}
	seen := map[*packet]bool{}
	for _, x := range got {
		seen[x] = true
	}
	if len(seen) != len(got) {
		t.Error("a packet was given out twice")
	}
	p.put(got[3])
	if x := p.get(); x != got[3] {
		t.Errorf("got %p, want the one that was put back, %p", x, got[3])
	}
	if x := p.get(); x != nil {
		t.Error("got more than there are")
	}
}

func TestPace(t *testing.T) {
	const us = time.Microsecond
	var p pace
	p.woke(10 * ms)
	p.woke(20 * ms)
	if r := p.rest(20 * ms); r > 0 {
		t.Errorf("rests %s after a single wake-up", r)
	}
	p.woke(20*ms + 20*us)
	if r := p.rest(20*ms + 30*us); r != 90*us {
		t.Errorf("rests %s after two wake-ups close together, want the rest of a grain, 90 µs", r)
	}
	if p.tired(21*ms) || !p.tired(22*ms) {
		t.Error("it works for as long as 2 ms without sleep, or not for 1 ms")
	}
	if w := p.wait(ms, 3*ms); w != 2*ms {
		t.Errorf("waits %s, want 2 ms while timers are not known to be late", w)
	}
	for range 200 {
		p.measure(40 * us)
	}
	if w := p.wait(ms, 3*ms); w < 1959*us || w > 1962*us {
		t.Errorf("waits %s, want 1.96 ms since timers are 40 µs late", w)
	}
	if h := p.horizon(ms) - ms; h < 38*us || h > 41*us {
		t.Errorf("looks %s ahead, want the 40 µs that timers are late", h)
	}
	for range 200 {
		p.measure(time.Second)
	}
	if p.late > mostEarly {
		t.Errorf("makes up for %s, want at most %s", p.late, mostEarly)
	}
	late := p.late

	p.woke(30 * ms)
	p.called(30 * ms)
	if a := p.arrival(30*ms + 5*us); a != 30*ms-late {
		t.Errorf("the packet that woke it arrived %s, want %s", a, 30*ms-late)
	}
	if a := p.arrival(30*ms + 9*us); a != 30*ms+9*us {
		t.Errorf("the next arrived %s, want when it was read", a)
	}
	p.woke(40 * ms)
	p.called(40 * ms) // but nothing is read
	p.woke(50 * ms)
	if a := p.arrival(50 * ms); a != 50*ms {
		t.Errorf("after a timer, packets arrived %s, want when they are read", a)
	}
	p.woke(50*ms + us)
	p.called(50*ms + us)
	if a := p.arrival(50*ms + 2*us); a != 50*ms {
		t.Errorf("arrived %s, before an earlier packet", a)
	}
}
