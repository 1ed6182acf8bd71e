package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// media is where a path of a URI leads.
type media struct {
	dir  string // the directory that it must not leave; empty: any
	name string // relative to dir
}

// locate applies the rule in the package's comment to a path.
func locate(cfg Config, p string) (media, error) {
	if filepath.IsAbs(p) {
		if rel, ok := inside(cfg.MediaDir, p); ok {
			return media{cfg.MediaDir, rel}, nil
		}
		if cfg.AllowAnyPath {
			return media{"", filepath.Clean(p)}, nil
		}
		return media{}, fmt.Errorf("%s is %w %s: put the file there and give its path from there", p, ErrOutside, orNone(cfg.MediaDir))
	}
	if cfg.MediaDir == "" {
		return media{}, fmt.Errorf("media directory, in which to look for %s: %w", p, ErrConfig)
	}
	name := filepath.Clean(p)
	if !filepath.IsLocal(name) {
		return media{}, fmt.Errorf("%s is %w %s: give a path that stays in it", p, ErrOutside, cfg.MediaDir)
	}
	return media{cfg.MediaDir, name}, nil
}

func orNone(dir string) string {
	if dir == "" {
		return "(none is configured)"
	}
	return dir
}

// inside returns the absolute path p relative to dir, if it is below it.
func inside(dir, p string) (string, bool) {
	if dir == "" {
		return "", false
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", false
	}
	rel, err := filepath.Rel(abs, filepath.Clean(p))
	return rel, err == nil && filepath.IsLocal(rel)
}

// path is the file's name for the operating system.
func (m media) path() string { return filepath.Join(m.dir, m.name) }

// stat looks at the file without following a link out of dir.
func (m media) stat() (fs.FileInfo, error) {
	if m.dir == "" {
		info, err := os.Stat(m.name)
		return info, m.explain(err)
	}
	root, err := os.OpenRoot(m.dir)
	if err != nil {
		return nil, fmt.Errorf("media directory: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(m.name)
	return info, m.explain(err)
}

// openDir opens the directory; files are read through it and cannot be outside.
func (m media) openDir() (*os.Root, error) {
	if m.dir == "" {
		root, err := os.OpenRoot(m.name)
		return root, m.explain(err)
	}
	root, err := os.OpenRoot(m.dir)
	if err != nil {
		return nil, fmt.Errorf("media directory: %w", err)
	}
	defer root.Close()
	sub, err := root.OpenRoot(m.name)
	return sub, m.explain(err)
}

// explain says where the file was looked for.
func (m media) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		dir := m.dir
		if dir == "" {
			dir = filepath.Dir(m.name)
		}
		if abs, e := filepath.Abs(dir); e == nil {
			dir = abs
		}
		name := strings.TrimPrefix(m.name, dir+string(filepath.Separator))
		return fmt.Errorf("%s: looked for in %s: %w", name, dir, fs.ErrNotExist)
	default:
		return fmt.Errorf("%s: %w", m.path(), err)
	}
}
