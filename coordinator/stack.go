package coordinator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"
)

const (
	segmentSize       = 8 << 20 // bytes allocated at a time for the log
	snapshotsRetained = 2
)

// keyEnd is where the stable store keeps the last index of a log that was
// closed properly; 0 while it is open. The WAL takes damage near the end of the
// log for a write that a crash cut short, and drops it.
var keyEnd = []byte("WeftEnd")

// disk is where a coordinator keeps its state, opened and found whole.
type disk struct {
	dir, logDir string
	log         hclog.Logger
	lock        *flock.Flock
	meta        *metadb.BoltMetaDB // the log's; closing the log leaves it open
	store       *store
	snapshots   *raft.FileSnapshotStore
	newest      position // snapshot that can be read
	verified    bool     // nothing is missing
}

// stack is Raft and what it stands on.
type stack struct {
	*disk
	contacts *contacts
	raft     *raft.Raft
}

// open starts Raft on the data directory. On an error everything that was
// opened is closed again, the listener of New included.
func (c *Coordinator) open() (_ *stack, err error) {
	log := newHclog(c.log)
	t, err := c.transport(log.Named("raft-net"))
	if err != nil {
		return nil, fmt.Errorf("start Raft transport: %w", err)
	}
	s := &stack{}
	s.contacts = newContacts(t, quiet(&c.cfg.Timing), func() uint64 {
		if r := c.raft.Load(); r != nil {
			return r.LastIndex()
		}
		return 0
	})
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.disk, err = openDisk(c.cfg.DataDir, log, c.machine.Snapshot().Index()); err != nil {
		return s, err
	}
	if err := c.recall(s.store.WAL); err != nil {
		return s, storageFault(err, s.logDir)
	}
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(c.cfg.ID)
	conf.Logger = log.Named("raft")
	// What is proposed while the log is being written goes into it together
	// next time, and a planner need not wait until Raft takes its plan.
	conf.BatchApplyCh = true
	// A coordinator that was removed because it left is added again when it
	// returns; until then it waits.
	conf.ShutdownOnRemove = false
	c.cfg.Timing.override(conf)
	machine := &fsm{
		machine: c.machine, fault: s.store.fail, had: c.machine.Snapshot().Index(), own: s.newest.index > 0,
		// Not through s.store, for which a write that fails is a fault: that the
		// ID is not kept is no reason to stop.
		learnt: func(id string) error { return c.identified(id, s.store.WAL) },
	}
	if s.raft, err = s.start(conf, machine, s.contacts); err != nil {
		return s, err
	}
	s.store.live.Store(true)
	return s, nil
}

// quiet is the longest silence between two answers of a healthy coordinator.
func quiet(t *Timing) time.Duration {
	beat := t.Heartbeat
	if beat == 0 {
		beat = raft.DefaultConfig().HeartbeatTimeout
	}
	return 2*beat + 500*time.Millisecond
}

// start starts Raft, which panics if it cannot read its log or keep its term.
func (d *disk) start(conf *raft.Config, machine raft.FSM, t raft.Transport) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, ok := p.(error)
			if !ok {
				cause = fmt.Errorf("%v", p)
			}
			r, err = nil, storageFault(damaged(cause), d.logDir)
		}
	}()
	if r, err = raft.NewRaft(conf, machine, d.store, d.store, d.snapshots, t); err != nil {
		return nil, storageFault(fmt.Errorf("start Raft: %w", err), d.dir)
	}
	return r, nil
}

// openDisk opens the data directory of a coordinator and makes sure that
// nothing is missing: Raft and the WAL would go on with less without a word.
// applied is the last entry that this process has applied already.
func openDisk(dataDir string, log hclog.Logger, applied uint64) (d *disk, err error) {
	d = &disk{dir: filepath.Join(dataDir, "raft"), log: log}
	d.logDir = filepath.Join(d.dir, "log")
	if err := os.MkdirAll(d.logDir, 0o700); err != nil {
		return d, storageFault(fmt.Errorf("make data directory: %w", err), d.logDir)
	}
	// A second process would wait for the log store without a word.
	d.lock = flock.New(filepath.Join(d.dir, "lock"))
	switch mine, err := d.lock.TryLock(); {
	case err != nil:
		return d, storageFault(fmt.Errorf("lock data directory: %w", err), d.dir)
	case !mine:
		return d, fmt.Errorf("data directory %s: %w", dataDir, ErrInUse)
	}
	if err := d.openLog(log.Named("raft-wal")); err != nil {
		return d, err
	}
	d.snapshots, err = raft.NewFileSnapshotStoreWithLogger(d.dir, snapshotsRetained, log.Named("raft-snapshot"))
	if err != nil {
		return d, storageFault(fmt.Errorf("open snapshots: %w", err), d.dir)
	}
	return d, d.verify(applied)
}

// openLog opens the log.
func (d *disk) openLog(log hclog.Logger) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil { // bbolt follows damaged pages anywhere
			err = lost(ErrCorruptLog, d.logDir, "%v", p)
		}
	}()
	metaFile := filepath.Join(d.logDir, metadb.FileName)
	if _, err := os.Stat(metaFile); errors.Is(err, fs.ErrNotExist) {
		// The WAL would begin a new log and delete what there is of the old.
		segments, err := filepath.Glob(filepath.Join(d.logDir, "*.wal"))
		if err != nil {
			return storageFault(err, d.logDir)
		}
		snapshots, err := d.snapshotDirs()
		if err != nil {
			return err
		}
		if len(segments)+len(snapshots) > 0 {
			return lost(ErrCorruptLog, metaFile, "missing beside %d files of the log and %d snapshots", len(segments), len(snapshots))
		}
	}
	d.meta = &metadb.BoltMetaDB{}
	w, err := wal.Open(d.logDir, wal.WithSegmentSize(segmentSize), wal.WithMetaStore(d.meta),
		wal.WithSegmentFiler(newSegments(d.logDir)), wal.WithLogger(log))
	switch {
	case err == nil:
		d.store = newStore(w)
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, bbolt.ErrInvalid), errors.Is(err, bbolt.ErrChecksum), errors.Is(err, bbolt.ErrVersionMismatch):
		err = damaged(err)
	}
	return storageFault(fmt.Errorf("open the log: %w", err), d.logDir)
}

// verify reads everything once.
func (d *disk) verify(applied uint64) error {
	var e extent
	var errs [3]error
	e.applied = applied
	e.first, errs[0] = d.store.FirstIndex()
	e.last, errs[1] = d.store.LastIndex()
	e.closed, errs[2] = d.store.GetUint64(keyEnd)
	if err := errors.Join(errs[:]...); err != nil {
		return storageFault(err, d.logDir)
	}
	var entry raft.Log
	for i := e.first; i != 0 && i <= e.last; i++ {
		if err := d.store.GetLog(i, &entry); err != nil {
			return storageFault(err, d.logDir)
		}
	}
	dirs, err := d.snapshotDirs()
	if err != nil {
		return err
	}
	var newest, readable position
	for _, name := range dirs {
		if p := snapshotAt(name); newest.before(p) {
			newest = p
		}
	}
	good, err := d.snapshots.List()
	if err != nil {
		return storageFault(fmt.Errorf("list snapshots: %w", err), d.dir)
	}
	for _, meta := range good {
		_, r, err := d.snapshots.Open(meta.ID) // compares its checksum
		if err == nil {
			readable = position{meta.Term, meta.Index}
			err = r.Close()
		}
		if err == nil {
			break
		}
	}
	e.snapshot, e.newest = readable.index, newest.index
	if err := e.whole(d.logDir, d.snapshotPath()); err != nil {
		return err
	}
	if e.passed() {
		if err := d.store.DeleteRange(e.first, e.last); err != nil {
			return storageFault(err, d.logDir)
		}
	}
	d.newest, d.verified = readable, true
	if err := d.setAside(dirs); err != nil {
		return storageFault(err, d.snapshotPath())
	}
	if e.closed > 0 {
		return storageFault(d.store.SetUint64(keyEnd, 0), d.logDir)
	}
	return nil
}

// setAside moves away the snapshots that cannot be read and are not needed:
// Raft refuses to start if it sees no others.
func (d *disk) setAside(snapshots []string) error {
	for _, name := range snapshots {
		if !d.newest.before(snapshotAt(name)) {
			continue
		}
		to := filepath.Join(d.dir, "damaged", name)
		d.log.Error("a snapshot is damaged; it is moved away, and the log has everything", "snapshot", filepath.Join(d.snapshotPath(), name), "to", to)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(d.snapshotPath(), name), to); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) snapshotPath() string { return filepath.Join(d.dir, "snapshots") }

// snapshotDirs lists the snapshots that were finished, readable or not.
func (d *disk) snapshotDirs() ([]string, error) {
	entries, err := os.ReadDir(d.snapshotPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, storageFault(err, d.snapshotPath())
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), ".tmp") {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// position is where in the log a snapshot was taken.
type position struct{ term, index uint64 }

// before is the order in which Raft looks for the newest snapshot: one of a
// later term may have a lower index, after a recovery.
func (p position) before(q position) bool {
	return p.term < q.term || p.term == q.term && p.index < q.index
}

// snapshotAt is the position in a snapshot's name, TERM-INDEX-TIME.
func snapshotAt(name string) position {
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return position{}
	}
	term, err := strconv.ParseUint(parts[0], 10, 64)
	index, err2 := strconv.ParseUint(parts[1], 10, 64)
	if err != nil || err2 != nil {
		return position{}
	}
	return position{term, index}
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
	if t, ok := s.contacts.transport.(interface{ CloseStreams() }); ok {
		t.CloseStreams()
	}
	errs = append(errs, s.contacts.Close())
	if s.disk != nil {
		errs = append(errs, s.disk.close())
	}
	return errors.Join(errs...)
}

func (d *disk) close() error {
	var errs []error
	if d.store != nil {
		if d.verified && !d.store.broken.Load() {
			errs = append(errs, d.markEnd())
		}
		errs = append(errs, d.store.Close())
	}
	if d.meta != nil {
		errs = append(errs, d.meta.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

// markEnd notes where the log ends.
func (d *disk) markEnd() error {
	last, err := d.store.LastIndex()
	if err == nil {
		err = d.store.WAL.Set(keyEnd, binary.LittleEndian.AppendUint64(nil, last))
	}
	return storageFault(err, d.logDir)
}
