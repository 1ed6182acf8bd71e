package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/internal/terminal"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// agent reports for one node what it is assigned, with made-up counts: five
// frames are in flight while a source runs, and none when it is stopped.
func (m *liveMesh) agent(t *testing.T, node string) {
	t.Helper()
	c := api.NewClient(func() []string { return []string{m.address} }, pkitest.Issue(t, m.ca, pki.Agent, node).ClientTLS(pki.Coordinator))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done; c.Close() })
	go func() {
		defer close(done)
		known := map[string]tiering.Assignment{}
		for after := uint64(0); ; {
			assigned, index, err := c.Assignments(ctx, node, after)
			if err != nil {
				return // the test is over
			}
			after = index
			running := map[string]bool{}
			for _, a := range assigned {
				known[a.Placement.ID], running[a.Placement.ID] = a, true
			}
			r := pipeline.Report{Node: node, Run: "1"}
			for id, a := range known {
				madeUp(&r, id, a, running[id])
			}
			if err := c.Report(ctx, r); err != nil && ctx.Err() == nil && !errors.Is(err, api.ErrUnreachable) {
				t.Errorf("report of %s: %v", node, err)
			}
		}
	}()
}

func madeUp(r *pipeline.Report, id string, a tiering.Assignment, running bool) {
	h := pipeline.NewHistogram()
	for i := range 100 {
		h.Record(time.Duration(i+1) * time.Millisecond)
	}
	p := a.Placement
	status, frames := pipeline.StatusRunning, pipeline.Counts{
		Captured: 100, Delivered: 80, InFlight: 5, Dropped: map[pipeline.Reason]uint64{pipeline.ReasonQueueFull: 15},
	}
	if !running {
		status, frames.Delivered, frames.InFlight = pipeline.StatusEnded, 85, 0
	}
	if a.Source != nil {
		r.Sources = append(r.Sources, pipeline.SourceReport{Instance: id, Epoch: 1, Workflow: p.Workflow, Source: p.Task, Status: status, Frames: frames, Latency: h})
		return
	}
	s := pipeline.StageReport{
		Instance: id, Epoch: 1, Workflow: p.Workflow, Task: p.Task, Status: status, Received: 100, Processed: 85,
		Queue: h, Transfer: h, Reduce: h, Execute: h,
	}
	if a.Task.Model != nil {
		s.Backend, s.Detections = "cpu", map[string]uint64{"person": 42}
	}
	r.Stages = append(r.Stages, s)
}

// readReport reads report.json as a script does, and holds it against what
// scripts are promised.
func readReport(t *testing.T, dir string) (raw map[string]any, r report) {
	t.Helper()
	text := read(t, filepath.Join(dir, reportFile))
	noNull(t, text)
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	has := func(where string, v any, keys ...string) {
		t.Helper()
		m, _ := v.(map[string]any)
		for _, k := range keys {
			if _, ok := m[k]; !ok {
				t.Errorf("%s has no %s: %v", where, k, v)
			}
		}
	}
	each := func(list string, keys ...string) {
		t.Helper()
		items, ok := raw[list].([]any)
		if !ok {
			t.Errorf("%s is no list: %v", list, raw[list])
		}
		for _, x := range items {
			has(list, x, keys...)
		}
	}
	has("report", raw, "workflow", "duration_s", "nodes", "placements", "frames", "latency_ms", "stages", "detections")
	each("nodes", "name", "tier")
	each("placements", "task", "category", "node", "tier", "reason")
	each("stages", "task", "execute_ms_p50", "transfer_ms_p50", "queue_ms_p50")
	each("sources", "source", "frames")
	each("pictures", "source", "file")
	has("frames", raw["frames"], "captured", "delivered", "in_flight", "dropped")
	has("latency_ms", raw["latency_ms"], "p50", "p95", "p99")
	if !r.Frames.Balanced() {
		t.Errorf("frames do not balance: %+v", r.Frames)
	}
	var sum pipeline.Counts
	for _, s := range r.Sources {
		sum = sum.Plus(s.Frames)
	}
	if fmt.Sprint(sum) != fmt.Sprint(r.Frames.Plus(pipeline.Counts{})) {
		t.Errorf("sources have %+v, the workflow %+v", sum, r.Frames)
	}
	return raw, r
}

func TestRecord(t *testing.T) {
	m := startLive(t)
	for _, n := range []string{"cloud-1", "fog-1", "edge-1", "edge-2"} {
		m.agent(t, n)
	}
	weftWith(t, t.Context(), m.config, people, "workflow", "submit", "-").want(t, exitOK, "")
	eventually(t, "every source and stage reports", func() bool {
		s, err := m.client.Workflow(t.Context(), "people")
		return err == nil && s.Frames.Captured == 200 && !slices.ContainsFunc(s.Stages, func(x kpi.Stage) bool { return x.Processed == 0 })
	})
	red := jpegOf(t, 40, 30, color.RGBA{R: 255, A: 255})
	for i := range 20 {
		for _, source := range []string{"gate", "yard"} {
			if err := m.gallery.Add("people", source, uint64(i), red); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "out")
	record := []string{"workflow", "record", "people", "--for", "50ms", "--frames", "10", "--out", dir}

	c := weft(t, m.config, record...).want(t, exitOK, "  running     200 captured    160 delivered    30 dropped   10 in flight  p50")
	golden(t, "record.txt", strings.ReplaceAll(c.out, dir, "out"))
	raw, r := readReport(t, dir)
	if r.Workflow != "people" || r.Status != state.Running || r.Frames.InFlight != 10 || r.Frames.Delivered != 160 || r.Detections["person"] != 84 ||
		len(r.Nodes) != 5 || len(r.Placements) != 7 || len(r.Stages) != 4 || len(r.Pictures) != 10 {
		t.Errorf("report: %+v", r)
	}
	if r.Placements[0].Category != "source" || r.Placements[2].Category != "NI" || r.Placements[2].Tier != tiering.Edge {
		t.Errorf("placements: %+v", r.Placements)
	}
	if d := r.Stages[1]; d.Task != "detect@512" || d.Backend != "cpu" || d.ExecuteP50 < 49 || d.ExecuteP50 > 52 || d.TransferP50 != d.ExecuteP50 {
		t.Errorf("stage: %+v", d)
	}
	if raw["duration_s"].(float64) > 25 {
		t.Errorf("duration: %v", raw["duration_s"])
	}
	for _, p := range r.Pictures {
		if _, err := readPicture(filepath.Join(dir, filepath.FromSlash(p.File))); err != nil {
			t.Error(err)
		}
	}
	if img, err := readPicture(filepath.Join(dir, sheetFile)); err != nil || img.Bounds().Dx() != 4*(cellWidth+cellGap)+cellGap {
		t.Errorf("contact sheet: %v", err)
	}

	// Stopped, every frame is accounted for, and the report still says what
	// ran where. Nothing but JSON is on standard output.
	c = weft(t, m.config, append(record, "--stop", "-o", "json")...).want(t, exitOK, "")
	printed := decode[report](t, c)
	_, r = readReport(t, dir)
	if fmt.Sprintf("%+v", printed) != fmt.Sprintf("%+v", r) {
		t.Errorf("printed %+v, written %+v", printed, r)
	}
	if r.Frames.InFlight != 0 || r.Frames.Delivered != 170 || r.Status != state.Running || len(r.Placements) != 7 ||
		r.Sources[0].Node != "edge-1" || r.Sources[0].Status != pipeline.StatusRunning || r.Stages[1].Backend != "cpu" {
		t.Errorf("report: %+v", r)
	}
	s, err := m.client.Workflow(t.Context(), "people")
	if err != nil || s.Status != state.Stopped {
		t.Errorf("after --stop: %+v, %v", s.Status, err)
	}

	// Of a stopped workflow there is nothing to wait for.
	c = weft(t, m.config, "workflow", "record", "people", "--for", "1h", "--out", dir).want(t, exitOK, "  stopped     200 captured")
	if _, r = readReport(t, dir); r.Status != state.Stopped || r.Frames.Delivered != 170 || len(r.Placements) != 0 {
		t.Errorf("report: %+v", r)
	}
	if !strings.Contains(c.out, "pictures  none were drawn meanwhile\n") {
		t.Errorf("it says %s", c.out)
	}
	if _, err := os.Stat(filepath.Join(dir, sheetFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the contact sheet of an earlier recording: %v", err)
	}
}

// TestRecordInterrupted: Ctrl-C while watching, with the coordinator gone as
// well, leaves a report of what was seen.
func TestRecordInterrupted(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("coordinator gone: %v", gone), func(t *testing.T) {
			m := startLive(t)
			m.agent(t, "edge-1")
			weftWith(t, t.Context(), m.config, people, "workflow", "submit", "-").want(t, exitOK, "")
			eventually(t, "edge-1 reports", func() bool {
				s, err := m.client.Workflow(t.Context(), "people")
				return err == nil && s.Frames.Captured == 100
			})
			dir := filepath.Join(t.TempDir(), "out")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			progress, lines := newLines()
			var out bytes.Buffer
			done := make(chan int, 1)
			go func() {
				code := run(ctx, []string{"--config", m.config, "workflow", "record", "people", "--for", "1h", "--out", dir, "--stop"}, nil, &out, progress)
				progress.Close()
				done <- code
			}()
			if first := <-lines; !strings.Contains(first, "  100 captured") {
				t.Errorf("progress: %q", first)
			}
			if gone {
				m.shut()
			}
			cancel()
			var said []string
			for l := range lines {
				said = append(said, l)
			}
			code := <-done
			_, r := readReport(t, dir)
			if r.Frames.Captured != 100 || len(r.Placements) != 7 || len(r.Nodes) != 5 || r.DurationS > 60 {
				t.Errorf("report: %+v", r)
			}
			if !strings.Contains(out.String(), "100 captured") {
				t.Errorf("it says %s", out.String())
			}
			all := strings.Join(said, "\n")
			if !gone {
				if s, err := m.client.Workflow(t.Context(), "people"); code != exitOK || err != nil || s.Status != state.Stopped {
					t.Errorf("exit code %d, %v, %v: %s", code, s.Status, err, all)
				}
			} else if code != exitFailure || !strings.Contains(all, "weft: no coordinator answers\n  "+m.address+": connection refused\n") ||
				!strings.HasSuffix(all, "weft: the recording is incomplete") {
				t.Errorf("exit code %d: %s", code, all)
			}
		})
	}
}

// TestRecordShowsTroubles: what is wrong is said once while it lasts, and is in
// the report.
func TestRecordShowsTroubles(t *testing.T) {
	f := startFake(t)
	f.answer("GET /v1/nodes", troubledNodes())
	f.answer("GET /v1/workflows/people", troubledStatus())
	dir := t.TempDir()
	c := weft(t, f.config, "workflow", "record", "people", "--for", "10ms", "--out", dir).want(t, exitOK, "")
	for _, want := range []string{
		"  ! workflow people is degraded: 2 of 6 instances are on nodes that are gone: edge-2\n",
		"  ! source yard on edge-2 is retrying: rtsp://camera-2/stream: connection refused [31m\n",
		"  ! detect@768: no CUDA here, the processor is used\n",
		"  ! draw has failed\n",
	} {
		if strings.Count(c.err, want) != 1 {
			t.Errorf("it says\n%s\nwant once\n%s", c.err, want)
		}
	}
	_, r := readReport(t, dir)
	if r.Sources[1].Status != pipeline.StatusRetrying || r.Sources[1].Message == "" || r.Reason == "" || r.Stages[2].Status != pipeline.StatusFailed {
		t.Errorf("report: %+v", r)
	}
	if !strings.Contains(c.out, "pictures  none were drawn meanwhile") {
		t.Errorf("it says %s", c.out)
	}
	weft(t, f.config, "workflow", "record", "people", "--for", "10ms", "--out", write(t, filepath.Join(dir, "file"), "")).want(t, exitFailure, "not a directory")
}

func TestRecordingEnds(t *testing.T) {
	source := func(s pipeline.Status) kpi.Source { return kpi.Source{Status: s} }
	running, over := source(pipeline.StatusRunning), source(pipeline.StatusEnded)
	for _, tc := range []struct {
		name     string
		status   state.Status
		inFlight uint64
		sources  []kpi.Source
		want     bool
	}{
		{"stopped", state.Stopped, 3, []kpi.Source{running}, true},
		{"running", state.Running, 0, []kpi.Source{running, over}, false},
		{"no more frames", state.Running, 0, []kpi.Source{over, over}, true},
		{"the last frames", state.Running, 1, []kpi.Source{over}, false},
		{"on no node", state.Pending, 0, []kpi.Source{over}, false},
	} {
		s := api.WorkflowStatus{Status: tc.status, Frames: pipeline.Counts{InFlight: tc.inFlight}, Sources: tc.sources}
		if got := ended(s); got != tc.want {
			t.Errorf("%s: ended is %v", tc.name, got)
		}
	}
}

// TestProgressOnATerminal rewrites one line, and keeps what is said.
func TestProgressOnATerminal(t *testing.T) {
	var b strings.Builder
	p := &progress{line: terminal.NewLine(&b, 40)}
	s := api.WorkflowStatus{Workflow: "people", Status: state.Running, Frames: pipeline.Counts{Captured: 7}}
	p.status(0, s, nil)
	p.status(1400*time.Millisecond, s, errors.New("no coordinator\nanswers"))
	p.status(2*time.Second, s, errors.New("no coordinator\nanswers"))
	p.status(3*time.Second, s, nil)
	p.end()
	p.end()
	const line = " s  running       7 captured      0 deli"
	want := "\r  0" + line[:36] + "\x1b[K" +
		"\r\x1b[K  ! no coordinator answers\n" +
		"\r  1" + line[:36] + "\x1b[K" +
		"\r  2" + line[:36] + "\x1b[K" +
		"\r  3" + line[:36] + "\x1b[K\n"
	if b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
}
