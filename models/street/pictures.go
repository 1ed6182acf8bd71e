package street

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Picture is one frame of a street. Its bytes are good until the next one is
// asked for.
type Picture struct {
	Seed          uint64
	Width, Height int
	BGR           []byte
	Objects       []Object
}

// Pictures goes through the seeds from first to last, one frame a seed: its
// first. The seed of the options does not count.
func Pictures(first, last uint64, o Options) (iter.Seq[Picture], error) {
	if first > last {
		return nil, fmt.Errorf("%w: seeds %d to %d", ErrOptions, first, last)
	}
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	return func(yield func(Picture) bool) {
		dst := make([]byte, 3*o.Width*o.Height)
		for seed := first; ; seed++ {
			o := o
			o.Seed = seed
			s, err := New(o)
			if err != nil {
				panic(err) // the options were complete
			}
			objects := s.Render(0, dst)
			if !yield(Picture{Seed: seed, Width: o.Width, Height: o.Height, BGR: dst, Objects: objects}) || seed == last {
				return
			}
		}
	}, nil
}

// ParseSeeds reads a range of seeds, such as 1-200, or a single one.
func ParseSeeds(text string) (first, last uint64, err error) {
	a, b, ok := strings.Cut(text, "-")
	if !ok {
		b = a
	}
	first, err = strconv.ParseUint(a, 10, 64)
	if err == nil {
		last, err = strconv.ParseUint(b, 10, 64)
	}
	if err != nil || first > last {
		return 0, 0, fmt.Errorf("%w: seeds %q; write a range such as 1-200", ErrOptions, text)
	}
	return first, last, nil
}
