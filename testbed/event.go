package testbed

import (
	"fmt"
	"time"
)

// Action is what an event does.
type Action string

// The actions.
const (
	Kill      Action = "kill"      // SIGKILL: weftd is gone without a word
	Stop      Action = "stop"      // SIGTERM: weftd says good-bye
	Start     Action = "start"     // weftd runs again, with the data it had
	Pause     Action = "pause"     // SIGSTOP: weftd stands still, its sockets stay
	Resume    Action = "resume"    // SIGCONT
	Drain     Action = "drain"     // its tasks move to other nodes, and it gets no new ones
	Undrain   Action = "undrain"   // it takes tasks again
	Partition Action = "partition" // no packet passes between the ends
	Heal      Action = "heal"      // ends a partition
	Change    Action = "link"      // other properties of the links between the ends
	Restore   Action = "restore"   // the links between the ends are what they were at the start
	Sources   Action = "sources"   // more or fewer sources
)

// Event is something that happens to a running experiment.
type Event struct {
	At     time.Duration `json:"at"` // after the warm-up
	Action Action        `json:"action"`
	Node   string        `json:"node,omitempty"`  // of kill to undrain
	Ends   Ends          `json:"ends,omitzero"`   // of partition to restore
	Link   LinkChange    `json:"link,omitzero"`   // of link
	Count  int           `json:"count,omitempty"` // of sources: more, or fewer if negative; see Scenario.Running
}

// String says what happens, for people: "kill fog-1", "link fog–cloud 3 Mbit/s".
func (e Event) String() string {
	switch e.Action {
	case Partition, Heal, Restore:
		return fmt.Sprintf("%s %s", e.Action, e.Ends)
	case Change:
		return fmt.Sprintf("link %s %s", e.Ends, e.Link)
	case Sources:
		return fmt.Sprintf("sources %+d", e.Count)
	}
	return fmt.Sprintf("%s %s", e.Action, e.Node)
}
