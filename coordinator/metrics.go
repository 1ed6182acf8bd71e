package coordinator

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/coordinator/adapter"
	"github.com/weft-mesh/weft/tiering"
)

// metrics presents decisions to Prometheus at each scrape.
type metrics struct {
	now func() map[string]adapter.Status

	sources, held, latency, accuracy, debt, failure *prometheus.Desc
}

// newMetrics returns a collector of what now says, by workflow: the sources at each
// quality, those that are held, what was estimated, the accuracy that is owed,
// and how far predictions are off. Only the leader has any.
func newMetrics(now func() map[string]adapter.Status) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weft_quality_"+name, help, append([]string{"workflow"}, labels...), nil)
	}
	return &metrics{
		now:      now,
		sources:  desc("sources", "Sources whose frames are analysed at a quality.", "model", "resolution", "every"),
		held:     desc("held_sources", "Sources that are not admitted."),
		latency:  desc("estimated_latency_seconds", "Mean over frames of the latency that was estimated, capture to result."),
		accuracy: desc("estimated_accuracy", "Mean over frames of the accuracy (F1) that was estimated."),
		debt:     desc("debt", "Accuracy that is owed, times periods."),
		failure:  desc("prediction_error_ratio", "Median of |predicted - measured| / measured over recent latencies."),
	}
}

// Describe sends every description.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.sources, m.held, m.latency, m.accuracy, m.debt, m.failure} {
		ch <- d
	}
}

// Collect sends the current values.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for name, s := range m.now() {
		d := s.Decision
		if d == nil {
			continue
		}
		gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, append([]string{name}, labels...)...)
		}
		n := map[tiering.Quality]int{}
		for _, x := range d.Sources {
			n[x.Quality]++
		}
		for q, sources := range n {
			gauge(m.sources, float64(sources), q.Model, strconv.Itoa(q.Resolution), strconv.Itoa(q.Every))
		}
		gauge(m.held, float64(len(d.Refused)))
		gauge(m.debt, float64(d.Debt))
		gauge(m.accuracy, d.Estimate.Accuracy)
		if d.Estimate.Saturated == "" {
			gauge(m.latency, d.Estimate.Latency.Seconds())
		}
		if s.Predictions > 0 {
			gauge(m.failure, s.Error)
		}
	}
}
