package quic

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// The urgencies of streams that quic-go knows: it sends the lower first.
const (
	urgencyControl = 0
	urgencyFirst   = 1
	urgencyLast    = 7
)

// rank orders frames: the more urgent first, which is the one that had less
// time from the start, and of equally urgent ones the newest. Both are the
// same at every hop. (To put first what is due first would put the oldest
// first, and under overload deliver every frame just too late.)
type rank struct {
	allowance time.Duration
	captured  time.Time
}

func rankOf(f *pipeline.Frame) rank {
	if f.Deadline.IsZero() {
		return rank{math.MaxInt64, f.Captured}
	}
	return rank{f.Deadline.Sub(f.Captured), f.Captured}
}

func (r rank) before(o rank) bool {
	if r.allowance != o.allowance {
		return r.allowance < o.allowance
	}
	return r.captured.After(o.captured)
}

// slots says which frames are being written to a peer. One is, so that no two
// frames share the link and both come late; then the best of those that wait.
// A newer frame does not interrupt an older one, whose bytes would have been
// sent for nothing if that went on; a more urgent one does, with a stream of
// lower urgency value, of which QUIC has few.
type slots struct {
	mu      sync.Mutex
	writing []*slot // the most urgent, and last begun, first
	waiting []*slot // best first
}

type slot struct {
	rank    rank
	urgency int8          // of the stream to write it to
	ready   chan struct{} // closed when the frame may be written
}

// enter waits for a slot until ctx or the connection ends. It is false then;
// otherwise the slot must be left.
func (s *slots) enter(ctx context.Context, r rank, gone <-chan struct{}) (*slot, bool) {
	e := &slot{rank: r, ready: make(chan struct{})}
	s.queue(e)
	select {
	case <-e.ready:
		return e, true
	case <-ctx.Done():
	case <-gone:
	}
	s.leave(e)
	return nil, false
}

// queue admits the slot or makes it wait; of equal ranks the later comes first.
func (s *slots) queue(e *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.waiting, func(o *slot) bool { return !o.rank.before(e.rank) })
	if i < 0 {
		i = len(s.waiting)
	}
	s.waiting = slices.Insert(s.waiting, i, e)
	s.admit()
}

// leave makes room for the next.
func (s *slots) leave(e *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := func(o *slot) bool { return o == e }
	s.waiting = slices.DeleteFunc(s.waiting, is)
	s.writing = slices.DeleteFunc(s.writing, is)
	s.admit()
}

// admit is called with s.mu held.
func (s *slots) admit() {
	if len(s.waiting) == 0 {
		return
	}
	next := s.waiting[0]
	next.urgency = urgencyLast
	if len(s.writing) > 0 {
		first := s.writing[0]
		if next.rank.allowance >= first.rank.allowance || first.urgency == urgencyFirst {
			return
		}
		next.urgency = first.urgency - 1
	}
	s.waiting = slices.Delete(s.waiting, 0, 1)
	s.writing = slices.Insert(s.writing, 0, next)
	close(next.ready)
}
