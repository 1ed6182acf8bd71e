package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The kinds of faults.
const (
	KillLeader            Kind = "kill-leader"            // SIGKILL for the coordinator that leads
	KillCoordinators      Kind = "kill-coordinators"      // SIGKILL for all of them at once
	KillNode              Kind = "kill-node"              // SIGKILL for one node
	PartitionCoordinators Kind = "partition-coordinators" // one of them parted from the others
	PartitionEdge         Kind = "partition-edge-fog"     // no packet passes between edge and fog
	Loss                  Kind = "loss"                   // every link loses packets
	Clock                 Kind = "clock"                  // a node's wall clock jumps
	Pause                 Kind = "pause"                  // SIGSTOP
	DiskFull              Kind = "disk-full"              // a node's data has no byte to grow
)

// Kinds lists them.
func Kinds() []Kind {
	return []Kind{KillLeader, KillCoordinators, KillNode, PartitionCoordinators, PartitionEdge, Loss, Clock, Pause, DiskFull}
}

// CalmKinds lists those that start no weftd again.
func CalmKinds() []Kind {
	return []Kind{PartitionCoordinators, PartitionEdge, Loss, Clock, Pause, DiskFull}
}

// Targets that are known only when the fault begins.
const (
	Leader   = "leader"
	Follower = "follower" // a coordinator that does not lead: the first by name
)

// Fault is one thing that goes wrong in a round.
type Fault struct {
	Kind   Kind   `json:"kind"`
	Target string `json:"target,omitempty"` // node, Leader or Follower; empty: the kind says it all
	// At is from the beginning of the round, For until it is over. What was
	// killed is started again then.
	At  time.Duration `json:"at"`
	For time.Duration `json:"for"`

	Loss    float64       `json:"loss,omitempty"`    // of Loss: fraction of packets
	Offset  time.Duration `json:"offset,omitempty"`  // of Clock
	Restart bool          `json:"restart,omitempty"` // of Clock: the node is killed and started with it
}

// End is when the fault is over.
func (f Fault) End() time.Duration { return f.At + f.For }

// String says what happens, for people.
func (f Fault) String() string {
	s := string(f.Kind)
	if f.Target != "" {
		s += " " + f.Target
	}
	if p := f.Parameters(); p != "" {
		s += " (" + p + ")"
	}
	return fmt.Sprintf("%s at %s for %s", s, f.At, f.For)
}

// Parameters are what else was drawn, for people.
func (f Fault) Parameters() string {
	switch f.Kind {
	case Loss:
		return fmt.Sprintf("%g %% of all packets", f.Loss*100)
	case Clock:
		p := fmt.Sprintf("off by %+g h", f.Offset.Hours())
		if f.Restart {
			p += ", restarted"
		}
		return p
	}
	return ""
}

// Round is one round of faults.
type Round struct {
	Number int     `json:"number"` // from 1; 0: the control, in which nothing goes wrong
	Faults []Fault `json:"faults"`
}

// End is when the last fault is over.
func (r Round) End() time.Duration {
	var end time.Duration
	for _, f := range r.Faults {
		end = max(end, f.End())
	}
	return end
}

func (r Round) String() string {
	var parts []string
	for _, f := range r.Faults {
		parts = append(parts, f.String())
	}
	return fmt.Sprintf("%3d  %s", r.Number, strings.Join(parts, ";  "))
}

// takesLeader reports whether the fault leaves a mesh whose leader it strikes
// without one.
func (f Fault) takesLeader() bool {
	switch f.Kind {
	case KillLeader, KillNode, PartitionCoordinators, Pause:
		return true
	case Clock:
		return f.Restart
	}
	return false
}

// touchesCoordinators reports whether a fault strikes a coordinator or a link of
// one.
func (r Round) touchesCoordinators(p Plant) bool {
	return slices.ContainsFunc(r.Faults, func(f Fault) bool {
		return f.Kind == Loss || Round{Faults: []Fault{f}}.coordinatorsOnly(p)
	})
}

// coordinatorsOnly reports whether nothing is touched but coordinators.
func (r Round) coordinatorsOnly(p Plant) bool {
	for _, f := range r.Faults {
		switch {
		case f.Kind == KillLeader, f.Kind == KillCoordinators, f.Kind == PartitionCoordinators:
		case f.Target == Leader, f.Target == Follower:
		case f.Target != "" && slices.Contains(p.Coordinators, f.Target):
		default:
			return false
		}
	}
	return len(r.Faults) > 0
}
