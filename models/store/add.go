package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/darknet"
)

// Add puts the models of a catalogue into the store: their files, which are
// below the directory from or in the store already, and their entries, with
// sizes and digests filled in. All are looked at before any is put there.
func (s *Store) Add(own *catalog.Catalog, from string) ([]catalog.Model, error) {
	known, _, err := s.Catalogue()
	if err != nil {
		return nil, err
	}
	var (
		ready []catalog.Model
		errs  []error
	)
	for _, m := range own.Models() {
		filled, err := s.examine(m, from)
		if err == nil {
			err = s.Fits(known, filled)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("model %s: %w", m.Name, err))
			continue
		}
		ready = append(ready, filled)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, m := range ready {
		for _, f := range m.Files {
			if err := s.copyIn(f, from); err != nil {
				return nil, fmt.Errorf("model %s: %w", m.Name, err)
			}
		}
		if err := s.Install(m); err != nil {
			return nil, err
		}
	}
	return ready, nil
}

// examine looks whether a model's files make a model, and says what they are.
func (s *Store) examine(m catalog.Model, from string) (catalog.Model, error) {
	files := map[catalog.Role][]byte{}
	for i, f := range m.Files {
		at, err := s.find(f.Name, from)
		if err != nil {
			return m, err
		}
		head, have, err := look(at, f.Role == catalog.RoleConfig)
		switch {
		case err != nil:
			return m, err
		case have.Size == 0:
			return m, fmt.Errorf("%s is empty", at)
		case f.Size != 0 && f.Size != have.Size:
			return m, fmt.Errorf("%s: %w: it has %d bytes and not %d", at, ErrDamaged, have.Size, f.Size)
		case f.SHA256 != "" && f.SHA256 != have.SHA256:
			return m, fmt.Errorf("%s: %w: its SHA-256 digest is %s and not %s", at, ErrDamaged, have.SHA256, f.SHA256)
		}
		if i == 0 {
			m.Files = append([]catalog.File{}, m.Files...)
		}
		m.Files[i].Size, m.Files[i].SHA256 = have.Size, have.SHA256
		files[f.Role] = head
	}
	if m.Format != catalog.Darknet {
		return m, nil
	}
	cfg, _ := m.File(catalog.RoleConfig)
	weights, _ := m.File(catalog.RoleWeights)
	c, err := darknet.Parse(files[catalog.RoleConfig])
	if err != nil {
		return m, fmt.Errorf("%s: %w", cfg.Name, err)
	}
	want, classes, err := c.Check()
	if err != nil {
		return m, fmt.Errorf("%s: %w", cfg.Name, err)
	}
	if classes != len(m.Classes) {
		return m, fmt.Errorf("%s tells %d classes apart, the catalogue names %d", cfg.Name, classes, len(m.Classes))
	}
	if err := darknet.CheckWeights(files[catalog.RoleWeights], weights.Size, want); err != nil {
		return m, fmt.Errorf("%s has %w", weights.Name, err)
	}
	return m, nil
}

// find is the path of a model's file that is to be added.
func (s *Store) find(name, from string) (string, error) {
	at := filepath.Join(from, filepath.FromSlash(name))
	if _, err := os.Stat(at); err == nil {
		return at, nil
	}
	here := filepath.Join(s.path, filepath.FromSlash(name))
	if _, err := os.Stat(here); err == nil {
		return here, nil
	}
	return "", fmt.Errorf("%s: %w, neither in %s nor in %s", name, ErrMissing, from, s.path)
}

// maxConfig bounds a darknet config, in bytes; published ones have some 20 kB.
const maxConfig = 4 << 20

// look is what a file is, and its content or how it starts.
func look(path string, all bool) (head []byte, have catalog.Pin, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, have, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, have, errors.Join(err, fmt.Errorf("%s is no regular file", path))
	}
	if have.SHA256, have.Size, err = digestOf(f); err != nil {
		return nil, have, err
	}
	n := int64(darknet.HeadSize)
	if all {
		if n = have.Size; n > maxConfig {
			return nil, have, fmt.Errorf("%s has %d bytes: no config", path, n)
		}
	}
	head = make([]byte, min(n, have.Size))
	_, err = f.ReadAt(head, 0)
	return head, have, err
}

// Fits says why a model cannot be put beside those that are known; nil: it can.
// The same again is no mistake.
func (s *Store) Fits(known *catalog.Catalog, m catalog.Model) error {
	if old, ok := known.Lookup(m.Name); ok && !same(*old, m) {
		return fmt.Errorf("%w: the catalogue has another model %s: give yours another name, or, if it was added before, remove %s",
			ErrConflict, m.Name, filepath.Join(s.path, installed, m.Name+".yaml"))
	}
	for _, f := range m.Files {
		for _, other := range known.Models() {
			for _, o := range other.Files {
				if o.Name == f.Name && o.SHA256 != "" && o.SHA256 != f.SHA256 {
					return fmt.Errorf("%w: %s is a file of model %s: give yours another name", ErrConflict, f.Name, other.Name)
				}
			}
		}
		have, err := s.Digest(f.Name)
		if err == nil && have.SHA256 != f.SHA256 {
			return fmt.Errorf("%w: %s is another file: move it away, or give yours another name", ErrConflict, filepath.Join(s.path, f.Name))
		}
	}
	return nil
}

func same(a, b catalog.Model) bool { return reflect.DeepEqual(a, b) }

// copyIn takes a file into the store, unless it is there.
func (s *Store) copyIn(f catalog.File, from string) error {
	if s.Check(f) == nil {
		return nil
	}
	src, err := os.Open(filepath.Join(from, filepath.FromSlash(f.Name)))
	if err != nil {
		return err
	}
	defer src.Close()
	p, err := s.Begin(f)
	if err != nil {
		return err
	}
	defer p.Close()
	if err = p.Restart(src.Name(), ""); err == nil {
		if _, err = io.Copy(p, src); err == nil {
			_, err = p.Commit()
		}
	}
	if errors.Is(err, ErrDiskFull) {
		err = errors.Join(err, p.Drop())
	}
	return err
}

// Install puts a model's entry into the store; its files are there or come by
// themselves.
func (s *Store) Install(m catalog.Model) error {
	b, err := catalog.Encode(m)
	if err != nil {
		return err
	}
	if _, err := catalog.Load(m.Name, b); err != nil {
		return fmt.Errorf("model %s cannot be written down: %w", m.Name, err)
	}
	if err := os.MkdirAll(filepath.Join(s.path, installed), 0o755); err != nil {
		return full(err)
	}
	root, err := os.OpenRoot(s.path)
	if err != nil {
		return err
	}
	defer root.Close()
	name := filepath.Join(installed, m.Name+".yaml")
	if old, err := fs.ReadFile(root.FS(), filepath.ToSlash(name)); err == nil && string(old) == string(b) {
		return nil
	}
	return replace(root, name, b)
}
