package coordinator

import (
	"errors"
	"fmt"
	"syscall"

	wal "github.com/hashicorp/raft-wal"

	"github.com/weft-mesh/weft/coordinator/state"
)

// What may be wrong with where a coordinator keeps its state. Each is also an
// ErrStorage; what is not one of the others is a disk that fails in another way.
var (
	ErrStorage = errors.New("storage of the coordinator")
	// ErrDiskFull passes: the coordinator goes on as soon as there is room.
	ErrDiskFull = errors.New("disk full")
	// ErrCorruptLog: entries that were written cannot be read.
	ErrCorruptLog = errors.New("corrupt log")
	// ErrCorruptSnapshot: no snapshot can be read from which the log goes on.
	ErrCorruptSnapshot = errors.New("corrupt snapshot")
)

// The remedies, in one place.
const (
	makeRoom = "make room; the coordinator goes on by itself"
	rebuild  = "while a majority of the other coordinators lives, move this directory away and start weftd under another node.name, to have the state rebuilt from them; " +
		"otherwise restore the directory from a backup (docs/recovery.md)"
	checkDisk = "check the disk (dmesg); the coordinator tries again by itself"
)

// Summary is a fault in a few words, for where there is no room for the error;
// empty for none.
func Summary(fault error) string {
	if fault == nil {
		return ""
	}
	for _, kind := range []error{ErrDiskFull, ErrCorruptLog, ErrCorruptSnapshot} {
		if errors.Is(fault, kind) {
			return kind.Error()
		}
	}
	if errors.Is(fault, ErrStorage) {
		return "disk does not work"
	}
	return "does not start"
}

// storageFault says what an error of the disk means, where it is and what to
// do about it.
func storageFault(err error, path string) error {
	if err == nil || errors.Is(err, ErrStorage) {
		return err
	}
	kind, remedy := error(nil), checkDisk
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind, remedy = ErrDiskFull, makeRoom
	case errors.Is(err, wal.ErrCorrupt), errors.Is(err, state.ErrCorrupt):
		kind, remedy = ErrCorruptLog, rebuild
	}
	if kind == nil {
		return fmt.Errorf("%w: %s: %w; %s", ErrStorage, path, err, remedy)
	}
	return fmt.Errorf("%w: %w: %s: %w; %s", ErrStorage, kind, path, err, remedy)
}

// lost is damage that no error of the disk tells of.
func lost(kind error, path, format string, args ...any) error {
	return fmt.Errorf("%w: %w: %s: %s; %s", ErrStorage, kind, path, fmt.Sprintf(format, args...), rebuild)
}

// extent is what a data directory holds, by log index; zero: nothing.
type extent struct {
	first, last uint64 // of the log
	snapshot    uint64 // newest that can be read
	newest      uint64 // newest that there is, readable or not; may be lower, of a later term
	closed      uint64 // end of the log when it was last closed
	applied     uint64 // last entry that this process has applied
}

// whole reports whether everything that was committed here can still be had
// from the log and the snapshots.
func (e extent) whole(logDir, snapshotDir string) error {
	end := max(e.last, e.snapshot)
	switch {
	case e.newest > end, e.newest < e.snapshot, e.snapshot < e.newest && e.first > e.snapshot+1:
		return lost(ErrCorruptSnapshot, snapshotDir, "the snapshot at entry %d cannot be read, and the log has entries %d to %d", e.newest, e.first, e.last)
	case e.last > 0 && e.first > e.snapshot+1:
		return lost(ErrCorruptSnapshot, snapshotDir, "the log begins at entry %d, and the newest snapshot is at entry %d", e.first, e.snapshot)
	case end < e.closed:
		return lost(ErrCorruptLog, logDir, "the log ends at entry %d, and ended at %d when it was closed", end, e.closed)
	case end < e.applied:
		return lost(ErrCorruptLog, logDir, "the log ends at entry %d, and %d was committed", end, e.applied)
	}
	return nil
}

// passed reports whether the log ends before the snapshot: a leader sent it,
// and the crash came before Raft had removed the log. Raft would start, and
// then fail to write the entry after the snapshot behind the log's.
func (e extent) passed() bool { return e.last > 0 && e.last < e.snapshot }
