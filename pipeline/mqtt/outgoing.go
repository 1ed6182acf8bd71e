package mqtt

import (
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// leisure is the time that a frame without a deadline is taken to have.
const leisure = time.Minute

// outgoing is a frame that a caller of Send waits with. It belongs to the
// caller until it has been published: whoever of the caller (giving up) and
// the publisher comes first decides, under mu.
type outgoing struct {
	to, instance string
	frame        *pipeline.Frame
	urgency      int64
	index        int           // in the heap; -1: not in it
	done         chan struct{} // closed when over

	mu      sync.Mutex
	over    bool
	err     error  // valid when over
	ref     uint64 // in the pending table; 0: not in it
	picture []byte // the frame's, while it is being published
}

func newOutgoing(to, instance string, f *pipeline.Frame) *outgoing {
	budget := leisure
	if !f.Deadline.IsZero() {
		budget = f.Deadline.Sub(f.Captured)
	}
	return &outgoing{
		to: to, instance: instance, frame: f,
		// Later capture and less time allowed both make a frame more urgent:
		// a second of the one is worth a second of the other.
		urgency: f.Captured.Add(-budget).UnixNano(),
		index:   -1, done: make(chan struct{}),
	}
}

// finish ends the wait unless it is over. It gives the frame, and its picture,
// back to the caller when err is not nil; when the frame turns out to have been
// settled meanwhile it is too late for an error.
func (o *outgoing) finish(pending *pipeline.Pending, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	if err != nil && o.ref != 0 {
		if !pending.Remove(o.ref) {
			err = nil
		} else {
			o.frame.Image.Data = o.picture
		}
	}
	o.over, o.err, o.picture = true, err, nil
	close(o.done)
}

// result is the outcome once done is closed.
func (o *outgoing) result() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// debtor is who owes the outcome of a frame: the node it was sent to, for as
// long as the session lasts that it was sent in.
type debtor struct {
	session *session
	node    string
}

// encode enters the frame in the pending table and encodes it for the wire. A
// frame that awaits its outcome needs its picture no more, so the picture is
// let go: only the table's size, not the pictures', bounds what a silent peer
// makes this node hold. It is false when the wait is over.
func (o *outgoing) encode(l *Link, s *session, now time.Time) ([]byte, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return nil, false, nil
	}
	ref, err := l.pending.Add(debtor{s, o.to}, o.frame, now)
	if err != nil {
		return nil, true, err
	}
	b, err := l.codec.AppendFrame(nil, pipeline.NewMessage(o.instance, o.frame, ref, now, l.clock))
	if err != nil {
		l.pending.Remove(ref)
		return nil, true, err
	}
	o.ref, o.picture, o.frame.Image.Data = ref, o.frame.Image.Data, nil
	return b, true, nil
}

// urgencyHeap has the most urgent frame first, for container/heap.
type urgencyHeap []*outgoing

func (h urgencyHeap) Len() int           { return len(h) }
func (h urgencyHeap) Less(i, j int) bool { return h[i].urgency > h[j].urgency }
func (h urgencyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *urgencyHeap) Push(x any) {
	o := x.(*outgoing)
	o.index = len(*h)
	*h = append(*h, o)
}
func (h *urgencyHeap) Pop() any {
	old := *h
	o := old[len(old)-1]
	old[len(old)-1], o.index = nil, -1
	*h = old[:len(old)-1]
	return o
}
