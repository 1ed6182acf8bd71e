package pipeline

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// Ledger accounts for the frames of one source. At any moment
//
//	captured = delivered + filtered + dropped by reason + in flight
//
// What became of a frame is counted once: the first outcome counts, and none
// after the frame was given up as ReasonLost. It is safe for concurrent use.
type Ledger struct {
	limit int
	grace time.Duration

	mu       sync.Mutex
	open     map[FrameID]*due[FrameID]
	list     dueList[FrameID]
	captured uint64
	deliv    uint64
	filtered uint64
	dropped  map[Reason]uint64
	latency  *Histogram
}

// NewLedger makes a ledger that waits for a frame's outcome until grace after
// its deadline (or a minute, if it has none) and for at most limit frames at a
// time.
func NewLedger(limit int, grace time.Duration) (*Ledger, error) {
	if limit <= 0 || grace < 0 {
		return nil, fmt.Errorf("ledger: limit %d, grace %s: want at least 1 and 0", limit, grace)
	}
	return &Ledger{
		limit: limit, grace: grace,
		open: map[FrameID]*due[FrameID]{}, dropped: map[Reason]uint64{}, latency: NewHistogram(),
	}, nil
}

// Captured opens the account of a frame; a frame that is already in flight is
// not counted again. When the ledger is full, the frame that would have been
// given up next is lost at once.
func (l *Ledger) Captured(id FrameID, deadline, now time.Time) {
	at := deadline.Add(l.grace)
	if deadline.IsZero() {
		at = now.Add(patience + l.grace)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[id] != nil {
		return
	}
	if len(l.open) == l.limit {
		l.lose(l.list.next())
	}
	l.captured++
	l.open[id] = l.list.add(id, at)
}

// Settle closes the account of a frame; false: it is not in flight (any more).
func (l *Ledger) Settle(id FrameID, o Outcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.open[id]
	if e == nil {
		return false
	}
	l.remove(e)
	switch o.Reason {
	case ReasonNone:
		l.deliv++
		l.latency.Record(o.Age)
	case ReasonFiltered:
		l.filtered++
	default:
		l.dropped[o.Reason]++
	}
	return true
}

// Expire gives up what is overdue at now and says how many frames that were.
func (l *Ledger) Expire(now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for e := l.list.overdue(now); e != nil; e = l.list.overdue(now) {
		l.lose(e)
		n++
	}
	return n
}

// Counts returns the accounts; they are balanced.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{
		Captured: l.captured, Delivered: l.deliv, Filtered: l.filtered, InFlight: uint64(len(l.open)), Dropped: maps.Clone(l.dropped),
	}
}

// Latency returns the ages at which frames were delivered.
func (l *Ledger) Latency() *Histogram { return l.latency.Clone() }

func (l *Ledger) lose(e *due[FrameID]) {
	l.remove(e)
	l.dropped[ReasonLost]++
}

func (l *Ledger) remove(e *due[FrameID]) {
	delete(l.open, e.value)
	l.list.remove(e)
}
