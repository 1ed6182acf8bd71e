package coordinator

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/state"
)

// fsm is the state machine as Raft wants it. It only delegates.
type fsm struct{ machine *state.Machine }

var _ raft.FSM = fsm{}

// Apply carries out a committed entry. An entry that cannot be decoded ends
// the process: to skip it would make this replica differ from the others.
func (f fsm) Apply(l *raft.Log) any {
	result, err := f.machine.Apply(l.Index, l.Data)
	if err != nil {
		panic(fmt.Sprintf("raft log: %v; remove this coordinator's data directory to have it rebuilt from the others, or run the newer weftd that wrote it", err))
	}
	return result
}

// Snapshot only captures the immutable view: Raft calls Persist while later
// entries are applied.
func (f fsm) Snapshot() (raft.FSMSnapshot, error) {
	return fsmSnapshot{f.machine.Snapshot()}, nil
}

func (f fsm) Restore(r io.ReadCloser) error {
	return errors.Join(f.machine.Restore(r), r.Close())
}

type fsmSnapshot struct{ *state.Snapshot }

func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.Snapshot.Persist(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (fsmSnapshot) Release() {}
