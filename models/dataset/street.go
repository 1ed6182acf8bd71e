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
	first, n, err := seeds(rest)
	if err != nil {
		return nil, err
	}
	return &Set{classes: street.Classes(), length: n, load: func(i int) (Sample, error) {
		seed := first + uint64(i)
		s, err := street.New(street.Options{Seed: seed})
		if err != nil {
			return Sample{}, fmt.Errorf("draw a street: %w", err)
		}
		x := still(s, 1)
		x.Name = fmt.Sprintf("seed %d", seed)
		return x, nil
	}}, nil
}

// seeds reads "seeds=A-B": the first, and how many there are.
func seeds(rest string) (first uint64, n int, err error) {
	text, ok := strings.CutPrefix(rest, "seeds=")
	if !ok {
		return 0, 0, fmt.Errorf("%w: %q says no seeds: use street:seeds=A-B, such as street:seeds=1-200", ErrDataset, "street:"+rest)
	}
	first, last, err := street.ParseSeeds(text)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	if last-first >= maxSeeds {
		return 0, 0, fmt.Errorf("%w: more than %d seeds", ErrDataset, maxSeeds)
	}
	return first, int(last-first) + 1, nil
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
