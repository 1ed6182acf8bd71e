package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

func TestExtent(t *testing.T) {
	for _, tc := range []struct {
		name string
		extent
		is error
	}{
		{"new", extent{}, nil},
		{"log only", extent{first: 1, last: 9}, nil},
		{"snapshot and log after it", extent{first: 6, last: 9, snapshot: 5, newest: 5}, nil},
		{"overlap", extent{first: 2, last: 9, snapshot: 5, newest: 5}, nil},
		{"snapshot only", extent{snapshot: 5, newest: 5}, nil},
		{"log behind the snapshot", extent{first: 2, last: 4, snapshot: 9, newest: 9}, nil},
		{"newest unreadable, the log has it all", extent{first: 3, last: 12, snapshot: 2, newest: 9}, nil},
		{"newest unreadable, the log begins later", extent{first: 5, last: 12, snapshot: 2, newest: 9}, ErrCorruptSnapshot},
		{"newest unreadable, an older one of before a recovery", extent{first: 6, last: 12, snapshot: 9, newest: 5}, ErrCorruptSnapshot},
		{"newest unreadable, no log", extent{snapshot: 2, newest: 9}, ErrCorruptSnapshot},
		{"the only one unreadable, the log has it all", extent{first: 1, last: 12, newest: 9}, nil},
		{"no snapshot, and a log that begins late", extent{first: 5, last: 12}, ErrCorruptSnapshot},
		{"closed where it ends", extent{first: 1, last: 9, closed: 9}, nil},
		{"closed further on", extent{first: 1, last: 8, closed: 9}, ErrCorruptLog},
		{"closed further on, log behind the snapshot", extent{first: 1, last: 8, snapshot: 9, newest: 9, closed: 9}, nil},
		{"applied further on", extent{first: 1, last: 8, applied: 9}, ErrCorruptLog},
	} {
		err := tc.whole("/log", "/snapshots")
		if !errors.Is(err, tc.is) || (err == nil) != (tc.is == nil) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.is)
		}
		if passed := tc.last > 0 && strings.Contains(tc.name, "behind the snapshot"); err == nil && tc.passed() != passed {
			t.Errorf("%s: to be removed %v, want %v", tc.name, tc.passed(), passed)
		}
		if err != nil && (!errors.Is(err, ErrStorage) || !strings.Contains(err.Error(), "/") || !strings.Contains(err.Error(), "docs/recovery.md")) {
			t.Errorf("%s: does not say where and what to do: %v", tc.name, err)
		}
	}
}

func TestFaultsAreToldApart(t *testing.T) {
	full := storageFault(fmt.Errorf("write: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}), "/data")
	if !errors.Is(full, ErrDiskFull) || !errors.Is(full, ErrStorage) || !strings.Contains(full.Error(), "/data") || !strings.Contains(full.Error(), makeRoom) {
		t.Error(full)
	}
	if again := storageFault(full, "/elsewhere"); again != full {
		t.Errorf("said twice: %v", again)
	}
	if err := storageFault(damaged(errors.New("x")), "/data"); !errors.Is(err, ErrCorruptLog) || errors.Is(err, ErrDiskFull) {
		t.Error(err)
	}
	if err := storageFault(errors.New("input/output error"), "/data"); !errors.Is(err, ErrStorage) || errors.Is(err, ErrCorruptLog) || !strings.Contains(err.Error(), checkDisk) {
		t.Error(err)
	}
	if storageFault(nil, "/data") != nil {
		t.Error("no error is a fault")
	}
	for want, err := range map[string]error{
		"": nil, "disk full": full, "corrupt log": storageFault(damaged(errors.New("x")), "/data"), "does not start": errAgain,
		"corrupt snapshot": lost(ErrCorruptSnapshot, "/data", "x"), "disk does not work": storageFault(errors.New("input/output error"), "/data"),
	} {
		if got := Summary(err); got != want {
			t.Errorf("%v in a few words: %q, want %q", err, got, want)
		}
	}
}

// used is a data directory with some entries in it, closed properly unless
// crashed: then as it was while the coordinator ran.
func used(t *testing.T, snapshots int, crashed bool) (dir string, entries uint64) {
	t.Helper()
	cl := newCluster(t, "c1")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")
	m := cl.leader()
	for i := range 3 {
		cl.submit(small(fmt.Sprintf("people-%d", i)))
		if i < snapshots {
			if err := m.raft.Load().Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir = m.dir
	if crashed {
		dir = t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(m.dir)); err != nil {
			t.Fatal(err)
		}
	}
	cl.halt("c1")
	return dir, m.Snapshot().Index()
}

// reopen runs a coordinator on a data directory until it leads or fails.
func reopen(t *testing.T, dir string) (*state.Snapshot, error) {
	t.Helper()
	cl := &cluster{T: t, gossip: newGossip(), expect: 1, nodes: map[string]*member{}}
	m := cl.start("c1", dir)
	var ended error
	stopped := false
	wait(t, "the coordinator to lead or to end", func() bool {
		select {
		case ended = <-m.done:
			stopped = true
		default:
		}
		return stopped || m.IsLeader()
	})
	if stopped {
		return nil, ended
	}
	s := m.Snapshot()
	m.stop()
	return s, <-m.done
}

func only(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	return files[len(files)-1]
}

// damage changes a file.
func damage(t *testing.T, file string, how func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, how(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip turns a bit of the last occurrence of a text but so many.
func flip(t *testing.T, text string, before int) func(b []byte) []byte {
	return func(b []byte) []byte {
		i := bytes.LastIndex(b, []byte(text))
		for range before {
			i = bytes.LastIndex(b[:max(i, 0)], []byte(text))
		}
		if i < 0 {
			t.Fatalf("no %q in the file", text)
		}
		b[i] ^= 1
		return b
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	log := func(dir string) string { return filepath.Join(dir, "raft", "log") }
	for _, tc := range []struct {
		name      string
		snapshots int
		crashed   bool
		damage    func(t *testing.T, dir string)
		is        error
		says      string
	}{
		{"none", 1, false, func(*testing.T, string) {}, nil, ""},
		{"power cut", 1, true, func(*testing.T, string) {}, nil, ""},
		{"power cut in the middle of a write", 0, true, func(t *testing.T, dir string) {
			damage(t, only(t, log(dir)+"/*.wal"), func(b []byte) []byte {
				// The beginning of one more batch after the last.
				end := len(bytes.TrimRight(b, "\x00"))
				end += (8 - end%8) % 8
				copy(b[end:], []byte{1, 0, 0, 0, 200, 0, 0, 0, 'h', 'a', 'l', 'f'})
				return b
			})
		}, nil, ""},
		{"a bit turned in the middle of the log", 0, false, func(t *testing.T, dir string) {
			damage(t, only(t, log(dir)+"/*.wal"), flip(t, "people-1", 0))
		}, ErrCorruptLog, "checksum"},
		{"a bit turned there, and a power cut", 0, true, func(t *testing.T, dir string) {
			damage(t, only(t, log(dir)+"/*.wal"), flip(t, "people-0", 0))
		}, ErrCorruptLog, "checksum"},
		{"a bit turned in a frame's header", 0, false, func(t *testing.T, dir string) {
			damage(t, only(t, log(dir)+"/*.wal"), func(b []byte) []byte {
				b[32] ^= 0x40 // the type of the first frame
				return b
			})
		}, ErrCorruptLog, ""},
		{"the end of the log gone", 0, false, func(t *testing.T, dir string) {
			damage(t, only(t, log(dir)+"/*.wal"), func(b []byte) []byte {
				end := len(bytes.TrimRight(b, "\x00"))
				return b[:end-200]
			})
		}, ErrCorruptLog, "was closed"},
		{"a file of the log missing", 0, false, func(t *testing.T, dir string) {
			if err := os.Remove(only(t, log(dir)+"/*.wal")); err != nil {
				t.Fatal(err)
			}
		}, ErrCorruptLog, "was closed"},
		{"the log's meta data missing", 1, false, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(log(dir), "wal-meta.db")); err != nil {
				t.Fatal(err)
			}
		}, ErrCorruptLog, "missing beside 1 files of the log and 1 snapshots"},
		{"the log's meta data garbled", 0, false, func(t *testing.T, dir string) {
			damage(t, filepath.Join(log(dir), "wal-meta.db"), func([]byte) []byte { return []byte("not a database") })
		}, ErrCorruptLog, "wal-meta.db"},
		{"the log's meta data overwritten in part", 0, false, func(t *testing.T, dir string) {
			damage(t, filepath.Join(log(dir), "wal-meta.db"), func(b []byte) []byte {
				for i := 2 * os.Getpagesize(); i < len(b); i++ {
					b[i] = 0x5a
				}
				return b
			})
		}, ErrCorruptLog, ""},
		{"a snapshot cut short, all in the log", 1, false, func(t *testing.T, dir string) {
			damage(t, only(t, dir+"/raft/snapshots/*/state.bin"), func(b []byte) []byte { return b[:len(b)/2] })
		}, nil, ""},
		{"a bit turned in a snapshot, all in the log", 1, false, func(t *testing.T, dir string) {
			damage(t, only(t, dir+"/raft/snapshots/*/state.bin"), flip(t, "edge-1", 0))
		}, nil, ""},
		{"a snapshot's description gone, all in the log", 1, false, func(t *testing.T, dir string) {
			if err := os.Remove(only(t, dir+"/raft/snapshots/*/meta.json")); err != nil {
				t.Fatal(err)
			}
		}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, entries := used(t, tc.snapshots, tc.crashed)
			tc.damage(t, dir)
			s, err := reopen(t, dir)
			if tc.is == nil {
				if err != nil {
					t.Fatal(err)
				}
				if s.Index() < entries || len(s.Workflows()) != 3 {
					t.Fatalf("the state is at %d of %d", s.Index(), entries)
				}
				return
			}
			if !errors.Is(err, tc.is) || !errors.Is(err, ErrStorage) || !strings.Contains(err.Error(), tc.says) ||
				!strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "docs/recovery.md") {
				t.Fatalf("got %v\nwant %v with %q, the place and the remedy", err, tc.is, tc.says)
			}
			// Nothing has been made worse: it says the same again. Of a copy, since
			// bbolt, where it panics, leaves its file open and locked.
			left := t.TempDir()
			if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if _, again := reopen(t, left); !errors.Is(again, tc.is) {
				t.Fatalf("the second time: %v", again)
			}
		})
	}
}

// What is on a follower's disk when it stops between taking a snapshot that the
// leader sent and removing its old log.
func TestLogBehindTheSnapshot(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, "c1")
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	cl.alive("edge-1", "fog-1")
	m := cl.leader()
	cl.submit(small("people-0"))
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	cl.submit(small("people-1"))
	if err := m.raft.Load().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	snapshots := filepath.Join("raft", "snapshots")
	if err := os.CopyFS(filepath.Join(old, snapshots), os.DirFS(filepath.Join(m.dir, snapshots))); err != nil {
		t.Fatal(err)
	}
	cl.halt("c1")
	for _, when := range []string{"after the crash", "once more"} {
		s, err := reopen(t, old)
		if err != nil || !running(s, "people-1") {
			t.Fatalf("%s: %v", when, err)
		}
	}
}

// The log was compacted: what is gone with the snapshot is gone.
func TestDamagedSnapshotThatIsNeeded(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"cut short": func(t *testing.T, dir string) {
			damage(t, only(t, dir+"/raft/snapshots/*/state.bin"), func(b []byte) []byte { return b[:len(b)/2] })
		},
		"a bit turned": func(t *testing.T, dir string) {
			damage(t, only(t, dir+"/raft/snapshots/*/state.bin"), flip(t, "edge-1", 0))
		},
		"its description gone": func(t *testing.T, dir string) { _ = os.Remove(only(t, dir+"/raft/snapshots/*/meta.json")) },
		"gone":                 func(t *testing.T, dir string) { _ = os.RemoveAll(filepath.Join(dir, "raft", "snapshots")) },
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster(t, "c1")
			cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
			cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
			cl.alive("edge-1", "fog-1")
			cl.submit(people("people", 1))
			m := cl.leader()
			conf := m.raft.Load().ReloadableConfig()
			conf.TrailingLogs = 1
			if err := m.raft.Load().ReloadConfig(conf); err != nil {
				t.Fatal(err)
			}
			if err := m.raft.Load().Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
			cl.halt("c1")
			spoil(t, m.dir)
			_, err := reopen(t, m.dir)
			if !errors.Is(err, ErrCorruptSnapshot) || !strings.Contains(err.Error(), m.dir) || !strings.Contains(err.Error(), "docs/recovery.md") {
				t.Fatalf("got %v, want ErrCorruptSnapshot", err)
			}
		})
	}
}

// Entries of before there were checksums are read as they are.
func TestLogWithoutChecksums(t *testing.T) {
	d, err := openDisk(t.TempDir(), newHclog(discard()), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	if err := d.store.WAL.StoreLog(&raft.Log{Index: 1, Term: 1, Data: []byte("old")}); err != nil {
		t.Fatal(err)
	}
	if err := d.store.StoreLog(&raft.Log{Index: 2, Term: 1, Data: []byte("new")}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"old", "new"} {
		var l raft.Log
		if err := d.store.GetLog(uint64(i+1), &l); err != nil || string(l.Data) != want || l.Extensions != nil {
			t.Fatalf("%+v, %v", l, err)
		}
	}
	if err := d.store.WAL.StoreLog(&raft.Log{Index: 3, Term: 1, Data: []byte("bad"), Extensions: []byte{1, 2, 3, 4}}); err != nil {
		t.Fatal(err)
	}
	if err := d.store.GetLog(3, new(raft.Log)); !errors.Is(storageFault(err, "x"), ErrCorruptLog) {
		t.Fatal(err)
	}
}

// Where Raft would panic, its goroutine ends instead, and the coordinator is
// started again.
func TestRaftIsStartedAgainAfterAFault(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(s *store){
		"a write of the log": func(s *store) { _ = s.fail(fmt.Errorf("write: %w", syscall.ENOSPC)) },
		"the term is not kept": func(s *store) {
			_ = s.Close() // what is under Raft fails at once, wherever it is
			_ = s.fail(fmt.Errorf("keep: %w", syscall.ENOSPC))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster(t, "c1")
			cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
			cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
			cl.alive("edge-1", "fog-1")
			cl.submit(people("people", 1))
			m := cl.leader()
			before, first := m.Snapshot(), m.raft.Load()
			var asking sync.WaitGroup
			enough := make(chan struct{})
			for range 16 { // who asks meanwhile gets an answer, and gives back the right to plan
				asking.Go(func() {
					for {
						select {
						case <-enough:
							return
						default:
							_, _ = m.Submit(context.Background(), people("too many", 1000), "")
						}
					}
				})
			}
			fail(m.disk.Load().store)
			wait(t, "another Raft", func() bool { r := m.raft.Load(); return r != nil && r != first })
			close(enough)
			answered := make(chan struct{})
			go func() { asking.Wait(); close(answered) }()
			select {
			case <-answered:
			case <-time.After(patience):
				t.Fatal("someone still waits for an answer")
			}
			// What readers see never goes back.
			if s := m.Snapshot(); s.Index() < before.Index() || !slices.Equal(s.Placements(), before.Placements()) {
				t.Fatalf("the state went from %d to %d", before.Index(), s.Index())
			}
			cl.submit(people("cars", 1))
			if err := m.raft.Load().Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
			m.stop()
			if err := <-m.done; err != nil {
				t.Fatal(err)
			}
			delete(cl.nodes, "c1")
			s, err := reopen(t, m.dir)
			if err != nil || !running(s, "people") || !running(s, "cars") {
				t.Fatalf("after a restart: %v", err)
			}
		})
	}
}

// A store that fails under Raft's feet stops a goroutine of it, not the
// process.
func TestFatalEndsTheGoroutine(t *testing.T) {
	d, err := openDisk(t.TempDir(), newHclog(discard()), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	if err := d.store.fatal(syscall.ENOSPC); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal("before Raft runs the error is returned:", err)
	}
	d.store.live.Store(true)
	done := make(chan bool)
	go func() {
		defer close(done)
		_ = d.store.SetUint64([]byte("CurrentTerm"), 7)
		done <- true
	}()
	if <-done {
		t.Fatal("it went on")
	}
	if err := d.store.StoreLog(&raft.Log{Index: 1}); !errors.Is(err, errBroken) {
		t.Fatalf("a broken store takes entries: %v", err)
	}
	if err := <-d.store.faults; !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the first fault is %v", err)
	}
}
