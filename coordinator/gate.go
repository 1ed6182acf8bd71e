package coordinator

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// gate is the way to one life of Raft. It counts what is being committed, so
// that Raft is not shut down under it: with Config.BatchApplyCh an entry that
// has been proposed and not taken up by then would never be answered.
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

// apply has Raft commit an entry. Entries of one caller after the other are
// carried out in that order; wait, which must be called, says how it went.
func (g *gate) apply(entry []byte) (wait func() (any, error), err error) {
	if !g.enter() {
		return nil, raft.ErrRaftShutdown
	}
	future := g.raft.Apply(entry, applyTimeout)
	return func() (any, error) {
		defer g.leave()
		answer := make(chan error, 1)
		go func() { answer <- future.Error() }()
		select {
		case err := <-answer:
			if err != nil {
				return nil, err
			}
			return future.Response(), nil
		case <-g.gone:
			return nil, raft.ErrRaftShutdown
		}
	}, nil
}

// close lets nobody in any more and waits until all have left.
func (g *gate) close() {
	g.mu.Lock()
	if !g.shut {
		g.shut = true
		if g.inside == 0 {
			close(g.empty)
		}
	}
	g.mu.Unlock()
	limit := time.NewTimer(answerWithin)
	defer limit.Stop()
	select {
	case <-g.empty:
	case <-g.gone:
	case <-limit.C:
	}
}

// abandon lets those go that are still inside: Raft has ended, or its storage
// has failed and it may not answer.
func (g *gate) abandon() { g.once.Do(func() { close(g.gone) }) }
