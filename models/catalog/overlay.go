package catalog

import (
	"errors"
	"io/fs"
)

// Overlay is the files of a model directory and of those that are built into
// the program: over, whose files win, since nobody can damage them, and under.
// Either may be nil.
func Overlay(over, under fs.FS) fs.FS {
	switch {
	case over == nil:
		return under
	case under == nil:
		return over
	}
	return overlay{over, under}
}

type overlay struct{ over, under fs.FS }

// Open implements fs.FS. Directories are the lower one's.
func (o overlay) Open(name string) (fs.File, error) {
	f, err := o.over.Open(name)
	if err == nil {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && info.Mode().IsRegular() {
			return f, nil
		}
		_ = f.Close()
	}
	below, lower := o.under.Open(name)
	if lower != nil && err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return below, lower
}
