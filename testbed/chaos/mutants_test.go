package chaos

import (
	"testing"
	"time"
)

// Each is something that must not pass, though most of what is seen is as it
// should be.
func TestNothingSlipsThrough(t *testing.T) {
	parted := Fault{Kind: PartitionCoordinators, Target: Follower, At: 2 * time.Second, For: 30 * time.Second}
	for _, c := range []struct {
		name, words string
		want        []Invariant
		tell        func(*testing.T) *stage
	}{
		{"a workflow of an earlier round is lost", "workflow probe-before-0 is lost", []Invariant{Kept, Kept, Kept}, func(t *testing.T) *stage {
			s := newStage(t, killLeader())
			s.state.Workflows = append(s.state.Workflows, Workflow{Name: "probe-before-0", Version: 1, Status: "running", Instances: 2})
			s.pass(2 * time.Second)
			s.down("c1")
			s.mark(Begun, 0, "c1")
			s.lead("c2")
			s.state.Workflows = s.state.Workflows[:1]
			return s.backs("c1")
		}},
		{"a workflow that was stopped runs", "was stopped and is running", []Invariant{Kept, Kept, Kept}, func(t *testing.T) *stage {
			s := newStage(t, killLeader())
			s.state.Workflows = append(s.state.Workflows, Workflow{Name: "probe-before-0", Version: 1, Status: "stopped"})
			s.pass(2 * time.Second)
			s.down("c1")
			s.mark(Begun, 0, "c1")
			s.lead("c2")
			s.state.Workflows[1].Status = "running"
			return s.backs("c1")
		}},
		{"a stage runs twice while a coordinator is parted", "detect has run on cloud and fog", []Invariant{Once, Undisturbed}, func(t *testing.T) *stage {
			s := newStage(t, parted)
			s.pass(2 * time.Second)
			s.mark(Begun, 0, "c3")
			s.coord["c3"].Leader = ""
			s.nodes["cloud"].Instances = []Instance{{"detect", 7, "running"}}
			s.pass(30 * time.Second)
			s.nodes["cloud"].Instances = nil
			s.pass(32 * time.Second)
			s.coord["c3"].Leader = "c1"
			s.mark(Ended, 0, "c3")
			s.pass(38 * time.Second)
			return s
		}},
		{"a stage runs twice on a node that at times does not answer", "detect has run on cloud and fog", []Invariant{Once}, func(t *testing.T) *stage {
			s := deadFog(t)
			s.pass(s.now() + quietFor)
			s.nodes["fog"].Instances = []Instance{{"detect", 9, "running"}}
			for range 4 {
				s.pass(s.now() + 5*time.Second)
				s.rec.Seen = append(s.rec.Seen, Observation{At: s.now(), Node: &NodeSeen{Name: "fog", Up: true, PID: 300}})
			}
			s.nodes["fog"].Instances = nil
			s.pass(s.now() + 2*time.Second)
			return s
		}},
		{"coordinators differ for a while", "c1 and c3 differ", []Invariant{Agreement}, func(t *testing.T) *stage {
			s := deadLeader(t, time.Second)
			other := *s.state
			other.Workflows = []Workflow{{Name: "people", Version: 9, Status: "running", Instances: 3}}
			s.coord["c3"].State = &other
			s.pass(s.now() + time.Second)
			s.coord["c3"].State = nil
			s.pass(s.now() + time.Second)
			return s
		}},
		{"most frames are dropped", "frames were dropped, though only coordinators were hurt; 20 % are allowed", []Invariant{Undisturbed}, func(t *testing.T) *stage {
			s := newStage(t, killLeader())
			s.pass(2 * time.Second)
			s.down("c1")
			s.mark(Begun, 0, "c1")
			s.lead("c2")
			for s.now() < 10*time.Second {
				s.flows["cam"] = false
				s.pass(s.now() + 8*tick)
				s.flows["cam"] = true
				s.pass(s.now() + tick)
			}
			return s.backs("c1")
		}},
		{"a leader is lost with nothing done to it", "agreed on no leader", []Invariant{Led}, func(t *testing.T) *stage {
			s := deadFog(t)
			s.pass(s.now() + quietFor)
			s.lead("")
			s.pass(s.now() + LeaderWithin + time.Second)
			s.lead("c2")
			s.pass(s.now() + 2*time.Second)
			return s
		}},
		{"a leader that is killed as a node is not followed in time", "after kill-node of c1 it took 7.1 s until another led", []Invariant{NewLeader}, func(t *testing.T) *stage {
			s := newStage(t, Fault{Kind: KillNode, Target: "c1", At: 2 * time.Second, For: 12 * time.Second})
			s.pass(2 * time.Second)
			s.down("c1")
			s.mark(Begun, 0, "c1")
			s.lead("")
			s.pass(9 * time.Second)
			s.lead("c2")
			s.pass(14 * time.Second)
			return s.backs("c1")
		}},
		{"the control is not as it should be", "no frame of cam was delivered", []Invariant{Undisturbed, Undisturbed}, func(t *testing.T) *stage {
			s := newStage(t)
			s.pass(5 * time.Second)
			s.flows["cam"] = false
			s.pass(8 * time.Second)
			s.flows["cam"] = true
			s.nodes["fog"].Instances[0].Epoch = 9
			s.pass(20 * time.Second)
			return s
		}},
		{"frames are analysed by two variants", "detect worked on", []Invariant{Once}, func(t *testing.T) *stage {
			s := deadFog(t)
			s.nodes["cloud"].Stages = append(s.nodes["cloud"].Stages, Work{"detect@640", "0", 0})
			s.pass(s.now() + 30*time.Second)
			return s
		}},
		{"frames are lost for ever", "3 frames of cam were never heard of again", []Invariant{AddsUp}, func(t *testing.T) *stage {
			s := deadFog(t)
			f := &s.nodes["edge"].Sources[0]
			f.Captured, f.Dropped, f.Why = f.Captured+3, f.Dropped+3, map[string]uint64{lostFrames: 3}
			s.pass(s.now() + time.Second)
			return s
		}},
		{"frames are delivered though nobody worked on them", "and draw worked on 0", []Invariant{AddsUp}, func(t *testing.T) *stage {
			s := deadFog(t)
			s.rec.Plant.Sinks = []string{"draw"}
			return s
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.tell(t).check().wants(t, c.words, c.want...) })
	}
}

// backs has the node back and the fault over.
func (s *stage) backs(node string) *stage {
	s.pass(max(10*time.Second, s.now()))
	s.nodes[node].Up = true
	s.mark(Ended, 0, node)
	s.pass(s.now() + 5*time.Second)
	return s
}

// What a node counted before it was first heard of is not of the round.
func TestALateFirstAnswer(t *testing.T) {
	s := newStage(t, killLeader())
	s.nodes["fog"].Answered = false
	fog := *s.nodes["fog"]
	s.nodes["fog"].Stages, s.nodes["fog"].Instances = nil, nil
	s.pass(2 * time.Second)
	s.down("c1")
	s.mark(Begun, 0, "c1")
	s.lead("c2")
	s.pass(3 * time.Second)
	fog.Answered = true
	s.nodes["fog"] = &fog
	s.backs("c1").check().wants(t, "")
}

// Well for one look and ill for long is not well; nor is a node that is up and
// does not answer yet.
func TestRecoveryLasts(t *testing.T) {
	s := newStage(t, Fault{Kind: PartitionEdge, At: 2 * time.Second, For: 30 * time.Second})
	s.pass(2 * time.Second)
	s.mark(Begun, 0, "")
	s.pass(32 * time.Second)
	s.mark(Ended, 0, "")
	s.pass(32*time.Second + 3*tick)
	s.state.Workflows[0].Status = "degraded"
	s.pass(52 * time.Second)
	s.state.Workflows[0].Status = "running"
	s.pass(56 * time.Second)
	is(t, "well", s.check().Recovery, 20*time.Second)

	s = newStage(t, Fault{Kind: KillNode, Target: "edge", At: 2 * time.Second, For: 10 * time.Second})
	s.pass(2 * time.Second)
	s.down("edge")
	s.mark(Begun, 0, "edge")
	s.member("edge", "failed", "cam", "resize")
	s.pass(12 * time.Second)
	s.nodes["edge"].Up, s.nodes["edge"].Answered = true, false
	s.rec.Seen = append(s.rec.Seen, Observation{At: s.now(), Node: &NodeSeen{Name: "edge", Up: true}}) // as tell does
	s.mark(Ended, 0, "edge")
	s.pass(20 * time.Second)
	s.nodes["edge"].Answered = true
	s.member("edge", "alive", "cam", "resize")
	s.pass(24 * time.Second)
	is(t, "well", s.check().Recovery, 8*time.Second)
}

// Where every link loses packets, an election may take longer.
func TestElectionsTakeLongerWherePacketsAreLost(t *testing.T) {
	s := newStage(t, killLeader(), Fault{Kind: Loss, Loss: 0.1, At: 2 * time.Second, For: 8 * time.Second})
	s.pass(2 * time.Second)
	s.down("c1")
	s.mark(Begun, 0, "c1")
	s.mark(Begun, 1, "")
	s.lead("")
	s.pass(9 * time.Second)
	s.lead("c2")
	s.pass(10 * time.Second)
	s.mark(Ended, 1, "")
	v := s.backs("c1").check()
	v.wants(t, "")
	is(t, "a leader", v.Leader, 7*time.Second)
}
