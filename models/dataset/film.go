package dataset

import (
	"fmt"
	"strings"
	"sync"

	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline"
)

// Film says how the pictures of a data set follow each other: so many a second,
// and so many in a row of each of its cameras.
type Film struct{ FPS, Frames int }

// MaxFrames bounds how many frames in a row there can be of a camera.
const MaxFrames = 1 << 16

// OpenFilm opens a data set as films: its pictures are the first Frames of the
// first camera in order of time, then those of the next. Only streets can be;
// pictures of other data sets have nothing to do with each other.
func OpenFilm(name string, f Film) (*Set, error) {
	scheme, rest, _ := strings.Cut(name, ":")
	if scheme != "street" {
		if _, err := Open(name, Words{}); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: the pictures of a %s: set are no film, so nothing moves from one to the next: use street:seeds=A-B", ErrDataset, scheme)
	}
	switch {
	case f.FPS < 1 || f.FPS > street.MaxFPS:
		return nil, fmt.Errorf("%w: a film of %d frames a second; use 1 to %d", ErrDataset, f.FPS, street.MaxFPS)
	case f.Frames < 1 || f.Frames > MaxFrames:
		return nil, fmt.Errorf("%w: a film of %d frames; use 1 to %d", ErrDataset, f.Frames, MaxFrames)
	}
	first, n, err := seeds(rest)
	if err != nil {
		return nil, err
	}
	c := &camera{first: first, film: f}
	return &Set{classes: street.Classes(), length: n * f.Frames, load: c.load}, nil
}

// camera keeps the street that was asked for last, whose background is not
// drawn again for the next frame.
type camera struct {
	first uint64
	film  Film

	mu     sync.Mutex
	seed   uint64
	street *street.Street // nil: none yet
}

func (c *camera) load(i int) (Sample, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seed := c.first + uint64(i/c.film.Frames); c.street == nil || c.seed != seed {
		s, err := street.New(street.Options{Seed: seed, FPS: c.film.FPS})
		if err != nil {
			return Sample{}, fmt.Errorf("draw a street: %w", err)
		}
		c.seed, c.street = seed, s
	}
	number := uint64(i%c.film.Frames) + 1
	x := still(c.street, number)
	x.Name = fmt.Sprintf("seed %d, frame %d", c.seed, number)
	return x, nil
}

// still draws the frame of a number.
func still(s *street.Street, number uint64) Sample {
	o := s.Options()
	img := pipeline.Image{Format: pipeline.BGR, Width: o.Width, Height: o.Height, Data: make([]byte, s.Bytes())}
	return Sample{Picture: img, Truth: OfStreet(s.RenderAt(number, img.Data))}
}
