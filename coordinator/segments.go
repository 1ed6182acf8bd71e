package coordinator

import (
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// segments are the files of the log. When a deposed leader takes back entries
// that were never committed, raft-wal v0.4.0 seals the file that it cuts
// without writing the file's index, and cannot read the file once the log has
// been closed: Raft panics on the next start. Such a file is read through
// instead, as one that is still written to.
type segments struct{ *segment.Filer }

func newSegments(dir string) segments { return segments{segment.NewFiler(dir, walfs.New())} }

// Open implements [types.SegmentFiler].
func (s segments) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	if info.IndexStart == 0 {
		return s.RecoverTail(info)
	}
	return s.Filer.Open(info)
}
