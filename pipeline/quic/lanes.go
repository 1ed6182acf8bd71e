package quic

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

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

// lanes are the connections to a peer, and say which frames are being written
// over them. Over each one is, so that no two frames share the link and both
// come late; then the best of those that wait. A newer frame does not interrupt
// an older one, whose bytes would have been sent for nothing if that went on; a
// more urgent one does, with a stream of lower urgency value, of which QUIC has
// few.
//
// There is one lane until packets get lost for no want of bandwidth, as on a
// bad radio link: Reno, which is all that quic-go has, halves its window for
// each, and carries no more than the square root of their share allows, whatever
// the link could. Several connections carry several times that (Mathis et al.,
// 1997; the web did the same for other reasons). Where the path has a queue that
// fills, it is full, and its frames go one by one again.
type lanes struct {
	mu      sync.Mutex
	lanes   []*lane // the oldest first
	waiting []*slot // best first
	before  packets // when the newest was added
}

type lane struct {
	out     *outbound
	stats   func() quic.ConnectionStats
	writing []*slot // the most urgent, and last begun, first
	used    time.Time
}

type slot struct {
	rank    rank
	lane    *lane         // once ready; nil: there is no connection any more
	urgency int8          // of the stream to write it to
	ready   chan struct{} // closed when the frame may be written
}

type packets struct{ sent, lost uint64 }

// lossy is the share of packets from which on another connection is of use.
const lossy = 0.001

// crowded reports whether packets wait on the path.
func crowded(q quic.ConnectionStats) bool {
	return q.SmoothedRTT > q.MinRTT*5/4+5*time.Millisecond
}

// add takes a connection into use.
func (l *lanes) add(n *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lanes = append(l.lanes, n)
	l.before = l.packets()
	l.admit()
}

// remove takes it out of use, and reports whether it was in use.
func (l *lanes) remove(o *outbound) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.lanes)
	l.lanes = slices.DeleteFunc(l.lanes, func(x *lane) bool { return x.out == o })
	if len(l.lanes) == n {
		return false
	}
	l.before = l.packets()
	if len(l.lanes) == 0 {
		for _, e := range l.waiting {
			close(e.ready)
		}
		l.waiting = nil
	}
	l.admit()
	return true
}

func (l *lanes) all() []*outbound {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*outbound, len(l.lanes))
	for i, x := range l.lanes {
		out[i] = x.out
	}
	return out
}

func (l *lanes) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lanes)
}

// unused is for how long a connection has not been used.
func (l *lanes) unused(o *outbound, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.lanes, func(x *lane) bool { return x.out == o && len(x.writing) == 0 })
	if i < 0 {
		return 0
	}
	return now.Sub(l.lanes[i].used)
}

// wanting reports whether another connection would carry more.
func (l *lanes) wanting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lanes) == 0 || len(l.lanes) >= maxLanes || l.crowded() {
		return false
	}
	now := l.packets()
	sent, lost := now.sent-l.before.sent, now.lost-l.before.lost
	return now.lost > l.before.lost && float64(lost) >= lossy*float64(sent)
}

// packets and crowded are called with l.mu held.
func (l *lanes) packets() (sum packets) {
	for _, x := range l.lanes {
		q := x.stats()
		sum.sent += q.PacketsSent
		sum.lost += q.PacketsLost
	}
	return sum
}

func (l *lanes) crowded() bool {
	return slices.ContainsFunc(l.lanes, func(x *lane) bool { return crowded(x.stats()) })
}

// queue admits a frame or makes it wait; of equal ranks the later comes first.
// The slot must be awaited.
func (l *lanes) queue(r rank) *slot {
	e := &slot{rank: r, ready: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lanes) == 0 {
		close(e.ready)
		return e
	}
	i := slices.IndexFunc(l.waiting, func(o *slot) bool { return !o.rank.before(e.rank) })
	if i < 0 {
		i = len(l.waiting)
	}
	l.waiting = slices.Insert(l.waiting, i, e)
	l.admit()
	return e
}

// waits reports whether the frame has not been admitted.
func (e *slot) waits() bool {
	select {
	case <-e.ready:
		return false
	default:
		return true
	}
}

// await waits for the slot until ctx ends or there is no connection any more.
// It is false then; otherwise the slot must be left.
func (l *lanes) await(ctx context.Context, e *slot) bool {
	select {
	case <-e.ready:
		return e.lane != nil
	case <-ctx.Done():
		l.leave(e)
		return false
	}
}

// leave makes room for the next.
func (l *lanes) leave(e *slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	is := func(o *slot) bool { return o == e }
	l.waiting = slices.DeleteFunc(l.waiting, is)
	if e.lane != nil {
		e.lane.writing = slices.DeleteFunc(e.lane.writing, is)
		e.lane.used = time.Now()
	}
	l.admit()
}

// admit is called with l.mu held.
func (l *lanes) admit() {
	for len(l.waiting) > 0 && len(l.lanes) > 0 {
		next := l.waiting[0]
		x := l.choose(next)
		if x == nil {
			return
		}
		next.lane, next.urgency = x, urgencyLast
		if len(x.writing) > 0 {
			next.urgency = x.writing[0].urgency - 1
		}
		l.waiting = slices.Delete(l.waiting, 0, 1)
		x.writing = slices.Insert(x.writing, 0, next)
		close(next.ready)
	}
}

// choose finds the connection over which a frame may be written now; nil: it
// waits.
func (l *lanes) choose(e *slot) *lane {
	var free, least, most *lane // least and most: by the frame that is first there
	for _, x := range l.lanes {
		if len(x.writing) == 0 {
			if free == nil {
				free = x
			}
			continue
		}
		allowance := x.writing[0].rank.allowance
		if least == nil || allowance < least.writing[0].rank.allowance {
			least = x
		}
		if x.writing[0].urgency > urgencyFirst && (most == nil || allowance > most.writing[0].rank.allowance) {
			most = x
		}
	}
	interrupts := func(x *lane) bool { return e.rank.allowance < x.writing[0].rank.allowance }
	switch {
	case least == nil, free != nil && (interrupts(least) || !l.crowded()):
		return free
	case free == nil && most != nil && interrupts(most) && (interrupts(least) || !l.crowded()):
		return most
	}
	return nil
}
