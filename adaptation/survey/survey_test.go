package survey_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/adaptation/quality"
	"github.com/weft-mesh/weft/adaptation/survey"
	"github.com/weft-mesh/weft/tiering"
)

const msec = time.Millisecond

// paper is the deployment of Houmani et al., section VII, with so many sources:
// resize on the edge, the light detector in the fog, the heavy one in the
// cloud.
func paper(sources int) survey.Input {
	model := func(r int) *tiering.Model {
		return &tiering.Model{Name: "yolov4", Family: "yolov4", Resolution: r, Measured: []tiering.Accuracy{{Resolution: 320, F1: 0.60}, {Resolution: 416, F1: 0.64}, {Resolution: 512, F1: 0.71}}}
	}
	in := survey.Input{
		Workflow: &tiering.Workflow{
			Name: "objects",
			Tasks: []tiering.Task{
				{Name: "resize", Group: "resize", Type: tiering.Preprocess},
				{Name: "detect@416", Group: "detect", Type: tiering.DeepModel, Model: model(416)},
				{Name: "detect@512", Group: "detect", Type: tiering.DeepModel, Model: model(512)},
				{Name: "draw", Group: "draw", Type: tiering.Postprocess},
			},
			Links:      []tiering.Link{{From: "resize", To: "detect"}, {From: "detect", To: "draw"}},
			Objectives: tiering.Objectives{MinAccuracy: 0.5, Deadline: time.Second},
		},
		Rates:  map[string]float64{},
		Joined: func(string) time.Time { return time.Unix(0, 0) },
		RTT: func(a, b string) (time.Duration, bool) {
			switch {
			case a == b:
				return 0, true
			case strings.HasPrefix(b, "fog"):
				return 8 * msec, true
			}
			return 18 * msec, true
		},
		Costs: survey.Costs{
			Capture: 2 * msec,
			Execute: map[string]map[string]time.Duration{
				"resize": {"edge-1": 4 * msec, "edge-2": 4 * msec}, "detect@512": {"cloud-1": 90 * msec}, "draw": {"cloud-1": 10 * msec},
			},
			Transfer: map[string]time.Duration{"detect@512": 25 * msec, "draw": 14 * msec},
		},
	}
	place := func(task, node string, tier tiering.Tier, source bool) {
		in.Placements = append(in.Placements, tiering.Placement{
			ID: fmt.Sprintf("%s-%d", task, len(in.Placements)), Workflow: "objects", Task: task, Node: node, Tier: tier, Source: source,
		})
	}
	for i := range sources {
		name := fmt.Sprintf("cam-%02d", i+1)
		in.Workflow.Sources = append(in.Workflow.Sources, tiering.Source{Name: name, Resolution: 512})
		in.Workflow.Links = append(in.Workflow.Links, tiering.Link{From: name, To: "resize"})
		in.Rates[name] = 2
		place(name, fmt.Sprintf("edge-%d", i%2+1), tiering.Edge, true)
	}
	place("resize", "edge-1", tiering.Edge, false)
	place("resize", "edge-2", tiering.Edge, false)
	place("detect@416", "fog-1", tiering.Fog, false)
	place("detect@512", "cloud-1", tiering.Cloud, false)
	place("draw", "cloud-1", tiering.Cloud, false)
	return in
}

var resolution = quality.Knobs{Resolution: true}

func near(a, b time.Duration) bool { return (a - b).Abs() <= time.Microsecond }

func TestViewOfThePaper(t *testing.T) {
	v, err := survey.View(paper(3), resolution)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(v.Classes) != 1 || len(v.Classes[0].Sources) != 3 || v.Classes[0].FPS != 2 || v.Classes[0].Own != (quality.Quality{Model: "yolov4", Resolution: 512, Every: 1}) {
		t.Fatalf("classes %+v", v.Classes)
	}
	want := map[string]quality.Station{
		"resize": {Name: "resize", Servers: 1, Each: 2, Variability: 0.25}, "to detect": {Name: "to detect", Servers: 1, Each: 2, Variability: 0.25},
		"detect@512": {Name: "detect@512", Servers: 1}, "detect@416": {Name: "detect@416", Servers: 1},
		"to draw from fog-1": {Name: "to draw from fog-1", Servers: 1}, "draw": {Name: "draw", Servers: 1},
	}
	for _, s := range v.Stations {
		if s != want[s.Name] {
			t.Errorf("station %+v, want %+v", s, want[s.Name])
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("no stations %v", want)
	}
	options := v.Classes[0].Options
	if len(options) != 2 || options[0].Quality.Resolution != 512 || options[1].Quality.Resolution != 416 {
		t.Fatalf("options %+v", options)
	}
	if options[0].Accuracy <= options[1].Accuracy || math.Abs(options[0].Accuracy-0.71) > 0.03 {
		t.Errorf("accuracies %g and %g", options[0].Accuracy, options[1].Accuracy)
	}
	steps := func(p quality.Path) map[string]quality.Step {
		out := map[string]quality.Step{}
		for _, s := range p {
			out[s.Task] = s
		}
		return out
	}
	high, low := steps(options[0].Path), steps(options[1].Path)
	pixels := 416.0 * 416 / (512 * 512)
	scaled := func(d time.Duration) time.Duration { return time.Duration(pixels * float64(d)) }
	for what, pair := range map[string][2]time.Duration{
		"capture":                    {high["capture"].Execution.Delay, 2 * msec},
		"resize":                     {high["resize"].Execution.Service, 4 * msec},
		"detect@512, measured":       {high["detect@512"].Execution.Service, 90 * msec},
		"detect@416, estimated":      {low["detect@416"].Execution.Service, scaled(90 * msec)},
		"propagation to the cloud":   {high["detect@512"].Transfer[0].Delay, 9 * msec},
		"transfer to the cloud":      {high["detect@512"].Transfer[0].Service, 16 * msec},
		"propagation to the fog":     {low["detect@416"].Transfer[0].Delay, 4 * msec},
		"transfer to the fog":        {low["detect@416"].Transfer[0].Service, scaled((25 - 9) * msec)},
		"what is drawn, sent":        {low["draw"].Transfer[0].Service, 5 * msec},
		"what is drawn, propagation": {low["draw"].Transfer[0].Delay, 9 * msec},
	} {
		if !near(pair[0], pair[1]) {
			t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
		}
	}
	if x := high["draw"].Transfer; len(x) > 0 {
		t.Errorf("what is detected in the cloud is drawn there, and passes %v", x)
	}
}

// Encoding takes time, and the link is not taken for it.
func TestEncodingDoesNotTakeTheLink(t *testing.T) {
	in := paper(2)
	in.Costs.Link = map[string]time.Duration{"detect@512": 19 * msec, "draw": 11 * msec}
	v, err := survey.View(in, resolution)
	if err != nil {
		t.Fatal(err)
	}
	pixels := 416.0 * 416 / (512 * 512)
	for i, want := range [][2]time.Duration{
		{10 * msec, (9 + 6) * msec},
		{time.Duration(pixels * 10 * float64(msec)), 4*msec + time.Duration(pixels*6*float64(msec))}, // estimated
	} {
		for _, step := range v.Classes[0].Options[i].Path {
			if strings.HasPrefix(step.Task, "detect") {
				if x := step.Transfer[0]; !near(x.Service, want[0]) || !near(x.Delay, want[1]) {
					t.Errorf("%s: the link is taken for %v, and %v more pass, want %v", step.Task, x.Service, x.Delay, want)
				}
			}
		}
	}
}

// Where a node does less at a time than it has instances, the tasks on it share a
// station beside their own.
func TestCrowdedNodes(t *testing.T) {
	const name = "processors of cloud-1"
	type nodes = map[string]time.Duration // service there, by task
	in := paper(2)
	in.Placements = append(in.Placements, tiering.Placement{ID: "detect@512-1", Workflow: "objects", Task: "detect@512", Node: "cloud-1", Tier: tiering.Cloud})
	alone := map[string]map[string]time.Duration{"detect@512": {"cloud-1": 60 * msec}}
	turns := func(n int) map[string]map[string]int {
		return map[string]map[string]int{"detect@512": {"cloud-1": n}, "draw": {"cloud-1": n}}
	}
	for what, c := range map[string]struct {
		turns   map[string]map[string]int
		cores   float64
		service time.Duration // of detect@512 itself
		want    nodes
		servers int
	}{
		"enough for all":      {service: 90 * msec},
		"a turn for three":    {turns: turns(1), service: 90 * msec, want: nodes{"detect@512": 90 * msec, "draw": 10 * msec}, servers: 1},
		"two turns for three": {turns: turns(2), service: 90 * msec, want: nodes{"detect@512": 90 * msec, "draw": 10 * msec}, servers: 2},
		"a detector that takes none": {turns: map[string]map[string]int{"draw": {"cloud-1": 1}}, service: 90 * msec,
			want: nodes{"draw": 10 * msec}, servers: 1},
		// What is not known to take less alone takes what it took.
		"learnt":             {cores: 0.8, service: 60 * msec, want: nodes{"detect@512": 75 * msec}, servers: 1},
		"learnt, of turns":   {cores: 0.8, turns: turns(2), service: 60 * msec, want: nodes{"detect@512": 75 * msec, "draw": 12500 * time.Microsecond}, servers: 1},
		"learnt, above one":  {cores: 1.5, service: 60 * msec, want: nodes{"detect@512": 80 * msec}, servers: 2},
		"learnt, nearly one": {cores: 1.05, service: 60 * msec, want: nodes{"detect@512": 60 * msec / 105 * 100}, servers: 1},
		"next to nothing":    {cores: 0.01, service: 60 * msec, want: nodes{"detect@512": 6 * time.Second}, servers: 1},
	} {
		in.Costs.Turns, in.Costs.Alone, in.Costs.Cores = c.turns, nil, nil
		if c.cores > 0 {
			in.Costs.Alone, in.Costs.Cores = alone, map[string]float64{"cloud-1": c.cores}
		}
		v, err := survey.View(in, resolution)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Validate(); err != nil {
			t.Error(err)
		}
		for _, step := range v.Classes[0].Options[0].Path {
			if want := (quality.Visit{Station: "detect@512", Service: c.service}); step.Task == "detect@512" && step.Execution != want {
				t.Errorf("%s: %+v, want %+v", what, step.Execution, want)
			}
			want, ok := c.want[step.Task]
			switch {
			case ok && (len(step.Nodes) != 1 || step.Nodes[0].Station != name || !near(step.Nodes[0].Service, want)):
				t.Errorf("%s: %s takes %+v of nodes, want %v of one", what, step.Task, step.Nodes, want)
			case !ok && len(step.Nodes) > 0:
				t.Errorf("%s: %s takes %+v of nodes", what, step.Task, step.Nodes)
			}
		}
		i := slices.IndexFunc(v.Stations, func(s quality.Station) bool { return s.Name == name })
		if i >= 0 != (c.servers > 0) || i >= 0 && v.Stations[i].Servers != c.servers {
			t.Errorf("%s: stations %+v, want %d of the node", what, v.Stations, c.servers)
		}
	}

	// Of two nodes each gets its share of the frames.
	in = paper(2)
	in.Placements = append(in.Placements, tiering.Placement{ID: "detect@512-1", Workflow: "objects", Task: "detect@512", Node: "cloud-2", Tier: tiering.Cloud})
	in.RTT = func(a, b string) (time.Duration, bool) { return 8 * msec, true }
	in.Costs.Turns = map[string]map[string]int{"detect@512": {"cloud-1": 1}}
	v, err := survey.View(in, resolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range v.Classes[0].Options[0].Path {
		if step.Task == "detect@512" && (len(step.Nodes) != 1 || !near(step.Nodes[0].Service, 45*msec)) {
			t.Errorf("on one of two nodes: %+v", step.Nodes)
		}
	}
}

// What was profiled on a node stands in for what was not seen there, and for
// nothing else.
func TestProfiledWhereNothingWasMeasured(t *testing.T) {
	in := paper(3)
	in.Placements = append(in.Placements, tiering.Placement{ID: "more", Workflow: "objects", Task: "detect@512", Node: "cloud-2", Tier: tiering.Cloud})
	asked := map[string]bool{}
	profiles := map[string]time.Duration{"fog-1/detect@416": 70 * msec, "cloud-1/detect@512": time.Hour, "cloud-2/detect@512": 30 * msec}
	in.Profiled = func(node string, t *tiering.Task) (time.Duration, bool) {
		asked[node+"/"+t.Name] = true
		d, ok := profiles[node+"/"+t.Name]
		return d, ok
	}
	service := func(task string) time.Duration {
		t.Helper()
		v, err := survey.View(in, resolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range v.Classes[0].Options {
			for _, s := range o.Path {
				if s.Task == task {
					return s.Execution.Service
				}
			}
		}
		t.Fatalf("no option passes %s", task)
		return 0
	}
	_, both := quality.Pool(90*msec, 30*msec)
	if got := service("detect@512"); !near(got, both) {
		t.Errorf("one measured, one profiled: %v, want %v", got, both)
	}
	if got := service("detect@416"); !near(got, 70*msec) {
		t.Errorf("profiled only: %v", got)
	}
	if asked["cloud-1/detect@512"] {
		t.Error("a profile is asked for of what was measured")
	}
	delete(profiles, "fog-1/detect@416")
	pixels := 416.0 * 416 / (512 * 512)
	if got, want := service("detect@416"), time.Duration(pixels*float64(90*msec)); !near(got, want) {
		t.Errorf("neither: %v, want %v, by the pixels", got, want)
	}
	// Before the first frame it is enough to begin with.
	delete(in.Costs.Execute, "detect@512")
	profiles["cloud-1/detect@512"], profiles["fog-1/detect@416"] = 80*msec, 70*msec
	_, both = quality.Pool(80*msec, 30*msec)
	if got := service("detect@512"); !near(got, both) {
		t.Errorf("both profiled: %v, want %v", got, both)
	}
}

// With one source, to reduce gains nothing that is worth its accuracy; with more
// than the cloud's detector can serve, some are reduced (experiments 4 and 1 of
// section VII).
func TestDecisionsOfThePaper(t *testing.T) {
	for sources, want := range map[int]int{1: 0, 2: 0, 7: -1} { // how many are reduced; -1: some
		in := paper(sources)
		p, err := survey.Params(in.Workflow)
		if err != nil {
			t.Fatal(err)
		}
		v, err := survey.View(in, p.Knobs)
		if err != nil {
			t.Fatal(err)
		}
		d, err := quality.Decide(time.Unix(100, 0), v, p, rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		reduced := 0
		for _, s := range d.Sources {
			if s.Quality.Resolution < 512 {
				reduced++
			}
		}
		if len(d.Sources) != sources || want >= 0 && reduced != want || want < 0 && (reduced == 0 || reduced == sources) {
			t.Errorf("%d sources: %d admitted, %d reduced, want %d: %s", sources, len(d.Sources), reduced, want, d.Why)
		}
	}
}

func TestNoView(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(in *survey.Input)
		is     error
		says   string
	}{
		"a branch": {func(in *survey.Input) {
			in.Workflow.Links = append(in.Workflow.Links, tiering.Link{From: "detect", To: "resize"})
		}, survey.ErrOff, "draw and resize at once"},
		"two ways": {func(in *survey.Input) {
			in.Workflow.Links[2].To = "detect"
		}, survey.ErrOff, "different ways"},
		"one quality": {func(in *survey.Input) {
			in.Workflow.Tasks = slices.DeleteFunc(in.Workflow.Tasks, func(t tiering.Task) bool { return t.Name == "detect@416" })
		}, survey.ErrOff, "one quality only"},
		"no instance to analyse": {func(in *survey.Input) {
			in.Placements = slices.DeleteFunc(in.Placements, func(p tiering.Placement) bool { return strings.HasPrefix(p.Task, "detect") })
		}, survey.ErrUnknown, "no instance runs that analyses frames of cam-01"},
		"more than the models have": {func(in *survey.Input) { in.Workflow.Objectives.MinAccuracy = 0.9 }, survey.ErrOff, "0.900 is asked for, and the models reach 0.7"},
		"no such resolution":        {func(in *survey.Input) { in.Workflow.Sources[0].Resolution = 608 }, survey.ErrOff, "at 608"},
		"no source":                 {func(in *survey.Input) { clear(in.Rates) }, survey.ErrUnknown, "no source runs"},
		"no frame":                  {func(in *survey.Input) { delete(in.Costs.Execute, "detect@512") }, survey.ErrUnknown, "no frame has passed detect yet"},
		"no instance to draw":       {func(in *survey.Input) { in.Placements = in.Placements[:len(in.Placements)-1] }, survey.ErrUnknown, "no instance of draw runs"},
		"accuracy": {func(in *survey.Input) {
			in.Workflow.Tasks[1].Model.Measured, in.Workflow.Tasks[2].Model.Measured = nil, nil
		}, survey.ErrUnknown, "model yolov4: no measured accuracy"},
	} {
		in := paper(2)
		tc.change(&in)
		_, err := survey.View(in, resolution)
		if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %v with %q", what, err, tc.is, tc.says)
		}
	}
	w := paper(1).Workflow
	w.Adapting = &tiering.Adapting{Rule: tiering.AdaptOff}
	if _, err := survey.Params(w); !errors.Is(err, survey.ErrOff) {
		t.Errorf("switched off: %v", err)
	}
}

func TestParams(t *testing.T) {
	w := paper(1).Workflow
	p, err := survey.Params(w)
	if err != nil || p.Rule != quality.RuleUtility || p.MinAccuracy != 0.5 || p.Theta != 0.2 || p.Period != 10*time.Second || p.Knobs != resolution {
		t.Errorf("by default: %+v, %v", p, err)
	}
	w.Adapting = &tiering.Adapting{Rule: tiering.AdaptFastest, Theta: 1, Period: time.Minute, Knobs: []tiering.Knob{tiering.KnobRate, tiering.KnobModel}}
	p, err = survey.Params(w)
	if err != nil || p.Rule != quality.RuleFastest || p.Theta != 1 || p.Period != time.Minute || p.Knobs != (quality.Knobs{Rate: true, Model: true}) {
		t.Errorf("as asked: %+v, %v", p, err)
	}
}

// A filter leaves only so much of the accuracy.
func TestFilterCostsAccuracy(t *testing.T) {
	best := func(settings map[string]string) float64 {
		in := paper(1)
		in.Workflow.Tasks[0].Operation, in.Workflow.Tasks[0].Settings = tiering.OperationFilter, settings
		v, err := survey.View(in, resolution)
		if err != nil {
			t.Fatal(err)
		}
		return v.Classes[0].Options[0].Accuracy
	}
	whole := best(nil)
	if got, want := best(map[string]string{"accuracy": "0.9"}), 0.9*whole; math.Abs(got-want) > 1e-9 {
		t.Errorf("accuracy %g, want %g", got, want)
	}
	if got := best(map[string]string{"threshold": "0.1"}); got != whole {
		t.Errorf("accuracy %g with a fixed threshold, of which nothing is known; want %g", got, whole)
	}
}

// Each knob offers what it may change, and nothing above what the document asks
// for.
func TestKnobs(t *testing.T) {
	in := paper(1)
	for i, name := range []string{"tiny", "huge"} {
		r := []int{416, 608}[i]
		in.Workflow.Tasks = append(in.Workflow.Tasks, tiering.Task{Name: "detect:" + name, Group: "detect", Model: &tiering.Model{Name: name, Resolution: r, Measured: []tiering.Accuracy{{Resolution: r, F1: 0.5}}}})
		in.Placements = append(in.Placements, tiering.Placement{ID: name, Task: "detect:" + name, Node: "fog-1", Tier: tiering.Fog})
	}
	rates := []tiering.Rate{{FPS: 0.6, Kept: 0.7}, {FPS: 2, Kept: 1}}
	for _, tc := range []struct {
		knobs quality.Knobs
		rates []tiering.Rate
		want  string
	}{
		{quality.Knobs{Resolution: true}, rates, "yolov4@512 yolov4@416"},
		{quality.Knobs{Resolution: true, Model: true}, nil, "yolov4@512 yolov4@416 tiny@416"},
		// At half a frame a second nothing was measured.
		{quality.Knobs{Rate: true}, rates, "yolov4@512 yolov4@512 1/2 yolov4@512 1/3"},
		{quality.Knobs{Rate: true, Resolution: true, Model: true}, rates, "yolov4@512 yolov4@512 1/2 yolov4@512 1/3 yolov4@416 yolov4@416 1/2 yolov4@416 1/3 tiny@416"},
		{quality.Knobs{Rate: true, Resolution: true}, nil, "yolov4@512 yolov4@416"},
	} {
		for i := range in.Workflow.Tasks[1:3] {
			in.Workflow.Tasks[1+i].Model.Rates = tc.rates
		}
		v, err := survey.View(in, tc.knobs)
		if err != nil {
			t.Errorf("%+v: %v", tc.knobs, err)
			continue
		}
		var got []string
		last := 2.0
		for _, o := range v.Classes[0].Options {
			got = append(got, o.Quality.String())
			if o.Quality.Every > 1 && o.Accuracy >= last {
				t.Errorf("%s: accuracy %g, %g with more frames", o.Quality, o.Accuracy, last)
			}
			last = o.Accuracy
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%+v: %s, want %s", tc.knobs, s, tc.want)
		}
	}
	if _, err := survey.View(in, quality.Knobs{}); !errors.Is(err, survey.ErrOff) {
		t.Errorf("no knob: %v", err)
	}
}

// How a camera's rate is measured to be decides neither what fewer frames cost nor
// whether that is known: 5 frames a second are half of 10, also of 9.9.
func TestRatesOfWhatIsMeant(t *testing.T) {
	offered := func(measured float64) (out []float64) {
		in := paper(1)
		in.Workflow.Sources[0].FPS, in.Rates["cam-01"] = 10, measured
		for i := range in.Workflow.Tasks[1:3] {
			in.Workflow.Tasks[1+i].Model.Rates = []tiering.Rate{{FPS: 5, Kept: 0.9}, {FPS: 10, Kept: 1}}
		}
		v, err := survey.View(in, quality.Knobs{Rate: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range v.Classes[0].Options {
			out = append(out, o.Accuracy)
		}
		return out
	}
	want := offered(10)
	if len(want) != 2 {
		t.Fatalf("accuracies %v, want those of all frames and of half of them", want)
	}
	for _, fps := range []float64{9.9, 10.1, 8} {
		if got := offered(fps); !slices.Equal(got, want) {
			t.Errorf("at %g frames a second: %v, want %v", fps, got, want)
		}
	}
}

// What filters take out is no load; it does not put cameras of one rate into
// classes that depend on what was measured of each.
func TestFilteredFramesAndClasses(t *testing.T) {
	in := paper(3)
	in.Passes = 0.5
	for i, rate := range []float64{4.9, 5.1, 5} {
		in.Workflow.Sources[i].FPS, in.Rates[in.Workflow.Sources[i].Name] = 5, rate
	}
	v, err := survey.View(in, resolution)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Classes) != 1 || v.Classes[0].Passes != 0.5 || math.Abs(v.Classes[0].FPS-5) > 1e-9 {
		t.Errorf("%+v", v.Classes)
	}
}

// Where the instances of the best quality are gone, the sources are analysed at
// another until they are back, also if that is less accurate than is asked for.
func TestTheBestQualityIsGone(t *testing.T) {
	in := paper(2)
	in.Workflow.Objectives.MinAccuracy = 0.68
	in.Placements = slices.DeleteFunc(in.Placements, func(p tiering.Placement) bool { return p.Task == "detect@512" })
	in.Costs.Execute["detect@416"] = map[string]time.Duration{"fog-1": 60 * msec}
	v, err := survey.View(in, resolution)
	if err != nil || len(v.Classes[0].Options) != 1 || v.Classes[0].Options[0].Quality.Resolution != 416 {
		t.Errorf("%+v, %v", v.Classes, err)
	}
}

// What was measured of one quality says what another takes, whichever the
// document names first.
func TestEstimateOfAWayThatNothingTakes(t *testing.T) {
	in := paper(3)
	in.Costs.Transfer = map[string]time.Duration{"detect@416": 20 * msec}
	v, err := survey.View(in, resolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range v.Classes[0].Options[0].Path {
		if step.Task == "detect@512" {
			x := step.Transfer[0]
			pixels := 512.0 * 512 / (416 * 416)
			// Of the 20 ms to the fog 4 are propagation; to the cloud it is 9.
			if want := time.Duration(pixels*float64(16*msec)) + 9*msec; !near(x.Service+x.Delay, want) {
				t.Errorf("the way to detect@512 takes %v, want %v", x.Service+x.Delay, want)
			}
		}
	}
}

// Sources that the document has alike are one class, whatever was measured of
// them, and go on to be; what differs is apart.
func TestClasses(t *testing.T) {
	for what, tc := range map[string]struct {
		said, rates []float64
		want        string
	}{
		"alike":       {[]float64{5, 5, 5}, []float64{4.74, 5.26, 5}, "yolov4@512 at 5/s: 3 of 5"},
		"slow":        {[]float64{0.2, 0.2, 0.2}, []float64{0.21, 0.19, 0.2}, "yolov4@512 at 0.2/s: 3 of 0.2"},
		"two kinds":   {[]float64{5, 10, 5}, []float64{5.2, 9.7, 5}, "yolov4@512 at 5/s: 2 of 5.1, yolov4@512 at 10/s: 1 of 9.7"},
		"as they run": {[]float64{0, 0, 0}, []float64{24.9, 25.1, 0.3}, "yolov4@512 at 24.1/s: 2 of 25, yolov4@512 at 0.308/s: 1 of 0.3"},
		"one lags":    {[]float64{10, 10, 10}, []float64{10, 4, 10}, "yolov4@512 at 10/s: 2 of 10, yolov4@512 at 4.11/s: 1 of 4"},
	} {
		in := paper(3)
		for i := range in.Workflow.Sources {
			in.Workflow.Sources[i].FPS = tc.said[i]
			in.Rates[in.Workflow.Sources[i].Name] = tc.rates[i]
		}
		v, err := survey.View(in, resolution)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var got []string
		for _, c := range v.Classes {
			got = append(got, fmt.Sprintf("%s: %d of %.3g", c.Name, len(c.Sources), c.FPS))
		}
		if s := strings.Join(got, ", "); s != tc.want {
			t.Errorf("%s: %s, want %s", what, s, tc.want)
		}
	}
}

// Instances that discovery does not choose serve nobody: those in the fog get
// all frames, and the cloud's stand by.
func TestOnlyInstancesThatAreFound(t *testing.T) {
	in := paper(3)
	more := func(task, node string, tier tiering.Tier) {
		in.Placements = append(in.Placements, tiering.Placement{ID: task + " on " + node, Workflow: "objects", Task: task, Node: node, Tier: tier})
	}
	more("detect@416", "fog-2", tiering.Fog)
	more("detect@416", "cloud-1", tiering.Cloud)
	more("draw", "fog-1", tiering.Fog)
	more("draw", "fog-3", tiering.Fog) // no detector is there
	in.Costs.Execute["detect@416"] = map[string]time.Duration{"fog-1": 60 * msec, "fog-2": 60 * msec, "cloud-1": msec}
	v, err := survey.View(in, resolution)
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]int{}
	for _, s := range v.Stations {
		servers[s.Name] = s.Servers
	}
	if servers["detect@416"] != 2 || servers["detect@512"] != 1 || servers["draw on fog-1, fog-3"] != 2 || servers["draw on cloud-1"] != 1 {
		t.Errorf("servers %v, want 2 of detect@416, for the cloud is farther than the fog, and 2 of draw near them: fog-2's has two as near", servers)
	}
	for _, o := range v.Classes[0].Options {
		for _, s := range o.Path {
			if s.Task == "detect@416" && !near(s.Execution.Service, 60*msec) {
				t.Errorf("detect@416 takes %v, want what it takes in the fog", s.Execution.Service)
			}
		}
	}
}

// Frames that full queues drop are priced by the workflow's own deadline.
func TestParamsHaveTheDeadline(t *testing.T) {
	w := paper(1).Workflow
	w.Objectives.Deadline = 3 * time.Second
	if p, err := survey.Params(w); err != nil || p.Deadline != 3*time.Second {
		t.Errorf("%v, %v", p.Deadline, err)
	}
}
