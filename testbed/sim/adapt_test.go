package sim

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// adapting is the bench with a detector whose accuracy is known: 0.427 at 512,
// on the cloud node, and 0.416 at 416, on the fog node, where it takes 30 ms.
func adapting(x setting, adaptation string) setting {
	if x.detect == "" {
		x.detect = "60ms"
	}
	x.workflow = append(x.workflow, "hog-people # inside OpenCV: needs no files", "mobilenetv2-yolov3-nano",
		"resolutions: [512, 640]", "resolutions: [416, 512]", "  sources:\n", "  adaptation: {"+adaptation+"}\n\n  sources:\n")
	x.edit = append(x.edit,
		`"detect@640": {work: 30ms, send: 2ms, receive: 1ms, bytes: 30kB`, `"detect@416": {work: 30ms, send: 2ms, receive: 1ms, bytes: 54kB`,
		x.detect+`, send: 2ms, receive: 1ms, bytes: 30kB`, x.detect+`, send: 2ms, receive: 1ms, bytes: 73kB`,
		"warmup: 5s", "warmup: 10s") // in which it is decided for the first time
	return x
}

// decisions are the marks of a type, in order.
func decisions(rec *testbed.Recording, types ...state.EventType) []testbed.Mark {
	var out []testbed.Mark
	for _, m := range rec.Marks {
		if slices.Contains(types, state.EventType(m.Type)) {
			out = append(out, m)
		}
	}
	return out
}

// Six cameras are more than detection at 512 can serve: some are reduced, and
// then no frame is dropped.
func TestOverloadIsReduced(t *testing.T) {
	x := setting{sources: 6, fps: 4, length: time.Minute}
	if off := adapting(x, "rule: off").run(t); off.Totals.Frames.Lost() < off.Totals.Frames.Captured/4 {
		t.Fatalf("there is no overload without adaptation: %+v", off.Totals.Frames)
	}
	rec := adapting(x, "period: 5s").run(t)
	if f := rec.Totals.Frames; f.Lost() > 0 || f.Captured != 6*4*60 {
		t.Errorf("after the warm-up: %+v, want 1440 captured and none lost", f)
	}
	changes := decisions(rec, state.QualityChanged)
	if len(changes) == 0 || !strings.Contains(changes[0].Message, "2 × mobilenetv2-yolov3-nano@512, 4 × mobilenetv2-yolov3-nano@416") {
		t.Fatalf("decided: %+v", changes)
	}
	// Each camera has its turn at either. Once waits are known to be short, a third
	// one may have 512.
	last, first := rec.Samples[len(rec.Samples)-1], rec.Samples[20]
	seconds := (last.At - first.At).Seconds()
	for i, least := range map[int]float64{1: 3 * 4, 2: 2 * 4} { // frames a second
		n := float64(last.Stages[i].Processed - first.Stages[i].Processed)
		if n < least*seconds-24 || n > (least+4)*seconds+24 {
			t.Errorf("%s: %.0f frames, want %g to %g a second", last.Stages[i].Task, n, least, least+4)
		}
	}
}

// Where the rate is a knob the cameras skip frames instead, and none is dropped.
func TestOverloadIsThinnedOut(t *testing.T) {
	rec := adapting(setting{sources: 6, fps: 4, length: time.Minute}, "period: 5s, knobs: [rate]").run(t)
	f := rec.Totals.Frames
	if f.Lost() > 0 || f.Captured >= 6*4*60*3/4 || f.Captured < 6*4*60/4 {
		t.Errorf("%+v, want none lost of far fewer than 1440", f)
	}
	var frames float64 // a second
	sources := 0
	for _, q := range rec.Samples[len(rec.Samples)-1].Qualities {
		if q.Quality.Resolution != 512 {
			t.Errorf("%d sources have %s: the resolution is no knob", q.Sources, q.Quality)
		}
		sources += q.Sources
		frames += 4 * float64(q.Sources) / float64(q.Quality.Every)
	}
	if sources != 6 || math.Abs(frames*60-float64(f.Captured)) > 0.1*float64(f.Captured) {
		t.Errorf("%d sources that promise %g frames/s, of which %d came in a minute", sources, frames, f.Captured)
	}
}

// Adaptation does nothing to a source that is served well.
func TestSingleSourceIsLeftAlone(t *testing.T) {
	x := setting{sources: 1, fps: 5, length: 30 * time.Second}
	on, off := adapting(x, "period: 2s").run(t), adapting(x, "rule: off").run(t)
	for _, rec := range []*testbed.Recording{on, off} {
		for i := range rec.Samples {
			rec.Samples[i].Qualities = nil // which name the model once that is decided
		}
	}
	if !reflect.DeepEqual(on.Samples, off.Samples) {
		t.Error("the run differs from that without adaptation")
	}
	if n := len(decisions(on, state.QualityChanged)); n != 1 {
		t.Errorf("%d decisions, want the first: %+v", n, on.Marks)
	}
}

// The uplink of the cameras is squeezed to a tenth, and restored: the
// distribution follows both ways within two periods, and no frame is lost by
// the change back.
func TestSqueezedLink(t *testing.T) {
	const period = 5 * time.Second
	for _, squeeze := range []time.Duration{25 * time.Second, 26 * time.Second, 28 * time.Second} {
		x := adapting(setting{
			sources: 2, fps: 6, detect: "40ms", length: 90 * time.Second,
			timeline: []string{fmt.Sprintf("at: %s, link: {between: [edge, fog], rate: 3Mbit}, for: 30s", squeeze)},
		}, "period: 5s, theta: 0.01")
		rec := x.run(t)
		changes := decisions(rec, state.QualityChanged, state.SourceHeld)
		if len(changes) != 3 {
			t.Fatalf("squeezed at %s: decided %+v", squeeze, changes)
		}
		for i, want := range []string{"2 × mobilenetv2-yolov3-nano@512", "2 × mobilenetv2-yolov3-nano@416", "2 × mobilenetv2-yolov3-nano@512"} {
			if !strings.Contains(changes[i].Message, want) {
				t.Errorf("%+v, want %s", changes[i], want)
			}
		}
		for i, at := range []time.Duration{squeeze, squeeze + 30*time.Second} {
			if d := changes[i+1].At - at; d < 0 || d > 2*period {
				t.Errorf("squeezed at %s: follows after %s, at %s", squeeze, d, changes[i+1].At)
			}
		}
		if c := between(rec, changes[1].At+period, 90*time.Second); c.Lost() > 0 {
			t.Errorf("%+v, want none lost", c)
		}
	}
}

// Where nothing can be served and accuracy is asked for that not all qualities
// have, cameras are held, with the numbers, and tried one at a time until they
// can be.
func TestHeldUntilServed(t *testing.T) {
	x := adapting(setting{
		sources: 4, fps: 3, length: 90 * time.Second,
		timeline: []string{"at: 20s, link: {between: [fog, cloud], rate: 500kbit}, for: 30s"},
	}, "period: 5s")
	if held := decisions(x.run(t), state.SourceHeld); len(held) > 0 {
		t.Errorf("held though every quality is accurate enough: %+v", held)
	}
	x.workflow = append(x.workflow, "minAccuracy: 0.3", "minAccuracy: 0.42") // 416 has 0.416
	rec := x.run(t)
	held := decisions(rec, state.SourceHeld)
	if len(held) < 4 || !strings.Contains(held[0].Message, "would be loaded to") {
		t.Fatalf("held: %+v", held)
	}
	admitted := map[string]bool{}
	for _, m := range decisions(rec, state.SourceHeld, state.SourceAdmitted) {
		source, _, _ := strings.Cut(strings.TrimPrefix(m.Message, "source "), " ")
		admitted[source] = m.Type == string(state.SourceAdmitted)
	}
	for i := range 4 {
		if name := fmt.Sprintf("cam-%d", i+1); !admitted[name] {
			t.Errorf("%s is held to the end", name)
		}
	}
	if c := between(rec, 75*time.Second, 90*time.Second); c.Lost() > 0 || c.Captured != 4*3*15 {
		t.Errorf("at the end %+v, want 180 captured and none lost", c)
	}
	full := uint64(4 * 3 * 30)
	if c := between(rec, 20*time.Second, 50*time.Second); c.Captured > full*3/4 {
		t.Errorf("while the link is squeezed %+v: nobody was held", c)
	}
}

func TestAdaptationIsDeterministic(t *testing.T) {
	s := adapting(setting{sources: 5, fps: 5, coordinators: 3, length: 45 * time.Second, timeline: turbulent}, "period: 2s").scenario(t)
	s.Costs = s.Costs.Or(testbed.Costs{Tasks: map[string]testbed.TaskCosts{"draw": {Work: &testbed.Time{Mean: 6 * time.Millisecond, CV: 0.7}}}})
	one := simulate(t, Config{Scenario: s, Seed: 7})
	if n := len(decisions(one, state.QualityChanged)); n < 3 {
		t.Fatalf("%d decisions: it is not much of a test", n)
	}
	a := encode(t, one)
	if b := encode(t, simulate(t, Config{Scenario: s, Seed: 7})); a != b {
		t.Error("two runs of one seed differ")
	}
	if b := encode(t, simulate(t, Config{Scenario: s, Seed: 8})); a == b {
		t.Error("runs of two seeds are the same")
	}
}

// A source changes its quality while it runs, and what it reports is what it
// was then.
func TestFeedQuality(t *testing.T) {
	l := newLab(t, 1, realRules(), 1, free("detect", timing{}))
	at := l.source(0, 10, time.Second, l.stage(0, 0))
	second := func(q tiering.Quality, held string) (*pipeline.SourceReport, uint64) {
		before := l.feeds[at].counts.captured
		l.setFeed(at, q, held)
		l.run(time.Second)
		r := l.feeds[at].report()
		if !r.Frames.Balanced() || *r.Quality != q {
			t.Errorf("%+v of %s", r, q)
		}
		return &r, r.Frames.Captured - before
	}
	all := tiering.Quality{Resolution: 512, Every: 1}
	first, n := second(all, "")
	if n != 10 || first.Status != pipeline.StatusRunning || first.Latency.Count() != 10 || first.Capture.Count() != 10 {
		t.Errorf("%d frames, %+v", n, first)
	}
	if r, n := second(all, "too many"); n != 0 || r.Status != pipeline.StatusHeld || r.Message != "too many" {
		t.Errorf("held: %d frames, %+v", n, r)
	}
	if r, n := second(tiering.Quality{Resolution: 416, Every: 5}, ""); n != 2 || r.Status != pipeline.StatusRunning {
		t.Errorf("one in five: %d frames, %+v", n, r)
	}
	if _, n := second(all, ""); n != 10 {
		t.Errorf("all again: %d frames", n)
	}
	if first.Latency.Count() != 10 || first.Frames.Captured != 10 {
		t.Errorf("an old report has changed: %+v", first)
	}
}

// Where a node has less than a core for eight instances, they slow each other down. It
// is seen, and a distribution found that shows nearly what the best fixed one does.
func TestCrowdedNodes(t *testing.T) {
	s, err := testbed.Load("testdata/crowded.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shown := func(rule tiering.AdaptingRule, heavy int) float64 {
		sources := slices.Clone(s.Sources)
		for i := range sources {
			if i >= heavy {
				sources[i].Resolution = 416
			}
		}
		x, err := s.Adapting(sources, rule, []tiering.Knob{tiering.KnobResolution})
		if err != nil {
			t.Fatal(err)
		}
		rec, err := Run(t.Context(), Config{Scenario: x, Costs: x.Costs, Seed: 1, CPUScale: x.CPUScale})
		if err != nil {
			t.Fatal(err)
		}
		return float64(rec.Totals.Frames.Delivered) / float64(rec.Totals.Frames.Captured)
	}
	best, which := 0.0, 0
	for heavy := range len(s.Sources) + 1 {
		if x := shown(tiering.AdaptOff, heavy); x > best {
			best, which = x, heavy
		}
	}
	adapted := shown(tiering.AdaptUtility, len(s.Sources))
	t.Logf("%.3f of the frames are shown; of the fixed ones the best is %d × 512, which shows %.3f", adapted, which, best)
	if adapted < 0.9*best {
		t.Errorf("%.3f of the frames are shown; of the fixed ones the best is %d × 512, which shows %.3f", adapted, which, best)
	}
}
