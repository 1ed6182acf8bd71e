package agent

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// What a registry exports of each node is what ran there; names and labels
// keep to the conventions.
func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		registries := map[string]*prometheus.Registry{}
		for id, n := range m.nodes {
			registries[id] = prometheus.NewPedanticRegistry()
			registries[id].MustRegister(n.agent.Metrics())
		}
		gone := assignments(people(), usual())
		gone["fog"] = nil // placed there, but the node does not know yet
		m.script.want(gone)
		pass(time.Second + 25*time.Millisecond)
		m.script.want(assignments(people(), usual()))
		pass(9 * time.Second)
		for id, want := range map[string]string{
			"edge": `
# HELP weft_build_info Always 1; the labels say what runs.
# TYPE weft_build_info gauge
weft_build_info{node="edge",tier="edge",version="v1"} 1
# HELP weft_frames_captured_total Frames that a source captured.
# TYPE weft_frames_captured_total counter
weft_frames_captured_total{source="gate",workflow="people"} 200
# HELP weft_frames_delivered_total Frames that reached the end of their workflow.
# TYPE weft_frames_delivered_total counter
weft_frames_delivered_total{source="gate",workflow="people"} 180
# HELP weft_frames_dropped_total Frames dropped anywhere in the mesh, by reason.
# TYPE weft_frames_dropped_total counter
weft_frames_dropped_total{reason="no_route",source="gate",workflow="people"} 20
# HELP weft_frames_in_flight Frames captured and not yet accounted for.
# TYPE weft_frames_in_flight gauge
weft_frames_in_flight{source="gate",workflow="people"} 0
# HELP weft_instances Sources and stages, by status.
# TYPE weft_instances gauge
weft_instances{status="running"} 2
# HELP weft_outbox_frames Frames of a source or task that wait to be sent to another node.
# TYPE weft_outbox_frames gauge
weft_outbox_frames{from="gate",replica="0",workflow="people"} 0
weft_outbox_frames{from="resize",replica="0",workflow="people"} 0
`,
			"fog": `
# HELP weft_detections_total Objects detected, by label.
# TYPE weft_detections_total counter
weft_detections_total{label="person",replica="0",task="detect",workflow="people"} 180
# HELP weft_stage_frames_processed_total Frames that a stage has worked on.
# TYPE weft_stage_frames_processed_total counter
weft_stage_frames_processed_total{replica="0",task="detect",workflow="people"} 180
# HELP weft_stage_frames_received_total Frames that a stage was handed.
# TYPE weft_stage_frames_received_total counter
weft_stage_frames_received_total{replica="0",task="detect",workflow="people"} 180
# HELP weft_stage_queue_frames Frames that wait for a stage.
# TYPE weft_stage_queue_frames gauge
weft_stage_queue_frames{replica="0",task="detect",workflow="people"} 0
`,
		} {
			var names []string
			for line := range strings.Lines(want) {
				if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
					names = append(names, strings.Fields(name)[0])
				}
			}
			if err := testutil.GatherAndCompare(registries[id], strings.NewReader(want), names...); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		// A summary for each source, and for each stage one per span.
		for name, want := range map[string]int{"weft_frame_latency_seconds": 1, "weft_capture_duration_seconds": 1, "weft_stage_duration_seconds": 4} {
			if n, err := testutil.GatherAndCount(registries["edge"], name); err != nil || n != want {
				t.Errorf("%d metrics called %s, want %d (%v)", n, name, want, err)
			}
		}
		// Which placement runs where, and as which start of it.
		for id, n := range m.nodes {
			want := "# HELP weft_instance_info Always 1; the labels say which placement runs, since which start, and how.\n# TYPE weft_instance_info gauge\n"
			r := n.agent.Report()
			for _, x := range r.Sources {
				want += fmt.Sprintf("weft_instance_info{epoch=\"%d\",instance=%q,status=\"running\"} 1\n", x.Epoch, x.Instance)
			}
			for _, x := range r.Stages {
				want += fmt.Sprintf("weft_instance_info{epoch=\"%d\",instance=%q,status=\"running\"} 1\n", x.Epoch, x.Instance)
			}
			if err := testutil.GatherAndCompare(registries[id], strings.NewReader(want), "weft_instance_info"); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		for id, r := range registries {
			problems, err := testutil.GatherAndLint(r)
			if err != nil || len(problems) > 0 {
				t.Errorf("%s: %v, %v", id, problems, err)
			}
		}
		m.stop()
	})
}

// While an instance waits for the one it replaces, there are two of the same
// name, which a registry would refuse.
func TestMetricsOfAReplacement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, newShop())
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(m.nodes["fog"].agent.Metrics())
		m.script.want(assignments(people(), usual()))
		pass(5 * time.Second)
		w := people()
		w.Tasks[1].Settings = map[string]string{"a": "b"}
		m.script.want(assignments(w, usual()))
		pass(10 * time.Millisecond)
		if n := len(m.nodes["fog"].agent.Report().Stages); n != 2 {
			t.Errorf("%d instances, want 2", n)
		}
		err := testutil.GatherAndCompare(r, strings.NewReader(`
# HELP weft_instances Sources and stages, by status.
# TYPE weft_instances gauge
weft_instances{status="starting"} 1
`), "weft_instances")
		if err != nil {
			t.Error(err)
		}
		if _, err := r.Gather(); err != nil {
			t.Error(err)
		}
		m.stop()
	})
}
