package eval_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/eval"
	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline"
)

// frames is how long each of the two films is.
const frames = 6

// truth is what is in each picture of the films.
var truth = sync.OnceValues(func() (out [][]pipeline.Truth, err error) {
	for seed := uint64(20); seed < 22; seed++ {
		s, err := street.New(street.Options{Seed: seed, FPS: 4})
		if err != nil {
			return nil, err
		}
		for k := range uint64(frames) {
			out = append(out, dataset.OfStreet(s.TruthAt(k+1)))
		}
	}
	return out, nil
})

// seer finds what is in the films, picture by picture, but every third object.
type seer struct {
	at    int
	after func(at int)
}

func (s *seer) Detect(pipeline.Image) ([]pipeline.Detection, error) {
	all, err := truth()
	if err != nil {
		return nil, err
	}
	var found []pipeline.Detection
	for i, t := range all[s.at] {
		if i%3 != 1 {
			found = append(found, pipeline.Detection{Label: t.Label, Score: 0.9, Box: t.Box})
		}
	}
	if s.at++; s.after != nil {
		s.after(s.at)
	}
	return found, nil
}

type asItIs struct{}

func (asItIs) Decode(img pipeline.Image) (pipeline.Image, error) { return img, nil }

func film(t *testing.T) (eval.RateConfig, *seer) {
	t.Helper()
	f := dataset.Film{FPS: 4, Frames: frames}
	set, err := dataset.OpenFilm("street:seeds=20-21", f)
	if err != nil {
		t.Fatal(err)
	}
	d := &seer{}
	return eval.RateConfig{Detector: d, Decoder: asItIs{}, Set: set, Film: f, Classes: set.Classes(), Every: []int{3, 1, 2}}, d
}

// What is measured is what somebody counts who watches the films, whichever
// frame is analysed first.
func TestRatesAreWhatIsSeen(t *testing.T) {
	cfg, _ := film(t)
	r, err := eval.RunRates(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	const longest = 3
	if r.Films != 2 || r.Frames != 2*frames || r.Judged != 2*(frames-longest+1) || len(r.Rates) != 3 {
		t.Fatalf("%+v", r)
	}
	there, err := truth()
	if err != nil {
		t.Fatal(err)
	}
	watcher := &seer{}
	found := make([][]pipeline.Detection, len(there))
	for i := range found {
		if found[i], err = watcher.Detect(pipeline.Image{}); err != nil {
			t.Fatal(err)
		}
	}
	last := 2.0
	for i, every := range []int{1, 2, 3} {
		var tally score.Tally
		for first := range every {
			for f := range 2 {
				for k := longest - 1; k < frames; k++ {
					analysed := k - (k+every-first)%every
					tally.Add(found[frames*f+analysed], there[frames*f+k])
				}
			}
		}
		want, _ := tally.Result()
		got := r.Rates[i]
		if got.Every != every || got.FPS != 4/float64(every) || got.Counts != want || got.F1 != want.F1() {
			t.Errorf("one in %d: %+v, want %+v", every, got, want)
		}
		if math.Abs(got.Kept-got.F1/r.Rates[0].F1) > 1e-12 || got.F1 >= last {
			t.Errorf("one in %d: F1 %g, kept %g, after F1 %g", every, got.F1, got.Kept, last)
		}
		last = got.F1
	}
}

// Interrupted, it has the whole films until then.
func TestRatesInterrupted(t *testing.T) {
	cfg, d := film(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.after = func(at int) {
		if at == frames+4 {
			cancel()
		}
	}
	r, err := eval.RunRates(ctx, cfg)
	if !errors.Is(err, context.Canceled) || r.Films != 1 || r.Of != 2 || r.Frames != frames {
		t.Fatalf("%+v, %v", r, err)
	}
	report := r.Report(eval.Subject{Model: "seer", Resolution: 512, Dataset: "street:seeds=20-21"}, cfg.Film)
	var b strings.Builder
	if err := report.Write(&b); err != nil || !report.Partial || !strings.Contains(b.String(), "PARTIAL: the first 1 of 2 films of 4 frames/s") {
		t.Errorf("%+v, %v:\n%s", report, err, b.String())
	}
	text, err := json.Marshal(report)
	if err != nil || !strings.Contains(string(text), `"rates":[{"every":1,"fps":4,"tp":`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestNoRates(t *testing.T) {
	for _, every := range [][]int{nil, {0, 1}, {1, frames + 1}} {
		cfg, _ := film(t)
		cfg.Every = every
		if _, err := eval.RunRates(context.Background(), cfg); !errors.Is(err, eval.ErrRate) {
			t.Errorf("%v: %v", every, err)
		}
	}
	cfg, _ := film(t)
	cfg.Classes = []string{"dog"}
	if _, err := eval.RunRates(context.Background(), cfg); !errors.Is(err, dataset.ErrClasses) {
		t.Errorf("no class in common: %v", err)
	}
}
