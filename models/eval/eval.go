package eval

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/pipeline"
)

// Unsure is the confidence that a detector is to have for average precision,
// as darknet and Ultralytics have it.
const Unsure = 0.001

// Detector finds objects in pictures.
type Detector interface {
	Detect(pipeline.Image) ([]pipeline.Detection, error)
}

// Decoder makes pixels of a picture.
type Decoder interface {
	Decode(pipeline.Image) (pipeline.Image, error)
}

// Config says what to measure.
type Config struct {
	Detector   Detector // with a confidence of Unsure, or Confidence if that is lower
	Decoder    Decoder
	Set        *dataset.Set
	Classes    []string // that the detector tells apart
	Confidence float64  // at which it runs live
	Limit      int      // the first pictures only; 0: all
	Progress   func(Progress)
}

// Progress is how far an evaluation is.
type Progress struct {
	Done, Total int
	F1          float64
	PerFrame    time.Duration
	Left        time.Duration
}

// Result is what was measured.
type Result struct {
	Images   int           // evaluated
	Of       int           // to be evaluated; more if it was interrupted
	PerFrame time.Duration // of the detector, mean
	Total    score.Counts
	Counts   []score.ClassCounts
	Mean     score.Average
	Averages map[string]score.Average // of the classes that have objects
	Curves   *score.Curves
	// What one of the two knows and the other does not has no part in this.
	OnlyDetector, OnlySet []string
}

// Run evaluates the pictures one by one. If ctx ends before it is done, the
// error is ctx's and the result is of what was evaluated until then.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	set, err := cfg.Set.For(cfg.Classes)
	if err != nil {
		return nil, err
	}
	r := &Result{Of: set.Len(), Curves: &score.Curves{}}
	if cfg.Limit > 0 {
		r.Of = min(r.Of, cfg.Limit)
	}
	shared := map[string]bool{}
	for _, c := range set.Classes() {
		shared[c] = true
	}
	for _, c := range cfg.Classes {
		if !shared[c] {
			r.OnlyDetector = append(r.OnlyDetector, c)
		}
	}
	r.OnlySet = cfg.Set.Unknown(cfg.Classes)

	var (
		tally score.Tally
		spent time.Duration
		start = time.Now()
	)
	for r.Images < r.Of && ctx.Err() == nil {
		x, took, found, err := cfg.one(set, r.Images)
		if err != nil {
			return nil, err
		}
		spent += took
		found = score.Of(found, shared)
		r.Curves.Add(found, x.Truth)
		tally.Add(score.Above(found, cfg.Confidence), x.Truth)
		r.Images++
		if cfg.Progress != nil {
			n, _ := tally.Result()
			left := time.Since(start) / time.Duration(r.Images) * time.Duration(r.Of-r.Images)
			cfg.Progress(Progress{r.Images, r.Of, n.F1(), spent / time.Duration(r.Images), left})
		}
	}
	if r.Images > 0 {
		r.PerFrame = spent / time.Duration(r.Images)
	}
	r.Total, r.Counts = tally.Result()
	r.Mean, r.Averages = r.Curves.Result()
	if r.Images < r.Of {
		return r, ctx.Err()
	}
	return r, nil
}

// one evaluates one picture.
func (cfg *Config) one(set *dataset.Set, i int) (x dataset.Sample, took time.Duration, found []pipeline.Detection, err error) {
	if x, err = set.Load(i); err != nil {
		return x, 0, nil, err
	}
	pixels, err := cfg.Decoder.Decode(x.Picture)
	if err == nil {
		start := time.Now()
		found, err = cfg.Detector.Detect(pixels)
		took = time.Since(start)
	}
	if err != nil {
		return x, 0, nil, fmt.Errorf("picture %s: %w", x.Name, err)
	}
	return x, took, found, nil
}
