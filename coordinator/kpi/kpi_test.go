package kpi

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

const gib = 1 << 30

// mesh is a state machine with nodes and the workflow "people".
type mesh struct {
	*state.Machine
	fail  func(args ...any)
	index uint64
}

func newMesh(fail func(args ...any)) *mesh {
	m := &mesh{Machine: state.New(), fail: fail}
	for _, n := range []tiering.Node{
		{ID: "edge-1", Tier: tiering.Edge, Capacity: tiering.Resources{CPU: 1000, Memory: gib}},
		{ID: "fog-1", Tier: tiering.Fog, Capacity: tiering.Resources{CPU: 4000, Memory: 4 * gib}, Models: []string{"yolo"}},
		{ID: "fog-2", Tier: tiering.Fog, Capacity: tiering.Resources{CPU: 4000, Memory: 4 * gib}, Models: []string{"yolo"}},
	} {
		m.do(&state.RegisterNode{Node: n})
	}
	w := &tiering.Workflow{
		Name: "people",
		Sources: []tiering.Source{
			{Name: "cam", Node: "edge-1", URI: "videotest:", Resolution: 416},
			{Name: "gate", Node: "edge-9", URI: "videotest:", Resolution: 416},
		},
		Tasks: []tiering.Task{{
			Name: "detect@416", Group: "detect", Type: tiering.DeepModel, Operation: "detect",
			Model: &tiering.Model{Name: "yolo", Family: "yolo", Resolution: 416}, Request: tiering.Resources{CPU: 1000, Memory: gib}, Replicas: 2,
		}},
		Links: []tiering.Link{{From: "cam", To: "detect", Transport: tiering.QUIC}},
	}
	plan, err := tiering.Schedule(m.Snapshot().View(nil), w, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		fail(err)
	}
	m.do(&state.SubmitWorkflow{Workflow: w, Plan: plan})
	return m
}

func (m *mesh) do(cmd state.Command) {
	entry, err := state.Encode(cmd)
	if err != nil {
		m.fail(err)
	}
	m.index++
	r, err := m.Apply(m.index, entry)
	if err != nil || r.Err != nil {
		m.fail(err, r.Err)
	}
}

func (m *mesh) set(node string, s tiering.NodeStatus) {
	m.do(&state.SetNodeStatus{Node: node, Status: s})
}

func (m *mesh) status(r *Reports) Workflow {
	snap := m.Snapshot()
	w, ok := snap.Workflow("people")
	if !ok {
		m.fail("no workflow")
	}
	return r.Status(w, snap)
}

func hist(d time.Duration, n int) *pipeline.Histogram {
	h := pipeline.NewHistogram()
	for range n {
		h.Record(d)
	}
	return h
}

func camera(epoch uint32, captured, delivered uint64) pipeline.SourceReport {
	return pipeline.SourceReport{
		Instance: "people/cam#0", Epoch: epoch, Workflow: "people", Source: "cam", Status: pipeline.StatusRunning,
		Frames:  pipeline.Counts{Captured: captured, Delivered: delivered, InFlight: captured - delivered},
		Latency: hist(20*time.Millisecond, int(delivered)),
	}
}

// withoutLatency spares a test the merging of histograms.
func withoutLatency(r pipeline.SourceReport) pipeline.SourceReport {
	r.Latency = nil
	return r
}

func report(node, run string, sources ...pipeline.SourceReport) *pipeline.Report {
	return &pipeline.Report{Node: node, Run: run, Sources: sources}
}

func (m *mesh) add(r *Reports, rep *pipeline.Report) {
	if err := r.Add(rep, m.Snapshot()); err != nil {
		m.fail(err)
	}
}

func TestFramesOverRestartsAndFailures(t *testing.T) {
	m, r := newMesh(t.Fatal), New()
	check := func(what string, captured, delivered, inFlight, lost uint64) {
		t.Helper()
		f := m.status(r).Frames
		if f.Captured != captured || f.Delivered != delivered || f.InFlight != inFlight || f.Dropped[pipeline.ReasonLost] != lost || !f.Balanced() {
			t.Fatalf("%s: %+v; want captured %d, delivered %d, in flight %d, lost %d", what, f, captured, delivered, inFlight, lost)
		}
	}
	check("before any report", 0, 0, 0, 0)
	m.add(r, report("edge-1", "a", camera(1, 10, 8)))
	m.add(r, report("edge-1", "a", camera(1, 20, 17)))
	check("running", 20, 17, 3, 0)
	m.add(r, report("edge-1", "a", camera(1, 15, 14)))
	check("a report that was overtaken", 20, 17, 3, 0)

	m.set("edge-1", tiering.NodeFailed)
	check("node failed", 20, 17, 0, 3)
	m.set("edge-1", tiering.NodeAlive)
	check("node was only cut off", 20, 17, 3, 0)

	m.add(r, report("edge-1", "a", camera(1, 22, 22), camera(2, 5, 4)))
	check("source restarted, its last report", 27, 26, 1, 0)
	m.add(r, report("edge-1", "a", camera(2, 9, 8)))
	check("source restarted", 31, 30, 1, 0)
	m.add(r, report("edge-1", "a"))
	check("source stopped without a last word", 31, 30, 0, 1)
	m.add(r, report("edge-1", "a", camera(2, 12, 12)))
	check("it had been overtaken", 34, 34, 0, 0)

	m.add(r, report("edge-1", "b", camera(3, 4, 1)))
	check("agent restarted", 38, 35, 3, 0)
	for epoch := range uint32(3 * endedKept) {
		m.add(r, report("edge-1", "b", camera(10+epoch, 2, 1)))
	}
	check("many restarts", 38+6*endedKept, 35+3*endedKept, 1, 3+3*endedKept-1)

	m.set("edge-1", tiering.NodeFailed)
	m.do(&state.ForgetNode{Node: "edge-1"})
	r.Prune(m.Snapshot())
	check("node forgotten", 38+6*endedKept, 35+3*endedKept, 0, 3+3*endedKept)
	if len(r.nodes) != 0 {
		t.Fatal("a forgotten node is kept")
	}
	r.Clear()
	check("new term", 0, 0, 0, 0)
}

func TestAWorkflowSubmittedAgainCountsFromNothing(t *testing.T) {
	m, r := newMesh(t.Fatal), New()
	report := func(sources ...pipeline.SourceReport) {
		t.Helper()
		if err := r.Add(&pipeline.Report{Node: "edge-1", Run: "a", Sources: sources}, m.Snapshot()); err != nil {
			t.Fatal(err)
		}
	}
	report(camera(1, 10, 8))
	report(camera(2, 5, 5)) // the first start has ended
	if got := m.status(r).Frames; got.Captured != 15 {
		t.Fatalf("%+v", got)
	}
	r.Forget("other")
	if got := m.status(r).Frames; got.Captured != 15 {
		t.Errorf("forgetting another workflow left %+v", got)
	}
	r.Forget("people")
	if got := m.status(r).Frames; got.Captured != 0 || got.Lost() != 0 {
		t.Errorf("%+v is left", got)
	}
	report(camera(3, 2, 1))
	if got := m.status(r).Frames; got.Captured != 2 || got.Delivered != 1 {
		t.Errorf("%+v, want what came after only", got)
	}
}

func TestStatusOfStages(t *testing.T) {
	m, r := newMesh(t.Fatal), New()
	s := m.status(r)
	if len(s.Stages) != 1 || s.Stages[0].Instances != 2 || s.Stages[0].Status != pipeline.StatusStarting {
		t.Fatalf("before any report: %+v", s.Stages)
	}
	if s.Sources[1].Status != pipeline.StatusRetrying || s.Sources[1].Message == "" || s.Sources[1].Node != "" {
		t.Fatalf("source without a node: %+v", s.Sources[1])
	}
	where := map[string]string{}
	for _, p := range s.Placements {
		where[p.ID] = p.Node
	}
	stage := func(n int, status pipeline.Status, message string) {
		id := fmt.Sprintf("people/detect@416#%d", n)
		rep := &pipeline.Report{Node: where[id], Run: where[id]}
		for i := range 2 { // both may be on one node: report them together
			other := fmt.Sprintf("people/detect@416#%d", i)
			if where[other] != where[id] {
				continue
			}
			x := pipeline.StageReport{
				Instance: other, Epoch: 1, Workflow: "people", Task: "detect@416", Status: pipeline.StatusRunning, Backend: "cpu",
				Received: 10, Processed: 9, Bytes: 1000, Dropped: map[pipeline.Reason]uint64{pipeline.ReasonQueueFull: 1},
				Execute: hist(40*time.Millisecond, 9), Queue: hist(2*time.Millisecond, 9), Transfer: hist(4*time.Millisecond, 9),
				Detections: map[string]uint64{"person": 3}, Judged: &pipeline.Judged{Frames: 4, Right: 3, Wrong: 1, Missed: 1},
				Filters: []pipeline.Filtering{{Source: fmt.Sprint("cam-", i), Threshold: 0.01, Skips: true}},
			}
			if i == n {
				x.Status, x.Message = status, message
			}
			rep.Stages = append(rep.Stages, x)
		}
		m.add(r, rep)
	}
	stage(0, pipeline.StatusRunning, "")
	stage(1, pipeline.StatusRunning, "")
	s = m.status(r)
	d := s.Stages[0]
	if d.Status != pipeline.StatusRunning || d.Backend != "cpu" || d.Received != 20 || d.Processed != 18 || d.Bytes != 2000 || d.Execute.Count() != 18 || d.Dropped[pipeline.ReasonQueueFull] != 2 || s.Detections["person"] != 6 {
		t.Fatalf("running: %+v, %v", d, s.Detections)
	}
	if len(d.Filters) != 2 || d.Filters[0].Source != "cam-0" || d.Filters[1].Source != "cam-1" {
		t.Errorf("filtered by %+v", d.Filters)
	}
	if want := (pipeline.Judged{Frames: 8, Right: 6, Wrong: 2, Missed: 2}); *s.Judged != want || *d.Judged != want || *s.F1 != 0.75 || *d.F1 != 0.75 {
		t.Errorf("judged %+v, F1 %v, of the stage %+v, F1 %v", s.Judged, *s.F1, d.Judged, *d.F1)
	}
	for what, q := range map[string]struct {
		got  Quantiles
		want float64
	}{"execute": {d.ExecuteMS, 40}, "queue": {d.QueueMS, 2}, "transfer": {d.TransferMS, 4}, "reduce": {d.ReduceMS, 0}} {
		if q.got.P50 < q.want*0.98 || q.got.P99 > q.want*1.02 || q.got.P95 != q.got.P99 {
			t.Errorf("%s: %+v, want %v ms", what, q.got, q.want)
		}
	}
	stage(1, pipeline.StatusFailed, "weights cut in half")
	if d := m.status(r).Stages[0]; d.Status != pipeline.StatusFailed || d.Message != "weights cut in half" {
		t.Fatalf("the worst counts: %+v", d)
	}
	m.set(where["people/detect@416#0"], tiering.NodeFailed)
	if d := m.status(r).Stages[0]; severity(d.Status) < severity(pipeline.StatusRetrying) || d.Received != 20 {
		t.Fatalf("on a dead node: %+v", d)
	}
	m.do(&state.StopWorkflow{Name: "people"})
	if d := m.status(r).Stages[0]; d.Status != pipeline.StatusEnded || d.Instances != 0 || d.Received != 20 {
		t.Fatalf("stopped: %+v", d)
	}
}

// A task that waits for a model says why the model does not come.
func TestStatusOfLackingModels(t *testing.T) {
	m, r := newMesh(t.Fatal), New()
	m.set("fog-2", tiering.NodeFailed)
	people, _ := m.Snapshot().Workflow("people")
	w := *people.Spec
	w.Name = "later"
	w.Tasks = slices.Clone(w.Tasks)
	w.Tasks[0].Model = &tiering.Model{Name: "yolo-2", Family: "yolo", Resolution: 416}
	m.do(&state.SubmitWorkflow{Workflow: &w, Plan: &tiering.Plan{
		Workflow: "later", Index: m.Snapshot().Index(), Unplaced: []tiering.Unplaced{{Name: "detect@416", Reason: "waiting for model yolo-2 on fog-1"}},
	}})
	message := func() string {
		s, ok := m.Snapshot().Workflow("later")
		if !ok {
			t.Fatal("no workflow")
		}
		return r.Status(s, m.Snapshot()).Stages[0].Message
	}
	if got := message(); got != "waiting for model yolo-2 on fog-1" {
		t.Errorf("%q", got)
	}
	lacks := func(node, why string) {
		m.add(r, &pipeline.Report{Node: node, Lacking: map[string]string{"yolo-2": why, "other": "x"}})
	}
	lacks("fog-1", "the disk is full"+strings.Repeat("!", 1000))
	lacks("fog-2", "it is gone itself")
	if got, want := message(), "waiting for model yolo-2 on fog-1; fog-1: the disk is full"+strings.Repeat("!", maxWhy-16); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	m.add(r, report("fog-1", "a"))
	if got := message(); got != "waiting for model yolo-2 on fog-1" {
		t.Errorf("it has come: %q", got)
	}
	// With instances on a node that is gone.
	gone := *people
	gone.Unplaced = []tiering.Unplaced{{Name: "detect@416", Reason: "waiting for model yolo on fog-1"}}
	m.add(r, &pipeline.Report{Node: "fog-1", Lacking: map[string]string{"yolo": "the disk is full"}})
	if got, want := r.Status(&gone, m.Snapshot()).Stages[0].Message, "node fog-2 is gone; waiting for model yolo on fog-1; fog-1: the disk is full"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	many := map[string]string{}
	for i := range maxLacking + 1 {
		many[fmt.Sprint(i)] = "x"
	}
	if err := r.Add(&pipeline.Report{Node: "fog-1", Lacking: many}, m.Snapshot()); !errors.Is(err, ErrReport) {
		t.Errorf("too many models: %v", err)
	}
}

func TestReportsThatAreNotTaken(t *testing.T) {
	m, r := newMesh(t.Fatal), New()
	if err := r.Add(report("edge-7", "a"), m.Snapshot()); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("unknown node: %v", err)
	}
	if err := r.Add(report("edge-1", "a", make([]pipeline.SourceReport, maxInstances+1)...), m.Snapshot()); !errors.Is(err, ErrReport) {
		t.Errorf("too many instances: %v", err)
	}
	foreign := camera(1, 5, 5)
	foreign.Workflow = "cars"
	m.add(r, report("edge-1", "a", foreign))
	if n := r.nodes["edge-1"]; len(n.running) != 0 {
		t.Error("an instance of an unknown workflow is kept")
	}
	// Nothing but a name: no histograms, no counts.
	m.add(r, &pipeline.Report{
		Node: "fog-1", Sources: []pipeline.SourceReport{{Workflow: "people"}}, Stages: []pipeline.StageReport{{Workflow: "people", Task: "detect@416"}},
	})
	m.status(r)
}

func TestStatusAsJSON(t *testing.T) {
	m, r := newMesh(t.Fatal), New()
	m.add(r, report("edge-1", "a", camera(1, 10, 10)))
	b, err := json.Marshal(m.status(r))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Frames struct {
			Captured uint64            `json:"captured"`
			InFlight *uint64           `json:"in_flight"`
			Dropped  map[string]uint64 `json:"dropped"`
		} `json:"frames"`
		Latency map[string]float64 `json:"latency_ms"`
		Sources []struct {
			Source string `json:"source"`
		} `json:"sources"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Frames.Captured != 10 || got.Frames.InFlight == nil || got.Frames.Dropped == nil || got.Latency["p95"] < 19 || len(got.Sources) != 2 {
		t.Fatalf("%s", b)
	}
	var back Workflow
	if err := json.Unmarshal(b, &back); err != nil || back.Latency.Count() != 10 {
		t.Fatalf("back: %+v, %v", back, err)
	}
}

// Whatever order sources start, report, stop and fail in, the sums are those
// of the newest report of every start, and they balance.
func TestSumsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, r := newMesh(t.Fatal), New()
		type start struct {
			node, run string
			rep       pipeline.SourceReport
			running   bool
		}
		var starts []*start
		runs := map[string]int{}
		send := func(node string) {
			rep := report(node, fmt.Sprint(node, runs[node]))
			for _, s := range starts {
				if s.node == node && s.running {
					rep.Sources = append(rep.Sources, s.rep)
				}
			}
			m.add(r, rep)
		}
		nodes := rapid.SampledFrom([]string{"edge-1", "fog-1"})
		t.Repeat(map[string]func(*rapid.T){
			"start": func(t *rapid.T) {
				node := nodes.Draw(t, "node")
				starts = append(starts, &start{node, fmt.Sprint(node, runs[node]), withoutLatency(camera(uint32(len(starts)), 0, 0)), true})
				send(node)
			},
			"progress": func(t *rapid.T) {
				node := nodes.Draw(t, "node")
				for _, s := range starts {
					if s.node == node && s.running {
						f := &s.rep.Frames
						f.Captured += rapid.Uint64Range(0, 9).Draw(t, "captured")
						f.Delivered = rapid.Uint64Range(f.Delivered, f.Captured-f.Filtered).Draw(t, "delivered")
						f.Filtered = rapid.Uint64Range(f.Filtered, f.Filtered+f.Captured-f.Delivered-f.Filtered).Draw(t, "filtered")
						f.InFlight = f.Captured - f.Delivered - f.Filtered
					}
				}
				send(node)
			},
			"stop": func(t *rapid.T) {
				node := nodes.Draw(t, "node")
				if i := slices.IndexFunc(starts, func(s *start) bool { return s.node == node && s.running }); i >= 0 {
					starts[i].running = false
					send(node)
				}
			},
			"restart agent": func(t *rapid.T) {
				node := nodes.Draw(t, "node")
				runs[node]++
				for _, s := range starts {
					if s.node == node {
						s.running = false
					}
				}
				send(node)
			},
			"fail or return": func(t *rapid.T) {
				node := nodes.Draw(t, "node")
				if n, _ := m.Snapshot().Node(node); n.Alive() {
					m.set(node, tiering.NodeFailed)
				} else {
					m.set(node, tiering.NodeAlive)
				}
			},
			"": func(t *rapid.T) {
				var want pipeline.Counts
				var lost uint64
				for _, s := range starts {
					want.Captured += s.rep.Frames.Captured
					want.Delivered += s.rep.Frames.Delivered
					want.Filtered += s.rep.Frames.Filtered
					if n, _ := m.Snapshot().Node(s.node); s.running && n.Alive() {
						want.InFlight += s.rep.Frames.InFlight
					} else {
						lost += s.rep.Frames.InFlight
					}
				}
				got := m.status(r).Frames
				if got.Captured != want.Captured || got.Delivered != want.Delivered || got.Filtered != want.Filtered || got.InFlight != want.InFlight || got.Dropped[pipeline.ReasonLost] != lost || !got.Balanced() {
					t.Fatalf("got %+v, want %+v and %d lost", got, want, lost)
				}
			},
		})
	})
}

// While an instance moves two nodes report one placement: each counts for
// itself, and what is said of the workflow is said of the one that serves.
func TestReportsOfAMove(t *testing.T) {
	m := newMesh(t.Fatal)
	r := New()
	var p, other tiering.Placement // the other replica is where it moves to
	for _, x := range m.Snapshot().Placements() {
		switch x.ID {
		case "people/detect@416#0":
			p = x
		case "people/detect@416#1":
			other = x
		}
	}
	from, to := p.Node, other.Node
	stage := func(epoch uint32, s pipeline.Status, received uint64) pipeline.StageReport {
		return pipeline.StageReport{
			Instance: p.ID, Epoch: epoch, Workflow: "people", Task: p.Task, Status: s, Received: received, Processed: received,
			Detections: map[string]uint64{"person": received}, Message: map[bool]string{true: "no such file"}[s == pipeline.StatusRetrying],
		}
	}
	say := func(node string, index uint64, stages ...pipeline.StageReport) {
		if node == to {
			stages = append(stages, pipeline.StageReport{Instance: other.ID, Epoch: 9, Workflow: "people", Task: p.Task, Status: pipeline.StatusRunning})
		}
		m.add(r, &pipeline.Report{Node: node, Run: "run of " + node, Index: index, Stages: stages})
	}
	expect := func(step string, received uint64, status pipeline.Status, message string) {
		t.Helper()
		s := m.status(r)
		if got := s.Stages[0]; got.Received != received || s.Detections["person"] != received || got.Message != message || message != "" && got.Status != status {
			t.Errorf("%s: received %d, found %d, %s (%s); want %d, %s (%s)", step, got.Received, s.Detections["person"], got.Status, got.Message, received, status, message)
		}
	}
	say(from, 3, stage(1, pipeline.StatusRunning, 10))
	say(to, 3)
	say(from, m.Snapshot().Revision()+1, stage(1, pipeline.StatusRunning, 10))
	if r.Up(p.ID, from, 3) || r.Follows(from, 1) {
		t.Error("who follows the log of an earlier mesh is taken to follow this one")
	}
	say(from, 3, stage(1, pipeline.StatusRunning, 10))
	if !r.Up(p.ID, from, 3) || r.Up(p.ID, from, 4) || r.Up(p.ID, to, 3) || r.Up(p.ID, "fog-9", 0) || !r.Follows(from, 3) || r.Follows(from, 4) || r.Follows("fog-9", 0) {
		t.Error("what is up, and who follows, is not what was reported")
	}
	m.do(&state.SetNodeDrain{Node: from, Drain: true})
	next := p
	next.Node, next.From = to, from
	m.do(&state.CommitPlan{Version: 1, Plan: &tiering.Plan{Workflow: "people", Place: []tiering.Placement{next}, Unplaced: []tiering.Unplaced{{Name: "gate", Reason: "r"}}}})
	expect("before the new instance says anything", 10, pipeline.StatusRunning, "moving to "+to+", where it is starting")
	say(to, 5, stage(2, pipeline.StatusRetrying, 0))
	expect("it cannot start", 10, pipeline.StatusRunning, "moving to "+to+", where it is retrying: no such file")
	if r.Up(p.ID, to, 5) {
		t.Error("what tries again is up")
	}
	say(to, 5, stage(2, pipeline.StatusRunning, 0))
	say(from, 5, stage(1, pipeline.StatusRunning, 14))
	if !r.Up(p.ID, to, 5) || !r.Follows(to, 5) {
		t.Error("the new instance is not up")
	}
	m.do(&state.SwitchMove{Placement: p.ID, Node: to})
	say(to, 6, stage(2, pipeline.StatusRunning, 5))
	expect("frames go to both", 19, pipeline.StatusRunning, "")
	m.do(&state.FinishMove{Placement: p.ID, Node: to})
	say(from, 7, stage(1, pipeline.StatusEnded, 15))
	say(to, 7, stage(2, pipeline.StatusRunning, 9))
	expect("the old one has ended", 24, pipeline.StatusRunning, "")
	say(from, 7)
	expect("and is reported no more", 24, pipeline.StatusRunning, "")
	if r.Up(p.ID, from, 0) {
		t.Error("what has ended is up")
	}
}
