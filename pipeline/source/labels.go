package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

// maxLabels bounds a file of labels or of names, in bytes.
const maxLabels = 1 << 20

// labels say what is in the pictures of a directory, as YOLO's data sets do.
type labels struct {
	dir   media
	names []string
	log   *slog.Logger
	bad   map[string]bool // files that were complained of
}

func newLabels(cfg Config, spec sourceuri.Spec, log *slog.Logger) (*labels, error) {
	file, err := locate(cfg, spec.Labels)
	if err != nil {
		return nil, err
	}
	data, err := file.read()
	if err != nil {
		return nil, fmt.Errorf("names of classes: %w", err)
	}
	l := &labels{log: log, bad: map[string]bool{}}
	if l.names, err = dataset.DecodeNames(spec.Labels, data); err != nil {
		return nil, err
	}
	if l.dir, err = locate(cfg, path.Join(path.Dir(path.Clean(filepath.ToSlash(spec.Path))), "labels")); err != nil {
		return nil, err
	}
	switch info, err := l.dir.stat(); {
	case err != nil:
		return nil, fmt.Errorf("labels of %s: %w", spec, err)
	case !info.IsDir():
		return nil, fmt.Errorf("labels of %s: %s is no directory", spec, l.dir.path())
	}
	return l, nil
}

// of is what is in a picture: nothing, if it has no file of labels; nil if that
// file says nothing that can be understood.
func (l *labels) of(picture string) []pipeline.Truth {
	if l == nil {
		return nil
	}
	file := l.dir.in(strings.TrimSuffix(picture, path.Ext(picture)) + ".txt")
	data, err := file.read()
	if errors.Is(err, fs.ErrNotExist) {
		return []pipeline.Truth{}
	}
	truth := []pipeline.Truth{}
	if err == nil {
		var found []pipeline.Truth
		found, err = dataset.DecodeYOLO(file.path(), data, l.names)
		truth = append(truth, found...)
	}
	if err == nil {
		return truth
	}
	if !l.bad[picture] {
		l.bad[picture] = true
		l.log.Warn("labels ignored", "picture", picture, "err", err)
	}
	return nil
}

// in is a file of the directory.
func (m media) in(name string) media { return media{m.dir, filepath.Join(m.name, name)} }

// read returns a small file.
func (m media) read() ([]byte, error) {
	root, err := media{m.dir, filepath.Dir(m.name)}.openDir()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(filepath.Base(m.name))
	if err != nil {
		return nil, m.explain(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: no regular file", m.path())
	}
	f, err := root.Open(filepath.Base(m.name))
	if err != nil {
		return nil, m.explain(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxLabels+1))
	if err == nil && len(data) > maxLabels {
		err = fmt.Errorf("%s: more than %d MiB", m.path(), maxLabels>>20)
	}
	return data, err
}
