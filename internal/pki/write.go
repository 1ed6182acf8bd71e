package pki

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// WriteFile writes a file so that readers find the old content or the new,
// also if the machine fails in between.
func WriteFile(path string, mode os.FileMode, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+temporary)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// writeNew writes a file that does not exist yet. It claims the name first:
// hard links would need no claim, but sticks on which authorities are kept
// have file systems without any.
func writeNew(path string, mode os.FileMode, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	} else if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), WriteFile(path, mode, content)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// temporary ends the names of files that are being written.
const temporary = ".tmp"

// sweep removes what is left of a file if a machine failed while it was
// written, since it holds a key. Nobody else may be writing it.
func sweep(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		number, is := strings.CutSuffix(rest, temporary)
		if ok && is && strings.Trim(number, "0123456789") == "" {
			err = errors.Join(err, os.Remove(filepath.Join(filepath.Dir(path), e.Name())))
		}
	}
	return err
}

// syncDir makes sure that a file's name is on the disk, as its content is.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it knows no such thing
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
