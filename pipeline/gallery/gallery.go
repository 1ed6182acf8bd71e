package gallery

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/dnslabel"
)

// The conditions that a Gallery reports.
var (
	// ErrName reports a name that is refused rather than rewritten: two names
	// must never share a directory.
	ErrName   = errors.New("not a DNS label")
	ErrNoJPEG = errors.New("not a JPEG picture")
	ErrClosed = errors.New("gallery closed")
)

// Config says where pictures are kept and how many.
type Config struct {
	Dir    string // made if it isn't there
	Retain int    // pictures kept per workflow and source; 0: none, streams only
	Log    *slog.Logger
}

// Picture is one kept file.
type Picture struct {
	Source string    `json:"source"`
	Seq    uint64    `json:"seq"` // of the frame
	File   string    `json:"file"`
	Time   time.Time `json:"time"` // of addition
	Bytes  int64     `json:"bytes"`
}

// Stats counts pictures since New.
type Stats struct {
	Added   uint64 // handed to Add and valid
	Written uint64 // of those, written to disk
	Failed  uint64 // of those, not written: the disk is full, for one
	Removed uint64 // deleted from disk to keep to the limit
}

// Gallery is safe for concurrent use.
type Gallery struct {
	log    *slog.Logger
	root   *os.Root
	retain int

	mu      sync.Mutex // guards what follows; held for no I/O
	closed  bool
	done    chan struct{}  // closed with the gallery
	keep    map[string]int // by workflow, where it isn't retain
	streams map[key]*stream
	stats   Stats
}

type key struct{ workflow, source string }

// New opens the gallery in cfg.Dir and takes stock of the pictures there.
// Unfinished files are removed at once, those beyond the limit with the next
// picture of their source: by then Keep has been called.
func New(cfg Config) (*Gallery, error) {
	if cfg.Dir == "" {
		return nil, errors.New("gallery: no directory given")
	}
	if cfg.Retain < 0 {
		return nil, fmt.Errorf("gallery: cannot retain %d pictures; give 0 or more", cfg.Retain)
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("gallery: make the directory: %w", err)
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("gallery: open the directory: %w", err)
	}
	g := &Gallery{
		log: cfg.Log, root: root, retain: cfg.Retain,
		done: make(chan struct{}), keep: map[string]int{}, streams: map[key]*stream{},
	}
	if err := g.takeStock(); err != nil {
		return nil, errors.Join(fmt.Errorf("gallery: read the directory: %w", err), root.Close())
	}
	return g, nil
}

// Close ends all streams and refuses further pictures.
func (g *Gallery) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	close(g.done)
	g.mu.Unlock()
	return g.root.Close()
}

// Keep sets how many pictures are kept per source of the workflow, instead of
// Config.Retain. It holds from the next picture on; 0 keeps none.
func (g *Gallery) Keep(workflow string, n int) error {
	if !dnslabel.Valid(workflow) {
		return fmt.Errorf("gallery: workflow %q: %w", workflow, ErrName)
	}
	if n < 0 {
		return fmt.Errorf("gallery: workflow %q: cannot retain %d pictures; give 0 or more", workflow, n)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keep[workflow] = n
	return nil
}

// Add shows a picture to those who watch the stream and keeps it on disk. The
// gallery keeps a reference to jpeg: it must not be modified any more.
//
// A picture that cannot be written, since the disk is full, is shown
// nevertheless, counted and no error: detections are worth more than the
// pictures of them, and nobody's frames are to be lost for a full disk.
func (g *Gallery) Add(workflow, source string, seq uint64, jpeg []byte) error {
	k := key{workflow, source}
	if err := k.check(); err != nil {
		return err
	}
	if !bytes.HasPrefix(jpeg, []byte{0xff, 0xd8}) {
		return fmt.Errorf("gallery: %s/%s frame %d: %w", workflow, source, seq, ErrNoJPEG)
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return ErrClosed
	}
	s := g.stream(k)
	limit, ok := g.keep[workflow]
	if !ok {
		limit = g.retain
	}
	g.mu.Unlock()

	s.show(jpeg)
	removed, err := s.store(g.root, time.Now(), seq, jpeg, limit)

	g.mu.Lock()
	g.stats.Added++
	g.stats.Removed += uint64(removed)
	switch {
	case err != nil:
		g.stats.Failed++
	case limit > 0:
		g.stats.Written++
	}
	// Where none is to be kept, that nothing went wrong says nothing.
	news := s.failing != (err != nil) && (err != nil || limit > 0)
	if news {
		s.failing = err != nil
	}
	g.mu.Unlock()
	switch {
	case news && err != nil:
		g.log.Error("pictures are shown but not kept until there is room or leave to write", "directory", g.root.Name(),
			"workflow", workflow, "source", source, "frame", seq, "err", err)
	case news:
		g.log.Info("pictures are kept again", "directory", g.root.Name(), "workflow", workflow, "source", source)
	}
	return nil
}

// Latest is the newest picture that was added since New and since End; ok is
// false when there is none. It must not be modified.
func (g *Gallery) Latest(workflow, source string) (jpeg []byte, ok bool) {
	g.mu.Lock()
	s := g.streams[key{workflow, source}]
	g.mu.Unlock()
	if s == nil {
		return nil, false
	}
	jpeg, _ = s.latest()
	return jpeg, jpeg != nil
}

// End ends the workflow's streams: it has been stopped here. Its files stay. A
// further Add starts them again.
func (g *Gallery) End(workflow string) {
	g.mu.Lock()
	var ended []*stream
	for k, s := range g.streams {
		if k.workflow == workflow {
			ended = append(ended, s)
		}
	}
	delete(g.keep, workflow)
	g.mu.Unlock()
	for _, s := range ended {
		s.end()
	}
}

// Pictures lists what is kept of the workflow, by source, oldest first.
func (g *Gallery) Pictures(workflow string) []Picture {
	out := []Picture{}
	for _, k := range g.keys() {
		if k.workflow != workflow {
			continue
		}
		g.mu.Lock()
		s := g.streams[k]
		g.mu.Unlock()
		out = append(out, s.pictures()...)
	}
	return out
}

// Stats returns the counts.
func (g *Gallery) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

// stream returns k's, making it where there is none. The caller holds g.mu.
func (g *Gallery) stream(k key) *stream {
	s, ok := g.streams[k]
	if !ok {
		s = newStream(k)
		g.streams[k] = s
	}
	return s
}

// keys are those of all streams, in order.
func (g *Gallery) keys() []key {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Keys(g.streams), key.compare)
}

// takeStock finds the pictures that an earlier run left.
func (g *Gallery) takeStock() error {
	workflows, err := dirs(g.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, w := range workflows {
		sources, err := dirs(g.root.FS(), w)
		if err != nil {
			return err
		}
		for _, src := range sources {
			if err := g.stream(key{w, src}).load(g.root); err != nil {
				return err
			}
		}
	}
	return nil
}

// dirs are the names of the directories in dir that are labels.
func dirs(fsys fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && dnslabel.Valid(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

func (k key) compare(l key) int {
	return cmp.Or(cmp.Compare(k.workflow, l.workflow), cmp.Compare(k.source, l.source))
}

func (k key) check() error {
	if !dnslabel.Valid(k.workflow) {
		return fmt.Errorf("gallery: workflow %q: %w", k.workflow, ErrName)
	}
	if !dnslabel.Valid(k.source) {
		return fmt.Errorf("gallery: source %q: %w", k.source, ErrName)
	}
	return nil
}
