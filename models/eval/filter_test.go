package eval

import (
	"context"
	"errors"
	"testing"

	"github.com/weft-mesh/weft/adaptation/filter"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline"
)

// knowing is a detector that knows what is in the frames of a street, which it
// is shown in order.
type knowing struct {
	street *street.Street
	frame  uint64
	shown  int
}

func (k *knowing) Detect(pipeline.Image) (out []pipeline.Detection, err error) {
	k.frame++
	k.shown++
	for _, o := range k.street.TruthAt(k.frame) {
		out = append(out, pipeline.Detection{Label: o.Class.String(), Score: 1, Box: pipeline.Box(o.Box)})
	}
	return out, nil
}

func TestRunFilters(t *testing.T) {
	o := street.Options{Seed: 12, Width: 320, Height: 240, FPS: 10}
	s, err := street.New(o)
	if err != nil {
		t.Fatal(err)
	}
	k, steps := &knowing{street: s}, 0
	cfg := FilterConfig{
		Detector: k, Resolution: 512, Street: o, Frames: 150, Progress: func(int, int) { steps++ },
		Filters: []filter.Params{{Threshold: 0}, {Threshold: 1}, {Accuracy: 1}, {Accuracy: 0.9}},
	}
	got, err := RunFilters(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got.F1 != 1 || got.Frames != 150 || got.Objects == 0 || got.Seed != 12 || got.Density != 100 || k.shown != 150 || steps != 150 {
		t.Fatalf("%+v, %d frames, %d steps", got, k.shown, steps)
	}
	same, none, all, most := got.Filters[0], got.Filters[1], got.Filters[2], got.Filters[3]
	if none.Analysed > 0.08 || none.Kept >= 0.9 {
		t.Errorf("hardly a frame passes: %+v", none)
	}
	if all.Kept < 0.98 || most.Kept < 0.85 || all.Analysed >= 1 || most.Analysed > all.Analysed || same.Kept < 0.99 {
		t.Errorf("%+v", got.Filters)
	}
	for _, f := range got.Filters {
		if f.Kept != f.F1 || f.Last > 1 {
			t.Errorf("%+v of an F1 of 1", f)
		}
	}
}

func TestRunFiltersRefuses(t *testing.T) {
	o := street.Options{Seed: 1, Width: 64, Height: 64}
	ok := []filter.Params{{Accuracy: 1}}
	for name, tc := range map[string]struct {
		cfg  FilterConfig
		want error
	}{
		"no frames":  {FilterConfig{Street: o, Filters: ok}, ErrScene},
		"no filters": {FilterConfig{Street: o, Frames: 1}, ErrScene},
		"filter":     {FilterConfig{Street: o, Frames: 1, Filters: []filter.Params{{Accuracy: 2}}}, filter.ErrParams},
		"street":     {FilterConfig{Street: street.Options{FPS: -1}, Frames: 1, Filters: ok}, street.ErrOptions},
	} {
		if _, err := RunFilters(t.Context(), tc.cfg); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := RunFilters(ctx, FilterConfig{Street: o, Frames: 1, Filters: ok}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
