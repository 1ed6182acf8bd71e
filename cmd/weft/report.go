package main

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// report is what a recording leaves for scripts. DurationS is how long the
// workflow was watched; frames, detections and durations are of its whole
// life, the durations in milliseconds. No list or map in it is null.
type report struct {
	Workflow   string            `json:"workflow"`
	Status     state.Status      `json:"status"` // when last seen, before it was stopped
	Reason     string            `json:"reason,omitempty"`
	DurationS  float64           `json:"duration_s"`
	Nodes      []reportNode      `json:"nodes"`
	Placements []reportPlacement `json:"placements"`
	Frames     pipeline.Counts   `json:"frames"`
	LatencyMS  api.Quantiles     `json:"latency_ms"` // from capture to result, of delivered frames
	Stages     []reportStage     `json:"stages"`
	Sources    []reportSource    `json:"sources"`
	Detections map[string]uint64 `json:"detections"`
	// F1 is of the frames of which it is known what they show; missing: of none.
	F1       *float64         `json:"f1,omitempty"`
	Judged   *pipeline.Judged `json:"judged,omitempty"`
	Pictures []picture        `json:"pictures"`
}

type reportNode struct {
	Name   string             `json:"name"`
	Tier   tiering.Tier       `json:"tier"`
	Status tiering.NodeStatus `json:"status"`
}

type reportPlacement struct {
	Task     string       `json:"task"`
	Category string       `json:"category"` // NI, LI, HI or source
	Node     string       `json:"node"`
	Tier     tiering.Tier `json:"tier"`
	Reason   string       `json:"reason"`
}

type reportStage struct {
	Task        string          `json:"task"`
	Status      pipeline.Status `json:"status"`
	Message     string          `json:"message,omitempty"`
	Backend     string          `json:"backend,omitempty"`
	Frames      uint64          `json:"frames"`
	ReduceP50   float64         `json:"reduce_ms_p50"` // scaling to the source's quality, part of no other
	ExecuteP50  float64         `json:"execute_ms_p50"`
	ExecuteP95  float64         `json:"execute_ms_p95"`
	TransferP50 float64         `json:"transfer_ms_p50"`
	TransferP95 float64         `json:"transfer_ms_p95"`
	QueueP50    float64         `json:"queue_ms_p50"`
	QueueP95    float64         `json:"queue_ms_p95"`
}

type reportSource struct {
	Source    string          `json:"source"`
	Node      string          `json:"node,omitempty"`
	Status    pipeline.Status `json:"status"`
	Message   string          `json:"message,omitempty"`
	Frames    pipeline.Counts `json:"frames"`
	LatencyMS api.Quantiles   `json:"latency_ms"`
}

// newReport takes what ran where from running, and the counts from final: a
// workflow that has been stopped runs nowhere.
func newReport(running, final api.WorkflowStatus, nodes []api.Node, watched time.Duration, pictures []picture) *report {
	r := &report{
		Workflow: running.Workflow, Status: running.Status, Reason: running.Reason, DurationS: math.Round(watched.Seconds()*10) / 10,
		Nodes: []reportNode{}, Placements: []reportPlacement{}, Stages: []reportStage{}, Sources: []reportSource{},
		Frames: counted(final.Frames), LatencyMS: final.LatencyMS, Detections: map[string]uint64{},
		Pictures: append([]picture{}, pictures...),
	}
	for label, n := range final.Detections {
		r.Detections[label] = n
	}
	r.Judged, r.F1 = final.Judged, final.F1
	for _, n := range nodes {
		r.Nodes = append(r.Nodes, reportNode{n.ID, n.Tier, n.Status})
	}
	for _, p := range byNames(running.Placements, steps(running)) {
		r.Placements = append(r.Placements, reportPlacement{p.Task, category(p), p.Node, p.Tier, p.Reason})
	}
	before := map[string]kpi.Source{}
	for _, x := range running.Sources {
		before[x.Source] = x
	}
	for _, x := range final.Sources {
		was := before[x.Source]
		r.Sources = append(r.Sources, reportSource{
			x.Source, cmp.Or(x.Node, was.Node), cmp.Or(was.Status, x.Status), was.Message, counted(x.Frames), x.LatencyMS,
		})
	}
	stages := map[string]kpi.Stage{}
	for _, x := range running.Stages {
		stages[x.Task] = x
	}
	for _, x := range final.Stages {
		was := stages[x.Task]
		r.Stages = append(r.Stages, reportStage{
			x.Task, cmp.Or(was.Status, x.Status), was.Message, cmp.Or(x.Backend, was.Backend), x.Processed,
			x.ReduceMS.P50, x.ExecuteMS.P50, x.ExecuteMS.P95, x.TransferMS.P50, x.TransferMS.P95, x.QueueMS.P50, x.QueueMS.P95,
		})
	}
	return r
}

// counted is the counts with a map, also where nothing was dropped.
func counted(c pipeline.Counts) pipeline.Counts { return c.Plus(pipeline.Counts{}) }

func showReport(p *page, r *report, dir string) {
	var rows [][]string
	for _, n := range r.Nodes {
		rows = append(rows, []string{n.Name, n.Tier.String(), string(n.Status)})
	}
	p.table("NODE|TIER|STATUS", rows)

	rows = nil
	for _, x := range r.Placements {
		rows = append(rows, []string{x.Task, x.Category, x.Node, x.Tier.String(), why(x.Category, x.Reason)})
	}
	p.linef("")
	p.table("TASK|CATEGORY|NODE|TIER|WHY", rows)

	p.linef("")
	showTotals(p, r.Frames, r.LatencyMS, r.Detections, r.Judged)

	rows = nil
	for _, s := range r.Stages {
		rows = append(rows, []string{
			s.Task, fmt.Sprint(s.Frames), millis(s.ReduceP50), pair(api.Quantiles{P50: s.ExecuteP50, P95: s.ExecuteP95}),
			pair(api.Quantiles{P50: s.QueueP50, P95: s.QueueP95}), pair(api.Quantiles{P50: s.TransferP50, P95: s.TransferP95}), s.Backend,
		})
	}
	p.linef("")
	p.table("STAGE|>FRAMES|>REDUCE p50 ms|>EXECUTE p50/p95 ms|>QUEUE|>TRANSFER|BACKEND", rows)

	p.linef("")
	p.linef("report    %s", filepath.Join(dir, reportFile))
	if len(r.Pictures) == 0 {
		p.linef("pictures  none were drawn meanwhile")
		return
	}
	p.linef("pictures  %d in %s, some of them on %s", len(r.Pictures), filepath.Join(dir, framesDir), filepath.Join(dir, sheetFile))
}
