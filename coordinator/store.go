package coordinator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync/atomic"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// store is the log and stable store under Raft. It does two things that the
// WAL does not.
//
// It keeps a checksum with each entry and compares it on every read: the WAL
// looks at its own only at the end of the log, after a crash, and a bit that
// turned elsewhere would be applied without a word.
//
// And it sees to it that a disk that fails stops Raft rather than the process.
// After a failed write the WAL is out of step with its file until it is opened
// again, so nothing more is written; what has failed goes to faults, and Run
// starts Raft anew. Where Raft would panic on an error, which nobody can
// recover in its goroutines, the call does not return: it ends the goroutine,
// as if the machine had lost its power there. Raft's waiting for its goroutines
// copes with that.
type store struct {
	*wal.WAL
	faults chan error // capacity 1: the first
	broken atomic.Bool
	live   atomic.Bool // Raft's goroutines run
}

var (
	_ raft.LogStore          = (*store)(nil)
	_ raft.StableStore       = (*store)(nil)
	_ raft.MonotonicLogStore = (*store)(nil)
)

var errBroken = errors.New("the store has failed and waits to be opened again")

func newStore(w *wal.WAL) *store { return &store{WAL: w, faults: make(chan error, 1)} }

// fail notes a fault.
func (s *store) fail(err error) error {
	s.broken.Store(true)
	select {
	case s.faults <- err:
	default: // there is an earlier one
	}
	return err
}

// fatal ends Raft's goroutine in place of an error on which it would panic.
// Before there are such goroutines, the error is for the caller.
func (s *store) fatal(err error) error {
	err = s.fail(err)
	if s.live.Load() {
		runtime.Goexit()
	}
	return err
}

// StoreLog implements raft.LogStore.
func (s *store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s *store) StoreLogs(logs []*raft.Log) error {
	if s.broken.Load() {
		return errBroken
	}
	sealed := make([]*raft.Log, len(logs))
	for i, l := range logs {
		c := *l
		c.Extensions = binary.LittleEndian.AppendUint32(nil, sum(l))
		sealed[i] = &c
	}
	if err := s.WAL.StoreLogs(sealed); err != nil {
		return s.fail(fmt.Errorf("write entry %d: %w", logs[0].Index, err))
	}
	return nil
}

// DeleteRange implements raft.LogStore.
func (s *store) DeleteRange(first, last uint64) error {
	if s.broken.Load() {
		return errBroken
	}
	if err := s.WAL.DeleteRange(first, last); err != nil {
		return s.fail(fmt.Errorf("delete entries %d to %d: %w", first, last, err))
	}
	return nil
}

// GetLog implements raft.LogStore.
func (s *store) GetLog(index uint64, l *raft.Log) error {
	err := s.WAL.GetLog(index, l)
	switch {
	case errors.Is(err, raft.ErrLogNotFound), errors.Is(err, wal.ErrClosed):
		return err
	case err != nil:
		return s.fatal(fmt.Errorf("read entry %d: %w", index, damaged(err)))
	case l.Index != index:
		return s.fatal(fmt.Errorf("read entry %d: %w", index, damaged(fmt.Errorf("entry %d is in its place", l.Index))))
	}
	kept := l.Extensions
	l.Extensions = nil
	// Entries of before there were sums have none.
	if len(kept) > 0 && (len(kept) != sumSize || binary.LittleEndian.Uint32(kept) != sum(l)) {
		return s.fatal(fmt.Errorf("read entry %d: %w", index, damaged(errors.New("its checksum is wrong"))))
	}
	return nil
}

// Set implements raft.StableStore. Raft would panic if it could not keep its
// term.
func (s *store) Set(key, val []byte) error {
	if s.broken.Load() {
		return s.fatal(errBroken)
	}
	if err := s.WAL.Set(key, val); err != nil {
		return s.fatal(fmt.Errorf("keep %s: %w", key, err))
	}
	return nil
}

// SetUint64 implements raft.StableStore.
func (s *store) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.LittleEndian.AppendUint64(nil, val)) // as the WAL does
}

const sumSize = 4

// sum is over what an entry means.
func sum(l *raft.Log) uint32 {
	head := binary.LittleEndian.AppendUint64(nil, l.Index)
	head = binary.LittleEndian.AppendUint64(head, l.Term)
	head = append(head, byte(l.Type))
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(head, table), table, l.Data)
}

// damaged marks an error of reading what was written as damage.
func damaged(err error) error { return fmt.Errorf("%w: %w", wal.ErrCorrupt, err) }
