package quic

import (
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// outcomes wait to be sent to a peer. When it does not read them, those that
// find no room are dropped: it gives their frames up by itself.
type outcomes struct {
	some  chan struct{} // there is one to send, where there was none
	batch chan struct{} // there are enough for a message

	mu     sync.Mutex
	list   []pipeline.Settlement
	closed bool
}

func newOutcomes() *outcomes {
	return &outcomes{some: make(chan struct{}, 1), batch: make(chan struct{}, 1)}
}

// add never blocks.
func (o *outcomes) add(s pipeline.Settlement) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.list) >= maxOutcomes {
		return
	}
	o.list = append(o.list, s)
	switch len(o.list) {
	case 1:
		signal(o.some)
	case maxBatch:
		signal(o.batch)
	}
}

// take returns the oldest, a message's worth at most.
func (o *outcomes) take() []pipeline.Settlement {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.list), maxBatch)
	out := o.list[:n:n]
	if o.list = o.list[n:]; len(o.list) == 0 {
		o.list = nil // the batch has the memory
	}
	return out
}

// close makes add forget: the connection is gone.
func (o *outcomes) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.list = true, nil
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// complaints keeps the log readable when a peer does one thing wrong at a time
// many times a second.
type complaints struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

// now reports whether to log this one, and how many were not since the last.
func (c *complaints) now(t time.Time) (skipped int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.IsZero() && t.Sub(c.last) < complainEvery {
		c.skipped++
		return 0, false
	}
	skipped, c.skipped, c.last = c.skipped, 0, t
	return skipped, true
}
