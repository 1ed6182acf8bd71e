package agent

import (
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/pipeline"
)

// metrics presents what an agent runs to Prometheus at each scrape.
type metrics struct {
	agent *Agent

	build, instances, info                 *prometheus.Desc
	captured, delivered, inFlight, dropped *prometheus.Desc
	filtered, stageFiltered                *prometheus.Desc
	threshold, keeps                       *prometheus.Desc
	received, processed, bytes             *prometheus.Desc
	stageDropped                           *prometheus.Desc
	waiting, outbox                        *prometheus.Desc
	detections                             *prometheus.Desc
	judgedFrames, judged                   *prometheus.Desc
	latency, capture, span                 *prometheus.Desc
}

var _ prometheus.Collector = (*metrics)(nil)

// Metrics returns a collector of everything that the agent runs now: instances
// by status, frames by outcome, detections by label, queues, and quantiles of
// what frames' time was spent on. Durations are in seconds. Counters begin anew
// when an instance does.
func (a *Agent) Metrics() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weft_"+name, help, labels, nil)
	}
	source, stage := []string{"workflow", "source"}, []string{"workflow", "task", "replica"}
	return &metrics{
		agent:         a,
		build:         desc("build_info", "Always 1; the labels say what runs.", "version", "node", "tier"),
		instances:     desc("instances", "Sources and stages, by status.", "status"),
		info:          desc("instance_info", "Always 1; the labels say which placement runs, since which start, and how.", "instance", "epoch", "status"),
		captured:      desc("frames_captured_total", "Frames that a source captured.", source...),
		delivered:     desc("frames_delivered_total", "Frames that reached the end of their workflow.", source...),
		inFlight:      desc("frames_in_flight", "Frames captured and not yet accounted for.", source...),
		dropped:       desc("frames_dropped_total", "Frames dropped anywhere in the mesh, by reason.", slices.Concat(source, []string{"reason"})...),
		latency:       desc("frame_latency_seconds", "Capture to delivery, of delivered frames.", source...),
		capture:       desc("capture_duration_seconds", "Grabbing and decoding a picture at its source.", source...),
		filtered:      desc("frames_filtered_total", "Frames that were not analysed, since they hardly differ from an earlier one.", source...),
		received:      desc("stage_frames_received_total", "Frames that a stage was handed.", stage...),
		processed:     desc("stage_frames_processed_total", "Frames that a stage has worked on.", stage...),
		bytes:         desc("stage_received_bytes_total", "Bytes of pictures that a stage got from other nodes.", stage...),
		stageDropped:  desc("stage_frames_dropped_total", "Frames that a stage dropped, by reason.", slices.Concat(stage, []string{"reason"})...),
		stageFiltered: desc("stage_frames_filtered_total", "Frames that a filter let go no further.", stage...),
		threshold:     desc("filter_threshold", "Difference up to which a filter skips frames of a source; absent while it skips none.", slices.Concat(stage, []string{"source"})...),
		keeps:         desc("filter_accuracy_kept", "Share of accuracy that a filter keeps with its threshold, as far as it has learnt.", slices.Concat(stage, []string{"source"})...),
		waiting:       desc("stage_queue_frames", "Frames that wait for a stage.", stage...),
		outbox:        desc("outbox_frames", "Frames of a source or task that wait to be sent to another node.", "workflow", "from", "replica"),
		detections:    desc("detections_total", "Objects detected, by label.", slices.Concat(stage, []string{"label"})...),
		judgedFrames:  desc("stage_judged_frames_total", "Frames analysed, or filtered, of which it was known what they show.", stage...),
		judged:        desc("stage_judged_objects_total", "Objects in such frames: right (found), wrong (found, and not there) or missed.", slices.Concat(stage, []string{"outcome"})...),
		span:          desc("stage_duration_seconds", "What frames' time at a stage was spent on.", slices.Concat(stage, []string{"span"})...),
	}
}

// Describe sends every description.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.build, m.instances, m.info, m.captured, m.delivered, m.inFlight, m.dropped, m.latency, m.capture,
		m.received, m.processed, m.bytes, m.stageDropped, m.waiting, m.outbox, m.detections,
		m.judgedFrames, m.judged, m.span, m.filtered, m.stageFiltered, m.threshold, m.keeps,
	} {
		ch <- d
	}
}

// Collect sends the current values.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := sink(ch)
	n := m.agent.cfg.Node
	s.gauge(m.build, 1, n.Version, n.ID, n.Tier.String())
	statuses := map[pipeline.Status]int{}
	for _, inst := range m.agent.present() {
		source, stage := inst.report()
		p := inst.want.Placement
		replica := strconv.Itoa(p.Instance)
		if inst.router != nil {
			s.gauge(m.outbox, inst.router.Waiting(), p.Workflow, p.Task, replica)
		}
		if source != nil {
			statuses[source.Status]++
			s.gauge(m.info, 1, source.Instance, epoch(source.Epoch), string(source.Status))
			m.source(s, source)
			continue
		}
		statuses[stage.Status]++
		s.gauge(m.info, 1, stage.Instance, epoch(stage.Epoch), string(stage.Status))
		s.gauge(m.waiting, inst.waiting(), p.Workflow, p.Task, replica)
		m.stage(s, stage, replica)
	}
	for status, n := range statuses {
		s.gauge(m.instances, n, string(status))
	}
}

func (m *metrics) source(s sink, r *pipeline.SourceReport) {
	l := []string{r.Workflow, r.Source}
	s.counter(m.captured, r.Frames.Captured, l...)
	s.counter(m.delivered, r.Frames.Delivered, l...)
	s.counter(m.filtered, r.Frames.Filtered, l...)
	s.gauge(m.inFlight, int(r.Frames.InFlight), l...)
	s.counters(m.dropped, byName(r.Frames.Dropped), l...)
	s.summary(m.latency, r.Latency, l...)
	s.summary(m.capture, r.Capture, l...)
}

func (m *metrics) stage(s sink, r *pipeline.StageReport, replica string) {
	l := []string{r.Workflow, r.Task, replica}
	s.counter(m.received, r.Received, l...)
	s.counter(m.processed, r.Processed, l...)
	s.counter(m.bytes, r.Bytes, l...)
	if r.Filtered > 0 { // of filters only
		s.counter(m.stageFiltered, r.Filtered, l...)
	}
	for _, f := range r.Filters {
		by := slices.Concat(l, []string{f.Source})
		if f.Skips {
			s.level(m.threshold, f.Threshold, by...)
		}
		if f.Accuracy > 0 {
			s.level(m.keeps, f.Accuracy, by...)
		}
	}
	s.counters(m.stageDropped, byName(r.Dropped), l...)
	s.counters(m.detections, r.Detections, l...)
	if j := r.Judged; j != nil {
		s.counter(m.judgedFrames, j.Frames, l...)
		s.counters(m.judged, map[string]uint64{"right": j.Right, "wrong": j.Wrong, "missed": j.Missed}, l...)
	}
	for kind, h := range map[pipeline.SpanKind]*pipeline.Histogram{
		pipeline.SpanQueue: r.Queue, pipeline.SpanTransfer: r.Transfer,
		pipeline.SpanReduce: r.Reduce, pipeline.SpanExecute: r.Execute,
	} {
		s.summary(m.span, h, slices.Concat(l, []string{string(kind)})...)
	}
}

// present is the newest instance of every placement: while one waits for its
// predecessor to end, there are two.
func (a *Agent) present() []*instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	newest := map[string]*instance{}
	for _, inst := range a.instances {
		newest[inst.id()] = inst
	}
	return slices.Collect(maps.Values(newest))
}

// sink is where metrics go.
type sink chan<- prometheus.Metric

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// counters sends one for each name, which is the last label.
func (s sink) counters(d *prometheus.Desc, by map[string]uint64, labels ...string) {
	for name, n := range by {
		s.counter(d, n, slices.Concat(labels, []string{name})...)
	}
}

func (s sink) gauge(d *prometheus.Desc, v int, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}

func (s sink) level(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) summary(d *prometheus.Desc, h *pipeline.Histogram, labels ...string) {
	n := h.Count()
	quantiles := map[float64]float64{}
	for _, q := range []float64{0.5, 0.95, 0.99} {
		quantiles[q] = h.Quantile(q).Seconds()
	}
	s <- prometheus.MustNewConstSummary(d, uint64(n), h.Mean().Seconds()*float64(n), quantiles, labels...)
}

func epoch(e uint32) string { return strconv.FormatUint(uint64(e), 10) }

func byName(by map[pipeline.Reason]uint64) map[string]uint64 {
	out := make(map[string]uint64, len(by))
	for reason, n := range by {
		out[string(reason)] = n
	}
	return out
}
