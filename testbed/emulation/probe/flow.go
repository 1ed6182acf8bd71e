package probe

import "sync"

// flow is the datagrams of one measurement, as they arrive at its receiver.
type flow struct {
	id   uint32
	want int
	done chan struct{} // closed when all came, or a mark

	mu       sync.Mutex
	seen     []bool // by seq
	arrivals []arrival
	ended    bool
}

func newFlow(id uint32, n int) *flow {
	return &flow{id: id, want: n, done: make(chan struct{}), seen: make([]bool, n), arrivals: make([]arrival, 0, n)}
}

// arrive records a datagram; a second one of the same number is not one.
func (f *flow) arrive(a arrival) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if int64(a.seq) >= int64(len(f.seen)) || f.seen[a.seq] {
		return
	}
	f.seen[a.seq] = true
	f.arrivals = append(f.arrivals, a)
	if len(f.arrivals) == f.want {
		f.end()
	}
}

// marked records that a mark came.
func (f *flow) marked() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end()
}

// over reports whether all came, or a mark.
func (f *flow) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (f *flow) end() {
	if !f.ended {
		f.ended = true
		close(f.done)
	}
}

// taken returns what came until now; what comes later is not recorded.
func (f *flow) taken() []arrival {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = nil
	return f.arrivals
}

// complete reports whether all came.
func (f *flow) complete() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.arrivals) == f.want
}
