package coordinator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

const (
	segmentSize       = 8 << 20 // bytes allocated at a time for the log
	snapshotsRetained = 2
)

// stack is Raft and what it stands on.
type stack struct {
	lock      *os.File
	log       *wal.WAL
	meta      *metadb.BoltMetaDB // the log's; closing the log leaves it open
	transport raft.Transport
	raft      *raft.Raft
}

// open starts Raft on the data directory. On an error everything that was
// opened is closed again, the listener of New included.
func (c *Coordinator) open() (_ *stack, err error) {
	log := newHclog(c.log)
	s := &stack{}
	if s.transport, err = c.transport(log.Named("raft-net")); err != nil {
		return nil, fmt.Errorf("start Raft transport: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	dir := filepath.Join(c.cfg.DataDir, "raft")
	logDir := filepath.Join(dir, "log")
	if err := os.MkdirAll(logDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if s.lock, err = lockFile(filepath.Join(dir, "lock")); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", c.cfg.DataDir, err)
	}
	s.meta = &metadb.BoltMetaDB{}
	s.log, err = wal.Open(logDir, wal.WithSegmentSize(segmentSize), wal.WithMetaStore(s.meta), wal.WithSegmentFiler(newSegments(logDir)), wal.WithLogger(log.Named("raft-wal")))
	if err != nil {
		return nil, fmt.Errorf("open log in %s: %w", logDir, err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsRetained, log.Named("raft-snapshot"))
	if err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", dir, err)
	}
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(c.cfg.ID)
	conf.Logger = log.Named("raft")
	// A coordinator that was removed because it left is added again when it
	// returns; until then it waits.
	conf.ShutdownOnRemove = false
	c.cfg.Timing.override(conf)
	if s.raft, err = raft.NewRaft(conf, fsm{c.machine}, s.log, s.log, snapshots, s.transport); err != nil {
		return nil, fmt.Errorf("start Raft in %s: %w", dir, err)
	}
	return s, nil
}

func (t *Timing) override(conf *raft.Config) {
	set(&conf.HeartbeatTimeout, t.Heartbeat)
	set(&conf.ElectionTimeout, t.Election)
	set(&conf.LeaderLeaseTimeout, t.Lease)
	set(&conf.CommitTimeout, t.Commit)
	set(&conf.SnapshotInterval, t.SnapshotInterval)
	set(&conf.SnapshotThreshold, t.SnapshotThreshold)
	set(&conf.TrailingLogs, t.TrailingLogs)
}

func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}

// close stops Raft, then its transport, and the log store last: until Raft has
// stopped it may still write to it.
func (s *stack) close() error {
	var errs []error
	if s.raft != nil {
		errs = append(errs, s.raft.Shutdown().Error())
	}
	if t, ok := s.transport.(*raft.NetworkTransport); ok {
		t.CloseStreams()
	}
	if t, ok := s.transport.(raft.WithClose); ok {
		errs = append(errs, t.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.meta != nil {
		errs = append(errs, s.meta.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
