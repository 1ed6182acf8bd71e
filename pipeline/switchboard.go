package pipeline

import (
	"sync"
	"time"
)

// Switchboard is a node's Receiver: it passes frames, from links and from
// routers of the same node, to the runner of the instance they are for.
type Switchboard struct {
	mu      sync.RWMutex
	runners map[string]*Runner
}

// NewSwitchboard makes a switchboard that knows no instance.
func NewSwitchboard() *Switchboard { return &Switchboard{runners: map[string]*Runner{}} }

// Connect passes the instance's frames to r from now on.
func (s *Switchboard) Connect(instance string, r *Runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runners[instance] = r
}

// Disconnect forgets the instance.
func (s *Switchboard) Disconnect(instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runners, instance)
}

// Receive implements Receiver. A frame for an unknown instance is settled as
// ReasonNoRoute: the sender has not yet heard that it moved.
func (s *Switchboard) Receive(instance string, f *Frame) {
	s.mu.RLock()
	r := s.runners[instance]
	s.mu.RUnlock()
	if r == nil {
		f.Settle(Outcome{Reason: ReasonNoRoute, Age: f.Age(time.Now())})
		return
	}
	r.Receive(f)
}
