package experiment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// metrics are the figures of one run by name, as Summary documents. dropped
// are the reasons that any run has: in the others they are 0.
func metrics(sc *testbed.Scenario, rec *testbed.Recording, found map[int]Recovery, dropped []string) map[string]float64 {
	out := map[string]float64{}
	t := &rec.Totals
	if t.Duration <= 0 {
		return out // it ended before anything was measured
	}
	out["captured_frames"] = float64(t.Frames.Captured)
	out["delivered_frames"] = float64(t.Frames.Delivered)
	if t.Frames.Captured > 0 {
		out["delivered_fraction"] = float64(t.Frames.Delivered) / float64(max(t.Frames.Captured-t.Frames.Filtered, 1))
	}
	if t.Frames.Filtered > 0 {
		out["filtered_frames"] = float64(t.Frames.Filtered)
	}
	out["throughput_fps"] = t.Throughput
	for _, r := range dropped {
		out["dropped_frames."+r] = float64(t.Frames.Dropped[pipeline.Reason(r)])
	}
	if t.Latency.Count() > 0 {
		out["latency_ms.mean"] = inMillis(t.Latency.Mean())
		quantiles(out, "latency_ms", t.Latency, 50, 95, 99)
	}
	if w, err := sc.WorkflowSpec(nil); err == nil {
		if m, err := mixOf(sc, w, rec); err == nil {
			if x, err := f1(sc, w, t, m); err == nil && x > 0 {
				out["f1_estimated"] = x
			}
		}
	}
	for _, s := range t.Stages {
		name := "stage." + s.Task + "."
		out[name+"processed_frames"] = float64(s.Processed)
		out[name+"dropped_frames"] = float64(pipeline.Counts{Dropped: s.Dropped}.Lost())
		quantiles(out, name+"queue_ms", s.Queue, 50, 95)
		quantiles(out, name+"transfer_ms", s.Transfer, 50, 95)
		quantiles(out, name+"work_ms", s.Work, 50, 95)
	}
	addCPU(out, sc, rec.Samples)
	for n, r := range found {
		name := fmt.Sprintf("event.%d.", n)
		out[name+"gap_s"] = r.Gap
		out[name+"before_fps"] = r.Before
		out[name+"after_fps"] = r.After
		out[name+"lost_frames"] = float64(r.Total())
		out[name+"recovered_fraction"] = 0
		if r.RecoveredAfter != nil {
			out[name+"recovered_fraction"] = 1
			out[name+"recovered_after_s"] = *r.RecoveredAfter
		}
	}
	return out
}

func quantiles(out map[string]float64, name string, h *pipeline.Histogram, percents ...int) {
	if h.Count() == 0 {
		return
	}
	for _, p := range percents {
		out[fmt.Sprintf("%s.p%d", name, p)] = inMillis(h.Quantile(float64(p) / 100))
	}
}

// addCPU adds what nodes and tiers used on average over the measured time. A
// count that shrank began anew.
func addCPU(out map[string]float64, sc *testbed.Scenario, samples []testbed.Sample) {
	i := slices.IndexFunc(samples, func(s testbed.Sample) bool { return s.At >= 0 })
	if i < 0 || i == len(samples)-1 {
		return
	}
	measured := samples[i:]
	span := measured[len(measured)-1].At - measured[0].At
	if span <= 0 {
		return
	}
	for _, n := range sc.Nodes {
		var used time.Duration
		known := false
		for k := 1; k < len(measured); k++ {
			a, b := nodeIn(&measured[k-1], n.Name), nodeIn(&measured[k], n.Name)
			if a == nil || b == nil {
				continue
			}
			known = true
			if b.CPU >= a.CPU {
				used += b.CPU - a.CPU
			} else {
				used += b.CPU
			}
		}
		if known {
			cores := used.Seconds() / span.Seconds()
			out["cpu_cores.node."+n.Name] = cores
			out["cpu_cores.tier."+n.Tier.String()] += cores
		}
	}
}

// droppedReasons are those for which any run dropped frames, sorted.
func droppedReasons(recs []testbed.Recording) []string {
	var out []string
	for i := range recs {
		for r, n := range recs[i].Totals.Frames.Dropped {
			if n > 0 && !slices.Contains(out, string(r)) {
				out = append(out, string(r))
			}
		}
	}
	slices.Sort(out)
	return out
}

// tiersOf are the tiers that have nodes.
func tiersOf(sc *testbed.Scenario) []tiering.Tier {
	var out []tiering.Tier
	for _, t := range tiering.Tiers() {
		if slices.ContainsFunc(sc.Nodes, func(n testbed.Node) bool { return n.Tier == t }) {
			out = append(out, t)
		}
	}
	return out
}

// unitOf is the unit of a metric: names of nodes and tasks in it say nothing.
func unitOf(name string) string {
	parts := strings.Split(name, ".")
	switch parts[0] {
	case "cpu_cores":
		return "cores"
	case "dropped_frames":
		return "frames"
	}
	for _, part := range slices.Backward(parts) {
		for _, u := range []struct{ ending, unit string }{
			{"_ms", "ms"}, {"_fps", "frames/s"}, {"_frames", "frames"}, {"_s", "s"}, {"_fraction", ""},
		} {
			if strings.HasSuffix(part, u.ending) {
				return u.unit
			}
		}
	}
	return ""
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// order is that of metrics in tables: by their beginnings.
var order = []string{
	"captured_frames", "delivered_frames", "delivered_fraction", "throughput_fps", "latency_ms.", "f1_estimated", "dropped_frames.", "cpu_cores.tier.edge", "cpu_cores.tier.fog",
	"cpu_cores.tier.cloud",
	"cpu_cores.node.", "stage.", "event.",
}

// byImportance compares names of metrics for tables.
func byImportance(a, b string) int {
	rank := func(name string) int {
		i := slices.IndexFunc(order, func(p string) bool { return strings.HasPrefix(name, p) })
		if i < 0 {
			return len(order)
		}
		return i
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), natural(a, b))
}

// natural compares texts with the numbers in them as numbers: event.2 before
// event.10.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := leadingDigits(a), leadingDigits(b)
		if x != "" && y != "" {
			p, q := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Or(cmp.Compare(len(p), len(q)), cmp.Compare(p, q), cmp.Compare(len(x), len(y))); c != 0 {
				return c
			}
			a, b = a[len(x):], b[len(y):]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func leadingDigits(s string) string { return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))] }
