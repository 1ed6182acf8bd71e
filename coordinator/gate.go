package coordinator

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// gate is the way to one life of Raft. It counts what Raft has not answered
// yet, so that Raft is not shut down under it: with Config.BatchApplyCh an entry
// that has been proposed and not taken up by then would never be answered.
type gate struct {
	raft *raft.Raft
	gone chan struct{} // closed by abandon
	once sync.Once

	mu     sync.Mutex
	inside int
	shut   bool
	empty  chan struct{} // closed when it is shut and nobody is inside
}

func newGate(r *raft.Raft) *gate {
	return &gate{raft: r, gone: make(chan struct{}), empty: make(chan struct{})}
}

// answerWithin is how long a Raft that is well is given to answer what it was
// asked: it does when it loses its lease, if not before.
const answerWithin = 10 * time.Second

// flushWithin is the same for one whose storage has failed: it refuses all at
// once, or else what would do so has ended.
const flushWithin = time.Second

// enter is false once the gate is shut.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.inside++
	}
	return !g.shut
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.shut && g.inside == 0 {
		close(g.empty)
	}
}

// ask asks Raft for something and waits for the answer, but no longer than for
// ctx, and not for a Raft that may never give one.
func (g *gate) ask(ctx context.Context, what func(*raft.Raft) raft.Future) error {
	if !g.enter() {
		return raft.ErrRaftShutdown
	}
	return g.answered(ctx, func() error { return what(g.raft).Error() })
}

// answered waits for what one that has entered waits for, and leaves when that
// is over.
func (g *gate) answered(ctx context.Context, wait func() error) error {
	answer := make(chan error, 1)
	go func() {
		defer g.leave()
		answer <- wait()
	}()
	select {
	case err := <-answer:
		return err
	case <-g.gone:
		return raft.ErrRaftShutdown
	case <-ctx.Done():
		return ctx.Err()
	}
}

// apply has Raft commit an entry. Entries of one caller after the other are
// carried out in that order; wait, which must be called, says how it went.
func (g *gate) apply(entry []byte) (wait func() (any, error), err error) {
	if !g.enter() {
		return nil, raft.ErrRaftShutdown
	}
	future := g.raft.Apply(entry, applyTimeout)
	return func() (any, error) {
		if err := g.answered(context.Background(), future.Error); err != nil {
			return nil, err
		}
		return future.Response(), nil
	}, nil
}

// close lets nobody in any more and waits until Raft has answered all, or would
// have if it did.
func (g *gate) close() {
	g.bar()
	limit := time.NewTimer(answerWithin)
	defer limit.Stop()
	select {
	case <-g.empty:
		return
	case <-limit.C:
		return
	case <-g.gone:
	}
	limit.Reset(flushWithin)
	select {
	case <-g.empty:
	case <-limit.C:
	}
}

// bar lets nobody in any more.
func (g *gate) bar() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.shut = true
		if g.inside == 0 {
			close(g.empty)
		}
	}
}

// abandon lets nobody in any more, and those go who wait: Raft has ended, or its
// storage has failed and it may not answer.
func (g *gate) abandon() {
	g.bar()
	g.once.Do(func() { close(g.gone) })
}
