package pipeline

import (
	"slices"
	"sync"
)

// Turns lets at most so many of a node's instances work at a time, since more than
// the node has processors only slow each other down, and decides whose turn it is:
// that of the stage nearest to the result. So what was begun is finished, and no
// detection is paid for that is dropped before it is drawn (last buffer first served,
// which is stable whenever anything is: Lu and Kumar, Distributed Scheduling Based on
// Due Dates and Buffer Priorities, IEEE TAC 36(12), 1991). Every fairly-th turn goes to
// who has waited longest, so that no workflow stops for another's sake.
//
// A nil Turns lets all work. It is safe for concurrent use.
type Turns struct {
	most int

	mu      sync.Mutex
	taken   int
	given   int     // turns, of those that somebody waited for
	waiting []*Turn // who came first first
}

// fairly is which turns go by who has waited longest.
const fairly = 8

// NewTurns makes turns for so many at a time, one at least.
func NewTurns(most int) *Turns { return &Turns{most: max(1, most)} }

// Most is how many may work at a time; 0: all.
func (t *Turns) Most() int {
	if t == nil {
		return 0
	}
	return t.most
}

// For returns the turn of one that works on its own; those with more rank go first.
func (t *Turns) For(rank int) *Turn {
	return &Turn{all: t, rank: rank, mine: make(chan struct{}, 1)}
}

// Turn is that of one instance.
type Turn struct {
	all   *Turns
	rank  int
	mine  chan struct{}
	mu    sync.Mutex // where there are no turns to guard state
	state turnState
}

type turnState uint8

const (
	noTurn turnState = iota
	inLine
	hasTurn
	gone
)

// lock guards the state of a turn, and all turns with it where they are shared.
func (t *Turn) lock() *sync.Mutex {
	if t.all == nil {
		return &t.mu
	}
	return &t.all.mu
}

// Want stands in line for a turn, unless it does so already or has one.
func (t *Turn) Want() {
	mu := t.lock()
	mu.Lock()
	defer mu.Unlock()
	switch {
	case t.state != noTurn:
	case t.all == nil:
		t.begins()
	case t.all.taken < t.all.most:
		t.all.taken++
		t.begins()
	default:
		t.state = inLine
		t.all.waiting = append(t.all.waiting, t)
	}
}

func (t *Turn) begins() {
	t.state = hasTurn
	t.mine <- struct{}{} // has room: who has a turn has received that
}

// Mine receives when a turn that was wanted begins.
func (t *Turn) Mine() <-chan struct{} { return t.mine }

// Give ends a turn that has begun; it is the next one's.
func (t *Turn) Give() {
	mu := t.lock()
	mu.Lock()
	defer mu.Unlock()
	t.give()
}

func (t *Turn) give() {
	t.state = noTurn
	all := t.all
	if all == nil {
		return
	}
	if len(all.waiting) == 0 {
		all.taken--
		return
	}
	all.given++
	next := 0
	if all.given%fairly != 0 {
		for i, w := range all.waiting {
			if w.rank > all.waiting[next].rank {
				next = i
			}
		}
	}
	w := all.waiting[next]
	all.waiting = slices.Delete(all.waiting, next, next+1)
	w.begins()
}

// Leave gives up a turn that was wanted and not received, for good: what is wanted
// after that is not given.
func (t *Turn) Leave() {
	mu := t.lock()
	mu.Lock()
	defer mu.Unlock()
	switch t.state {
	case inLine:
		t.all.waiting = slices.DeleteFunc(t.all.waiting, func(w *Turn) bool { return w == t })
	case hasTurn:
		<-t.mine
		t.give()
	}
	t.state = gone
}
