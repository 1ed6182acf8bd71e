package state

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-memdb"
)

// What Apply may say of a command that it did not carry out.
var (
	ErrInvalid  = errors.New("invalid command")
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("conflict")
	ErrRefused  = errors.New("plan refused") // Result.Refused says what
)

// Refusal is why one part of a plan no longer holds.
type Refusal struct {
	Placement string `json:"placement"` // ID; empty: the whole plan
	Reason    string `json:"reason"`
}

// Result is what became of a command. A command with an Err changed nothing.
type Result struct {
	Index   uint64
	Found   uint64 // revision of the state that the command was applied to
	Err     error
	Refused []Refusal
	Events  []Event
}

// Machine is the replicated state machine. Apply and Restore are for one
// caller at a time; everything else is safe for concurrent use.
type Machine struct {
	codec  codec
	events *events

	mu       sync.RWMutex // orders commits and snapshots
	db       *memdb.MemDB
	index    uint64        // of the last command applied
	revision uint64        // of the last command that assignments depend on
	changed  chan struct{} // closed when revision grows
}

// New returns an empty machine.
func New() *Machine {
	return &Machine{codec: newCodec(), events: newEvents(), db: newDB(), changed: make(chan struct{})}
}

// Apply carries out the log entry at index. The error is ErrCorrupt for an
// entry that cannot be decoded; a command that is refused is a Result.
func (m *Machine) Apply(index uint64, entry []byte) (Result, error) {
	cmd, err := Decode(entry)
	if err != nil {
		return Result{}, fmt.Errorf("index %d: %w", index, err)
	}
	c := &change{txn: m.db.Txn(true), index: index}
	found := m.revision // written by Apply and Restore alone
	defer c.txn.Abort() // no effect after Commit
	if err := cmd.apply(c); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.index = index
		return Result{Index: index, Found: found, Err: err, Refused: c.refused}, nil
	}
	m.commit(c)
	m.events.add(c.events)
	return Result{Index: index, Found: found, Events: c.events}, nil
}

func (m *Machine) commit(c *change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.txn.Commit()
	m.index = c.index
	if c.assignments {
		m.revision = c.index
		m.wake()
	}
}

// wake tells who waits for a change; m.mu is held.
func (m *Machine) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Snapshot returns the state as it is now.
func (m *Machine) Snapshot() *Snapshot {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return &Snapshot{codec: m.codec, db: m.db.Snapshot(), index: m.index, revision: m.revision, changed: m.changed}
}

// Events returns the events of log entries after index, oldest first, as far
// back as they are kept, and a channel that is closed when there are more.
func (m *Machine) Events(after uint64) ([]Event, <-chan struct{}) { return m.events.after(after) }

// change is one command being applied.
type change struct {
	txn         *memdb.Txn
	index       uint64
	at          time.Time
	assignments bool // nodes, placements or specifications changed
	refused     []Refusal
	events      []Event
}

func (c *change) event(typ EventType, subject, format string, args ...any) {
	c.events = append(c.events, Event{c.index, c.at, typ, subject, fmt.Sprintf(format, args...)})
}

func (c *change) insert(table string, record any) { must(c.txn.Insert(table, record)) }

func (c *change) remove(table string, record any) { must(c.txn.Delete(table, record)) }

func (c *SetCluster) apply(tx *change) error {
	tx.at = c.At
	if c.Name == "" {
		return fmt.Errorf("%w: a mesh needs a name", ErrInvalid)
	}
	if old, ok := get[cluster](tx.txn, tableMeta, clusterKey); ok {
		if old.Name != c.Name {
			return fmt.Errorf("%w: this is mesh %q, not %q", ErrConflict, old.Name, c.Name)
		}
		if old.ID == "" && c.ID != "" {
			tx.insert(tableMeta, &cluster{clusterKey, old.Name, c.ID})
		}
		return nil
	}
	tx.insert(tableMeta, &cluster{clusterKey, c.Name, c.ID})
	tx.event(ClusterNamed, c.Name, "mesh %s formed", c.Name)
	return nil
}
