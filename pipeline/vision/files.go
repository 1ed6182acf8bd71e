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
func readModelFile(cfg DetectorConfig, role catalog.Role) (data []byte, name string, err error) {
	f, ok := cfg.Model.File(role)
	if !ok {
		return nil, "", fmt.Errorf("the catalogue names no %s file", role)
	}
	if cfg.Embedded != nil {
		if file, err := cfg.Embedded.Open(f.Name); err == nil {
			defer file.Close()
			name = f.Name + " (built in)"
			data, err = readAsKnown(file, f, name)
			return data, name, err
		}
	}
	root, err := os.OpenRoot(cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("the model directory %s does not exist; set it in the agent's config", cfg.Dir)
	}
	if err != nil {
		return nil, "", fmt.Errorf("open the model directory: %w", err)
	}
	defer root.Close()
	name = filepath.Join(cfg.Dir, filepath.FromSlash(f.Name))
	file, err := root.Open(filepath.FromSlash(f.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("%s is not there; get it with `weft models pull %s --dir %s`, or from %s", name, cfg.Model.Name, cfg.Dir, cfg.Model.Source)
	}
	if err != nil {
		return nil, "", fmt.Errorf("open %s file: %w", role, err)
	}
	defer file.Close()
	data, err = readAsKnown(file, f, name)
	return data, name, err
}

// readAsKnown reads a file that is as the catalogue says.
func readAsKnown(file fs.File, f catalog.File, name string) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, err)
	}
	switch {
	case f.Size != 0 && info.Size() != f.Size:
		return nil, fmt.Errorf("%s has %d bytes, expected %d; get it again", name, info.Size(), f.Size)
	case info.Size() == 0 || info.Size() > maxModelFile:
		return nil, fmt.Errorf("%s has %d bytes: no usable %s file", name, info.Size(), f.Role)
	}
	data, err := io.ReadAll(io.LimitReader(file, info.Size()))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if sum := sha256.Sum256(data); f.SHA256 != "" && hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, fmt.Errorf("%s has the SHA-256 digest %x, expected %s; get it again", name, sum, f.SHA256)
	}
	return data, nil
}
