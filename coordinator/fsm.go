package coordinator

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/state"
)

// fsm is the state machine as Raft wants it. Raft calls it from one goroutine.
//
// The machine outlives a Raft that has to be started again, so that readers
// never see an older state: what is replayed up to where the machine was when
// this Raft began is left out. It is what this coordinator has on its disk; what
// a leader sends is never left out, even if it is behind: after a recovery with
// several survivors the state of another one counts.
type fsm struct {
	machine *state.Machine
	learnt  func(cluster string) error // what mesh this is
	fault   func(error) error          // something is wrong with the log
	had     uint64                     // entry up to which Raft's replay is left out
	own     bool                       // the next snapshot is from the own disk
	seen    uint64                     // last entry that this Raft has brought
	stuck   error                      // the entry that could not be applied
}

var _ raft.FSM = (*fsm)(nil)

// errReplaying: the machine is ahead of what Raft would call its state.
var errReplaying = errors.New("replaying the log")

// Apply carries out a committed entry. After one that cannot be decoded nothing
// is applied any more: to skip it would make this replica differ from the
// others.
func (f *fsm) Apply(l *raft.Log) any {
	if f.stuck != nil {
		return f.stuck
	}
	f.seen = l.Index
	if l.Index <= f.had {
		return state.Result{Index: l.Index}
	}
	result, err := f.machine.Apply(l.Index, l.Data)
	if err == nil {
		err = f.identify()
	}
	if err != nil {
		f.stuck = f.fault(fmt.Errorf("apply: %w (or run the newer weftd that wrote it)", err))
		return f.stuck
	}
	return result
}

func (f *fsm) identify() error { return f.learnt(f.machine.Snapshot().ClusterID()) }

// Snapshot only captures the immutable view: Raft calls Persist while later
// entries are applied.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	s := f.machine.Snapshot()
	switch {
	case f.stuck != nil:
		return nil, f.stuck
	case f.seen < s.Index():
		return nil, errReplaying
	}
	return fsmSnapshot{s}, nil
}

func (f *fsm) Restore(r io.ReadCloser) error {
	err := f.restore(r)
	return errors.Join(err, r.Close())
}

func (f *fsm) restore(r io.Reader) error {
	if f.stuck != nil {
		return f.stuck
	}
	restored := state.New()
	if err := restored.Restore(r); err != nil {
		return err
	}
	f.seen = restored.Snapshot().Index()
	own := f.own
	f.own = false
	if own && f.seen <= f.had {
		return nil
	}
	f.had = min(f.had, f.seen)
	f.machine.Become(restored)
	return f.identify()
}

type fsmSnapshot struct{ *state.Snapshot }

func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.Snapshot.Persist(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (fsmSnapshot) Release() {}
