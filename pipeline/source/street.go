package source

import (
	"context"
	"time"

	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

// scene films a made street. Its frames carry their number, and what is in them.
type scene struct {
	camera *street.Street
	fps    float64 // at most
	last   uint64  // the number of the latest frame, taken or left out
}

func newScene(cfg Config, spec sourceuri.Spec) (*scene, error) {
	camera, err := street.New(spec.StreetOptions())
	if err != nil {
		return nil, err
	}
	return &scene{camera: camera, fps: cfg.FPS}, nil
}

// Run implements pipeline.Source. As with a camera, a frame that could not be
// taken in time is not taken later. A second Run goes on with the numbers.
func (s *scene) Run(ctx context.Context, emit func(*pipeline.Frame)) error {
	o := s.camera.Options()
	every := interval(float64(o.FPS))
	sample := newSampler(s.fps, recorded)
	first := s.last + 1
	for begin, n := time.Now(), int64(0); ; n++ {
		due := begin.Add(time.Duration(n) * every)
		if late := time.Since(due); late >= every {
			n += int64(late / every)
		} else if err := sleep(ctx, -late); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.last = first + uint64(n)
		if !sample.take(time.Duration(n) * every) {
			continue
		}
		captured := time.Now()
		img := pipeline.Image{Format: pipeline.BGR, Width: o.Width, Height: o.Height, Data: make([]byte, s.camera.Bytes())}
		objects := s.camera.RenderAt(s.last, img.Data)
		f := newFrame(img, captured)
		f.Truth = dataset.OfStreet(objects)
		f.ID.Seq = s.last
		emit(f)
	}
}
