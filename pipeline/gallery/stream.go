package gallery

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stream is what is known of one source of one workflow.
type stream struct {
	key     key
	failing bool // the last picture could not be written; guarded by the gallery's mu

	mu      sync.Mutex // guards what is shown; held for no I/O
	jpeg    []byte     // the newest, nil: not live
	changed chan struct{}

	files sync.Mutex // guards what is on disk; held while writing
	made  bool       // the directory is there
	kept  []Picture  // oldest first
}

func newStream(k key) *stream { return &stream{key: k, changed: make(chan struct{})} }

// show makes jpeg the newest picture and wakes the readers.
func (s *stream) show(jpeg []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jpeg = jpeg
	close(s.changed)
	s.changed = make(chan struct{})
}

// end takes the stream off the air.
func (s *stream) end() { s.show(nil) }

// latest returns the newest picture, nil when the stream is not live, and a
// channel that is closed when that changes.
func (s *stream) latest() ([]byte, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jpeg, s.changed
}

func (s *stream) live() bool {
	jpeg, _ := s.latest()
	return jpeg != nil
}

// pictures returns a copy of what is kept.
func (s *stream) pictures() []Picture {
	s.files.Lock()
	defer s.files.Unlock()
	return append([]Picture(nil), s.kept...)
}

func (s *stream) dir() string { return path.Join(s.key.workflow, s.key.source) }

// The parts of a file's name.
const (
	timeLayout = "20060102T150405.000000000Z"
	suffix     = ".jpg"
	unfinished = ".part"
)

// parseName reads a name that store made.
func parseName(name string) (t time.Time, seq uint64, ok bool) {
	base, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return time.Time{}, 0, false
	}
	at, n, ok := strings.Cut(base, "-")
	if !ok || len(n) != 20 {
		return time.Time{}, 0, false
	}
	t, err := time.Parse(timeLayout, at)
	if err != nil {
		return time.Time{}, 0, false
	}
	seq, err = strconv.ParseUint(n, 10, 64)
	// time.Parse takes a comma for the point.
	return t, seq, err == nil && fileName(t, seq) == name
}

func fileName(t time.Time, seq uint64) string {
	return fmt.Sprintf("%s-%020d%s", t.UTC().Format(timeLayout), seq, suffix)
}

// load takes stock of what an earlier run left and removes what it did not
// finish. Files of other names are left alone.
func (s *stream) load(root *os.Root) error {
	s.files.Lock()
	defer s.files.Unlock()
	entries, err := fs.ReadDir(root.FS(), s.dir()) // sorted by name, so by time
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinished) {
			if err := root.Remove(path.Join(s.dir(), e.Name())); err != nil {
				return err
			}
			continue
		}
		t, seq, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		s.kept = append(s.kept, Picture{Source: s.key.source, Seq: seq, File: e.Name(), Time: t, Bytes: info.Size()})
	}
	return nil
}

// store writes the picture and removes the oldest beyond limit. The oldest go
// first, so that a disk that is nearly full still takes the newest.
func (s *stream) store(root *os.Root, now time.Time, seq uint64, jpeg []byte, limit int) (removed int, err error) {
	s.files.Lock()
	defer s.files.Unlock()
	for len(s.kept) > max(limit-1, 0) {
		err := root.Remove(path.Join(s.dir(), s.kept[0].File))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		s.kept = s.kept[1:]
		removed++
	}
	if limit == 0 {
		return removed, nil
	}
	if n := len(s.kept); n > 0 && !now.After(s.kept[n-1].Time) {
		now = s.kept[n-1].Time.Add(1) // the clock was set back; names must sort
	}
	p := Picture{Source: s.key.source, Seq: seq, File: fileName(now, seq), Time: now.UTC(), Bytes: int64(len(jpeg))}
	if err := s.write(root, p.File, jpeg); err != nil {
		return removed, err
	}
	s.kept = append(s.kept, p)
	return removed, nil
}

// write makes the file appear whole or not at all. It isn't synced to disk: a
// picture is not worth the wait.
func (s *stream) write(root *os.Root, name string, data []byte) error {
	if !s.made {
		if err := root.MkdirAll(s.dir(), 0o755); err != nil {
			return err
		}
		s.made = true
	}
	final := path.Join(s.dir(), name)
	temp := final + unfinished
	err := root.WriteFile(temp, data, 0o644)
	if err == nil {
		err = root.Rename(temp, final)
	}
	if err == nil {
		return nil
	}
	s.made = false // someone may have removed the directory
	if rm := root.Remove(temp); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}
