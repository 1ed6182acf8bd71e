package testbed

import (
	"math"
	"slices"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// Scenario is an experiment: what there is, what happens, what is measured.
// It is immutable once made.
type Scenario struct {
	Name     string
	Seed     uint64
	CPUScale float64 // every node's CPU quota is its cores times this; 1: true size
	// CPUOverhead is what a node has beyond it, in thousandths of a core: for what does
	// not become less with the cores, weftd itself and the pictures of drawn cameras.
	CPUOverhead int64
	// SlowCores makes of a node's cores slower ones, CPUScale times as fast, of which an
	// instance has one. Otherwise one instance may use all of a node's quota.
	SlowCores bool
	Nodes     []Node // in the order of the document, counts expanded
	Network   Network
	Workflow  Workflow
	Sources   []Source // those that run from the start, counts expanded
	Reserve   []Source // those that the timeline may add, in this order
	Timeline  []Event  // in order of time
	Measure   Measure
	Costs     Costs // that the document gives; the rest is measured
}

// Running returns the sources that run when there are n: those of the start and
// then those of the reserve, so that the last to come are the first to go.
func (s *Scenario) Running(n int) []Source {
	all := slices.Concat(s.Sources, s.Reserve)
	return all[:min(max(n, 0), len(all))]
}

// Node is an emulated machine.
type Node struct {
	Name        string       `json:"name"`
	Tier        tiering.Tier `json:"tier"`
	Cores       int64        `json:"cpu_m"`  // thousandths of a core, unscaled
	Memory      int64        `json:"memory"` // bytes
	Disk        int64        `json:"disk"`   // bytes that it offers; not enforced
	Coordinator bool         `json:"coordinator,omitempty"`
	Dedicated   bool         `json:"dedicated,omitempty"` // a coordinator that takes no tasks
	Broker      bool         `json:"broker,omitempty"`    // runs the embedded MQTT broker
}

// Workflow is the workflow that runs on the testbed. Its own sources are
// replaced by the scenario's where that has any.
type Workflow struct {
	File     string // as the messages name it
	Document []byte // as it was read
	Name     string
	Media    string // directory that video: and images: paths are relative to; empty: none
	Models   string // directory of detectors' files; empty: none
}

// Source is a producer of frames.
type Source struct {
	Name       string  `json:"name"`
	URI        string  `json:"uri"`
	Node       string  `json:"node"` // that it is attached to
	FPS        float64 `json:"fps"`
	Resolution int     `json:"resolution"`
}

// Measure says what is measured, and when.
type Measure struct {
	Warmup   time.Duration // frames flow, and count for nothing
	Duration time.Duration // of the experiment, after the warm-up
	Every    time.Duration // between samples
}

// Uplink is the rate of the link from a tier to the next one up, in bits a
// second, as the document has it; 0: it has none, or does not limit it.
func (s *Scenario) Uplink(of tiering.Tier) int64 {
	for _, l := range s.Network.Tiers {
		if l.A == of && l.B == of+1 {
			return l.Link.Rate
		}
	}
	return 0
}

// Quota is the CPU time that a node may use at a CPU scale, in cores: never more than
// it has.
func (s *Scenario) Quota(n Node, scale float64) float64 {
	cores := float64(n.Cores) / 1000
	return min(cores, cores*scale+float64(s.CPUOverhead)/1000)
}

// CoreSpeed is what an instance gets of a core at a CPU scale.
func (s *Scenario) CoreSpeed(scale float64) float64 {
	if s.SlowCores {
		return scale
	}
	return 1
}

// Turns is how many instances of a node work at a time at a CPU scale, as package agent
// has it: one more than there are processors, of slow cores as many.
func (s *Scenario) Turns(n Node, scale float64) int {
	if s.SlowCores {
		return Processors(n.Cores, 1)
	}
	return Processors(n.Cores, scale) + 1
}

// Processors is how many a process on a node of so many cores (in thousandths) takes
// itself to have, if it may use a fraction of them: that many, rounded up, and not
// below two where there are two, as Go's runtime has it of a control group's quota.
func Processors(cores int64, scale float64) int {
	all := int(math.Ceil(float64(cores) / 1000))
	return max(1, min(all, 2), int(math.Ceil(float64(cores)/1000*scale-1e-9)))
}
