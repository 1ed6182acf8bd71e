package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weft-mesh/weft/adaptation/quality"
	"github.com/weft-mesh/weft/coordinator/adapter"
)

func TestMetrics(t *testing.T) {
	at := func(resolution int) quality.Assignment {
		return quality.Assignment{Quality: quality.Quality{Model: "street", Resolution: resolution, Every: 1}}
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newMetrics(func() map[string]adapter.Status {
		return map[string]adapter.Status{
			"dock": {Idle: "not adapted"},
			"streets": {Error: 0.125, Predictions: 9, Decision: &quality.Decision{
				Sources: []quality.Assignment{at(512), at(416), at(512)}, Refused: []quality.Refusal{{Source: "south"}}, Debt: 0.25,
				Estimate: quality.Estimate{Latency: 208 * time.Millisecond, Accuracy: 0.875},
			}},
			"yards": {Decision: &quality.Decision{Estimate: quality.Estimate{Saturated: "loads detect to 120 %"}}},
		}
	}))
	want := `
# HELP weft_quality_debt Accuracy that is owed, times periods.
# TYPE weft_quality_debt gauge
weft_quality_debt{workflow="streets"} 0.25
weft_quality_debt{workflow="yards"} 0
# HELP weft_quality_estimated_accuracy Mean over frames of the accuracy (F1) that was estimated.
# TYPE weft_quality_estimated_accuracy gauge
weft_quality_estimated_accuracy{workflow="streets"} 0.875
weft_quality_estimated_accuracy{workflow="yards"} 0
# HELP weft_quality_estimated_latency_seconds Mean over frames of the latency that was estimated, capture to result.
# TYPE weft_quality_estimated_latency_seconds gauge
weft_quality_estimated_latency_seconds{workflow="streets"} 0.208
# HELP weft_quality_held_sources Sources that are not admitted.
# TYPE weft_quality_held_sources gauge
weft_quality_held_sources{workflow="streets"} 1
weft_quality_held_sources{workflow="yards"} 0
# HELP weft_quality_prediction_error_ratio Median of |predicted - measured| / measured over recent latencies.
# TYPE weft_quality_prediction_error_ratio gauge
weft_quality_prediction_error_ratio{workflow="streets"} 0.125
# HELP weft_quality_sources Sources whose frames are analysed at a quality.
# TYPE weft_quality_sources gauge
weft_quality_sources{every="1",model="street",resolution="416",workflow="streets"} 1
weft_quality_sources{every="1",model="street",resolution="512",workflow="streets"} 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
