package agent

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weft-mesh/weft/pipeline"
)

// reported is metrics of one stage, as if an agent ran it.
type reported struct {
	*metrics
	stage pipeline.StageReport
}

func (r reported) Collect(ch chan<- prometheus.Metric) { r.metrics.stage(sink(ch), &r.stage, "0") }

// What a filter has learnt of each source is a metric.
func TestMetricsOfAFilter(t *testing.T) {
	r := reported{(&Agent{}).Metrics().(*metrics), pipeline.StageReport{Workflow: "quiet", Task: "still", Filters: []pipeline.Filtering{
		{Source: "lane", Threshold: 0.01, Skips: true, Accuracy: 0.97, Analysed: 0.3},
		{Source: "yard", Threshold: 0.02},
	}}}
	want := `
# HELP weft_filter_accuracy_kept Share of accuracy that a filter keeps with its threshold, as far as it has learnt.
# TYPE weft_filter_accuracy_kept gauge
weft_filter_accuracy_kept{replica="0",source="lane",task="still",workflow="quiet"} 0.97
# HELP weft_filter_threshold Difference up to which a filter skips frames of a source; absent while it skips none.
# TYPE weft_filter_threshold gauge
weft_filter_threshold{replica="0",source="lane",task="still",workflow="quiet"} 0.01
`
	if err := testutil.CollectAndCompare(r, strings.NewReader(want), "weft_filter_threshold", "weft_filter_accuracy_kept"); err != nil {
		t.Error(err)
	}
}
