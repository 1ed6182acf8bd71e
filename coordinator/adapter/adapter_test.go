package adapter

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

const (
	gib    = 1 << 30
	period = 10 * time.Second
)

// world is a mesh without processes: a state machine, and agents whose reports
// say that every frame took what the work of its quality takes.
type world struct {
	*state.Machine
	t       *testing.T
	index   uint64
	now     time.Time
	fps     float64
	passes  float64               // share of frames that a filter lets pass
	work    map[int]time.Duration // by resolution
	reports *kpi.Reports
	leader  *Leader
	commits []*state.AdaptSources
	sources map[string]*pipeline.SourceReport
	stages  map[string]*pipeline.StageReport
	silent  bool            // agents do not report
	failing map[string]bool // sources that do
	late    map[string]bool // sources that have not begun yet
}

func newWorld(t *testing.T, sources int) *world {
	w := &world{
		Machine: state.New(), t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), fps: 2, passes: 1,
		work:    map[int]time.Duration{416: 80 * time.Millisecond, 512: 150 * time.Millisecond},
		reports: kpi.New(), sources: map[string]*pipeline.SourceReport{}, stages: map[string]*pipeline.StageReport{},
	}
	w.elect()
	for _, n := range []struct {
		id    string
		tier  tiering.Tier
		cores int64
	}{{"edge-1", tiering.Edge, 4}, {"fog-1", tiering.Fog, 4}, {"cloud-1", tiering.Cloud, 4}} {
		w.do(&state.RegisterNode{At: w.now, Node: tiering.Node{
			ID: n.id, Tier: n.tier, Capacity: tiering.Resources{CPU: n.cores * 1000, Memory: 16 * gib, Disk: gib},
			Platforms: []tiering.Platform{{Type: "cpu", Count: int(n.cores)}}, Models: []string{"street"},
		}})
	}
	w.submit(streets(sources))
	return w
}

// elect begins a new term.
func (w *world) elect() {
	w.reports.Clear()
	w.leader = New(w, w.reports, nil, slog.New(slog.NewTextHandler(w.t.Output(), nil)))
}

func streets(sources int) *tiering.Workflow {
	measured := []tiering.Accuracy{{Resolution: 320, F1: 0.70}, {Resolution: 416, F1: 0.80}, {Resolution: 512, F1: 0.86}}
	detect := func(r int) tiering.Task {
		return tiering.Task{
			Name: fmt.Sprintf("detect@%d", r), Group: "detect", Type: tiering.DeepModel, Operation: "detect", Replicas: 1,
			Model:   &tiering.Model{Name: "street", Family: "street", Resolution: r, Fit: tiering.Stretch, Measured: measured},
			Request: tiering.Resources{CPU: 1000, Memory: gib},
		}
	}
	w := &tiering.Workflow{
		Name: "streets", Tasks: []tiering.Task{detect(416), detect(512)},
		Objectives: tiering.Objectives{MinAccuracy: 0.5, Deadline: time.Second},
	}
	for i := range sources {
		name := fmt.Sprintf("cam-%02d", i+1)
		w.Sources = append(w.Sources, tiering.Source{Name: name, URI: "street:", Node: "edge-1", Resolution: 512})
		w.Links = append(w.Links, tiering.Link{From: name, To: "detect", Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90})
	}
	return w
}

func (w *world) do(cmd state.Command) {
	w.t.Helper()
	if _, err := w.Apply(cmd); err != nil {
		w.t.Fatal(err)
	}
}

// Apply implements State.
func (w *world) Apply(cmd state.Command) (state.Result, error) {
	entry, err := state.Encode(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	w.index++
	r, err := w.Machine.Apply(w.index, entry)
	if err != nil {
		w.t.Fatal(err)
	}
	if c, ok := cmd.(*state.AdaptSources); ok && r.Err == nil {
		w.commits = append(w.commits, c)
	}
	return r, r.Err
}

func (w *world) submit(spec *tiering.Workflow) {
	w.t.Helper()
	plan, err := planner.Schedule(w.Snapshot().View(nil), spec)
	if err != nil {
		w.t.Fatal(err)
	}
	w.do(&state.SubmitWorkflow{Workflow: spec, Plan: plan, At: w.now})
}

// pass lets frames flow for a while, second by second, and the leader decide.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Second)
		if !w.silent {
			w.frames()
		}
		if err := w.leader.Adapt(w.t.Context(), w.now); err != nil {
			w.t.Fatal(err)
		}
	}
}

// frames is what agents report of one second.
func (w *world) frames() {
	snap := w.Snapshot()
	byNode := map[string]*pipeline.Report{}
	of := func(node string) *pipeline.Report {
		if byNode[node] == nil {
			byNode[node] = &pipeline.Report{Node: node, Run: "1"}
		}
		return byNode[node]
	}
	for _, n := range []string{"edge-1", "fog-1", "cloud-1"} {
		for _, a := range snap.Assignments(n) {
			id := a.Placement.ID
			if a.Task != nil {
				s := w.stages[id]
				if s == nil {
					s = &pipeline.StageReport{
						Instance: id, Workflow: "streets", Task: a.Task.Name, Status: pipeline.StatusRunning,
						Execute: pipeline.NewHistogram(), Queue: pipeline.NewHistogram(), Transfer: pipeline.NewHistogram(),
					}
					w.stages[id] = s
				}
				of(n).Stages = append(of(n).Stages, *s)
				continue
			}
			s := w.sources[id]
			if s == nil {
				s = &pipeline.SourceReport{Instance: id, Workflow: "streets", Source: a.Source.Name, Capture: pipeline.NewHistogram(), Latency: pipeline.NewHistogram()}
				w.sources[id] = s
			}
			q := tiering.Quality{Resolution: a.Source.Resolution, Every: 1}
			if a.Quality != nil {
				q = *a.Quality
			}
			s.Quality, s.Status, s.Message = &q, pipeline.StatusRunning, ""
			if w.late[a.Source.Name] {
				s.Status = pipeline.StatusStarting
			} else if w.failing[a.Source.Name] {
				s.Status = pipeline.StatusRetrying
			} else if a.Held != "" {
				s.Status, s.Message = pipeline.StatusHeld, a.Held
			} else {
				w.flow(s, q)
			}
			of(n).Sources = append(of(n).Sources, *s)
		}
	}
	for _, r := range byNode {
		for i := range r.Sources {
			s := &r.Sources[i]
			s.Capture, s.Latency = s.Capture.Clone(), s.Latency.Clone()
		}
		for i := range r.Stages {
			s := &r.Stages[i]
			s.Execute, s.Queue, s.Transfer = s.Execute.Clone(), s.Queue.Clone(), s.Transfer.Clone()
		}
		if err := w.reports.Add(r, snap); err != nil {
			w.t.Fatal(err)
		}
	}
}

// flow has a source's frames of one second pass.
func (w *world) flow(s *pipeline.SourceReport, q tiering.Quality) {
	stage := w.stages[fmt.Sprintf("streets/detect@%d#0", q.Resolution)]
	for i := range int(w.fps) {
		s.Frames.Captured++
		if float64(i) >= w.passes*w.fps {
			s.Frames.Filtered++
			continue
		}
		s.Frames.Delivered++
		s.Capture.Record(2 * time.Millisecond)
		s.Latency.Record(w.work[q.Resolution] + 25*time.Millisecond)
		if stage != nil {
			stage.Execute.Record(w.work[q.Resolution])
			stage.Queue.Record(3 * time.Millisecond)
			stage.Transfer.Record(20 * time.Millisecond)
		}
	}
}

// now is the status of the adaptation.
func (w *world) status() Status { return w.leader.Status()["streets"] }

// loseBest has the node of detect@512 fail, and the two sources go to the detector
// that is left.
func (w *world) loseBest() (node string) {
	w.t.Helper()
	at := w.Snapshot().PlacementsOf("streets")
	i := slices.IndexFunc(at, func(p tiering.Placement) bool { return p.Task == "detect@512" })
	w.do(&state.SetNodeStatus{Node: at[i].Node, Status: tiering.NodeFailed, At: w.now})
	w.pass(time.Second)
	if n := w.reduced(); n != 2 {
		w.t.Errorf("%d of 2 sources are analysed by the detector that is left: %+v", n, w.status())
	}
	return at[i].Node
}

func (w *world) reduced() (n int) {
	a, ok := w.Snapshot().Adaptation("streets")
	if !ok {
		w.t.Fatalf("nothing was decided: %+v", w.status())
	}
	for _, q := range a.Qualities {
		if q.Resolution < 512 {
			n++
		}
	}
	return n
}

// One source that the mesh serves easily keeps what its document says, and the
// log is left alone.
func TestASingleSourceIsLeftAlone(t *testing.T) {
	w := newWorld(t, 1)
	w.silent = true
	w.pass(3 * time.Second)
	if s := w.status(); !strings.Contains(s.Idle, "no source runs") {
		t.Errorf("before any report: %+v", s)
	}
	w.silent = false
	w.pass(2 * time.Minute)
	if len(w.commits) != 1 || w.reduced() != 0 {
		t.Fatalf("%d commits, %d reduced", len(w.commits), w.reduced())
	}
	s := w.status()
	if s.Idle != "" || len(s.Sources) != 1 || s.Sources[0].Quality.Resolution != 512 || math.Abs(s.Sources[0].Measured-175) > 3 {
		t.Errorf("%+v", s)
	}
	if s.Predictions < 5 || s.Error > 0.2 {
		t.Errorf("predictions are off by %.2f in %d", s.Error, s.Predictions)
	}
}

// More than the detector at 512 can serve: some are reduced, and take turns.
func TestSourcesTakeTurns(t *testing.T) {
	w := newWorld(t, 5)
	w.pass(20 * period) // what is a little better takes its time
	first := w.reduced()
	if first == 0 || first == 5 {
		t.Fatalf("%d of 5 are reduced: %+v", first, w.status().Decision)
	}
	seen := map[string]bool{}
	before := len(w.commits)
	for range 10 {
		w.pass(period)
		if n := w.reduced(); n != first {
			t.Errorf("%d are reduced, %d were", n, first)
		}
		a, _ := w.Snapshot().Adaptation("streets")
		for name, q := range a.Qualities {
			if q.Resolution < 512 {
				seen[name] = true
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("only %v were ever reduced", seen)
	}
	if n := len(w.commits) - before; n != 10 {
		t.Errorf("%d commits in 10 periods", n)
	}
}

// Work that becomes slower, and fast again: the distribution follows both ways,
// each within a few periods.
func TestItFollowsTheLoad(t *testing.T) {
	w := newWorld(t, 2)
	w.pass(30 * time.Second)
	if n := w.reduced(); n != 0 {
		t.Fatalf("%d are reduced at first", n)
	}
	fast := w.work
	w.work = map[int]time.Duration{416: 90 * time.Millisecond, 512: 280 * time.Millisecond}
	w.pass(4 * period)
	if n := w.reduced(); n == 0 {
		t.Errorf("none is reduced: %+v", w.status().Decision.Alternatives)
	}
	w.work = fast
	w.pass(6 * period)
	if n := w.reduced(); n != 0 {
		t.Errorf("%d are still reduced: %s", n, w.status().Decision.Why)
	}
}

// What a filter takes out is no load: cameras that would have to be reduced are
// not, and are again when more is to be seen.
func TestFilteredFramesAreNoLoad(t *testing.T) {
	w := newWorld(t, 2)
	w.fps = 10
	w.work = map[int]time.Duration{416: 30 * time.Millisecond, 512: 150 * time.Millisecond}
	w.pass(4 * period)
	if n := w.reduced(); n == 0 {
		t.Fatalf("none is reduced without a filter: %s", w.status().Decision.Why)
	}
	w.passes = 0.1
	w.pass(10 * period)
	if n := w.reduced(); n != 0 {
		t.Errorf("%d are reduced though a tenth of the frames passes: %s", n, w.status().Decision.Why)
	}
	w.passes = 1
	w.pass(10 * period)
	if n := w.reduced(); n == 0 {
		t.Errorf("none is reduced when all frames pass again: %s", w.status().Decision.Why)
	}
}

// Too many for the accuracy asked for: the newest are held, with the numbers;
// the others go on, and those held join by themselves when there is room.
func TestSourcesAreHeldAndAdmitted(t *testing.T) {
	w := newWorld(t, 3)
	spec := streets(3)
	spec.Objectives.MinAccuracy = 0.85
	w.submit(spec)
	w.pass(30 * time.Second)
	a, _ := w.Snapshot().Adaptation("streets")
	if len(a.Held) != 0 {
		t.Fatalf("held at first: %v", a.Held)
	}
	more := streets(5)
	more.Objectives.MinAccuracy = 0.85
	w.submit(more)
	w.pass(2 * period) // their rates have to be measured
	a, _ = w.Snapshot().Adaptation("streets")
	for i := range 3 {
		name := fmt.Sprintf("cam-%02d", i+1)
		if a.Held[name] != "" {
			t.Errorf("%s ran before and is held: %s", name, a.Held[name])
		}
	}
	if len(a.Held) == 0 {
		t.Fatalf("none is held: %+v", w.status().Decision)
	}
	for name, why := range a.Held {
		if !strings.Contains(why, "0.8500 is asked for") && !strings.Contains(why, "can be served") {
			t.Errorf("%s is held: %s", name, why)
		}
	}
	if s := w.status(); len(s.Sources) != 5 {
		t.Errorf("%d sources in the status", len(s.Sources))
	}
	w.work = map[int]time.Duration{416: 10 * time.Millisecond, 512: 20 * time.Millisecond}
	w.pass(6 * period)
	if a, _ = w.Snapshot().Adaptation("streets"); len(a.Held) != 0 {
		t.Errorf("still held: %v", a.Held)
	}
}

// Where the node of one detector is gone, the others take its frames at once,
// until it is back.
func TestADetectorIsLost(t *testing.T) {
	w := newWorld(t, 2)
	w.pass(3 * period)
	if n := w.reduced(); n != 0 {
		t.Fatalf("%d sources are reduced, and nothing is full: this test shows nothing", n)
	}
	node := w.loseBest()
	w.do(&state.SetNodeStatus{Node: node, Status: tiering.NodeAlive, At: w.now})
	w.pass(4 * period)
	if n := w.reduced(); n != 0 {
		t.Errorf("%d sources are reduced, and the other is back: %+v", n, w.status())
	}
}

// A new leader goes on where the last one was.
func TestAnElectionChangesNothing(t *testing.T) {
	w := newWorld(t, 5)
	w.pass(3 * period)
	before, _ := w.Snapshot().Adaptation("streets")
	turn, admitted := w.status().Decision.State.Turn, len(w.status().Decision.State.Admitted)
	w.elect()
	w.pass(2 * time.Second)
	s := w.status()
	if s.Decision == nil || s.Decision.State.Turn < turn || len(s.Decision.State.Admitted) != admitted {
		t.Fatalf("it begins anew: %+v", s)
	}
	after, _ := w.Snapshot().Adaptation("streets")
	same := 0
	for name, q := range before.Qualities {
		if after.Qualities[name] == q {
			same++
		}
	}
	if same < 3 {
		t.Errorf("%d of 5 kept their quality", same)
	}
}

// Where the node of the only detector that is accurate enough is gone, the other
// takes the frames until it is back: less accurate is better than nothing.
func TestTheAccurateDetectorIsLost(t *testing.T) {
	w := newWorld(t, 2)
	spec := streets(2)
	spec.Objectives.MinAccuracy = 0.85
	w.submit(spec)
	w.pass(3 * period)
	w.loseBest()
}

// A source that comes is decided about when it begins to run, however long that
// takes and whatever is left of the period.
func TestASourceThatComesIsDecidedAboutAtOnce(t *testing.T) {
	for _, takes := range []time.Duration{time.Second, 3 * time.Second, 25 * time.Second} {
		w := newWorld(t, 1)
		w.submit(said(streets(1), 2))
		w.pass(3*period + time.Second)
		w.late = map[string]bool{"cam-02": true}
		w.submit(said(streets(2), 2))
		w.pass(takes)
		if n := len(w.status().Sources); n != 1 {
			t.Errorf("%d sources are decided about before the second runs", n)
		}
		w.late = nil
		w.pass(2 * time.Second)
		if n := len(w.status().Sources); n != 2 {
			t.Errorf("%d sources are decided about 2 s after the second runs", n)
		}
	}
}

// said is the document with a rate for each source.
func said(w *tiering.Workflow, fps float64) *tiering.Workflow {
	for i := range w.Sources {
		w.Sources[i].FPS = fps
	}
	return w
}

// A camera that stutters keeps its place, also where another waits for one; one
// that is gone does not.
func TestACameraThatStutters(t *testing.T) {
	w := newWorld(t, 3)
	spec := said(streets(3), 2)
	spec.Objectives.MinAccuracy = 0.85
	w.submit(spec)
	w.pass(3 * period)
	more := said(streets(6), 2)
	more.Objectives.MinAccuracy = 0.85
	w.submit(more)
	w.pass(3 * period)
	admitted := func(source string) bool {
		d := w.status().Decision
		return d != nil && slices.Contains(d.State.Admitted, source)
	}
	if a, _ := w.Snapshot().Adaptation("streets"); len(a.Held) == 0 || !admitted("cam-01") {
		t.Fatalf("nobody waits for a place: %+v", a)
	}
	w.failing = map[string]bool{"cam-01": true}
	w.pass(period)
	w.failing = nil
	w.pass(2 * time.Second)
	if !admitted("cam-01") {
		t.Error("it has lost its place within a period")
	}
	w.failing = map[string]bool{"cam-01": true}
	w.pass(4 * period)
	if admitted("cam-01") {
		t.Error("it keeps its place for as long as it is gone")
	}
}

// A document that is submitted anew does not undo what was decided since a change
// was committed last.
func TestANewVersionForgetsNothing(t *testing.T) {
	w := newWorld(t, 1)
	w.pass(10 * period)
	before := w.status().Decision.State
	if len(w.commits) != 1 {
		t.Fatalf("%d commits: this test shows nothing", len(w.commits))
	}
	w.submit(streets(1))
	w.pass(time.Second)
	if now := w.status().Decision.State; now.Turn < before.Turn || now.At.Before(before.At) {
		t.Errorf("before %+v, now %+v", before, now)
	}
}

// What is not analysed is not owed: here agents are cut off for an hour, and come
// back.
func TestAnOutageIsNotOwed(t *testing.T) {
	w := newWorld(t, 2)
	spec := streets(2)
	spec.Objectives.MinAccuracy = 0.85
	spec.Adapting = &tiering.Adapting{Rule: tiering.AdaptUtility, Theta: 0.2, Period: period, Knobs: []tiering.Knob{tiering.KnobResolution}}
	w.submit(spec)
	w.pass(3 * period)
	at := w.Snapshot().PlacementsOf("streets")
	i := slices.IndexFunc(at, func(p tiering.Placement) bool { return p.Task == "detect@512" })
	w.do(&state.SetNodeStatus{Node: at[i].Node, Status: tiering.NodeFailed, At: w.now})
	w.pass(2 * period)
	owed := w.status().Decision.Debt
	if owed <= 0 {
		t.Fatalf("nothing is owed for analysis below what is asked for: %+v", w.status())
	}
	w.silent = true
	w.pass(time.Hour)
	w.silent = false
	w.pass(period)
	if d := w.status().Decision.Debt; d > 2*owed+0.2 {
		t.Errorf("%.3f was owed before an hour without frames, %.3f after it", owed, d)
	}
}

// Adaptation that a new version of the document switches off gives every source
// back what its document says.
func TestSwitchedOff(t *testing.T) {
	w := newWorld(t, 5)
	w.pass(3 * period)
	if w.reduced() == 0 {
		t.Fatal("nothing is reduced")
	}
	spec := streets(5)
	spec.Adapting = &tiering.Adapting{Rule: tiering.AdaptOff}
	w.submit(spec)
	w.pass(2 * time.Second)
	if a, ok := w.Snapshot().Adaptation("streets"); ok && len(a.Qualities)+len(a.Held) > 0 {
		t.Errorf("%+v is left", a)
	}
	if s := w.status(); !strings.Contains(s.Idle, "its document says so") {
		t.Errorf("%+v", s)
	}
	// There is nothing to remember then, which is no reason to warn the next leader.
	log := &logtest.Book{}
	w.leader = New(w, w.reports, nil, log.Logger())
	w.pass(time.Second)
	if log.String() != "" {
		t.Errorf("%s", log.String())
	}
}
