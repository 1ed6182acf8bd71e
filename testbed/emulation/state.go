package emulation

import (
	"net/netip"
	"time"
)

// Phase is how far a testbed is.
type Phase string

// The phases.
const (
	Starting Phase = "starting"
	Up       Phase = "up"
	Stopping Phase = "stopping"
	Failed   Phase = "failed" // it could not be taken down; State.Message says why
)

// stateFormat is the version of the record. Others are of another weft.
const stateFormat = 1

// State is the record of a testbed that other processes read.
type State struct {
	Format  int         `json:"format"`
	Name    string      `json:"name"`
	Version string      `json:"version"` // of weft
	Dir     string      `json:"dir"`     // absolute
	Began   time.Time   `json:"began"`
	Phase   Phase       `json:"phase"`
	Message string      `json:"message,omitempty"`
	Holder  Holder      `json:"holder"`
	Shaping string      `json:"shaping,omitempty"` // how links are emulated, and why so
	Nodes   []NodeState `json:"nodes"`

	// Alive reports whether the holder lives; if not, the testbed has crashed,
	// and Place.Down removes what is left of it.
	Alive bool `json:"-"`
}

// Holder is the process that keeps a testbed up.
type Holder struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks since boot: tells it from a later process of the same PID
}

// NodeState is how a node is doing.
type NodeState struct {
	Name      string     `json:"name"`
	Address   netip.Addr `json:"address"`
	Namespace string     `json:"namespace"`
	Cgroup    string     `json:"cgroup"` // below the roots of the hierarchies
	Dir       string     `json:"dir"`    // its configuration, keys, data and log
	PID       int        `json:"pid,omitempty"`
	Up        bool       `json:"up"` // its weftd runs, or is paused
	Paused    bool       `json:"paused,omitempty"`
	// Exit says how a weftd ended by itself, and Log are its last lines. Empty
	// while it runs, and where the timeline ended it.
	Exit string   `json:"exit,omitempty"`
	Log  []string `json:"log,omitempty"`
}

// Node returns the state of one node.
func (s *State) Node(name string) (*NodeState, bool) {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i], true
		}
	}
	return nil, false
}

// Place is where the testbeds of a machine are kept track of, and what their
// namespaces and cgroups are called. The zero Place is the one that all
// processes share; tests use others, to be left alone.
type Place struct {
	Run    string // directory of records; empty: /run/weft/testbeds
	Prefix string // of namespaces; empty: "weft-"
	Cgroup string // empty: "weft-testbed"
}

func (p Place) withDefaults() Place {
	if p.Run == "" {
		p.Run = "/run/weft/testbeds"
	}
	if p.Prefix == "" {
		p.Prefix = "weft-"
	}
	if p.Cgroup == "" {
		p.Cgroup = "weft-testbed"
	}
	return p
}

// namespace is the name of a node's. Neither testbeds nor nodes have a dot in
// theirs, so that it can be read in one way only.
func (p Place) namespace(name, node string) string { return p.Prefix + name + "." + node }
