package main

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/pipeline"
)

// What was filtered has its own column and its own part of the sum; workflows
// without a filter are spared both.
func TestStatusOfAFilter(t *testing.T) {
	show := func(filtered uint64, filters ...pipeline.Filtering) string {
		p := &page{}
		showStatus(p, api.WorkflowStatus{
			Workflow: "quiet", Status: "running", Frames: pipeline.Counts{Captured: 100 + filtered, Delivered: 99, Filtered: filtered, InFlight: 1},
			Sources: []api.SourceStatus{
				{Source: "lane", Status: pipeline.StatusRunning, Frames: pipeline.Counts{Captured: 50 + filtered, Delivered: 50, Filtered: filtered}},
				{Source: "yard", Status: pipeline.StatusRunning, Frames: pipeline.Counts{Captured: 50, Delivered: 49, InFlight: 1}},
			},
			Stages: []api.StageStatus{{Task: "still", Processed: 100, Filtered: filtered, Filters: filters}, {Task: "detect", Processed: 99}},
		})
		return p.String()
	}
	with := show(300, pipeline.Filtering{Source: "lane", Threshold: 0.00123, Skips: true, Accuracy: 0.967, Analysed: 0.31}, pipeline.Filtering{Source: "yard"})
	for _, want := range []string{"still   lane               0.0012           97 %      31 %", "still   yard    skips nothing yet              -         -"} {
		if !strings.Contains(with, want) {
			t.Errorf("no %q in\n%s", want, with)
		}
	}
	for _, want := range []string{"400 captured = 99 delivered + 300 filtered + 0 dropped + 1 in flight", "DELIVERED  FILTERED  DROPPED", "FRAMES  FILTERED  EXECUTE"} {
		if !strings.Contains(with, want) {
			t.Errorf("no %q in\n%s", want, with)
		}
	}
	rows := 0
	for line := range strings.Lines(with) {
		switch f := strings.Fields(line); {
		case len(f) == 0:
		case f[0] == "lane" && strings.Contains(line, " 350 ") && strings.Contains(line, " 300 "),
			f[0] == "still" && f[1] != "lane" && f[1] != "yard" && strings.Contains(line, " 100 ") && strings.Contains(line, " 300 "),
			f[0] == "yard" && !strings.Contains(line, "300"), f[0] == "detect" && !strings.Contains(line, "300"):
			rows++
		}
	}
	if without := show(0); rows != 4 || strings.Contains(strings.ToLower(without), "filtered") {
		t.Errorf("with a filter:\n%s\nwithout:\n%s", with, without)
	}
}
