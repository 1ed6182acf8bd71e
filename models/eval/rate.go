package eval

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/pipeline"
)

// ErrRate reports a measurement over the frame rate that makes no sense.
var ErrRate = errors.New("the frame rate can't be evaluated so")

// RateConfig says over which frame rates to measure a detector.
//
// What people see between two analysed frames is what was found in the last
// one. So with one frame in N analysed, F1 is that of the detections of a frame
// against what is in it, and in the N-1 frames after it. Which frame is the
// first to be analysed is chance: all are tried. So the detections of a frame
// are held against the truth of those after it, up to the longest interval; and
// all intervals are judged on the same frames, those that have as many before
// them.
type RateConfig struct {
	Detector Detector // at the confidence at which it runs live
	Decoder  Decoder
	Set      *dataset.Set // a film
	Film     dataset.Film
	Classes  []string // that the detector tells apart
	Every    []int    // one frame in so many is analysed
	Progress func(Progress)
}

// RateResult is what was measured.
type RateResult struct {
	Films, Of int // evaluated, and to be evaluated; fewer if it was interrupted
	Frames    int // analysed
	Judged    int // frames that F1 is of
	PerFrame  time.Duration
	Rates     []Rate // the most frames first
}

// Rate is how right a detector is with one frame in Every analysed.
type Rate struct {
	Every int     `json:"every"`
	FPS   float64 `json:"fps"` // frames analysed a second
	score.Counts
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
	Kept      float64 `json:"kept"` // the share of F1 with every frame analysed
}

// RunRates evaluates film by film. If ctx ends before it is done, the error is
// ctx's and the result is of the whole films until then.
func RunRates(ctx context.Context, cfg RateConfig) (*RateResult, error) {
	if len(cfg.Every) == 0 || slices.Min(cfg.Every) < 1 {
		return nil, fmt.Errorf("%w: one frame in %v; use numbers from 1", ErrRate, cfg.Every)
	}
	longest := slices.Max(cfg.Every)
	if longest > cfg.Film.Frames {
		return nil, fmt.Errorf("%w: one frame in %d of films that have %d; take more frames of each", ErrRate, longest, cfg.Film.Frames)
	}
	set, err := cfg.Set.For(cfg.Classes)
	if err != nil {
		return nil, err
	}
	shared := map[string]bool{}
	for _, c := range set.Classes() {
		shared[c] = true
	}
	r := &RateResult{Of: set.Len() / cfg.Film.Frames}
	ages := make([]score.Counts, longest) // by how many frames ago what is seen was found
	one := Config{Detector: cfg.Detector, Decoder: cfg.Decoder}
	var spent, kept time.Duration
	start, done := time.Now(), 0
	for r.Films < r.Of && ctx.Err() == nil {
		tallies := make([]score.Tally, longest)
		recent := make([][]pipeline.Detection, longest) // by number of the frame
		for k := 0; k < cfg.Film.Frames && ctx.Err() == nil; k++ {
			x, took, found, err := one.one(set, r.Films*cfg.Film.Frames+k)
			if err != nil {
				return nil, err
			}
			spent += took
			done++
			recent[k%longest] = score.Of(found, shared)
			for age := 0; age < longest && k >= longest-1; age++ {
				tallies[age].Add(recent[(k-age)%longest], x.Truth)
			}
			if cfg.Progress != nil {
				fresh, _ := tallies[0].Result()
				left := time.Since(start) / time.Duration(done) * time.Duration(set.Len()-done)
				cfg.Progress(Progress{done, set.Len(), ages[0].Plus(fresh).F1(), spent / time.Duration(done), left})
			}
		}
		if ctx.Err() != nil {
			break // a part of a film is none
		}
		r.Films++
		kept = spent
		for age := range tallies {
			n, _ := tallies[age].Result()
			ages[age] = ages[age].Plus(n)
		}
	}
	r.Frames, r.Judged = r.Films*cfg.Film.Frames, r.Films*(cfg.Film.Frames-longest+1)
	if r.Films > 0 {
		r.PerFrame = kept / time.Duration(r.Frames)
	}
	r.Rates = rates(cfg, ages)
	if r.Films < r.Of {
		return r, ctx.Err()
	}
	return r, nil
}

// rates adds up what is seen at each rate: with one frame in three, a third of
// the frames each show what was found just now, a frame ago and two ago.
func rates(cfg RateConfig, ages []score.Counts) []Rate {
	var out []Rate
	for _, every := range slices.Compact(slices.Sorted(slices.Values(cfg.Every))) {
		x := Rate{Every: every, FPS: float64(cfg.Film.FPS) / float64(every)}
		for _, n := range ages[:every] {
			x.Counts = x.Plus(n)
		}
		x.Precision, x.Recall, x.F1 = x.Counts.Precision(), x.Counts.Recall(), x.Counts.F1()
		if all := ages[0].F1(); all > 0 {
			x.Kept = x.F1 / all
		}
		out = append(out, x)
	}
	return out
}

// RateReport is a result over frame rates for people and scripts.
type RateReport struct {
	Model      string  `json:"model"`
	Resolution int     `json:"resolution"`
	Dataset    string  `json:"dataset"`
	FPS        int     `json:"fps"` // of the films
	Rates      []Rate  `json:"rates"`
	Films      int     `json:"films"`
	FilmsAll   int     `json:"films_all"`
	Partial    bool    `json:"partial,omitempty"` // interrupted after Films of FilmsAll
	Frames     int     `json:"frames"`
	Judged     int     `json:"frames_judged"`
	MSPerFrame float64 `json:"ms_per_frame"`
	Confidence float64 `json:"confidence"`
	NMS        float64 `json:"nms"`
	Backend    string  `json:"backend"`
}

// Report returns the result as a report.
func (r *RateResult) Report(s Subject, f dataset.Film) *RateReport {
	return &RateReport{
		Model: s.Model, Resolution: s.Resolution, Dataset: s.Dataset, FPS: f.FPS, Rates: r.Rates,
		Films: r.Films, FilmsAll: r.Of, Partial: r.Films < r.Of, Frames: r.Frames, Judged: r.Judged,
		MSPerFrame: float64(r.PerFrame) / float64(time.Millisecond), Confidence: s.Confidence, NMS: s.NMS, Backend: s.Backend,
	}
}

// Write writes the report as a table.
func (r *RateReport) Write(w io.Writer) error {
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "ONE IN\tFRAMES/S\tPRECISION\tRECALL\tF1\tKEPT\t\n")
	for _, x := range r.Rates {
		fmt.Fprintf(t, "%d\t%.4g\t%.3f\t%.3f\t%.3f\t%.3f\t\n", x.Every, x.FPS, x.Precision, x.Recall, x.F1, x.Kept)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if _, err := table.WriteTo(w); err != nil {
		return err
	}
	films := fmt.Sprintf("%d films", r.Films)
	if r.Partial {
		films = fmt.Sprintf("PARTIAL: the first %d of %d films", r.Films, r.FilmsAll)
	}
	_, err := fmt.Fprintf(w, "\n%s at %d on %s, %s of %d frames/s, %d frames each, %d judged: score above %g, NMS %g, %.1f ms a picture on %s\n",
		r.Model, r.Resolution, r.Dataset, films, r.FPS, r.Frames/max(1, r.Films), r.Judged, r.Confidence, r.NMS, r.MSPerFrame, r.Backend)
	return err
}
