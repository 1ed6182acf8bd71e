package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/weft-mesh/weft/models/catalog"
)

// Part is a file that is being fetched. It is for one goroutine.
type Part struct {
	store *Store
	want  catalog.File
	root  *os.Root
	lock  *flock.Flock // nil: not had
	file  *os.File
	name  string // of the part, in the directory
	size  int64
	from  origin
}

// origin is where the bytes of a part come from, so that another run of the
// program goes on with them and not with those of another file.
type origin struct {
	URL       string `json:"url"`
	Validator string `json:"validator,omitempty"` // strong ETag or date of the server
}

const maxOrigin = 64 << 10

// Begin goes on with what there is of a file, or starts it. What is there is of
// no use without a digest that tells in the end whether it was right: after a
// power cut some of it may be missing. The caller closes the part.
func (s *Store) Begin(want catalog.File) (*Part, error) {
	if !fs.ValidPath(want.Name) || want.Name == catalog.LockFile || strings.HasPrefix(want.Name, installed+"/") || strings.HasPrefix(want.Name, ".") || strings.Contains(want.Name, "/.") {
		return nil, fmt.Errorf("%q is no name for a model's file", want.Name)
	}
	if err := os.MkdirAll(s.path, 0o755); err != nil {
		return nil, full(err)
	}
	root, err := os.OpenRoot(s.path)
	if err != nil {
		return nil, err
	}
	p := &Part{store: s, want: want, root: root}
	name := filepath.FromSlash(want.Name)
	p.name = filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".part")
	if err := p.open(); err != nil {
		return nil, errors.Join(full(err), p.Close())
	}
	return p, nil
}

func (p *Part) open() (err error) {
	if err = p.root.MkdirAll(filepath.Dir(p.name), 0o755); err != nil {
		return err
	}
	if err := p.claim(); err != nil {
		return fmt.Errorf("%s: %w", p.want.Name, err)
	}
	if p.file, err = p.root.OpenFile(p.name, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	there, err := p.file.Stat()
	if err != nil {
		return err
	}
	f, err := p.root.Open(p.name + ".from")
	if err == nil {
		err = json.NewDecoder(io.LimitReader(f, maxOrigin)).Decode(&p.from)
		_ = f.Close()
	}
	if err != nil || p.want.SHA256 == "" || p.want.Size != 0 && there.Size() > p.want.Size {
		return p.Restart("", "")
	}
	p.size, err = p.file.Seek(0, io.SeekEnd)
	return err
}

// claim takes the part for this process, until it is closed.
func (p *Part) claim() error {
	lock, err := p.store.lock(p.want.Name)
	if err != nil {
		return err
	}
	mine, err := lock.TryLock()
	if err != nil || !mine {
		return errors.Join(err, ErrInUse)
	}
	p.lock = lock
	return nil
}

// Size is how much of it is there.
func (p *Part) Size() int64 { return p.size }

// Origin is where that comes from.
func (p *Part) Origin() (url, validator string) { return p.from.URL, p.from.Validator }

// Restart drops what is there; what follows comes from the URL.
func (p *Part) Restart(url, validator string) error {
	if err := p.file.Truncate(0); err != nil {
		return full(err)
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p.size, p.from = 0, origin{url, validator}
	b, err := json.Marshal(p.from)
	if err != nil {
		return err
	}
	f, err := p.root.OpenFile(p.name+".from", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return full(err)
	}
	_, err = f.Write(b)
	return full(errors.Join(err, f.Close()))
}

// Write implements io.Writer.
func (p *Part) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.size += int64(n)
	if err = full(err); errors.Is(err, ErrDiskFull) {
		err = fmt.Errorf("%w: %s has no room for %s", err, p.store.path, p.want.Name)
	}
	return n, err
}

// Commit checks what is there and gives it its name. If it is not what it has
// to be the error is ErrDamaged, and it is dropped. A file whose digest nobody
// knows is pinned.
func (p *Part) Commit() (catalog.Pin, error) {
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return catalog.Pin{}, err
	}
	digest, size, err := digestOf(p.file)
	if err != nil {
		return catalog.Pin{}, err
	}
	have := catalog.Pin{Size: size, SHA256: digest, From: p.from.URL}
	switch {
	case size == 0 || p.want.Size != 0 && size != p.want.Size:
		err = fmt.Errorf("%s: %w: %d bytes came, and not %d", p.want.Name, ErrDamaged, size, p.want.Size)
	case p.want.SHA256 != "" && digest != p.want.SHA256:
		err = fmt.Errorf("%s: %w: its SHA-256 digest is %s and not %s", p.want.Name, ErrDamaged, digest, p.want.SHA256)
	case p.want.SHA256 == "":
		err = p.store.Pin(p.want.Name, have)
	}
	if err != nil {
		return catalog.Pin{}, errors.Join(err, p.Restart("", ""))
	}
	if err := p.file.Sync(); err != nil {
		return catalog.Pin{}, full(err)
	}
	if err := p.root.Rename(p.name, filepath.FromSlash(p.want.Name)); err != nil {
		return catalog.Pin{}, full(err)
	}
	if err := p.root.Remove(p.name + ".from"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return catalog.Pin{}, err
	}
	return have, syncDir(p.root, filepath.Dir(p.name))
}

// Drop takes away what there is of the file, say because the disk is full.
func (p *Part) Drop() error {
	return errors.Join(p.root.Remove(p.name), p.root.Remove(p.name+".from"))
}

// Close lets go of the part; what is there of it stays.
func (p *Part) Close() error {
	var err error
	if p.file != nil {
		err = p.file.Close()
	}
	if p.lock != nil {
		err = errors.Join(err, p.lock.Close())
	}
	return errors.Join(err, p.root.Close())
}
