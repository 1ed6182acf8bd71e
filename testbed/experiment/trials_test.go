package experiment

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/sim"
	"github.com/weft-mesh/weft/tiering"
)

// trials are those of six of the example's cameras.
func trials(t *testing.T) []Arm {
	t.Helper()
	s, err := adaptation(t, "count: 11, uri", "count: 6, uri")
	if err != nil {
		t.Fatal(err)
	}
	out, err := Trials(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTrials(t *testing.T) {
	all := trials(t)
	floor, squeeze := all[0].Scenario, all[1].Scenario
	w, err := floor.WorkflowSpec(nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.Objectives.MinAccuracy != 0.4259 || w.Adapting.Rule != tiering.AdaptFastest || len(w.Sources) != 2 || len(floor.Reserve) != 4 || len(floor.Timeline) != 4 {
		t.Errorf("floor: an accuracy of %g by %s, %d sources and %d more, %+v", w.Objectives.MinAccuracy, w.Adapting.Rule, len(w.Sources), len(floor.Reserve), floor.Timeline)
	}
	if last := floor.Timeline[3].At; floor.Measure.Duration < last+4*w.Adapting.Period {
		t.Errorf("floor: the last source comes at %s of %s", last, floor.Measure.Duration)
	}
	if e := squeeze.Timeline; len(e) != 2 || e[0].String() != "link edge–fog 3 Mbit/s" || e[1].String() != "restore edge–fog" || e[1].At-e[0].At < 4*w.Adapting.Period {
		t.Errorf("squeeze: %v", e)
	}

	s, err := adaptation(t, "minAccuracy: 0.4\n", "", "count: 11, uri", "count: 6, uri")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Trials(s); err == nil || !strings.Contains(err.Error(), "minAccuracy: 0.5") {
		t.Errorf("no accuracy is asked for: %v", err)
	}
	if s, err = adaptation(t, "rate: 30Mbit", "loss: 0%"); err != nil {
		t.Fatal(err)
	}
	if _, err := Trials(s); !errors.Is(err, ErrArms) || !strings.Contains(err.Error(), "no rate to be squeezed") {
		t.Errorf("no rate: %v", err)
	}
}

// In the simulator the newest is refused, the others go on, and the squeezed
// link is followed; what is written says so.
func TestTrialsSimulated(t *testing.T) {
	s, err := adaptation(t)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Trials(s)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := RunTrials(context.Background(), all, 1, func(ctx context.Context, a *Arm, n int) (*testbed.Recording, error) {
		rec, err := sim.Run(ctx, sim.Config{Scenario: a.Scenario, Costs: a.Scenario.Costs, Seed: uint64(n), CPUScale: 1})
		if err == nil {
			rec.Run = n
		}
		return rec, err
	})
	if err != nil {
		t.Fatal(err)
	}
	floor, squeeze := runs.summary()
	if !floor.NewestRefused || floor.Sources != 11 || floor.Admitted >= 11 || floor.Others < 0.95 || floor.F1 < floor.MinAccuracy-0.001 ||
		!strings.Contains(floor.Why, "0.4259 is asked for") {
		t.Errorf("floor %+v", floor)
	}
	if !squeeze.Within || squeeze.Squeezed >= squeeze.Before || *squeeze.Down <= 0 || *squeeze.Up <= 0 {
		t.Errorf("squeeze %+v", squeeze)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plot.png"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteArms(dir, About{Method: testbed.Simulated}, nil, nil, runs); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "plot.png")); err == nil {
		t.Error("plot.png of an earlier run is still there")
	}
	for file, words := range map[string]string{
		"table.md": "## Squeezed link", "floor.csv": "0.4259 is asked for", "squeeze.csv": "1,1,10,0.4", "summary.json": `"within_two_periods": true`,
		"floor.png": "\x89PNG", "squeeze.png": "\x89PNG",
	} {
		if data, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(data), words) {
			t.Errorf("%s lacks %q: %v", file, words, err)
		}
	}
}

// The squeezed link is followed with few cameras and frames, too.
func TestSmallSqueezeIsFollowed(t *testing.T) {
	s, err := example(t, "../../examples/testbed/adaptation-small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Trials(s)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := RunTrials(context.Background(), all[1:], 3, func(ctx context.Context, a *Arm, n int) (*testbed.Recording, error) {
		return sim.Run(ctx, sim.Config{Scenario: a.Scenario, Costs: a.Scenario.Costs, Seed: uint64(n), CPUScale: s.CPUScale})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, x := runs.summary(); !x.Within || x.Squeezed >= x.Before {
		t.Errorf("%+v, runs %+v", x, runs.Squeeze)
	}
}

// A run in which an older source is refused, or which does not follow, is told
// apart.
func TestTrialsThatFail(t *testing.T) {
	all := trials(t)
	rec := &testbed.Recording{Run: 1, Totals: testbed.Totals{Duration: all[0].Scenario.Measure.Duration}}
	for i, captured := range []uint64{1000, 1000, 900, 0, 600, 100} {
		name := []string{"cam-1", "cam-2", "cam-3", "cam-4", "cam-5", "cam-6"}[i]
		rec.Totals.Sources = append(rec.Totals.Sources, testbed.SourceTotals{Source: name, Captured: captured, Delivered: captured / 2})
	}
	x, err := all[0].MeasureFloor(rec)
	if err != nil || x.Sources != 6 || x.Admitted != 4 || x.Newest || x.Others != 0.5 {
		t.Errorf("cam-4 is refused before cam-5: %+v, %v", x, err)
	}
	rec.Totals.Sources[4].Captured = 0
	if x, err = all[0].MeasureFloor(rec); err != nil || x.Admitted != 3 || !x.Newest {
		t.Errorf("from cam-4 on all are refused: %+v, %v", x, err)
	}

	// Down a period and a half after the squeeze at 40 s, and never back.
	const nano = "mobilenetv2-yolov3-nano"
	rec = &testbed.Recording{Totals: testbed.Totals{Duration: 2 * time.Minute}}
	quality := func(sources, resolution int) []testbed.QualitySample {
		return []testbed.QualitySample{{Quality: tiering.Quality{Model: nano, Resolution: resolution, Every: 1}, Sources: sources}}
	}
	for at := time.Duration(0); at <= 2*time.Minute; at += time.Second {
		q := quality(6, 512)
		if at >= 55*time.Second {
			q = quality(3, 416) // the others are held
		}
		rec.Samples = append(rec.Samples, testbed.Sample{At: at, Qualities: q})
	}
	y, err := all[1].MeasureSqueeze(rec)
	if err != nil || y.Down != 15*time.Second || y.DownSettled != 15*time.Second || y.Up >= 0 || y.Before != 0.427 || y.After != 0.208 {
		t.Errorf("%+v, %v", y, err)
	}
	_, s := (&TrialRuns{Squeeze: []SqueezeRun{y}}).summary()
	if s.Within || s.Up != nil || s.Down == nil || *s.Down != 1.5 {
		t.Errorf("%+v", s)
	}
}

// Sources that hand a quality over are both at the lower one for a moment, which is no
// change of what they have; what is decided anew at every look is one.
func TestHandOversAreNoChanges(t *testing.T) {
	all := trials(t)
	const nano = "mobilenetv2-yolov3-nano"
	record := func(flaps bool) *testbed.Recording {
		rec := &testbed.Recording{Totals: testbed.Totals{Duration: 2 * time.Minute}}
		for at := time.Duration(0); at <= 2*time.Minute; at += time.Second {
			n := 6 // of 6 at 512
			if at >= 50*time.Second && at < 90*time.Second {
				n = 1
			}
			if flaps && at%(2*time.Second) == 0 || at%(10*time.Second) == 0 {
				n = 0
			}
			if flaps {
				rec.Marks = append(rec.Marks, testbed.Mark{Kind: testbed.Decision, Type: string(state.QualityChanged), At: at})
			}
			rec.Samples = append(rec.Samples, testbed.Sample{At: at, Qualities: []testbed.QualitySample{
				{Quality: tiering.Quality{Model: nano, Resolution: 512, Every: 1}, Sources: n},
				{Quality: tiering.Quality{Model: nano, Resolution: 416, Every: 1}, Sources: 6 - n},
			}})
		}
		return rec
	}
	x, err := all[1].MeasureSqueeze(record(false))
	if _, s := (&TrialRuns{Squeeze: []SqueezeRun{x}}).summary(); err != nil || !s.Within || x.Before != x.After || x.Squeezed >= x.Before {
		t.Errorf("hand-overs: %+v, %v", x, err)
	}
	x, err = all[1].MeasureSqueeze(record(true))
	if _, s := (&TrialRuns{Squeeze: []SqueezeRun{x}}).summary(); err != nil || s.Within {
		t.Errorf("flapping: %+v, %v", x, err)
	}
}
