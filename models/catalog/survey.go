package catalog

import (
	"errors"
	"fmt"
	"io/fs"
)

// Available returns the names of the models that can be loaded from the model
// directory, sorted: all their files are there, with the right size where the
// catalogue knows it. Digests are not computed. A nil directory has no files.
func (c *Catalog) Available(dir fs.FS) []string {
	names, _ := c.survey(dir)
	return names
}

// Damaged says what keeps models from being available although files of
// theirs are in the model directory: one is missing, or has the wrong size.
func (c *Catalog) Damaged(dir fs.FS) []error {
	_, damaged := c.survey(dir)
	return damaged
}

// ErrFile reports a model's file that is not as the catalogue has it.
var ErrFile = errors.New("model file is not as the catalogue says")

func (c *Catalog) survey(dir fs.FS) (available []string, damaged []error) {
	for _, m := range c.Models() {
		var errs []error
		absent := 0
		for _, f := range m.Files {
			err := check(dir, f)
			if errors.Is(err, fs.ErrNotExist) {
				absent++
			}
			errs = append(errs, err)
		}
		switch err := errors.Join(errs...); {
		case err == nil:
			available = append(available, m.Name)
		case absent < len(m.Files):
			damaged = append(damaged, fmt.Errorf("model %s: %w", m.Name, err))
		}
	}
	return available, damaged
}

// check says what is wrong with a model's file.
func check(dir fs.FS, f File) error {
	if dir == nil {
		return fs.ErrNotExist
	}
	info, err := fs.Stat(dir, f.Name)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrFile, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is no regular file", ErrFile, f.Name)
	case f.Size != 0 && info.Size() != f.Size:
		return fmt.Errorf("%w: %s has %d bytes, not %d: fetch it again", ErrFile, f.Name, info.Size(), f.Size)
	}
	return nil
}
