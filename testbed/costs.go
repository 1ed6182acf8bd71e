package testbed

import "time"

// Costs are what the simulator knows of the software: times measured on one
// full core of the machine that runs the experiment, and sizes.
type Costs struct {
	// Capture is a source's work for one frame: grab and decode.
	Capture *Time `json:"capture,omitempty"`
	// Tasks are by task name: "resize", "detect@640".
	Tasks map[string]TaskCosts `json:"tasks,omitempty"`
	// Idle is what weftd takes of its node without frames, in cores.
	Idle *float64 `json:"idle_cores,omitempty"`
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
}

// Time is a random duration, drawn from the gamma distribution: constant where
// CV is 0, exponential where it is 1.
type Time struct {
	Mean time.Duration `json:"mean"`
	CV   float64       `json:"cv"` // standard deviation over mean
}
