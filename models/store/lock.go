package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"

	"github.com/weft-mesh/weft/models/catalog"
)

var errReadOnly = syscall.EROFS

// Lock reads what files were whose digests no catalogue knows.
func (s *Store) Lock() (catalog.Lock, error) {
	file := filepath.Join(s.path, catalog.LockFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return catalog.Lock{}, nil
	} else if err != nil {
		return nil, fmt.Errorf("what files have to be: %w", err)
	}
	return catalog.ParseLock(file, b)
}

// Pin notes what a file is, once: what was noted before stays, and a file that
// is not that is ErrDamaged.
func (s *Store) Pin(name string, p catalog.Pin) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(s.path, 0o755); err != nil {
		return err
	}
	lock, err := s.lock(catalog.LockFile) // several processes may pin
	if err != nil {
		return err
	}
	if err := lock.Lock(); err != nil {
		return full(err)
	}
	defer lock.Close()
	l, err := s.Lock()
	if err != nil {
		return err
	}
	if old, ok := l[name]; ok {
		if old.SHA256 != p.SHA256 {
			return fmt.Errorf("%s: %w: its SHA-256 digest is %s, and it was %s at first; if that is right, take its entry out of %s",
				name, ErrDamaged, p.SHA256, old.SHA256, filepath.Join(s.path, catalog.LockFile))
		}
		return nil
	}
	l[name] = p
	root, err := os.OpenRoot(s.path)
	if err != nil {
		return err
	}
	defer root.Close()
	return replace(root, catalog.LockFile, l.Encode())
}

// locks is the directory of files that processes lock. They stay: to take one
// away would give those who wait for it and those who come one each.
const locks = ".locks"

// lock is what keeps other processes from writing a file.
func (s *Store) lock(name string) (*flock.Flock, error) {
	dir := filepath.Join(s.path, locks)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, full(err)
	}
	return flock.New(filepath.Join(dir, url.PathEscape(name)), flock.SetPermissions(0o644)), nil
}

// replace writes a small file whole or not at all.
func replace(root *os.Root, name string, content []byte) error {
	temporary := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".new")
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return full(err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		return full(errors.Join(err, root.Remove(temporary)))
	}
	return syncDir(root, filepath.Dir(name))
}

// full says of an error that it is ErrDiskFull, if it is.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// syncDir makes sure that the names in a directory are on the disk.
func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) {
		return errors.Join(err, d.Close()) // some systems and file systems know no such thing
	}
	return d.Close()
}
