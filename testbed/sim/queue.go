package sim

import "time"

// policy is what a queue does when it is full.
type policy struct {
	limit int  // frames that may wait; 0: any number, and none is dropped
	skip  bool // from an overflow until there is no backlog, give the newest
}

// queue is pipeline.Queue without locks and channels: it holds frames by
// index and leaves it to the caller to settle what it drops.
type queue struct {
	policy
	ring    []queued
	head, n int
	overrun bool
}

type queued struct {
	frame  int32
	pushed time.Duration
}

// push adds a frame, which is not late. It returns the oldest, if that had to
// make room; else none.
func (q *queue) push(f int32, now time.Duration) int32 {
	dropped := none
	switch {
	case q.limit > 0 && q.n == q.limit:
		q.overrun = true
		dropped = q.take(0).frame
	case q.n == len(q.ring):
		q.grow()
	}
	q.ring[(q.head+q.n)%len(q.ring)] = queued{f, now}
	q.n++
	return dropped
}

func (q *queue) grow() {
	size := max(4, 2*len(q.ring))
	if q.limit > 0 {
		size = q.limit
	}
	ring := make([]queued, size)
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

// skips reports whether the oldest frame is to be dropped before the next is
// taken, as the queue is overrun.
func (q *queue) skips() bool {
	q.overrun = q.overrun && q.skip && q.n > 1
	return q.overrun
}

// oldest takes the frame that was pushed first, newest the last.
func (q *queue) oldest() queued { return q.take(0) }
func (q *queue) newest() queued { return q.take(q.n - 1) }

// take removes the entry at the end of the ring that i names: 0 the oldest,
// n-1 the newest.
func (q *queue) take(i int) queued {
	e := q.ring[(q.head+i)%len(q.ring)]
	if i == 0 {
		q.head = (q.head + 1) % len(q.ring)
	}
	q.n--
	return e
}
