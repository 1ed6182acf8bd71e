package tiering

import (
	"strconv"
	"time"
)

// SlotID names instance n of a task, or of a source (n = 0), of a workflow:
// WORKFLOW/TASK#n. Names of workflows, tasks and sources hold no "/".
func SlotID(workflow, task string, n int) string {
	return workflow + "/" + task + "#" + strconv.Itoa(n)
}

// Placement is the decision that one instance of a task, or a source, runs on
// a node, with what is reserved for it there.
type Placement struct {
	// ID names the slot, not the node: WORKFLOW/TASK#INSTANCE. It stays when
	// the instance moves, so frames find it by the same name.
	ID       string   `json:"id"`
	Workflow string   `json:"workflow"`
	Task     string   `json:"task"` // task or source name
	Source   bool     `json:"source,omitempty"`
	Instance int      `json:"instance"`
	Node     string   `json:"node"`
	Tier     Tier     `json:"tier"`
	Category Category `json:"category,omitempty"` // empty for sources
	// Requested is what the category asks for, Reserved what it gets: less
	// after an adjustment, at least half.
	Requested Resources `json:"requested"`
	Reserved  Resources `json:"reserved"`
	Reason    string    `json:"reason"` // for people

	// From is the node that the instance is moving from: an instance runs on
	// both, until frames go to the one on Node. Empty: it is not moving.
	From string `json:"from,omitempty"`
	// Switched is the index of the state as of which frames go to the instance
	// on Node; 0: they still go to the one on From.
	Switched uint64 `json:"switched,omitempty"`
	// Stays is why it could not be moved off a draining node, for people.
	Stays string `json:"stays,omitempty"`
}

// Serves returns the node whose instance frames go to: that of Node, or while
// it moves and is not up yet that of From. If that node is dead the other one
// stands in. Without a move it is Node, dead or alive.
func (p *Placement) Serves(alive func(node string) bool) string {
	first, second := p.Node, p.From
	if p.From != "" && p.Switched == 0 {
		first, second = p.From, p.Node
	}
	if second != "" && !alive(first) && alive(second) {
		return second
	}
	return first
}

// Reservation is what Algorithm 2 sets aside on one node for tasks of one
// category, before Algorithm 3 says which task takes which.
type Reservation struct {
	Node     string    `json:"node"`
	Tier     Tier      `json:"tier"`
	Category Category  `json:"category"`
	Count    int       `json:"count"` // instances
	Each     Resources `json:"each"`  // per instance
	Asked    Resources `json:"asked"` // per instance, before adjustment
}

// Adjustment shrinks what an existing placement has reserved (Algorithm 4).
type Adjustment struct {
	Placement string    `json:"placement"`
	From      Resources `json:"from"`
	To        Resources `json:"to"`
}

// Plan is what is to change in the mesh for one workflow. It holds only while
// the state is what it was at Index; the state machine re-checks it.
type Plan struct {
	Workflow string `json:"workflow"`
	Index    uint64 `json:"index"`
	// Awaits: the plan changes nothing, for the workflow waits for models that
	// nodes are to get first; Unplaced says for which.
	Awaits       bool                `json:"awaits,omitempty"`
	Categories   map[string]Category `json:"categories"` // by task name
	Reservations []Reservation       `json:"reservations"`
	Place        []Placement         `json:"place"` // new, or moved to another node
	Keep         []Placement         `json:"keep"`  // stay as they are, unless Adjust shrinks them
	Adjust       []Adjustment        `json:"adjust"`
	Remove       []string            `json:"remove"` // placement IDs no longer wanted
	// Unplaced are the sources that the workflow goes on without, and entry
	// tasks that have nothing to do for want of them.
	Unplaced []Unplaced `json:"unplaced,omitempty"`
}

// Unplaced is a source or a task without a node, and why.
type Unplaced struct {
	Name   string `json:"name"`
	Reason string `json:"reason"` // for people
}

// Empty reports whether the plan changes nothing. What is unplaced changes
// nothing.
func (p *Plan) Empty() bool { return len(p.Place)+len(p.Adjust)+len(p.Remove) == 0 }

// RoundTrips estimates the round trip between two nodes; false: unknown.
type RoundTrips func(a, b string) (time.Duration, bool)

// Data says what a frame is, for discovery (Houmani et al., VI-D).
type Data struct {
	Type       string `json:"type"`       // "image"
	Format     string `json:"format"`     // "" any, or a pipeline picture format
	Resolution int    `json:"resolution"` // quality at which it is to be analysed; 0 in an Offer: any
	// Model is what is to analyse it; "" any, on either side.
	Model string `json:"model,omitempty"`
}

// Offer is a running instance that takes frames: what discovery chooses from.
type Offer struct {
	Instance string `json:"instance"` // placement ID
	Group    string `json:"group"`
	Node     string `json:"node"`
	Tier     Tier   `json:"tier"`
	Address  string `json:"address"` // on the link's transport: host:port for QUIC, the node's ID for MQTT
	Link     Link   `json:"link"`    // how to get there
	Accepts  Data   `json:"accepts"`
	Fit      Fit    `json:"fit,omitempty"` // of the detector behind it
}

// Assignment is what one agent runs for one placement. It is derived from the
// state and never stored in it.
type Assignment struct {
	Placement  Placement  `json:"placement"`
	Source     *Source    `json:"source,omitempty"` // one of Source and Task is set
	Task       *Task      `json:"task,omitempty"`
	Objectives Objectives `json:"objectives"`
	// Quality is that at which a source's frames are analysed now; nil: as
	// Source says.
	Quality *Quality `json:"quality,omitempty"`
	// Held is why no frames of a source are taken in now; empty: they are.
	Held string `json:"held,omitempty"`
	// Groups are the tasks of the document that frames go on to, whether or
	// not an instance of them runs now. None: frames end here.
	Groups []string `json:"groups"`
	// Next are the instances that frames may go to; a frame goes to one of
	// each group, chosen by Discover.
	Next []Offer `json:"next"`
}
