package pipeline

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// Queue holds the frames that wait for a stage or a link: at most so many,
// the oldest dropped first, since in live video a newer frame is worth more.
// Nothing ever blocks on pushing. It settles what it drops and counts it by
// reason. It is safe for concurrent use and never holds its lock while
// settling.
//
// A queue in order of arrival that overflows is the worst of queues: what
// comes out has always waited for the whole of it, and may be too late to be
// of use however fast the work then is. So from an overflow until the queue
// has run empty, Pop skips to the newest frame.
type Queue struct {
	stage string
	ready chan struct{}
	shut  chan struct{}

	mu      sync.Mutex
	ring    []queued
	head, n int
	overrun bool // overflowed, and had a backlog ever since
	closed  bool
	dropped map[Reason]uint64
}

type queued struct {
	frame  *Frame
	pushed time.Time
}

// NewQueue makes a queue for at most capacity frames; stage is the group that
// drops are reported under.
func NewQueue(stage string, capacity int) (*Queue, error) {
	if capacity <= 0 {
		return nil, fmt.Errorf("queue of %s: capacity %d, want at least 1", stage, capacity)
	}
	return &Queue{
		stage: stage, ready: make(chan struct{}, 1), shut: make(chan struct{}),
		ring: make([]queued, capacity), dropped: map[Reason]uint64{},
	}, nil
}

// Push takes ownership of the frame: it is queued, in place of the oldest if
// need be, or settled because its deadline has passed. False: the queue is
// closed and the frame is still the caller's.
func (q *Queue) Push(f *Frame, now time.Time) bool {
	var drops []drop
	q.mu.Lock()
	switch {
	case q.closed:
		q.mu.Unlock()
		return false
	case f.Late(now):
		drops = q.drop(drops, f, ReasonDeadline)
	default:
		if q.n == len(q.ring) {
			q.overrun = true
			drops = q.drop(drops, q.take(0).frame, ReasonQueueFull)
		}
		q.ring[(q.head+q.n)%len(q.ring)] = queued{f, now}
		q.n++
		q.signal()
	}
	q.mu.Unlock()
	q.settle(drops, now)
	return true
}

// Pop gives the oldest frame that is not late to the caller, or the newest
// while the queue is overrun, with how long it waited; false: there is none.
func (q *Queue) Pop(now time.Time) (*Frame, time.Duration, bool) {
	var drops []drop
	q.mu.Lock()
	if q.overrun = q.overrun && q.n > 1; q.overrun {
		for q.n > 1 {
			drops = q.drop(drops, q.take(0).frame, ReasonQueueFull)
		}
	}
	return q.pop(now, drops, func() queued { return q.take(0) })
}

// PopNewest gives the frame that was pushed last and is not late to the
// caller; the older ones go on waiting.
func (q *Queue) PopNewest(now time.Time) (*Frame, time.Duration, bool) {
	q.mu.Lock()
	return q.pop(now, nil, func() queued { return q.take(q.n - 1) })
}

// pop returns the next frame that is not late. It unlocks q.mu, which is held.
func (q *Queue) pop(now time.Time, drops []drop, next func() queued) (f *Frame, waited time.Duration, ok bool) {
	for q.n > 0 && !ok {
		e := next()
		if e.frame.Late(now) {
			drops = q.drop(drops, e.frame, ReasonDeadline)
			continue
		}
		f, waited, ok = e.frame, now.Sub(e.pushed), true
	}
	if q.n > 0 {
		q.signal() // several may pop: wake the next
	}
	q.mu.Unlock()
	q.settle(drops, now)
	return f, waited, ok
}

// Ready has a value when there may be frames to pop: pop until there is none.
func (q *Queue) Ready() <-chan struct{} { return q.ready }

// Shut is closed when the queue is.
func (q *Queue) Shut() <-chan struct{} { return q.shut }

// Drain closes the queue and gives what it holds, oldest first, to the caller.
func (q *Queue) Drain() []*Frame {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.shut)
	}
	out := make([]*Frame, 0, q.n)
	for q.n > 0 {
		out = append(out, q.take(0).frame)
	}
	return out
}

// Close closes the queue and settles what it holds as ReasonShutdown.
func (q *Queue) Close(now time.Time) {
	var drops []drop
	for _, f := range q.Drain() {
		q.mu.Lock()
		drops = q.drop(drops, f, ReasonShutdown)
		q.mu.Unlock()
	}
	q.settle(drops, now)
}

// Len is the number of frames that wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// Dropped counts what the queue settled, by reason.
func (q *Queue) Dropped() map[Reason]uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.dropped)
}

// take removes the entry at the end of the ring that i names: 0 the oldest,
// n-1 the newest. q.mu is held.
func (q *Queue) take(i int) queued {
	at := (q.head + i) % len(q.ring)
	e := q.ring[at]
	q.ring[at] = queued{}
	if i == 0 {
		q.head = (q.head + 1) % len(q.ring)
	}
	q.n--
	return e
}

func (q *Queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// drop is a frame that is to be settled once the lock is free.
type drop struct {
	frame  *Frame
	reason Reason
}

// drop counts a frame among those to be settled. q.mu is held.
func (q *Queue) drop(drops []drop, f *Frame, r Reason) []drop {
	q.dropped[r]++
	return append(drops, drop{f, r})
}

func (q *Queue) settle(drops []drop, now time.Time) {
	for _, d := range drops {
		d.frame.Settle(Outcome{Reason: d.reason, Stage: q.stage, Age: d.frame.Age(now)})
	}
}
