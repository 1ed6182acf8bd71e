package eval

import (
	"context"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/adaptation/filter"
	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline"
)

// ErrScene reports a scene or filter that cannot be evaluated.
var ErrScene = errors.New("the filter can't be evaluated so")

// FilterConfig says how to measure what frame filters are worth on a made street.
type FilterConfig struct {
	Detector   Detector // at its own confidence
	Resolution int      // that it has
	Street     street.Options
	Frames     int // in a row
	Filters    []filter.Params
	Progress   func(done, of int)
}

// Filtered is what one filter is worth on one scene.
type Filtered struct {
	Accuracy  float64 `json:"accuracy,omitempty"`  // to be kept
	Threshold float64 `json:"threshold,omitempty"` // fixed
	Last      float64 `json:"last_threshold"`      // that holds at the end
	Analysed  float64 `json:"analysed"`            // share of the frames
	// F1 is that of what is shown: where a frame was skipped, what was found in
	// the last one analysed. Kept is its share of that with every frame analysed.
	F1   float64 `json:"f1"`
	Kept float64 `json:"kept"`
}

// SceneFilters is what filters are worth on one scene.
type SceneFilters struct {
	Seed    uint64     `json:"seed"`
	Density int        `json:"density"`
	FPS     int        `json:"fps"`
	Frames  int        `json:"frames"`
	Objects float64    `json:"objects"` // in a frame, mean, of those to be found
	F1      float64    `json:"f1"`      // with every frame analysed
	Filters []Filtered `json:"filters"`
}

// RunFilters films a street, analyses every frame, and says what would have
// been shown with each filter. Learning counts. What the detector finds and streets do not have
// is left out.
func RunFilters(ctx context.Context, cfg FilterConfig) (*SceneFilters, error) {
	if cfg.Frames < 1 || len(cfg.Filters) == 0 {
		return nil, fmt.Errorf("%w: %d frames and %d filters; give at least one of each", ErrScene, cfg.Frames, len(cfg.Filters))
	}
	s, err := street.New(cfg.Street)
	if err != nil {
		return nil, err
	}
	o := s.Options()
	shows := make([]show, len(cfg.Filters))
	for i, p := range cfg.Filters {
		if shows[i].source, err = filter.New(p); err != nil {
			return nil, err
		}
	}
	known := map[string]bool{}
	for _, name := range street.Classes() {
		known[name] = true
	}
	var whole score.Tally
	pix := make([]byte, s.Bytes())
	for n := range cfg.Frames {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		truth := dataset.OfStreet(s.RenderAt(uint64(n+1), pix))
		found, err := cfg.Detector.Detect(pipeline.Image{Format: pipeline.BGR, Width: o.Width, Height: o.Height, Data: pix})
		if err != nil {
			return nil, fmt.Errorf("seed %d, frame %d: %w", o.Seed, n+1, err)
		}
		found = score.Of(found, known)
		view, err := filter.NewView(o.Width, o.Height, pix)
		if err != nil {
			return nil, err
		}
		whole.Add(found, truth)
		for i := range shows {
			shows[i].frame(view, filter.Kind{Resolution: cfg.Resolution}, found, truth)
		}
		if cfg.Progress != nil {
			cfg.Progress(n+1, cfg.Frames)
		}
	}
	all, _ := whole.Result()
	out := &SceneFilters{
		Seed: o.Seed, Density: o.Density, FPS: o.FPS, Frames: cfg.Frames,
		Objects: float64(all.Objects()) / float64(cfg.Frames), F1: right(all),
	}
	for i, p := range cfg.Filters {
		x := &shows[i]
		counts, _ := x.tally.Result()
		f := Filtered{
			Accuracy: p.Accuracy, Threshold: p.Threshold, Last: x.source.State().Threshold,
			Analysed: float64(x.analysed) / float64(cfg.Frames), F1: right(counts), Kept: 1,
		}
		if out.F1 > 0 {
			f.Kept = f.F1 / out.F1
		}
		out.Filters = append(out.Filters, f)
	}
	return out, nil
}

// right is the F1, and 1 where there was nothing to find and nothing was found.
func right(c score.Counts) float64 {
	if c.Found()+c.Objects() == 0 {
		return 1
	}
	return c.F1()
}

// show is what is shown with one filter.
type show struct {
	source   *filter.Source
	shown    []pipeline.Detection
	tally    score.Tally
	analysed int
}

func (s *show) frame(v *filter.View, k filter.Kind, found []pipeline.Detection, truth []pipeline.Truth) {
	pass, sample := s.source.Look(v, k)
	if sample != nil {
		s.source.Found(sample, found)
	}
	if pass {
		s.shown = found
		s.analysed++
	}
	s.tally.Add(s.shown, truth)
}
