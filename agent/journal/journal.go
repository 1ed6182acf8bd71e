package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/tiering"
)

// maxSize bounds the file: some ten thousand assignments.
const maxSize = 16 << 20

// maxRefused is how many files that could not be used are kept.
const maxRefused = 10

// Journal is the file of one node. Its methods are for one caller at a time.
type Journal struct {
	path, mesh, node string
	inTheWay         bool // a file that could not be used is still there
}

// New returns the journal at path, of a node of a mesh. It touches nothing yet.
func New(path, mesh, node string) *Journal { return &Journal{path: path, mesh: mesh, node: node} }

// Load returns what was saved last and its index; 0: there is no journal. An
// error says why the one that is there cannot be used, and where it is now.
func (j *Journal) Load() ([]tiering.Assignment, uint64, error) {
	c, err := j.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, nil
	case err != nil:
		kept, moveErr := j.setAside()
		if moveErr != nil {
			return nil, 0, fmt.Errorf("%s: %w; it could not be renamed: %w", j.path, err, moveErr)
		}
		return nil, 0, fmt.Errorf("%s: %w; it is kept as %s", j.path, err, kept)
	}
	return c.Assignments, c.Index, nil
}

func (j *Journal) read() (content, error) {
	f, err := os.Open(j.path)
	if err != nil {
		return content{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return content{}, err
	}
	if len(b) > maxSize {
		return content{}, fmt.Errorf("%w: more than %d bytes", ErrDamaged, maxSize)
	}
	c, err := decode(b)
	if err != nil {
		return content{}, err
	}
	if c.Mesh != j.mesh || c.Node != j.node {
		return content{}, fmt.Errorf("%w: it is of node %q in mesh %q, this is node %q in mesh %q", ErrForeign, c.Node, c.Mesh, j.node, j.mesh)
	}
	return c, nil
}

// setAside renames a file that cannot be used: it is not for this program to
// throw away.
func (j *Journal) setAside() (kept string, err error) {
	j.inTheWay = true
	for n := 1; n <= maxRefused; n++ {
		kept = fmt.Sprintf("%s.refused-%d", j.path, n)
		if _, err := os.Lstat(kept); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.Rename(j.path, kept); err != nil {
			return "", err
		}
		j.inTheWay = false
		return kept, nil
	}
	return "", fmt.Errorf("there are %d of its kind already: look at %s and remove them", maxRefused, j.path+".refused-*")
}

// Save replaces the journal. When it returns, the new one is on the disk.
func (j *Journal) Save(as []tiering.Assignment, index uint64) error {
	b, err := encode(content{Mesh: j.mesh, Node: j.node, Index: index, Assignments: as})
	if err != nil {
		return err
	}
	if len(b) > maxSize {
		return fmt.Errorf("%s: %d assignments take %d bytes, at most %d are kept", j.path, len(as), len(b), maxSize)
	}
	if j.inTheWay {
		if _, err := j.setAside(); err != nil {
			return fmt.Errorf("%s cannot be used and is in the way: %w", j.path, err)
		}
	}
	return replace(j.path, b)
}

// replace puts b in the place of the file, whole and durably: the new file is
// on the disk before it takes the old one's name, and the directory, which
// holds the name, after. (google/renameio, the library for this, leaves the
// directory out.) The temporary file always has the same name, so that a
// process that is killed leaves one behind at most.
func replace(path string, b []byte) (err error) {
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
