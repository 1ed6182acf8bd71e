package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/models/catalog"
)

// The conditions that callers tell apart.
var (
	ErrMissing  = errors.New("it is not there")
	ErrDamaged  = errors.New("it is not as the catalogue says")
	ErrUnpinned = errors.New("nobody knows yet what it has to be")
	ErrInUse    = errors.New("another process is fetching it")
	ErrDiskFull = errors.New("the disk is full")
	ErrConflict = errors.New("something else is there under that name")
)

// installed is where the entries of models are that were added.
const installed = "catalogue.d"

// Store is a model directory. It is safe for concurrent use.
type Store struct {
	path     string
	base     *catalog.Catalog
	embedded fs.FS

	mu   sync.Mutex
	sums map[string]sum // by name
}

// sum is a file's digest, and what it looked like then.
type sum struct {
	size   int64
	time   time.Time
	sha256 string
}

// New returns the store at the path, which is made when something is put there.
// base are the models that are known without it; embedded, which may be nil, are
// files that are built into the program.
func New(path string, base *catalog.Catalog, embedded fs.FS) *Store {
	return &Store{path: path, base: base, embedded: embedded, sums: map[string]sum{}}
}

// Path is the directory's.
func (s *Store) Path() string { return s.path }

// Files are the directory's and those built in.
func (s *Store) Files() fs.FS { return catalog.Overlay(s.embedded, os.DirFS(s.path)) }

// Embedded are the files that are built into the program; nil: none.
func (s *Store) Embedded() fs.FS { return s.embedded }

// Catalogue is what is known of models: those of the base, then those that were
// added, with the digests of the lock. left says what was left out. The error is
// of the lock: without it, nobody knows what to trust.
func (s *Store) Catalogue() (c *catalog.Catalog, left []error, err error) {
	lock, err := s.Lock()
	if err != nil {
		return nil, nil, err
	}
	c = s.base
	entries, err := os.ReadDir(filepath.Join(s.path, installed))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		left = append(left, err)
	}
	for _, e := range entries {
		if path.Ext(e.Name()) != ".yaml" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		file := filepath.Join(s.path, installed, e.Name())
		more, err := read(file)
		if err == nil {
			more, err = c.Merge(more)
		}
		if err != nil {
			left = append(left, fmt.Errorf("%s is left out: %w", file, err))
			continue
		}
		c = more
	}
	return c.Pinned(lock), left, nil
}

func read(file string) (*catalog.Catalog, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return catalog.Load(file, b)
}

// Check says how a model's file is: nil if it is there and as the catalogue has
// it; ErrUnpinned if it is there and the catalogue does not know its digest.
func (s *Store) Check(f catalog.File) error {
	have, err := s.Digest(f.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", f.Name, ErrMissing)
	case err != nil:
		return fmt.Errorf("%s: %w: %w", f.Name, ErrDamaged, err)
	case f.Size != 0 && have.Size != f.Size:
		return fmt.Errorf("%s: %w: it has %d bytes and not %d", f.Name, ErrDamaged, have.Size, f.Size)
	case f.SHA256 == "":
		return fmt.Errorf("%s: %w", f.Name, ErrUnpinned)
	case have.SHA256 != f.SHA256:
		return fmt.Errorf("%s: %w: its SHA-256 digest is %s and not %s", f.Name, ErrDamaged, have.SHA256, f.SHA256)
	}
	return nil
}

// Usable says what keeps a model from being used; nil: nothing. A file whose
// digest nobody knows is pinned to what it is.
func (s *Store) Usable(m *catalog.Model) error {
	var errs []error
	for _, f := range m.Files {
		err := s.Check(f)
		if errors.Is(err, ErrUnpinned) {
			_, err = s.Adopt(f.Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// settled is for how long nobody may have written to a file that is pinned to
// what it is: somebody may still be copying it there.
const settled = 10 * time.Second

// Adopt pins a file whose digest nobody knows to what it is. What was written a
// moment ago is ErrUnpinned: it may not be whole yet.
func (s *Store) Adopt(name string) (catalog.Pin, error) {
	have, err := s.Digest(name)
	if err != nil {
		return have, fmt.Errorf("%s: %w", name, err)
	}
	age, err := s.age(name)
	if err != nil {
		return have, fmt.Errorf("%s: %w", name, err)
	}
	// A clock that was set back since is no reason to wait for it.
	if age >= 0 && age < settled {
		return have, fmt.Errorf("%s: %w, and it was written to %s ago: in %s it is taken for what it is now",
			name, ErrUnpinned, age.Round(time.Second), (settled - age).Round(time.Second))
	}
	have.From = "what was there at first"
	err = s.Pin(name, have)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errReadOnly) {
		err = nil // what nobody can write to need not be held to what it was
	}
	return have, err
}

// age is how long ago a file was last written to.
func (s *Store) age(name string) (time.Duration, error) {
	f, err := s.open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return time.Since(info.ModTime()), nil
}

// Available are the names of the models that can be used, sorted, and what is
// wrong with those of which some file is there.
func (s *Store) Available(c *catalog.Catalog) (names []string, damaged []error) {
	for _, m := range c.Models() {
		err := s.Usable(&m)
		switch {
		case err == nil:
			names = append(names, m.Name)
		case slices.ContainsFunc(m.Files, func(f catalog.File) bool { return !errors.Is(s.Check(f), ErrMissing) }):
			damaged = append(damaged, fmt.Errorf("model %s: %w", m.Name, err))
		}
	}
	return names, damaged
}

// Digest is what a file is; an error that is fs.ErrNotExist if it is not there.
func (s *Store) Digest(name string) (catalog.Pin, error) {
	f, err := s.open(name)
	if err != nil {
		return catalog.Pin{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return catalog.Pin{}, err
	}
	if !info.Mode().IsRegular() {
		return catalog.Pin{}, errors.New("it is no regular file")
	}
	s.mu.Lock()
	known := s.sums[name]
	s.mu.Unlock()
	if known.sha256 != "" && known.size == info.Size() && known.time.Equal(info.ModTime()) {
		return catalog.Pin{Size: known.size, SHA256: known.sha256}, nil
	}
	digest, size, err := digestOf(f)
	if err != nil {
		return catalog.Pin{}, err
	}
	s.mu.Lock()
	s.sums[name] = sum{size, info.ModTime(), digest}
	s.mu.Unlock()
	return catalog.Pin{Size: size, SHA256: digest}, nil
}

func digestOf(r io.Reader) (digest string, size int64, err error) {
	h := sha256.New()
	size, err = io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// open opens a file, built in or of the directory, and nothing outside of it.
func (s *Store) open(name string) (fs.File, error) {
	if s.embedded != nil {
		if f, err := s.embedded.Open(name); err == nil {
			return f, nil
		}
	}
	root, err := os.OpenRoot(s.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(filepath.FromSlash(name))
}

// Blob opens the file of the catalogue that has the digest, which the caller
// closes; ErrMissing if there is none that is whole. Files that no catalogue
// names are not to be had.
func (s *Store) Blob(c *catalog.Catalog, digest string) (io.ReadSeekCloser, int64, error) {
	for _, m := range c.Models() {
		for _, f := range m.Files {
			if f.SHA256 != digest || digest == "" || s.Check(f) != nil {
				continue
			}
			file, err := s.open(f.Name)
			if err != nil {
				continue
			}
			info, err := file.Stat()
			if seek, ok := file.(io.ReadSeekCloser); ok && err == nil {
				return seek, info.Size(), nil
			}
			_ = file.Close()
		}
	}
	return nil, 0, fmt.Errorf("sha256:%s: %w", digest, ErrMissing)
}
