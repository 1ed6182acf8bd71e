package state

import (
	"sync"
	"time"
)

// EventType is what happened.
type EventType string

// The types of events.
const (
	ClusterNamed        EventType = "cluster-named"
	NodeJoined          EventType = "node-joined"
	NodeUpdated         EventType = "node-updated"
	NodeReturned        EventType = "node-returned"
	NodeFailed          EventType = "node-failed"
	NodeLeft            EventType = "node-left"
	NodeForgotten       EventType = "node-forgotten"
	NodeDraining        EventType = "node-draining"
	NodeUndrained       EventType = "node-undrained"
	WorkflowSubmitted   EventType = "workflow-submitted"
	WorkflowUpdated     EventType = "workflow-updated"
	WorkflowStopped     EventType = "workflow-stopped"
	WorkflowRunning     EventType = "workflow-running"
	WorkflowDegraded    EventType = "workflow-degraded"
	WorkflowPending     EventType = "workflow-pending"
	TaskPlaced          EventType = "task-placed"
	TaskMoving          EventType = "task-moving"
	TaskMoved           EventType = "task-moved"
	TaskRemoved         EventType = "task-removed"
	ReservationAdjusted EventType = "reservation-adjusted"
	QualityChanged      EventType = "quality-changed"
	SourceHeld          EventType = "source-held"
	SourceAdmitted      EventType = "source-admitted"
	TokenCreated        EventType = "token-created"
	TokenRevoked        EventType = "token-revoked"
)

// Event is one thing that a command changed, for people and watchers. Every
// replica derives the same events from the same log.
type Event struct {
	Index   uint64    `json:"index"` // of the log entry; several events may share it
	At      time.Time `json:"at"`
	Type    EventType `json:"type"`
	Subject string    `json:"subject"` // node ID, workflow name or placement ID
	Message string    `json:"message"`
}

// eventsKept bounds what a watcher that comes late can still see.
const eventsKept = 1024

// events keeps the newest events. They are not part of a snapshot: a machine
// that was restored has those of the log entries applied since.
type events struct {
	mu   sync.Mutex
	log  []Event // oldest first; at least the eventsKept newest
	more chan struct{}
}

func newEvents() *events { return &events{more: make(chan struct{})} }

func (e *events) add(add []Event) {
	if len(add) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, add...)
	if len(e.log) > 2*eventsKept {
		e.log = append([]Event(nil), e.log[len(e.log)-eventsKept:]...)
	}
	close(e.more)
	e.more = make(chan struct{})
}

// after returns the events of later log entries than index, and a channel that
// is closed when there are more.
func (e *events) after(index uint64) ([]Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	from := len(e.log)
	for from > 0 && e.log[from-1].Index > index && len(e.log)-from < eventsKept {
		from--
	}
	return append([]Event(nil), e.log[from:]...), e.more
}
