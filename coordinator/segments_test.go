package coordinator

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

// openLog is a log with what closing it leaves open.
type openLog struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
}

// TestTheLogOutlivesTakingBack: entries that were taken back are gone, and all
// others can be read when the log is opened again, and again.
func TestTheLogOutlivesTakingBack(t *testing.T) {
	const n = 6
	for cut := uint64(2); cut <= n; cut++ {
		t.Run(fmt.Sprint("from ", cut), func(t *testing.T) {
			dir := t.TempDir()
			open := func() *openLog {
				t.Helper()
				meta := &metadb.BoltMetaDB{}
				w, err := wal.Open(dir, wal.WithSegmentSize(1<<16), wal.WithMetaStore(meta), wal.WithSegmentFiler(newSegments(dir)))
				if err != nil {
					t.Fatal(err)
				}
				return &openLog{w, meta}
			}
			store := func(w *openLog, from, term uint64) {
				t.Helper()
				for i := from; i <= n; i++ {
					if err := w.StoreLog(&raft.Log{Index: i, Term: term, Data: fmt.Appendf(nil, "%d in %d", i, term)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			check := func(w *openLog, last uint64) {
				t.Helper()
				if got, err := w.LastIndex(); err != nil || got != last {
					t.Fatalf("the last is %d, %v; want %d", got, err, last)
				}
				for i := uint64(1); i <= last; i++ {
					term := uint64(1)
					if i >= cut {
						term = 2
					}
					var l raft.Log
					if err := w.GetLog(i, &l); err != nil || string(l.Data) != fmt.Sprintf("%d in %d", i, term) {
						t.Errorf("entry %d: %q, %v", i, l.Data, err)
					}
				}
				if err := errors.Join(w.Close(), w.meta.Close()); err != nil {
					t.Fatal(err)
				}
			}
			w := open()
			store(w, 1, 1)
			if err := w.DeleteRange(cut, n); err != nil {
				t.Fatal(err)
			}
			check(w, cut-1)
			check(open(), cut-1)
			w = open()
			store(w, cut, 2)
			check(w, n)
			check(open(), n)
		})
	}
}
