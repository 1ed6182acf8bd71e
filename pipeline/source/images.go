package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

// imagesFPS is the default rate of a directory of pictures.
const imagesFPS = 1

// images shows the pictures of a directory in the order of their names.
type images struct {
	spec sourceuri.Spec
	dir  media
	fps  float64
	log  *slog.Logger

	labels *labels // nil: nobody knows what is in the pictures
}

func newImages(cfg Config, spec sourceuri.Spec, log *slog.Logger) (*images, error) {
	s := &images{spec: spec, fps: cfg.FPS, log: log}
	if s.fps == 0 {
		s.fps = imagesFPS
	}
	var err error
	if s.dir, err = locate(cfg, spec.Path); err != nil {
		return nil, err
	}
	info, err := s.dir.stat()
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory; for a video, write video:%s", s.dir.path(), spec.Path)
	}
	if spec.Labels != "" {
		if s.labels, err = newLabels(cfg, spec, log); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Run implements pipeline.Source. The directory is read anew for each pass.
func (s *images) Run(ctx context.Context, emit func(*pipeline.Frame)) error {
	var (
		play = &playback{every: interval(s.fps), begin: time.Now()}
		seen = map[string]verdict{}
		n    int
	)
	for {
		before := n
		err := s.pass(func(root *os.Root, e fs.DirEntry) error {
			if err := sleep(ctx, play.wait(n, time.Now())); err != nil {
				return err
			}
			captured := time.Now()
			img, ok := s.read(root, e, seen)
			if !ok {
				return nil
			}
			f := newFrame(img, captured)
			f.Truth = s.labels.of(e.Name())
			emit(f)
			n++
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("source %s: %w", s.spec, err)
		case n == before:
			return fmt.Errorf("source %s: %w: %s holds no readable .jpg, .jpeg or .png file", s.spec, ErrNoFrames, s.dir.path())
		case !s.spec.Loop:
			return pipeline.ErrEnded
		}
	}
}

// pass calls each with every picture's entry, in the order of the names.
func (s *images) pass(each func(*os.Root, fs.DirEntry) error) error {
	root, err := s.dir.openDir()
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return s.dir.explain(err)
	}
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".jpg", ".jpeg", ".png":
			if err := each(root, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// verdict is what was found of a file of this size and time; the zero size and
// time are those of a file that can't be looked at.
type verdict struct {
	size int64
	time time.Time
	good bool
}

// read returns the picture in a file; false when it is to be skipped. A file
// is examined and complained of once, until it changes.
func (s *images) read(root *os.Root, e fs.DirEntry, seen map[string]verdict) (pipeline.Image, bool) {
	var now verdict
	info, err := root.Stat(e.Name())
	if err == nil {
		now = verdict{size: info.Size(), time: info.ModTime()}
	}
	was, known := seen[e.Name()]
	known = known && was.size == now.size && was.time.Equal(now.time)
	if known && !was.good {
		return pipeline.Image{}, false
	}
	var img pipeline.Image
	if err == nil {
		img, err = readPicture(root, e.Name(), info, !known)
	}
	now.good = err == nil
	seen[e.Name()] = now
	if err != nil {
		s.log.Warn("picture skipped", "file", e.Name(), "err", err)
	}
	return img, now.good
}

func readPicture(root *os.Root, name string, info fs.FileInfo, whole bool) (pipeline.Image, error) {
	if !info.Mode().IsRegular() {
		return pipeline.Image{}, errors.New("no regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		return pipeline.Image{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return pipeline.Image{}, err
	}
	return encoded(data, whole)
}
