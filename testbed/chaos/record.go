package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Record is everything that was seen of a round.
type Record struct {
	Plant Plant         `json:"plant"`
	Round Round         `json:"round"`
	Gap   time.Duration `json:"gap"` // allowed where coordinators alone are hurt; 0: GapWithin
	// Pressure is the share of the round in which some task of the machine waited
	// for a CPU. Where it is high, times are the machine's and not the mesh's.
	Pressure float64       `json:"pressure"`
	Seen     []Observation `json:"-"` // in order of time; one line of the file each
}

// Observation is what was seen at one moment: one of the three.
type Observation struct {
	At          time.Duration    `json:"at"` // since the beginning of the round
	Mark        *Mark            `json:"mark,omitempty"`
	Node        *NodeSeen        `json:"node,omitempty"`
	Coordinator *CoordinatorSeen `json:"coordinator,omitempty"`
}

// Mark is something that was done to the mesh.
type Mark struct {
	What  What   `json:"what"`
	Fault int    `json:"fault"`          // index in the round's
	Node  string `json:"node,omitempty"` // that the target turned out to be
	Text  string `json:"text"`           // for people
	Error string `json:"error,omitempty"`
	// Led says of a fault that its target led when it began.
	Led bool `json:"led,omitempty"`
}

// What was done.
type What string

// The marks.
const (
	Begun     What = "begun"     // a fault
	Ended     What = "ended"     // a fault
	Committed What = "committed" // a workflow, which Node names; with an error: perhaps
	Stopped   What = "stopped"   // a workflow, likewise
)

// NodeSeen is a node, as its own metrics and the kernel tell it.
type NodeSeen struct {
	Name   string `json:"name"`
	PID    int    `json:"pid,omitempty"`
	Up     bool   `json:"up"` // its weftd runs, or is paused
	Paused bool   `json:"paused,omitempty"`
	Exit   string `json:"exit,omitempty"` // how its weftd ended by itself
	// Answered is false where the metrics could not be had; then there is
	// nothing below.
	Answered  bool       `json:"answered"`
	Instances []Instance `json:"instances,omitempty"`
	Sources   []Frames   `json:"sources,omitempty"`
	Stages    []Work     `json:"stages,omitempty"`
}

// Instance is a placement that the node runs.
type Instance struct {
	ID     string `json:"id"`
	Epoch  uint32 `json:"epoch"`
	Status string `json:"status"`
}

// ended is the status of an instance that only waits for its last frames.
const ended = "ended"

// Frames are the accounts of a source, since its instance started.
type Frames struct {
	Source    string `json:"source"`
	Captured  uint64 `json:"captured"`
	Delivered uint64 `json:"delivered"`
	Filtered  uint64 `json:"filtered,omitempty"`
	Dropped   uint64 `json:"dropped"` // for any reason
	InFlight  uint64 `json:"in_flight"`
	// Why they were dropped: frames by reason.
	Why map[string]uint64 `json:"why,omitempty"`
}

// Work is what a stage has done since its instance started.
type Work struct {
	Task      string `json:"task"`
	Replica   string `json:"replica"`
	Processed uint64 `json:"processed"`
}

// CoordinatorSeen is what one coordinator says.
type CoordinatorSeen struct {
	Name     string `json:"name"`
	Answered bool   `json:"answered"`
	Error    string `json:"error,omitempty"`
	Leader   string `json:"leader,omitempty"`
	Index    uint64 `json:"index,omitempty"`
	// State, which is not asked for every time, is that of the index.
	State *State `json:"state,omitempty"`
}

// State is what a coordinator knows.
type State struct {
	Workflows []Workflow `json:"workflows"`
	Nodes     []Member   `json:"nodes"`
	// Frames are the accounts of the whole workflow, where the leader was asked.
	Frames *Frames `json:"frames,omitempty"`
}

// Workflow is what must not be lost.
type Workflow struct {
	Name      string    `json:"name"`
	Version   uint64    `json:"version"`
	Submitted time.Time `json:"submitted"`
	Status    string    `json:"status"`
	Instances int       `json:"instances"`
}

// Member is a node with what is placed on it.
type Member struct {
	Name       string   `json:"name"`
	Status     string   `json:"status"`
	Placements []string `json:"placements"` // in order
}

// Write writes the record as JSON lines: first the plant and the round.
func (r *Record) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	e := json.NewEncoder(out)
	errs := []error{e.Encode(r)}
	for i := range r.Seen {
		errs = append(errs, e.Encode(&r.Seen[i]))
	}
	if err := errors.Join(append(errs, out.Flush())...); err != nil {
		return fmt.Errorf("keep what was seen of round %d: %w", r.Round.Number, err)
	}
	return nil
}

// Save writes the record to a file.
func (r *Record) Save(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("keep what was seen of round %d: %w", r.Round.Number, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return r.Write(f)
}

// Read reads what Write wrote.
func Read(in io.Reader) (*Record, error) {
	d := json.NewDecoder(bufio.NewReader(in))
	r := &Record{}
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("read the record of a round: %w", err)
	}
	for {
		var o Observation
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the record of round %d, observation %d: %w", r.Round.Number, len(r.Seen)+1, err)
		}
		r.Seen = append(r.Seen, o)
	}
}
