package experiment

import (
	"slices"
	"testing"

	"github.com/weft-mesh/weft/testbed"
)

func summaryOf(m testbed.Method, metrics map[string]Estimate) *Summary {
	return &Summary{Scenario: "s", CPUScale: 1, Methods: map[testbed.Method]*MethodSummary{m: {Metrics: metrics}}}
}

func est(mean float64, ci ...float64) Estimate {
	e := Estimate{Mean: mean}
	if len(ci) > 0 {
		e.CI95 = &ci[0]
	}
	return e
}

func TestCompare(t *testing.T) {
	a := summaryOf(testbed.Emulated, map[string]Estimate{
		"latency_ms.p50": est(100, 5), "latency_ms.p95": est(200, 5), "throughput_fps": est(10), "dropped_frames.link": est(0), "dropped_frames.lost": est(0), "event.1.gap_s": est(2),
	})
	b := summaryOf(testbed.Emulated, map[string]Estimate{
		"latency_ms.p50": est(108, 4), "latency_ms.p95": est(260, 4), "throughput_fps": est(9), "dropped_frames.link": est(0), "dropped_frames.lost": est(3),
	})
	c := Compare(a, b, 0.1)
	if !c.SameScenario || len(c.Notes) != 0 || c.Beyond != 3 {
		t.Errorf("same %v, notes %v, beyond %d", c.SameScenario, c.Notes, c.Beyond)
	}
	yes, no := true, false
	type row struct {
		name    string
		ratio   float64 // 0: none
		overlap *bool
		beyond  bool
	}
	want := []row{
		{"throughput_fps", 0.9, nil, false}, {"latency_ms.p50", 1.08, &yes, false}, {"latency_ms.p95", 1.3, &no, true},
		{"dropped_frames.link", 0, nil, false}, {"dropped_frames.lost", 0, nil, true}, {"event.1.gap_s", 0, nil, true},
	}
	for i, d := range c.Metrics {
		if i >= len(want) {
			t.Fatalf("more: %+v", d)
		}
		w := want[i]
		got := row{name: d.Metric, beyond: d.Beyond}
		if d.Ratio != nil {
			got.ratio = *d.Ratio
		}
		if got.name != w.name || got.ratio != w.ratio || got.beyond != w.beyond || (d.Overlap == nil) != (w.overlap == nil) || d.Overlap != nil && *d.Overlap != *w.overlap {
			t.Errorf("got %+v (%v), want %+v", got, d.Overlap, w)
		}
	}
	if last := c.Metrics[len(c.Metrics)-1]; last.A == nil || last.B != nil {
		t.Errorf("what one lacks: %+v", last)
	}
}

func TestCompareNotes(t *testing.T) {
	a, b := summaryOf(testbed.Emulated, map[string]Estimate{"x": est(1)}), summaryOf(testbed.Simulated, map[string]Estimate{"x": est(2)})
	b.Scenario, b.SHA256, b.CPUScale, b.Version = "other", "1", 0.5, "2"
	b.Machine = Machine{CPU: "Fast", Cores: 8}
	c := Compare(a, b, 0.15)
	want := []string{
		"different scenarios: s and other", "different CPU scales: 1 and 0.5", "different machines: 0 cores and Fast (8 cores)",
		"different versions of weft:  and 2", "emulated runs are compared with simulated ones",
	}
	if !slices.Equal(c.Notes, want) || c.SameScenario || len(c.Metrics) != 1 || c.Metrics[0].MethodB != testbed.Simulated {
		t.Errorf("got %q, %+v", c.Notes, c)
	}
	b.Scenario = "s"
	if got := Compare(a, b, 0.15).Notes[0]; got != "the scenario s was edited between the two" {
		t.Errorf("got %q", got)
	}
	none := &Summary{}
	if got := Compare(none, none, 0.1); len(got.Metrics) != 0 || !slices.Contains(got.Notes, "there is nothing to compare: one of them has no runs") {
		t.Errorf("of nothing: %+v", got)
	}
	both := Summarize(synthResult(1, 1))
	methods := map[testbed.Method]bool{}
	for _, d := range Compare(both, both, 0).Metrics {
		if d.MethodA != d.MethodB || d.Beyond {
			t.Errorf("with itself: %+v", d)
		}
		methods[d.MethodA] = true
	}
	if len(methods) != 2 {
		t.Errorf("compared: %v", methods)
	}
}
