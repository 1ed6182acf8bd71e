package agent

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/pipeline"
)

// metrics presents an agent's report to Prometheus at each scrape.
type metrics struct {
	report func() pipeline.Report

	captured, delivered, inFlight, dropped *prometheus.Desc
	received, processed, stageDropped      *prometheus.Desc
	detections                             *prometheus.Desc
	latency, span                          *prometheus.Desc
}

var _ prometheus.Collector = (*metrics)(nil)

// Metrics returns a collector of everything that the agent reports: frames by
// outcome, detections by label, and quantiles of what frames' time was spent
// on. Durations are in seconds.
func (a *Agent) Metrics() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weft_"+name, help, labels, nil)
	}
	source, stage := []string{"workflow", "source"}, []string{"workflow", "task", "instance"}
	return &metrics{
		report:       a.current,
		captured:     desc("frames_captured_total", "Frames that a source captured.", source...),
		delivered:    desc("frames_delivered_total", "Frames that reached the end of their workflow.", source...),
		inFlight:     desc("frames_in_flight", "Frames captured and not yet accounted for.", source...),
		dropped:      desc("frames_dropped_total", "Frames dropped anywhere in the mesh, by reason.", slices.Concat(source, []string{"reason"})...),
		latency:      desc("frame_latency_seconds", "Capture to delivery, of delivered frames.", source...),
		received:     desc("stage_frames_received_total", "Frames that a stage was handed.", stage...),
		processed:    desc("stage_frames_processed_total", "Frames that a stage has worked on.", stage...),
		stageDropped: desc("stage_frames_dropped_total", "Frames that a stage dropped, by reason.", slices.Concat(stage, []string{"reason"})...),
		detections:   desc("detections_total", "Objects detected, by label.", slices.Concat(stage, []string{"label"})...),
		span:         desc("stage_seconds", "What frames' time at a stage was spent on.", slices.Concat(stage, []string{"span"})...),
	}
}

// Describe sends every description.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.captured, m.delivered, m.inFlight, m.dropped, m.latency,
		m.received, m.processed, m.stageDropped, m.detections, m.span,
	} {
		ch <- d
	}
}

// Collect sends the current values.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	summary := func(d *prometheus.Desc, h *pipeline.Histogram, labels ...string) {
		n := h.Count()
		quantiles := map[float64]float64{}
		for _, q := range []float64{0.5, 0.95, 0.99} {
			quantiles[q] = h.Quantile(q).Seconds()
		}
		ch <- prometheus.MustNewConstSummary(d, uint64(n), h.Mean().Seconds()*float64(n), quantiles, labels...)
	}
	r := m.report()
	for _, s := range r.Sources {
		l := []string{s.Workflow, s.Source}
		counter(m.captured, s.Frames.Captured, l...)
		counter(m.delivered, s.Frames.Delivered, l...)
		ch <- prometheus.MustNewConstMetric(m.inFlight, prometheus.GaugeValue, float64(s.Frames.InFlight), l...)
		for reason, n := range s.Frames.Dropped {
			counter(m.dropped, n, slices.Concat(l, []string{string(reason)})...)
		}
		summary(m.latency, s.Latency, l...)
	}
	for _, s := range r.Stages {
		l := []string{s.Workflow, s.Task, s.Instance}
		counter(m.received, s.Received, l...)
		counter(m.processed, s.Processed, l...)
		for reason, n := range s.Dropped {
			counter(m.stageDropped, n, slices.Concat(l, []string{string(reason)})...)
		}
		for label, n := range s.Detections {
			counter(m.detections, n, slices.Concat(l, []string{label})...)
		}
		for name, h := range map[string]*pipeline.Histogram{"queue": s.Queue, "transfer": s.Transfer, "reduce": s.Reduce, "execute": s.Execute} {
			summary(m.span, h, slices.Concat(l, []string{name})...)
		}
	}
}
