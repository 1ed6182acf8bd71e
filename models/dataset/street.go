package dataset

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline"
)

// maxSeeds bounds a set of streets; drawing so many takes weeks.
const maxSeeds = 1 << 24

// openStreet opens streets that are drawn as they are asked for: the first
// frame of each seed.
func openStreet(rest string) (*Set, error) {
	seeds, ok := strings.CutPrefix(rest, "seeds=")
	if !ok {
		return nil, fmt.Errorf("%w: %q says no seeds: use street:seeds=A-B, such as street:seeds=1-200", ErrDataset, "street:"+rest)
	}
	first, last, err := street.ParseSeeds(seeds)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	if last-first >= maxSeeds {
		return nil, fmt.Errorf("%w: more than %d seeds", ErrDataset, maxSeeds)
	}
	return &Set{classes: street.Classes(), length: int(last-first) + 1, load: func(i int) (Sample, error) {
		seed := first + uint64(i)
		s, err := street.New(street.Options{Seed: seed})
		if err != nil {
			return Sample{}, fmt.Errorf("draw a street: %w", err)
		}
		o := s.Options()
		img := pipeline.Image{Format: pipeline.BGR, Width: o.Width, Height: o.Height, Data: make([]byte, s.Bytes())}
		objects := s.RenderAt(1, img.Data)
		return Sample{Name: fmt.Sprintf("seed %d", seed), Picture: img, Truth: OfStreet(objects)}, nil
	}}, nil
}

// OfStreet returns what is in a frame of a street, to score detections with.
func OfStreet(objects []street.Object) []pipeline.Truth {
	out := make([]pipeline.Truth, len(objects))
	for i, o := range objects {
		out[i] = pipeline.Truth{
			Label: o.Class.String(), Box: pipeline.Box(o.Box), Ignore: o.Ignore,
		}
	}
	return out
}
