package testbed

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Costs are what the simulator knows of the software: times measured on one
// full core of the machine that runs the experiment, and sizes.
type Costs struct {
	// Capture is a source's work for one frame: grab and decode.
	Capture *Time `json:"capture,omitempty"`
	// Input is how many pictures a second a source's input has. A source reads
	// them all, at the cost of Capture, also those that its rate leaves out.
	Input *float64 `json:"input_fps,omitempty"`
	// Tasks are by task name: "resize", "detect@640".
	Tasks map[string]TaskCosts `json:"tasks,omitempty"`
	// Idle is what weftd takes of its node without frames, in cores.
	Idle *float64 `json:"idle_cores,omitempty"`
	// Coordinate is what a coordinator's weftd takes beyond that, in cores.
	Coordinate *float64 `json:"coordinate_cores,omitempty"`
	// Detect is from a node's death until membership says that it failed.
	Detect *time.Duration `json:"detect,omitempty"`
	// Return is from a node's return until membership says that it is alive.
	Return *time.Duration `json:"return,omitempty"`
}

// TaskCosts are those of one task.
type TaskCosts struct {
	// Work is what the stage does for one frame, on one core.
	Work *Time `json:"work,omitempty"`
	// Send is what it takes to encode a frame for this task and put it on the
	// network, Receive to take it off again: each on one core, only where the
	// frame comes from another node.
	Send    *Time `json:"send,omitempty"`
	Receive *Time `json:"receive,omitempty"`
	// Bytes a frame has on its way to this task, headers of packets included.
	Bytes *int64 `json:"bytes,omitempty"`
	// Start is from the assignment until the stage takes frames, on one core.
	Start *time.Duration `json:"start,omitempty"`
	// Filtered is the share of its frames, 0–1, that a filter lets go no further.
	Filtered *float64 `json:"filtered,omitempty"`
	// Kept is the share of accuracy, 0–1, that was measured to be left by the
	// filter, where what frames show is not known.
	Kept *float64 `json:"kept,omitempty"`
}

// Time is a random duration, drawn from the gamma distribution: constant where
// CV is 0, exponential where it is 1.
type Time struct {
	Mean time.Duration `json:"mean"`
	CV   float64       `json:"cv"` // standard deviation over mean
}

// Or returns c with what o states in place of its own.
func (c Costs) Or(o Costs) Costs {
	c.Capture = cmp.Or(o.Capture, c.Capture)
	c.Input = cmp.Or(o.Input, c.Input)
	c.Idle = cmp.Or(o.Idle, c.Idle)
	c.Coordinate = cmp.Or(o.Coordinate, c.Coordinate)
	c.Detect = cmp.Or(o.Detect, c.Detect)
	c.Return = cmp.Or(o.Return, c.Return)
	tasks := maps.Clone(c.Tasks)
	if tasks == nil {
		tasks = map[string]TaskCosts{}
	}
	for name, x := range o.Tasks {
		t := tasks[name]
		t.Work = cmp.Or(x.Work, t.Work)
		t.Send = cmp.Or(x.Send, t.Send)
		t.Receive = cmp.Or(x.Receive, t.Receive)
		t.Bytes = cmp.Or(x.Bytes, t.Bytes)
		t.Start = cmp.Or(x.Start, t.Start)
		t.Filtered = cmp.Or(x.Filtered, t.Filtered)
		t.Kept = cmp.Or(x.Kept, t.Kept)
		tasks[name] = t
	}
	c.Tasks = tasks
	return c
}

// Complete reports whether everything is stated that a simulation may need.
func (c Costs) Complete() bool {
	if c.Capture == nil || c.Idle == nil || c.Detect == nil || c.Return == nil || len(c.Tasks) == 0 {
		return false
	}
	for _, t := range c.Tasks {
		if t.Work == nil || t.Send == nil || t.Receive == nil || t.Bytes == nil || t.Start == nil {
			return false
		}
	}
	return true
}

// String says what the work costs, for people: "capture 3.1 ms, detect@512 52 ms".
func (c Costs) String() string {
	var parts []string
	add := func(what string, t *Time) {
		if t != nil {
			parts = append(parts, fmt.Sprintf("%s %.3g ms", what, float64(t.Mean)/float64(time.Millisecond)))
		}
	}
	add("capture", c.Capture)
	for _, name := range slices.Sorted(maps.Keys(c.Tasks)) {
		add(name, c.Tasks[name].Work)
	}
	return strings.Join(parts, ", ")
}
