package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/pipeline"
)

func statusCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "status NAME", Short: "Show how a workflow is doing: frames, latency, stages, detections", Args: exactly(1),
		ValidArgsFunction: workflowNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			return query(cmd, env, func(c *api.Client, ctx context.Context) (api.WorkflowStatus, error) {
				s, err := c.Workflow(ctx, args[0])
				return s, namely(err, args[0])
			}, showStatus)
		},
	}
}

func showStatus(p *page, s api.WorkflowStatus) {
	reason := ""
	if s.Reason != "" {
		reason = ": " + clean(s.Reason)
	}
	p.linef("workflow %s is %s%s", s.Workflow, s.Status, reason)
	if n := s.Next; n != nil {
		p.linef("version %d waits to take the place of version %d: %s", n.Version, s.Version, clean(n.Reason))
	}
	p.linef("")
	showTotals(p, s.Frames, s.LatencyMS, s.Detections, s.Judged)

	var (
		rows     [][]string
		filtered []uint64
	)
	for _, x := range s.Sources {
		quality := ""
		if x.Quality != nil && x.Quality.Every > 0 {
			quality = strings.TrimPrefix(x.Quality.String(), "@")
		}
		rows = append(rows, []string{
			x.Source, x.Node, string(x.Status), quality, fmt.Sprint(x.Frames.Captured), fmt.Sprint(x.Frames.Delivered),
			fmt.Sprint(x.Frames.Lost()), fmt.Sprint(x.Frames.InFlight), pair(x.LatencyMS), x.Message,
		})
		filtered = append(filtered, x.Frames.Filtered)
	}
	p.linef("")
	p.filtered("SOURCE|NODE|STATUS|QUALITY|>CAPTURED|>DELIVERED|>DROPPED|>IN FLIGHT|>LATENCY p50/p95 ms|MESSAGE", rows, 6, filtered)

	rows, filtered = nil, nil
	for _, x := range s.Stages {
		rows = append(rows, []string{
			x.Task, fmt.Sprint(x.Instances), string(x.Status), x.Backend, fmt.Sprint(x.Processed),
			pair(x.ExecuteMS), pair(x.QueueMS), pair(x.TransferMS), x.Message,
		})
		filtered = append(filtered, x.Filtered)
	}
	p.linef("")
	p.filtered("STAGE|>INSTANCES|STATUS|BACKEND|>FRAMES|>EXECUTE p50/p95 ms|>QUEUE|>TRANSFER|MESSAGE", rows, 5, filtered)

	showFilters(p, s.Stages)
	if len(s.Placements) == 0 {
		return
	}
	rows = nil
	for _, x := range byNames(s.Placements, steps(s)) {
		rows = append(rows, []string{x.Task, category(x), x.Node, x.Tier.String(), why(category(x), x.Reason)})
	}
	p.linef("")
	p.table("TASK|CATEGORY|NODE|TIER|WHY", rows)
}

// showFilters lists what filters go by.
func showFilters(p *page, stages []api.StageStatus) {
	share := func(x float64) string {
		if x == 0 {
			return "-"
		}
		return fmt.Sprintf("%.0f %%", 100*x)
	}
	var rows [][]string
	for _, x := range stages {
		for _, f := range x.Filters {
			threshold := "skips nothing yet"
			if f.Skips {
				threshold = fmt.Sprintf("%.2g", f.Threshold)
			}
			rows = append(rows, []string{x.Task, f.Source, threshold, share(f.Accuracy), share(f.Analysed)})
		}
	}
	if len(rows) > 0 {
		p.linef("")
		p.table("FILTER|SOURCE|>THRESHOLD|>ACCURACY KEPT|>ANALYSED", rows)
	}
}

// steps are the names of a workflow's sources and tasks, as frames pass them.
func steps(s api.WorkflowStatus) []string {
	var names []string
	for _, x := range s.Sources {
		names = append(names, x.Source)
	}
	for _, x := range s.Stages {
		names = append(names, x.Task)
	}
	return names
}

func showTotals(p *page, f pipeline.Counts, latency api.Quantiles, found map[string]uint64, judged *pipeline.Judged) {
	dropped := ""
	if len(f.Dropped) > 0 {
		dropped = " (" + strings.ReplaceAll(tally(f.Dropped), "_", " ") + ")"
	}
	filtered := ""
	if f.Filtered > 0 {
		filtered = fmt.Sprintf(" + %d filtered", f.Filtered)
	}
	p.linef("frames   %d captured = %d delivered%s + %d dropped%s + %d in flight", f.Captured, f.Delivered, filtered, f.Lost(), dropped, f.InFlight)
	p.linef("latency  p50 %s, p95 %s, p99 %s, from capture to result", ms(latency.P50), ms(latency.P95), ms(latency.P99))
	p.linef("found    %s", cmp.Or(clean(tally(found)), "nothing"))
	if judged != nil {
		p.linef("F1       %.3f: %d found rightly, %d wrongly, %d missed, in %d frames of which it is known what they show",
			judged.F1(), judged.Right, judged.Wrong, judged.Missed, judged.Frames)
	}
}

// filtered is a table with the frames that were filtered as the column at, if
// any were.
func (p *page) filtered(header string, rows [][]string, at int, counts []uint64) {
	if slices.Max(append(counts, 0)) > 0 {
		header = strings.Join(slices.Insert(strings.Split(header, "|"), at, ">FILTERED"), "|")
		for i := range rows {
			rows[i] = slices.Insert(rows[i], at, fmt.Sprint(counts[i]))
		}
	}
	p.table(header, rows)
}

// troubles are what keeps a workflow from running as it should, in words.
func troubles(s api.WorkflowStatus) []string {
	var out []string
	add := func(what string, status pipeline.Status, message string) {
		if message == "" && status != pipeline.StatusFailed && status != pipeline.StatusRetrying {
			return
		}
		switch status {
		case pipeline.StatusRunning:
		case pipeline.StatusFailed, pipeline.StatusEnded:
			what += " has " + string(status)
		default:
			what += " is " + string(status)
		}
		out = append(out, clean(strings.TrimSuffix(what+": "+message, ": ")))
	}
	if s.Reason != "" {
		out = append(out, clean(fmt.Sprintf("workflow %s is %s: %s", s.Workflow, s.Status, s.Reason)))
	}
	if n := s.Next; n != nil {
		out = append(out, clean(fmt.Sprintf("workflow %s version %d waits: %s", s.Workflow, n.Version, n.Reason)))
	}
	for _, x := range s.Sources {
		what := "source " + x.Source
		if x.Node != "" {
			what += " on " + x.Node
		}
		add(what, x.Status, x.Message)
	}
	for _, x := range s.Stages {
		add(x.Task, x.Status, x.Message)
	}
	return out
}

// printEvent writes one event, on one line.
func (e *environment) printEvent(w io.Writer, event api.Event) error {
	line := fmt.Appendf(nil, "%s  %-20s  %s\n", event.At.Local().Format(time.TimeOnly), event.Type, clean(event.Message))
	if e.output == formatJSON {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(event); err != nil {
			return err
		}
		line = b.Bytes()
	}
	_, err := w.Write(line)
	return err
}

// tally words counts, the largest first: "12 person, 3 dog".
func tally[K ~string](m map[K]uint64) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b K) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%d %s", m[k], string(k)))
	}
	return strings.Join(out, ", ")
}

// millis formats milliseconds: three digits are enough; "-" if nothing was
// measured.
func millis(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func ms(v float64) string {
	if v == 0 {
		return "-"
	}
	return millis(v) + " ms"
}

func pair(q api.Quantiles) string {
	if q.P50 == 0 && q.P95 == 0 {
		return "-"
	}
	return millis(q.P50) + " / " + millis(q.P95)
}
