package pipeline

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrFull reports that a peer owes the outcomes of so many frames that no
// more are handed to it.
var ErrFull = errors.New("too many frames in flight")

// patience is how long a frame without a deadline is waited for.
const patience = time.Minute

// Pending is what a link keeps of the frames it has handed to peers and not
// yet settled: it settles each exactly once. It is safe for concurrent use and
// never holds its lock while settling.
type Pending struct {
	limit int
	grace time.Duration

	mu   sync.Mutex
	last uint64
	byID map[uint64]*due[pendingFrame]
	list dueList[pendingFrame]
}

type pendingFrame struct {
	ref   uint64
	peer  any
	frame *Frame
}

// NewPending makes a table for at most limit frames, each waited for until
// grace after its deadline.
func NewPending(limit int, grace time.Duration) *Pending {
	return &Pending{limit: limit, grace: grace, byID: map[uint64]*due[pendingFrame]{}}
}

// Add takes ownership of a frame that is about to be handed to peer, any
// comparable value that names the connection, and returns the name by which
// the peer settles it; ErrFull leaves the frame to the caller. A caller that
// then fails to hand it over takes it back with Remove.
func (p *Pending) Add(peer any, f *Frame, now time.Time) (ref uint64, err error) {
	at := f.Deadline.Add(p.grace)
	if f.Deadline.IsZero() {
		at = now.Add(patience)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.byID) >= p.limit {
		return 0, fmt.Errorf("%w: %d", ErrFull, p.limit)
	}
	p.last++
	p.byID[p.last] = p.list.add(pendingFrame{ref: p.last, peer: peer, frame: f}, at)
	return p.last, nil
}

// Remove gives a frame back to the caller: false means that it has been
// settled meanwhile and is no longer the caller's.
func (p *Pending) Remove(ref uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take(p.byID[ref]) != nil
}

// Settle settles a frame with the outcome the peer reports. Unknown names,
// say of a frame that was given up, are ignored: false.
func (p *Pending) Settle(peer any, s Settlement) bool {
	p.mu.Lock()
	e := p.byID[s.Ref]
	if e != nil && e.value.peer != peer {
		e = nil // nobody settles what was handed to another
	}
	f := p.take(e)
	p.mu.Unlock()
	if f == nil {
		return false
	}
	f.Settle(s.Outcome)
	return true
}

// Break settles everything handed to peer as ReasonLink: its connection is
// gone and with it every outcome still under way.
func (p *Pending) Break(peer any, now time.Time) int {
	p.mu.Lock()
	var gone []*Frame
	for _, e := range p.byID {
		if e.value.peer == peer {
			gone = append(gone, p.take(e))
		}
	}
	p.mu.Unlock()
	return settleLink(gone, now)
}

// Expire settles as ReasonLink what is overdue at now.
func (p *Pending) Expire(now time.Time) int {
	p.mu.Lock()
	var gone []*Frame
	for e := p.list.overdue(now); e != nil; e = p.list.overdue(now) {
		gone = append(gone, p.take(e))
	}
	p.mu.Unlock()
	return settleLink(gone, now)
}

// Close settles everything as ReasonLink.
func (p *Pending) Close(now time.Time) int {
	p.mu.Lock()
	var gone []*Frame
	for e := p.list.next(); e != nil; e = p.list.next() {
		gone = append(gone, p.take(e))
	}
	p.mu.Unlock()
	return settleLink(gone, now)
}

// Next is when the next frame becomes overdue; false: none is waited for.
func (p *Pending) Next() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.list.next()
	if e == nil {
		return time.Time{}, false
	}
	return e.at, true
}

// Len is the number of frames in flight.
func (p *Pending) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.byID)
}

// take removes e, which may be nil, and returns its frame. p.mu is held.
func (p *Pending) take(e *due[pendingFrame]) *Frame {
	if e == nil {
		return nil
	}
	delete(p.byID, e.value.ref)
	p.list.remove(e)
	return e.value.frame
}

func settleLink(frames []*Frame, now time.Time) int {
	for _, f := range frames {
		f.Settle(Outcome{Reason: ReasonLink, Age: f.Age(now)})
	}
	return len(frames)
}
