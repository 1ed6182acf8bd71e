package chaos

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// stage is a round that is told by hand: a small mesh of which a test changes
// what it says, and when.
type stage struct {
	t       *testing.T
	rec     *Record
	nodes   map[string]*NodeSeen
	coord   map[string]*CoordinatorSeen
	state   *State
	flows   map[string]bool // sources whose frames are delivered
	busy    bool            // frames are taken as captured, and worked on
	leader  string
	said    *State // the state that was told last
	changes uint64 // of the state
}

// tick is how often everybody is seen, and a frame of each source delivered.
const tick = 100 * time.Millisecond

func newStage(t *testing.T, faults ...Fault) *stage {
	p := Plant{
		Nodes: []string{"c1", "c2", "c3", "cloud", "edge", "fog"}, Coordinators: []string{"c1", "c2", "c3"},
		Workers: []string{"cloud", "edge", "fog"}, Workflow: "people", Deadline: 2 * time.Second,
		Sources: []Source{{"cam", "edge", 10, ""}},
	}
	s := &stage{
		t: t, rec: &Record{Plant: p, Round: Round{Number: 1, Faults: faults}},
		nodes: map[string]*NodeSeen{}, coord: map[string]*CoordinatorSeen{}, flows: map[string]bool{"cam": true}, busy: true, leader: "c1",
		state: &State{
			Workflows: []Workflow{{Name: "people", Version: 1, Submitted: time.Unix(1e9, 0).UTC(), Status: "running", Instances: 3}},
			Nodes: []Member{
				{"c1", "alive", nil}, {"c2", "alive", nil}, {"c3", "alive", nil}, {"cloud", "alive", nil},
				{"edge", "alive", []string{"cam", "resize"}}, {"fog", "alive", []string{"detect"}},
			},
		},
	}
	for i, n := range p.Nodes {
		s.nodes[n] = &NodeSeen{Name: n, Up: true, PID: 100 + i, Answered: true}
	}
	for _, c := range p.Coordinators {
		s.coord[c] = &CoordinatorSeen{Name: c, Answered: true, Leader: "c1", Index: 10}
	}
	s.nodes["edge"].Instances = []Instance{{"cam", 1, "running"}, {"resize", 2, "running"}}
	s.nodes["edge"].Sources = []Frames{{Source: "cam", Captured: 1051, Delivered: 900, Filtered: 50, Dropped: 100, InFlight: 1}}
	s.nodes["fog"].Instances = []Instance{{"detect", 3, "running"}}
	s.nodes["fog"].Stages = []Work{{"detect", "0", 900}}
	return s
}

func (s *stage) now() time.Duration {
	if n := len(s.rec.Seen); n > 0 {
		return s.rec.Seen[n-1].At
	}
	return 0
}

// pass lets time pass up to a moment, with everybody seen at each tick.
func (s *stage) pass(until time.Duration) {
	if s.said != nil && difference(s.said, s.state) != "" {
		s.changes++ // an entry in the log did it
	}
	s.said = &State{Workflows: slices.Clone(s.state.Workflows), Nodes: slices.Clone(s.state.Nodes)}
	for at := s.now() + tick; at <= until; at += tick {
		for _, name := range s.rec.Plant.Nodes {
			n := s.nodes[name]
			if !n.Up || n.Paused {
				s.rec.Seen = append(s.rec.Seen, Observation{At: at, Node: &NodeSeen{Name: name, Up: n.Up, Paused: n.Paused, Exit: n.Exit}})
				continue
			}
			seen := *n
			seen.Sources, seen.Stages, seen.Instances = nil, nil, append([]Instance(nil), n.Instances...)
			for i := range n.Sources {
				f := &n.Sources[i]
				if f.Captured++; s.flows[f.Source] {
					f.Delivered++
				} else {
					f.Dropped++
				}
				seen.Sources = append(seen.Sources, *f)
			}
			for i := range n.Stages {
				n.Stages[i].Processed++
				seen.Stages = append(seen.Stages, n.Stages[i])
			}
			s.rec.Seen = append(s.rec.Seen, Observation{At: at, Node: &seen})
		}
		for _, name := range s.rec.Plant.Coordinators {
			if n := s.nodes[name]; !n.Up || n.Paused {
				continue
			}
			seen := *s.coord[name]
			seen.Index += s.changes
			if seen.Answered && seen.State == nil {
				copied := *s.state
				copied.Workflows = append([]Workflow(nil), s.state.Workflows...)
				copied.Nodes = append([]Member(nil), s.state.Nodes...)
				seen.State = &copied
			}
			s.rec.Seen = append(s.rec.Seen, Observation{At: at, Coordinator: &seen})
		}
	}
}

// mark notes that a fault begins or ends now.
func (s *stage) mark(what What, i int, node string) {
	led := s.leader == node && what == Begun
	s.rec.Seen = append(s.rec.Seen, Observation{At: s.now(), Mark: &Mark{What: what, Fault: i, Node: node, Led: led}})
}

func (s *stage) down(node string) {
	s.nodes[node].Up = false
	s.rec.Seen = append(s.rec.Seen, Observation{At: s.now(), Node: &NodeSeen{Name: node}})
}

func (s *stage) lead(leader string) {
	for _, c := range s.coord {
		c.Leader = leader
	}
	s.leader = leader
}

// member changes what the coordinators know of a node.
func (s *stage) member(node, status string, placements ...string) {
	for i := range s.state.Nodes {
		if s.state.Nodes[i].Name == node {
			s.state.Nodes[i] = Member{node, status, placements}
		}
	}
}

// check judges what was told, also after it went through a file.
func (s *stage) check() *Verdict {
	s.t.Helper()
	v := Check(s.rec)
	var b bytes.Buffer
	if err := s.rec.Write(&b); err != nil {
		s.t.Fatal(err)
	}
	again, err := Read(&b)
	if err != nil {
		s.t.Fatal(err)
	}
	if w := Check(again); !reflect.DeepEqual(v, w) {
		s.t.Errorf("read from the file, the verdict is another: %+v\nwas %+v", w, v)
	}
	return v
}

// wants checks that exactly these invariants are violated, and how the first
// is worded.
func (v *Verdict) wants(t *testing.T, words string, want ...Invariant) {
	t.Helper()
	var got []Invariant
	all := ""
	for _, x := range v.Violations {
		got = append(got, x.Invariant)
		all += x.String() + "\n"
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("violated: %v, want %v\n%s", got, want, all)
	}
	if !strings.Contains(all, words) {
		t.Errorf("violations\n%swant …%s…", all, words)
	}
}

func is(t *testing.T, what string, got *time.Duration, want time.Duration) {
	t.Helper()
	if got == nil || (*got-want).Abs() > 2*tick {
		t.Errorf("%s after %s, want %s", what, seconds(got), want)
	}
}

func killLeader() Fault {
	return Fault{Kind: KillLeader, Target: Leader, At: 2 * time.Second, For: 8 * time.Second}
}

// deadLeader tells the death of a leader and the election of the next.
func deadLeader(t *testing.T, electionTakes time.Duration) *stage {
	s := newStage(t, killLeader())
	s.pass(2 * time.Second)
	s.down("c1")
	s.mark(Begun, 0, "c1")
	s.lead("")
	s.pass(2*time.Second + electionTakes)
	s.lead("c2")
	s.pass(max(10*time.Second, s.now()))
	s.nodes["c1"].Up = true
	s.mark(Ended, 0, "c1")
	s.pass(s.now() + 5*time.Second)
	return s
}

func TestLeaderDies(t *testing.T) {
	v := deadLeader(t, time.Second).check()
	v.wants(t, "")
	is(t, "a leader", v.Leader, time.Second)
	is(t, "well", v.Recovery, time.Second)
	is(t, "whole", v.Whole, 0)
	if v.Gap > 2*tick || v.Targets[0] != "c1" {
		t.Errorf("gap %s, targets %v", v.Gap, v.Targets)
	}
	if f := v.Frames; f.Captured < 100 || f.Captured != f.Delivered {
		t.Errorf("frames %+v", f)
	}
}

func TestNoLeaderInTime(t *testing.T) {
	v := deadLeader(t, 6*time.Second).check()
	v.wants(t, "after kill-leader of c1 it took 6.1 s until another led; 5s are allowed", NewLeader)
}

func TestNoLeaderAtAll(t *testing.T) {
	s := newStage(t, killLeader())
	s.pass(2 * time.Second)
	s.down("c1")
	s.mark(Begun, 0, "c1")
	s.lead("")
	s.pass(10 * time.Second)
	s.nodes["c1"].Up = true
	s.mark(Ended, 0, "c1")
	s.pass(20 * time.Second)
	s.check().wants(t, "nobody leads after kill-leader of c1", NewLeader, Recovers)
}

// Whoever still names the dead one has no new leader.
func TestTheDeadDoNotLead(t *testing.T) {
	s := newStage(t, killLeader())
	s.pass(2 * time.Second)
	s.down("c1")
	s.mark(Begun, 0, "c1")
	s.pass(10 * time.Second) // c2 and c3 take c1 for their leader
	if v := Check(s.rec); v.Leader != nil || v.Recovery != nil {
		t.Errorf("leader after %s, well after %s", seconds(v.Leader), seconds(v.Recovery))
	}
}

func TestStageStartedAgain(t *testing.T) {
	s := deadLeader(t, time.Second)
	s.nodes["fog"].Instances[0].Epoch = 4
	s.nodes["fog"].Stages[0].Processed = 0
	s.pass(s.now() + 3*time.Second)
	s.check().wants(t, "detect was started again, though only coordinators were hurt (2 starts)", Undisturbed)
}

func TestFramesHeldUp(t *testing.T) {
	s := newStage(t, killLeader())
	s.pass(2 * time.Second)
	s.down("c1")
	s.mark(Begun, 0, "c1")
	s.lead("c2")
	s.pass(3 * time.Second)
	s.flows["cam"] = false
	s.pass(4500 * time.Millisecond)
	s.flows["cam"] = true
	s.pass(10 * time.Second)
	s.nodes["c1"].Up = true
	s.mark(Ended, 0, "c1")
	s.pass(15 * time.Second)
	v := s.check()
	v.wants(t, "no frame of cam was delivered for 1.50 s up to 4.5 s", Undisturbed)
	if v.GapSource != "cam" {
		t.Errorf("gap of %q", v.GapSource)
	}
}

// A gap that is not over when the round is counts, too.
func TestFramesStop(t *testing.T) {
	s := deadLeader(t, time.Second)
	s.flows["cam"] = false
	s.pass(s.now() + 2*time.Second)
	s.check().wants(t, "no frame of cam was delivered for 2.", Undisturbed)
}

func TestWorkflowLost(t *testing.T) {
	s := deadLeader(t, time.Second)
	s.state.Workflows = nil
	s.pass(s.now() + 2*time.Second)
	v := s.check()
	v.wants(t, "workflow people is lost, on c1", Kept, Kept, Kept)
	if len(v.Lost) != 1 || v.Lost[0] != "people" {
		t.Errorf("lost %v", v.Lost)
	}
}

// What was acknowledged while a fault lasted holds, whatever else happened.
func TestAcknowledgedWorkflowLost(t *testing.T) {
	acknowledge := func(s *stage, what What, name, err string) {
		s.rec.Seen = append(s.rec.Seen, Observation{At: s.now(), Mark: &Mark{What: what, Node: name, Error: err}})
	}
	add := func(s *stage, name, status string) {
		s.state.Workflows = append(s.state.Workflows, Workflow{Name: name, Version: 2, Status: status})
		s.pass(s.now() + tick)
	}
	s := deadLeader(t, time.Second)
	acknowledge(s, Committed, "probe-1", "")
	add(s, "probe-1", "running")
	acknowledge(s, Stopped, "probe-0", "")
	add(s, "probe-0", "stopped")
	acknowledge(s, Committed, "probe-2", "no leader")
	s.pass(s.now() + tick)
	s.check().wants(t, "")

	s = deadLeader(t, time.Second)
	acknowledge(s, Committed, "probe-1", "")
	s.pass(s.now() + tick)
	v := s.check()
	v.wants(t, "workflow probe-1 was acknowledged at 15.0 s and is lost, on c1", Kept, Kept, Kept)
	if len(v.Lost) != 1 || v.Lost[0] != "probe-1" {
		t.Errorf("lost %v", v.Lost)
	}

	s = deadLeader(t, time.Second)
	acknowledge(s, Committed, "probe-1", "")
	add(s, "probe-1", "stopped")
	s.check().wants(t, "is stopped, on c2", Kept, Kept, Kept)

	s = deadLeader(t, time.Second)
	acknowledge(s, Stopped, "probe-1", "")
	add(s, "probe-1", "running")
	s.check().wants(t, "was stopped at 15.0 s and is running, on c3", Kept, Kept, Kept)
}

func TestWorkflowChanged(t *testing.T) {
	for words, change := range map[string]func(*Workflow){
		"was version 1":              func(w *Workflow) { w.Version = 2 },
		"and is 1 of":                func(w *Workflow) { w.Submitted = w.Submitted.Add(time.Hour) },
		"had 3 instances placed and": func(w *Workflow) { w.Instances = 2 },
	} {
		s := deadLeader(t, time.Second)
		change(&s.state.Workflows[0])
		s.pass(s.now() + 2*time.Second)
		s.check().wants(t, words, Kept, Kept, Kept)
	}
}

func TestCoordinatorsDisagree(t *testing.T) {
	s := deadLeader(t, time.Second)
	other := *s.state
	other.Nodes = append([]Member(nil), s.state.Nodes...)
	other.Nodes[5].Placements = nil
	s.coord["c3"].State = &other
	s.pass(s.now() + time.Second)
	s.check().wants(t, "c1 and c3 differ at index 10: nodes", Agreement, Agreement) // at once, and in the end

	s = deadLeader(t, time.Second)
	s.coord["c3"].Index = 9
	s.pass(s.now() + time.Second)
	s.check().wants(t, "c1 is at index 10, c3 at 9", Agreement)
}

func killFog() Fault {
	return Fault{Kind: KillNode, Target: "fog", At: 2 * time.Second, For: 10 * time.Second}
}

// deadFog tells the death of a node whose work goes elsewhere.
func deadFog(t *testing.T) *stage {
	s := newStage(t, killFog())
	s.pass(2 * time.Second)
	s.down("fog")
	s.mark(Begun, 0, "fog")
	s.flows["cam"] = false
	s.pass(5 * time.Second)
	s.member("fog", "failed")
	s.member("cloud", "alive", "detect")
	s.pass(6 * time.Second)
	s.nodes["cloud"].Instances = []Instance{{"detect", 7, "running"}}
	s.nodes["cloud"].Stages = []Work{{"detect", "0", 0}}
	s.flows["cam"] = true
	s.pass(12 * time.Second)
	s.nodes["fog"] = &NodeSeen{Name: "fog", Up: true, PID: 300, Answered: true}
	s.mark(Ended, 0, "fog")
	s.pass(13 * time.Second)
	s.member("fog", "alive")
	s.pass(15 * time.Second)
	return s
}

func TestWorkMovesFromADeadNode(t *testing.T) {
	v := deadFog(t).check()
	v.wants(t, "")
	is(t, "well", v.Recovery, 4*time.Second) // from the death
	is(t, "whole", v.Whole, time.Second)     // from the restart
	if v.Gap < 4*time.Second || v.Gap > 5*time.Second {
		t.Errorf("gap %s", v.Gap)
	}
}

func TestPlacementRunsTwice(t *testing.T) {
	s := deadFog(t)
	s.pass(s.now() + quietFor)
	s.nodes["fog"].Instances = []Instance{{"detect", 9, "running"}}
	s.pass(s.now() + TwiceWithin - tick)
	v := Check(s.rec)
	if len(v.Duplicates) > 0 {
		t.Errorf("so soon: %v", v.Duplicates)
	}
	s.pass(s.now() + time.Second)
	v = s.check()
	v.wants(t, "detect has run on cloud and fog at once for 6.1 s", Once)
	if len(v.Duplicates) != 1 || v.Duplicates[0] != "detect" {
		t.Errorf("duplicates %v", v.Duplicates)
	}
}

// What only waits for its last frames does not run twice.
func TestWhatEndsDoesNotRun(t *testing.T) {
	s := deadFog(t)
	s.nodes["fog"].Instances = []Instance{{"detect", 9, ended}}
	s.pass(s.now() + 2*TwiceWithin)
	s.check().wants(t, "")
}

// Two that the leader does not reach both cannot be told.
func TestPlacementRunsTwiceInAPartition(t *testing.T) {
	s := newStage(t, Fault{Kind: PartitionEdge, At: 2 * time.Second, For: 30 * time.Second})
	s.pass(2 * time.Second)
	s.mark(Begun, 0, "")
	s.member("edge", "failed", "cam")
	s.member("fog", "alive", "detect", "resize")
	s.nodes["fog"].Instances = append(s.nodes["fog"].Instances, Instance{"resize", 8, "running"})
	s.flows["cam"] = false
	s.pass(32 * time.Second)
	s.mark(Ended, 0, "")
	s.member("edge", "alive", "cam")
	s.flows["cam"] = true
	s.pass(34 * time.Second)
	s.nodes["edge"].Instances = s.nodes["edge"].Instances[:1]
	s.pass(36 * time.Second)
	v := s.check()
	v.wants(t, "")
	is(t, "well", v.Recovery, 2*time.Second)
}

func TestFramesAnalysedTwice(t *testing.T) {
	s := deadFog(t)
	s.nodes["cloud"].Stages[0].Processed += 100
	s.pass(s.now() + time.Second)
	s.check().wants(t, "detect worked on", Once)
}

func TestFramesMissing(t *testing.T) {
	s := deadFog(t)
	s.nodes["edge"].Sources[0].Captured += 3
	s.pass(s.now() + time.Second)
	s.check().wants(t, "3 are missing", AddsUp)

	s = deadFog(t)
	s.state.Frames = &Frames{Captured: 10, Delivered: 8, Dropped: 1}
	s.pass(s.now() + tick)
	s.check().wants(t, "1 are missing", AddsUp, AddsUp, AddsUp) // each coordinator says so

	s = deadFog(t)
	s.nodes["edge"].Sources[0].Captured += 200
	s.nodes["edge"].Sources[0].InFlight += 200
	s.pass(s.now() + time.Second)
	s.check().wants(t, "201 frames of cam are in flight; with its deadline it can be 82", AddsUp)

	s = newStage(t)
	s.nodes["edge"].Sources = nil
	s.pass(time.Second)
	if v := Check(s.rec); !slices.ContainsFunc(v.Violations, func(x Violation) bool {
		return x.Invariant == AddsUp && x.What == "nobody accounts for the frames of cam"
	}) {
		t.Errorf("%v", v.Violations)
	}
}

func TestNeverWellAgain(t *testing.T) {
	for words, harm := range map[string]func(*stage){
		"no frame of cam is delivered":                       func(s *stage) { s.flows["cam"] = false },
		"fog lives, and the leader takes it for failed":      func(s *stage) { s.member("fog", "failed") },
		"workflow people is degraded":                        func(s *stage) { s.state.Workflows[0].Status = "degraded" },
		"detect is placed on cloud and does not run there":   func(s *stage) { s.nodes["cloud"].Instances = nil },
		"detect on cloud is retrying":                        func(s *stage) { s.nodes["cloud"].Instances[0].Status = "retrying" },
		"cloud does not answer":                              func(s *stage) { s.nodes["cloud"].Answered = false },
		"the coordinators have no leader that they agree on": func(s *stage) { s.coord["c3"].Leader = "c3" },
		"the leader knows no workflow people":                func(s *stage) { s.state.Workflows[0].Name = "cats" },
		"detect runs on cloud, which is not wanted":          func(s *stage) { s.member("cloud", "alive") },
		"nothing is placed": func(s *stage) {
			s.member("cloud", "alive")
			s.member("edge", "alive")
			s.nodes["cloud"].Instances, s.nodes["edge"].Instances = nil, nil
		},
	} {
		s := newStage(t, killFog())
		s.pass(2 * time.Second)
		s.down("fog")
		s.mark(Begun, 0, "fog")
		s.member("fog", "failed")
		s.member("cloud", "alive", "detect")
		s.nodes["cloud"].Instances = []Instance{{"detect", 7, "running"}}
		s.pass(2*time.Second + tick)
		s.nodes["fog"] = &NodeSeen{Name: "fog", Up: true, PID: 300, Answered: true}
		s.member("fog", "alive")
		harm(s)
		s.mark(Ended, 0, "fog")
		s.pass(15 * time.Second)
		v := Check(s.rec)
		if v.Whole != nil {
			t.Errorf("%s: whole after %s", words, seconds(v.Whole))
		}
		found := ""
		for _, x := range v.Violations {
			if x.Invariant == Recovers {
				found = x.What
			}
		}
		if !strings.Contains(found, words) {
			t.Errorf("%q, want …%s", found, words)
		}
	}
}

func TestWeftdEndsByItself(t *testing.T) {
	s := deadFog(t)
	s.down("cloud")
	s.nodes["cloud"].Exit = "exit status 2"
	s.pass(s.now() + time.Second)
	if v := s.check(); !v.Failed() || v.Violations[0].Invariant != Survives || v.Violations[0].What != "weftd on cloud ended by itself: exit status 2" {
		t.Errorf("%v", v.Violations)
	}
}

func TestFaultThatWasNone(t *testing.T) {
	s := deadFog(t)
	for i := range s.rec.Seen {
		if m := s.rec.Seen[i].Mark; m != nil && m.What == Ended {
			m.Error = "no such process"
		}
	}
	s.check().wants(t, "no such process", CarriedOut)

	s = newStage(t, killFog())
	s.pass(5 * time.Second)
	s.check().wants(t, "was not seen to begin and end", CarriedOut)
}

func TestNothingWrong(t *testing.T) {
	s := newStage(t)
	s.pass(20 * time.Second)
	v := s.check()
	v.wants(t, "")
	if v.Gap > 2*tick || v.Frames.Captured < 190 {
		t.Errorf("gap %s, %+v", v.Gap, v.Frames)
	}
}
