package experiment

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/adaptation/survey"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// adaptation is the example, with the document and the workflow's edited.
func adaptation(t *testing.T, edit ...string) (*testbed.Scenario, error) {
	t.Helper()
	return example(t, "../../examples/testbed/adaptation-coco.yaml", edit...)
}

func example(t *testing.T, file string, edit ...string) (*testbed.Scenario, error) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.NewReplacer(edit...)
	return testbed.Parse(file, []byte(edited.Replace(string(text))), func(path string) ([]byte, error) {
		data, err := os.ReadFile(path)
		return []byte(edited.Replace(string(data))), err
	})
}

// arms are those of three of the example's cameras.
func arms(t *testing.T) []Arm {
	t.Helper()
	s, err := adaptation(t, "count: 11, uri", "count: 3, uri")
	if err != nil {
		t.Fatal(err)
	}
	out, err := Arms(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestArms(t *testing.T) {
	want := []struct {
		name        string
		kind        ArmKind
		rule        tiering.AdaptingRule
		resolutions []int
	}{
		{"512-only", ArmFixed, "off", []int{512, 512, 512}},
		{"2 × 512, 1 × 416", ArmFixed, "off", []int{512, 512, 416}},
		{"1 × 512, 2 × 416", ArmFixed, "off", []int{512, 416, 416}},
		{"416-only", ArmFixed, "off", []int{416, 416, 416}},
		{"utility", ArmAdapted, "utility", []int{512, 512, 512}},
		{"fastest", ArmAdapted, "fastest", []int{512, 512, 512}},
		{"with rate", ArmAdapted, "utility", []int{512, 512, 512}},
		{"with model", ArmAdapted, "utility", []int{512, 512, 512}},
		{"with rate and model", ArmAdapted, "utility", []int{512, 512, 512}},
		{"crowded", ArmCrowded, "utility", []int{512, 512, 512, 512, 512}},
		{"crowded with rate", ArmCrowded, "utility", []int{512, 512, 512, 512, 512}},
		{"crowded with model", ArmCrowded, "utility", []int{512, 512, 512, 512, 512}},
		{"crowded with rate and model", ArmCrowded, "utility", []int{512, 512, 512, 512, 512}},
		{"single", ArmSingle, "off", []int{512}},
		{"single adapted", ArmSingle, "utility", []int{512}},
	}
	got := arms(t)
	if len(got) != len(want) {
		t.Fatalf("%d arms, want %d", len(got), len(want))
	}
	for i, a := range got {
		w, err := a.Scenario.WorkflowSpec(nil)
		if err != nil {
			t.Fatal(err)
		}
		x := want[i]
		if a.Name != x.name || a.Kind != x.kind || w.Adapting.Rule != x.rule || len(w.Sources) != len(x.resolutions) {
			t.Errorf("arm %d is %s, %s, %s over %d sources, want %+v", i, a.Name, a.Kind, w.Adapting.Rule, len(w.Sources), x)
			continue
		}
		for k, r := range x.resolutions {
			if w.Sources[k].Resolution != r {
				t.Errorf("%s: source %d at %d, want %d", a.Name, k, w.Sources[k].Resolution, r)
			}
		}
	}
	knobs := map[string]string{
		"with rate": "[resolution rate]", "with model": "[resolution model]", "with rate and model": "[resolution rate model]",
		"crowded with rate": "[resolution rate]", "crowded with model": "[resolution model]", "crowded with rate and model": "[resolution rate model]",
		"single adapted": "[resolution rate model]",
	}
	for i := range got {
		want := cmp.Or(knobs[got[i].Name], "[resolution]")
		if w, err := got[i].Scenario.WorkflowSpec(nil); err != nil || fmt.Sprint(w.Adapting.Knobs) != want {
			t.Errorf("%s has other knobs than %s: %v", got[i].Name, want, err)
		}
	}
	for _, n := range []struct{ sources, resolutions, want int }{{19, 2, 20}, {5, 3, 21}, {4, 1, 1}} {
		if got := spread(n.sources, n.resolutions); len(got) != n.want {
			t.Errorf("%d distributions of %d over %d, want %d", len(got), n.resolutions, n.sources, n.want)
		}
	}
}

func TestNoArms(t *testing.T) {
	for what, x := range map[string]struct {
		edit []string
		want string
	}{
		"no rule":        {[]string{"adaptation: {rule: utility}", ""}, "cameras-coco.yaml has no rule of adaptation to replace; write adaptation: {rule: utility} under spec"},
		"one resolution": {[]string{"resolutions: [416, 512]", "resolutions: [512]", `"detect:mobilenetv2-yolov3-nano@416": {work: {mean: 37ms, cv: 0.3}, send: 2.6ms, receive: 2.6ms, bytes: 54kB, start: 0.5s}`, ""}, "one resolution up to 512"},
		"which model":    {[]string{"resolutions: [320]", "resolutions: [416]", "yolo-fastest-1.1@320", "yolo-fastest-1.1@416"}, "offers 416 of mobilenetv2-yolov3-nano and yolo-fastest-1.1, and a fixed distribution does not say which"},
		"sources differ": {[]string{"count: 11,", "count: 10,", "  # The first decision", "    - {name: other, uri: \"video:vtest.avi?loop=true\", fps: 5}\n\n  # The first decision"}, "differ in resolution or rate"},
		"sources come":   {[]string{"  # The first decision", "  timeline: [{at: 10s, sources: -1}]\n\n  # The first decision"}, "sources -1"},
	} {
		s, err := adaptation(t, x.edit...)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if _, err = Arms(s); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", what, err, x.want)
		}
		if what != "no rule" && !errors.Is(err, ErrArms) {
			t.Errorf("%s: %v is not ErrArms", what, err)
		}
	}
}

// told is a run of 100 s, told by hand: of each source so many frames were
// delivered, and so many analysed at 416 and at 512.
func told(run int, latency time.Duration, light, heavy uint64, delivered ...uint64) *testbed.Recording {
	rec := &testbed.Recording{Run: run, Seed: uint64(run)}
	t := &rec.Totals
	t.Duration, t.Latency = 100*time.Second, pipeline.NewHistogram()
	t.Stages = []testbed.StageTotals{
		{Task: "resize", Processed: 9999}, {Task: "detect:mobilenetv2-yolov3-nano@416", Processed: light}, {Task: "detect:mobilenetv2-yolov3-nano@512", Processed: heavy},
	}
	for i, n := range delivered {
		t.Sources = append(t.Sources, testbed.SourceTotals{Source: []string{"cam-1", "cam-2", "cam-3"}[i], Captured: 1000, Delivered: n})
		t.Frames.Captured += 1000
		t.Frames.Delivered += n
		for range n {
			t.Latency.Record(latency)
		}
	}
	return rec
}

// Where it is known what frames show, F1 is of those very frames.
func TestMeasureArmJudged(t *testing.T) {
	a := &arms(t)[1]
	rec := told(1, 100*time.Millisecond, 300, 900, 1000, 500, 250)
	rec.Totals.Stages[1].Judged = pipeline.Judged{Frames: 300, Right: 100, Wrong: 20, Missed: 80}
	rec.Totals.Stages[2].Judged = pipeline.Judged{Frames: 900, Right: 500, Wrong: 40, Missed: 60}
	r, err := a.Measure(rec)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * 600.0 / (2*600 + 60 + 140); math.Abs(r.F1-want) > 1e-12 {
		t.Errorf("F1 is %g, want %g", r.F1, want)
	}
}

// Frames that a filter takes out are shown, as long as the others are delivered.
func TestMeasureArmFiltered(t *testing.T) {
	a := &arms(t)[1]
	rec := told(1, 100*time.Millisecond, 300, 900, 600, 600, 600)
	for i := range rec.Totals.Sources {
		rec.Totals.Sources[i].Filtered = 400
	}
	r, err := a.Measure(rec)
	if err != nil {
		t.Fatal(err)
	}
	if r.Makespan != 100 || r.Filtered != 1200 || math.Abs(r.Utility-(r.F1-0.2*r.Latency)) > 1e-9 {
		t.Errorf("%+v", r)
	}
}

// What a filter leaves of F1 is what was measured of it: of these very frames, or
// else of others; what it was told to leave counts where neither is known.
func TestMeasureArmThatFilters(t *testing.T) {
	const file = "../../examples/testbed/adaptation-filter.yaml"
	for _, x := range []struct {
		edit  []string
		every int
		truth bool
		want  func(f1 float64) float64
	}{
		{nil, 1, false, func(f1 float64) float64 { return 0.986 * f1 }},
		{[]string{"kept: 0.986, ", ""}, 1, false, func(f1 float64) float64 { return 0.95 * f1 }},
		// 900 frames with an F1 of 0.8, and 300 that are filtered with one of 0.5.
		{nil, 1, true, func(float64) float64 { return 2 * 4050 / (2*4050 + 2700.0) }},
		{nil, 2, true, func(float64) float64 { return (900*0.8 + 300*0.5) / 1200 }},
	} {
		s, err := example(t, file, append(x.edit, "count: 11, uri", "count: 3, uri")...)
		if err != nil {
			t.Fatal(err)
		}
		all, err := Arms(s)
		if err != nil {
			t.Fatal(err)
		}
		a := &all[0]
		rec := told(1, 100*time.Millisecond, 0, 900, 400, 400, 400)
		rec.Totals.Stages = []testbed.StageTotals{{Task: "still", Processed: 900}, {Task: "detect@512", Processed: 900}}
		if x.truth {
			rec.Totals.Stages[0].Judged = pipeline.Judged{Frames: 300, Right: 450, Wrong: 450, Missed: 450}
			rec.Totals.Stages[1].Judged = pipeline.Judged{Frames: 900, Right: 3600, Wrong: 900, Missed: 900}
		}
		rec.Samples = []testbed.Sample{{Qualities: testbed.CountQualities([]tiering.Quality{{Model: "street", Resolution: 512, Every: x.every}})}}
		r, err := a.Measure(rec)
		if err != nil {
			t.Fatal(err)
		}
		w, err := a.Scenario.WorkflowSpec(nil)
		if err != nil {
			t.Fatal(err)
		}
		task, _ := w.Task("detect@512")
		known, err := accuracyOf(task.Model)
		if err != nil {
			t.Fatal(err)
		}
		want := x.want(known)
		if x.every > 1 {
			rates, err := survey.Accuracy(task.Model)
			if err != nil {
				t.Fatal(err)
			}
			want *= rates.Kept(x.every, 13)
		}
		if math.Abs(r.F1-want) > 1e-9 {
			t.Errorf("%v, one in %d, truth %v: F1 is %g, want %g", x.edit, x.every, x.truth, r.F1, want)
		}
		squeeze, err := Trials(s)
		if err != nil {
			t.Fatal(err)
		}
		if x.every > 1 || x.truth {
			continue
		}
		rec.Totals.Duration = squeeze[1].Scenario.Measure.Duration
		rec.Samples[0].Qualities[0].Sources = 3
		if y, err := squeeze[1].MeasureSqueeze(rec); err != nil || math.Abs(y.Before-want) > 1e-9 {
			t.Errorf("%v: squeezed, an F1 of %g is promised, want %g; %v", x.edit, y.Before, want, err)
		}
	}
}

func TestMeasureArm(t *testing.T) {
	a := &arms(t)[1]
	r, err := a.Measure(told(1, 100*time.Millisecond, 300, 900, 1000, 500, 250))
	if err != nil {
		t.Fatal(err)
	}
	// Of 3000 frames asked for 1750 were delivered; the deadline is 2 s, Θ 0.2.
	const share = 1750 / 3000.0
	f1 := (300*0.416 + 900*0.427) / 1200
	for what, x := range map[string][2]float64{
		"asked":    {r.Asked, 3000},
		"F1":       {r.F1, f1},
		"utility":  {r.Utility, share*(f1-0.2*r.Latency) - (1-share)*0.2*2},
		"latency":  {r.Latency, 0.1},
		"makespan": {r.Makespan, (2*100*2000/1500.0 + 400) / 3}, // two at 512, one at 416
		"longest":  {r.Longest, 400},
	} {
		if math.Abs(x[0]-x[1]) > 5e-3*math.Abs(x[1]) {
			t.Errorf("%s is %g, want %g", what, x[0], x[1])
		}
	}
	if _, err := a.Measure(told(1, time.Millisecond, 1, 1, 5, 5)); err == nil || !strings.Contains(err.Error(), "nothing of source cam-3") {
		t.Errorf("a source is missing: %v", err)
	}
}

// Where frames are skipped, one that is delivered stands for those after it.
func TestMeasureArmThatSkips(t *testing.T) {
	all := arms(t)
	a := &all[slices.IndexFunc(all, func(a Arm) bool { return a.Name == "with rate" })]
	const nano = "mobilenetv2-yolov3-nano"
	rec := told(1, 100*time.Millisecond, 1000, 800, 500, 500, 800)
	for at := -time.Second; at <= 10*time.Second; at += time.Second {
		every := 2
		if at < 0 {
			every = 4 // which is the warm-up's
		}
		rec.Samples = append(rec.Samples, testbed.Sample{At: at, Qualities: testbed.CountQualities([]tiering.Quality{
			{Model: nano, Resolution: 512, Every: every}, {Model: nano, Resolution: 416, Every: 1}, {Model: nano, Resolution: 512, Every: every},
		})})
	}
	r, err := a.Measure(rec)
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Scenario.WorkflowSpec(nil)
	if err != nil {
		t.Fatal(err)
	}
	heavy, ok := w.Task("detect:" + nano + "@512")
	if !ok {
		t.Fatal("no such task")
	}
	known, err := survey.Accuracy(heavy.Model)
	if err != nil {
		t.Fatal(err)
	}
	kept := known.Kept(2, 10)
	if kept < 0.85 || kept > 0.95 {
		t.Fatalf("%g is kept at 5 frames a second", kept)
	}
	f1 := (1000*0.416 + 1600*0.427*kept) / 2600
	share := 1800 * 1.5 / 3000
	for what, x := range map[string][2]float64{
		"stands":   {r.Stands, 1.5},           // 3 sources, of which 2 of 10 frames a second are analysed
		"stale":    {r.Stale, 2.0 / 3 * 0.05}, // half a frame's time, for two thirds
		"F1":       {r.F1, f1},
		"makespan": {r.Makespan, 100 * 3000 / 2700}, // all sources are of 512
		"utility":  {r.Utility, share*(f1-0.2*(r.Latency+r.Stale)) - (1-share)*0.2*2},
	} {
		if math.Abs(x[0]-x[1]) > 5e-3*math.Abs(x[1]) {
			t.Errorf("%s is %g, want %g", what, x[0], x[1])
		}
	}
	rec.Samples[5].Qualities[0].Quality.Model = "other"
	if _, err := a.Measure(rec); err == nil || !strings.Contains(err.Error(), "sources had other@512") {
		t.Errorf("a quality of no task: %v", err)
	}
}

// What is written has what was measured in it.
func TestWriteArms(t *testing.T) {
	all := slices.DeleteFunc(arms(t), func(a Arm) bool { return strings.Contains(a.Name, "with") || a.Kind == ArmCrowded })
	recordings := [][]*testbed.Recording{
		{told(1, 900*time.Millisecond, 0, 1500, 500, 500, 500)},       // 512-only
		{told(1, 100*time.Millisecond, 1000, 2000, 1000, 1000, 1000)}, // the best
		{told(1, 200*time.Millisecond, 2000, 1000, 1000, 1000, 1000)},
		{told(1, 300*time.Millisecond, 2500, 0, 850, 850, 800)},
		{told(1, 110*time.Millisecond, 1000, 2000, 1000, 1000, 1000)}, // utility
		{told(1, 150*time.Millisecond, 1000, 2000, 1000, 1000, 1000)},
		{told(1, 80*time.Millisecond, 0, 1000, 1000)},
		{told(1, 82*time.Millisecond, 0, 1000, 990)},
	}
	recordings[4][0].Marks = []testbed.Mark{
		{At: 3 * time.Second, Kind: testbed.Decision, Type: "quality-changed", Message: "workflow cameras has 2 × x@512"},
		{At: 4 * time.Second, Kind: testbed.Decision, Type: "task-placed", Message: "elsewhere"},
	}
	runs := make([][]ArmRun, len(all))
	for i := range all {
		for _, rec := range recordings[i] {
			r, err := all[i].Measure(rec)
			if err != nil {
				t.Fatal(err)
			}
			runs[i] = append(runs[i], r)
		}
	}
	dir := t.TempDir()
	for range 2 { // an earlier result is replaced
		if _, err := WriteArms(dir, About{Method: testbed.Simulated, Command: "weft testbed adaptation x.yaml"}, all, runs, nil); err != nil {
			t.Fatal(err)
		}
	}
	read := reader(t, dir)
	var s struct {
		Arms []struct {
			Name     string  `json:"name"`
			Sources  int     `json:"sources"`
			Makespan float64 `json:"makespan_s_mean"`
			F1       float64 `json:"f1"`
			Utility  float64 `json:"utility"`
		} `json:"arms"`
		Best      string  `json:"best"`
		Ratio     float64 `json:"utility_ratio_to_best"`
		Unchanged bool    `json:"single_source_unchanged"`
	}
	if err := json.Unmarshal([]byte(read("summary.json")), &s); err != nil {
		t.Fatal(err)
	}
	ratio := runs[4][0].Utility / runs[1][0].Utility
	if len(s.Arms) != 8 || s.Best != "2 × 512, 1 × 416" || math.Abs(s.Ratio-ratio) > 1e-12 || ratio >= 1 || !s.Unchanged {
		t.Errorf("summary %+v, want a ratio of %g", s, ratio)
	}
	if a := s.Arms[0]; a.Sources != 3 || math.Abs(a.Makespan-200) > 1e-9 || a.F1 != 0.427 {
		t.Errorf("%+v, want a makespan of 200 s", a)
	}
	if lines := strings.Split(strings.TrimSpace(read("raw.csv")), "\n"); len(lines) != 9 || !strings.HasPrefix(lines[5], "utility,adapted,utility,3,1,1,3000,3000,3000,") {
		t.Errorf("raw.csv:\n%s", strings.Join(lines, "\n"))
	}
	for _, words := range []string{"**2 × 512, 1 × 416**", "3 s: workflow cameras has 2 × x@512", "not changed by adaptation", "weft testbed adaptation x.yaml"} {
		if !strings.Contains(read("table.md"), words) {
			t.Errorf("table.md lacks %q:\n%s", words, read("table.md"))
		}
	}
	if strings.Contains(read("table.md"), "elsewhere") || !strings.HasPrefix(read("plot.png"), "\x89PNG") {
		t.Error("table.md lists what is not about quality, or plot.png is no picture")
	}

	// A source that is reduced is changed.
	runs[7][0].F1 = 0.42
	if SummarizeArms(testbed.Simulated, all, runs).SingleUnchanged {
		t.Error("a single source that was reduced counts as unchanged")
	}
	// F1 of frames that were seen is never quite the same twice.
	off := runs[6][0].F1
	for f1, same := range map[float64]bool{off + 0.003: true, off - 0.03: false} {
		if runs[7][0].F1 = f1; SummarizeArms(testbed.Emulated, all, runs).SingleUnchanged != same {
			t.Errorf("emulated, %g beside %g: want the same %v", f1, off, same)
		}
	}
}

// reader reads the files of a folder.
func reader(t *testing.T, dir string) func(name string) string {
	return func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}
