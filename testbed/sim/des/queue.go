package des

import "time"

// Event is something that happens at a moment of virtual time.
type Event struct {
	At   time.Duration // since the beginning
	seq  uint64
	A, B int32  // what it is about
	C    uint32 // a generation, as a rule
	Kind uint8
}

func (e *Event) before(o *Event) bool {
	return e.At < o.At || e.At == o.At && e.seq < o.seq
}

// Queue holds the events to come, and the clock. The zero Queue is empty and
// at the beginning of time.
type Queue struct {
	now  time.Duration
	seq  uint64
	done uint64
	heap []Event
}

// Now is the time of the event that Next returned last.
func (q *Queue) Now() time.Duration { return q.now }

// Done is the number of events that Next has returned.
func (q *Queue) Done() uint64 { return q.done }

// Len is the number of events to come.
func (q *Queue) Len() int { return len(q.heap) }

// Add schedules an event; one for a time past happens now.
func (q *Queue) Add(at time.Duration, kind uint8, a, b int32, c uint32) {
	q.seq++
	e := Event{At: max(at, q.now), seq: q.seq, A: a, B: b, C: c, Kind: kind}
	q.heap = append(q.heap, e)
	h := q.heap
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
}

// Next takes the next event and sets the clock to it; false: none is left.
func (q *Queue) Next() (Event, bool) {
	h := q.heap
	if len(h) == 0 {
		return Event{}, false
	}
	next := h[0]
	last := h[len(h)-1]
	h = h[:len(h)-1]
	q.heap = h
	q.now = next.At
	q.done++
	i := 0
	for {
		first := 4*i + 1
		if first >= len(h) {
			break
		}
		least := first
		for k := first + 1; k < min(first+4, len(h)); k++ {
			if h[k].before(&h[least]) {
				least = k
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	if len(h) > 0 {
		h[i] = last
	}
	return next, true
}
