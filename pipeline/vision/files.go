package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/models/catalog"
)

// maxModelFile bounds a model file whose size the catalogue does not know.
const maxModelFile = 2 << 30

// readModelFile reads the model's file of the role and compares it with what
// the catalogue says of it.
func readModelFile(dir string, m catalog.Model, role catalog.Role) (data []byte, name string, err error) {
	f, ok := m.File(role)
	if !ok {
		return nil, "", fmt.Errorf("the catalogue names no %s file", role)
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("the model directory %s does not exist; set it in the agent's config", dir)
	}
	if err != nil {
		return nil, "", fmt.Errorf("open the model directory: %w", err)
	}
	defer root.Close()
	path := filepath.Join(dir, filepath.FromSlash(f.Name))
	file, err := root.Open(filepath.FromSlash(f.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("%s is not there; get it from %s", path, m.Source)
	}
	if err != nil {
		return nil, "", fmt.Errorf("open %s file: %w", role, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, "", fmt.Errorf("look at %s: %w", path, err)
	}
	switch {
	case f.Size != 0 && info.Size() != f.Size:
		return nil, "", fmt.Errorf("%s has %d bytes, expected %d; get it again", path, info.Size(), f.Size)
	case info.Size() == 0 || info.Size() > maxModelFile:
		return nil, "", fmt.Errorf("%s has %d bytes: no usable %s file", path, info.Size(), role)
	}
	if data, err = io.ReadAll(io.LimitReader(file, info.Size())); err != nil {
		return nil, "", fmt.Errorf("read %s: %w", path, err)
	}
	if sum := sha256.Sum256(data); f.SHA256 != "" && hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, "", fmt.Errorf("%s has the SHA-256 digest %x, expected %s; get it again", path, sum, f.SHA256)
	}
	return data, path, nil
}
