package kpi

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// Workflow is how a workflow is doing: what the state says, and what the
// agents reported since the leader took office. Frames and durations are those
// of the workflow's life, over every node that it ran on.
type Workflow struct {
	Workflow   string              `json:"workflow"`
	Version    uint64              `json:"version"`
	Status     state.Status        `json:"status"`
	Reason     string              `json:"reason,omitempty"`
	Since      time.Time           `json:"since"`
	Next       *Next               `json:"next,omitempty"` // nil: there is none
	Frames     pipeline.Counts     `json:"frames"`
	Latency    *pipeline.Histogram `json:"latency"` // capture to delivery
	LatencyMS  Quantiles           `json:"latency_ms"`
	Sources    []Source            `json:"sources"`
	Stages     []Stage             `json:"stages"`
	Detections map[string]uint64   `json:"detections"` // by label
	// Judged is how right the detections were; nil: of no frame it is known.
	Judged     *pipeline.Judged    `json:"judged,omitempty"`
	F1         *float64            `json:"f1,omitempty"`
	Placements []tiering.Placement `json:"placements"`
}

// Next is the version of a workflow that takes the place of the one that runs
// when its models have come.
type Next struct {
	Version   uint64    `json:"version"`
	Submitted time.Time `json:"submitted"`
	Reason    string    `json:"reason"` // what it waits for
}

// NextOf returns what takes the place of a workflow; nil: nothing does.
func NextOf(w *state.Workflow) *Next {
	if w.Next == nil {
		return nil
	}
	return &Next{w.Next.Version, w.Next.Submitted, w.Next.Reason}
}

// next is NextOf with why nodes cannot get the models, as far as they say.
func (s *Reports) next(w *state.Workflow, snap *state.Snapshot) *Next {
	n := NextOf(w)
	if n == nil {
		return nil
	}
	var models []string
	for _, u := range w.Next.Unplaced {
		if t, ok := w.Next.Spec.Task(u.Name); ok && t.Model != nil && !slices.Contains(models, t.Model.Name) {
			models = append(models, t.Model.Name)
		}
	}
	why := []string{n.Reason}
	for _, m := range models {
		why = append(why, s.lacking(m, snap)...)
	}
	n.Reason = strings.Join(why, "; ")
	return n
}

// judged is how right detections were, and their F1; nil: of no frame it is known.
func judged(j pipeline.Judged) (*pipeline.Judged, *float64) {
	if j.Frames == 0 {
		return nil, nil
	}
	f1 := j.F1()
	return &j, &f1
}

// Source is how one source is doing.
type Source struct {
	Source  string          `json:"source"`
	Node    string          `json:"node,omitempty"` // empty: on none
	Status  pipeline.Status `json:"status"`
	Message string          `json:"message,omitempty"`
	// Quality is that of the frames that it makes now; nil: nobody says.
	Quality   *tiering.Quality `json:"quality,omitempty"`
	Frames    pipeline.Counts  `json:"frames"`
	LatencyMS Quantiles        `json:"latency_ms"`
	// Capture and Latency are for whoever adds up or compares; nil: empty.
	Capture *pipeline.Histogram `json:"capture,omitempty"`
	Latency *pipeline.Histogram `json:"latency,omitempty"`
}

// Stage is how the instances of one task are doing: Status is that of
// the one that does worst.
type Stage struct {
	Task       string                     `json:"task"`
	Instances  int                        `json:"instances"` // placed
	Status     pipeline.Status            `json:"status"`
	Message    string                     `json:"message,omitempty"`
	Backend    string                     `json:"backend,omitempty"` // effective one of a detector
	Received   uint64                     `json:"received"`
	Processed  uint64                     `json:"processed"`
	Filtered   uint64                     `json:"filtered,omitempty"`
	Bytes      uint64                     `json:"received_bytes"` // of pictures that came from other nodes
	Dropped    map[pipeline.Reason]uint64 `json:"dropped"`
	ExecuteMS  Quantiles                  `json:"execute_ms"`
	QueueMS    Quantiles                  `json:"queue_ms"`
	TransferMS Quantiles                  `json:"transfer_ms"`
	ReduceMS   Quantiles                  `json:"reduce_ms"`
	// Judged is how right its detections were; nil: of no frame it is known.
	Judged *pipeline.Judged `json:"judged,omitempty"`
	F1     *float64         `json:"f1,omitempty"`
	// Filters are what filters go by, by node and source.
	Filters []pipeline.Filtering `json:"filters,omitempty"`
	// The same whole, for whoever adds up or compares; nil: empty.
	Execute  *pipeline.Histogram `json:"execute,omitempty"`
	Queue    *pipeline.Histogram `json:"queue,omitempty"`
	Transfer *pipeline.Histogram `json:"transfer,omitempty"`
	Reduce   *pipeline.Histogram `json:"reduce,omitempty"`
}

// Status returns how a workflow of the snapshot is doing.
func (s *Reports) Status(w *state.Workflow, snap *state.Snapshot) Workflow {
	sum, running := s.gather(w.Name, snap)
	out := Workflow{
		Workflow: w.Name, Version: w.Version, Status: w.Status, Reason: w.Reason, Since: w.Since, Next: s.next(w, snap),
		Frames: pipeline.Counts{Dropped: map[pipeline.Reason]uint64{}}, Latency: pipeline.NewHistogram(),
		Sources: []Source{}, Stages: []Stage{}, Detections: map[string]uint64{},
		Placements: snap.PlacementsOf(w.Name),
	}
	// Sources and tasks that an update took out still count in the totals.
	for _, t := range sum.sources {
		out.Frames = out.Frames.Plus(t.frames)
		out.Latency.Merge(t.latency)
	}
	out.LatencyMS = quantiles(out.Latency)
	var known pipeline.Judged
	for _, t := range sum.tasks {
		accumulate(out.Detections, t.detections)
		known = known.Plus(t.judged)
	}
	out.Judged, out.F1 = judged(known)
	for i := range w.Spec.Sources {
		out.Sources = append(out.Sources, sourceStatus(w, w.Spec.Sources[i].Name, &out, sum, running, snap))
	}
	for i := range w.Spec.Tasks {
		out.Stages = append(out.Stages, stageStatus(w, w.Spec.Tasks[i].Name, &out, sum, running, snap))
		s.explain(&out.Stages[i], w, &w.Spec.Tasks[i], snap)
	}
	return out
}

func sourceStatus(w *state.Workflow, name string, out *Workflow, sum *totals, running map[instanceOn]*reported, snap *state.Snapshot) Source {
	t := sum.source(name)
	s := Source{Source: name, Frames: t.frames, LatencyMS: quantiles(t.latency), Capture: t.capture, Latency: t.latency}
	h := instances(w, name, true, out.Placements, running, snap)
	s.Node, s.Status, s.Message, s.Quality = h.node, h.status, h.message, h.quality
	return s
}

func stageStatus(w *state.Workflow, name string, out *Workflow, sum *totals, running map[instanceOn]*reported, snap *state.Snapshot) Stage {
	t := sum.task(name)
	h := instances(w, name, false, out.Placements, running, snap)
	known, f1 := judged(t.judged)
	return Stage{
		Task: name, Instances: h.count, Status: h.status, Message: h.message, Backend: h.backend,
		Received: t.received, Processed: t.processed, Filtered: t.filtered, Bytes: t.bytes, Dropped: t.dropped,
		ExecuteMS: quantiles(t.execute), QueueMS: quantiles(t.queue),
		TransferMS: quantiles(t.transfer), ReduceMS: quantiles(t.reduce),
		Execute: t.execute, Queue: t.queue, Transfer: t.transfer, Reduce: t.reduce, Judged: known, F1: f1,
		Filters: h.filters,
	}
}

// explain adds to what is said of a stage that the last plan went without why,
// if it is a model that nodes cannot get.
func (s *Reports) explain(stage *Stage, w *state.Workflow, t *tiering.Task, snap *state.Snapshot) {
	i := slices.IndexFunc(w.Unplaced, func(u tiering.Unplaced) bool { return u.Name == t.Name })
	if i < 0 || t.Model == nil {
		return
	}
	why := append([]string{stage.Message}, s.lacking(t.Model.Name, snap)...)
	if stage.Instances > 0 { // on a node that is gone
		why = slices.Insert(why, 1, w.Unplaced[i].Reason)
	}
	stage.Message = strings.TrimPrefix(strings.Join(why, "; "), "; ")
}

// condition is how the instances of a source or task are doing.
type condition struct {
	count   int
	node    string
	status  pipeline.Status
	message string
	backend string
	quality *tiering.Quality
	filters []pipeline.Filtering
}

// instances looks at each placement of a source or task: what the agent says,
// or why it says nothing.
func instances(w *state.Workflow, name string, source bool, placements []tiering.Placement, running map[instanceOn]*reported, snap *state.Snapshot) condition {
	var c condition
	alive := func(node string) bool { n, _ := snap.Node(node); return n.Alive() }
	for i := range placements {
		p := &placements[i]
		if p.Task != name || p.Source != source {
			continue
		}
		c.count++
		c.node = p.Serves(alive)
		e := running[instanceOn{p.ID, c.node}]
		status, message := e.says()
		if e != nil && e.stage != nil && alive(c.node) {
			c.filters = append(c.filters, e.stage.Filters...)
		}
		if !alive(c.node) {
			status, message = pipeline.StatusRetrying, fmt.Sprintf("node %s is gone", c.node)
		} else if c.backend == "" && e != nil && e.stage != nil {
			c.backend = e.stage.Backend
		} else if e != nil && e.source != nil {
			c.quality = e.source.Quality
		}
		if p.From == c.node && p.From != p.Node && message == "" {
			moves, why := running[instanceOn{p.ID, p.Node}].says()
			message = strings.TrimSuffix(fmt.Sprintf("moving to %s, where it is %s: %s", p.Node, moves, why), ": ")
		}
		if c.status == "" || severity(status) > severity(c.status) {
			c.status, c.message = status, message
		}
	}
	if c.count > 0 {
		return c
	}
	c.status, c.message = pipeline.StatusEnded, w.Reason
	for _, u := range w.Unplaced {
		if u.Name == name {
			c.status, c.message = pipeline.StatusRetrying, u.Reason
		}
	}
	return c
}

// says is the status that an agent reported, and why; nil: nothing yet.
func (e *reported) says() (pipeline.Status, string) {
	switch {
	case e == nil:
		return pipeline.StatusStarting, ""
	case e.source != nil:
		return e.source.Status, e.source.Message
	}
	return e.stage.Status, e.stage.Message
}

func severity(s pipeline.Status) int {
	for i, known := range []pipeline.Status{
		pipeline.StatusEnded, pipeline.StatusRunning, pipeline.StatusHeld, pipeline.StatusStarting, pipeline.StatusRetrying, pipeline.StatusFailed,
	} {
		if s == known {
			return i
		}
	}
	return 0
}

// Quantiles of durations, in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

func quantiles(h *pipeline.Histogram) Quantiles {
	ms := func(q float64) float64 { return float64(h.Quantile(q)) / float64(time.Millisecond) }
	return Quantiles{ms(0.50), ms(0.95), ms(0.99)}
}
