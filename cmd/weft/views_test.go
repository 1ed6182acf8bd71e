package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// TestTables: what people see, of a mesh in which not all is well.
func TestTables(t *testing.T) {
	f := startFake(t)
	f.answer("GET /v1/mesh", api.Mesh{Mesh: "farm", Cluster: "6c8e7a36-5a57-4d56-9f0b-0c7d1f2f6a11", Node: "c2", Version: "v1.2.3", Leader: "c1", Coordinators: []string{"c1", "c2", "c3"},
		OutOfService: []api.Outage{{Node: "c3", Reason: "disk full"}}})
	f.answer("GET /v1/nodes", troubledNodes())
	f.answer("GET /v1/workflows", []api.Workflow{
		{Name: "dock", Status: "stopped", Since: time.Now().Add(-75 * time.Hour), Version: 12, Sources: 1, Tasks: 2},
		{
			Name: "people", Status: "degraded", Since: time.Now().Add(-90 * time.Second), Version: 1, Sources: 2, Tasks: 4, Instances: 6,
			Reason: "2 of 6 instances are on nodes that are gone: edge-2",
		},
	})
	f.answer("GET /v1/workflows/people", troubledStatus())
	f.answer("GET /v1/models", []api.Model{
		{Model: catalog.Model{Name: "hog-people", Format: catalog.HOG, Resolutions: []int{512, 768}, Classes: []string{"person"}, Licence: "Apache-2.0", Family: "hog"}, Nodes: []string{"fog-1", "cloud-1"}},
		{Model: catalog.Model{
			Name: "yolo", Format: catalog.Darknet, Resolutions: []int{416}, Classes: make([]string, 80),
			Files: []catalog.File{{Name: "yolo.cfg", Size: 10000}, {Name: "yolo.weights", Size: 1384268}}, Family: "yolo",
			Accuracy: []catalog.Accuracy{{Metric: "AP50", Value: 0.244, Resolution: 320, Dataset: "COCO val2017"}, {Metric: "AP50", Value: 0.3433, Resolution: 416, Dataset: "COCO val2017"}},
		}, Nodes: []string{"cloud-1"}, Awaited: []string{"fog-1", "edge-1"}},
	})
	f.answer("GET /v1/profiles", profiles())
	t.Setenv("WEFT_MODELS", t.TempDir())
	for name, args := range map[string]string{
		"mesh.txt": "mesh", "nodes.txt": "nodes", "workflows.txt": "workflow list", "status.txt": "workflow status people", "models.txt": "models list",
		"profiles.txt": "models profiles",
	} {
		c := weft(t, f.config, strings.Fields(args)...).want(t, exitOK, "")
		golden(t, name, c.out)
		for line := range strings.Lines(c.out) {
			if n := len([]rune(line)); n > 150 {
				t.Errorf("weft %s: a line of %d characters: %s", args, n, line)
			}
		}
	}
}

func troubledNodes() []api.Node {
	rtt := 3.14159
	now := time.Now()
	coord := api.Node{Node: tiering.Node{ID: "c1", Tier: tiering.Cloud, Version: "v1.2.3"}, Status: tiering.NodeAlive, Since: now.Add(-100 * time.Hour)}
	edge := api.Node{
		Node:       tiering.Node{ID: "edge-2", Tier: tiering.Edge, Capacity: tiering.Resources{CPU: 4000, Memory: 2 * gib}, Platforms: []tiering.Platform{{Type: "cpu", Count: 4}}, Version: "v1.2.2"},
		Status:     tiering.NodeFailed,
		Since:      now.Add(-95 * time.Second),
		Reserved:   tiering.Resources{CPU: 250, Memory: 128 << 20},
		Placements: []string{"people/resize#1"},
	}
	fog := api.Node{
		Node: tiering.Node{
			ID: "fog-1", Tier: tiering.Fog, Capacity: tiering.Resources{CPU: 16000, Memory: 64 * gib},
			Platforms: []tiering.Platform{{Type: "cpu", Count: 16}, {Type: "cuda", Count: 1}}, Version: "v1.2.3",
		},
		Status: tiering.NodeAlive, Since: now.Add(-5*time.Hour - time.Minute), RoundTripMS: &rtt,
		Reserved: tiering.Resources{CPU: 1500, Memory: 512 << 20}, Placements: []string{"a", "b"},
	}
	return []api.Node{coord, edge, fog}
}

// troubledStatus is a workflow with one camera that is away.
func troubledStatus() api.WorkflowStatus {
	q := func(v float64) api.Quantiles { return api.Quantiles{P50: v, P95: 3 * v, P99: 4 * v} }
	place := func(task string, instance int, node string, tier tiering.Tier, category tiering.Category, reason string) tiering.Placement {
		return tiering.Placement{
			ID: tiering.SlotID("people", task, instance), Workflow: "people", Task: task, Source: category == "", Instance: instance,
			Node: node, Tier: tier, Category: category, Reason: reason,
		}
	}
	return api.WorkflowStatus{
		Workflow: "people", Version: 1, Status: state.Degraded, Reason: "2 of 6 instances are on nodes that are gone: edge-2",
		Since: time.Now(),
		Frames: pipeline.Counts{
			Captured: 1200, Delivered: 1000, InFlight: 5,
			Dropped: map[pipeline.Reason]uint64{pipeline.ReasonQueueFull: 150, pipeline.ReasonDeadline: 40, pipeline.ReasonNoRoute: 5},
		},
		Latency: pipeline.NewHistogram(), LatencyMS: q(210.4),
		Sources: []kpi.Source{
			{Source: "gate", Node: "edge-1", Status: pipeline.StatusRunning, Quality: &tiering.Quality{Model: "yolo", Resolution: 416, Every: 2}, Frames: pipeline.Counts{Captured: 900, Delivered: 800, InFlight: 5, Dropped: map[pipeline.Reason]uint64{pipeline.ReasonQueueFull: 90, pipeline.ReasonNoRoute: 5}}, LatencyMS: q(200)},
			{
				Source: "yard", Node: "edge-2", Status: pipeline.StatusRetrying, Message: "rtsp://camera-2/stream: connection\nrefused\x1b[31m",
				Frames: pipeline.Counts{Captured: 300, Delivered: 200, Dropped: map[pipeline.Reason]uint64{pipeline.ReasonQueueFull: 60, pipeline.ReasonDeadline: 40}},
			},
		},
		Stages: []kpi.Stage{
			{Task: "resize", Instances: 2, Status: pipeline.StatusRunning, Processed: 1190, ExecuteMS: q(4.25), QueueMS: q(0.05)},
			{Task: "detect@768", Instances: 1, Status: pipeline.StatusRunning, Backend: "cpu", Processed: 1000, ExecuteMS: q(101.49), QueueMS: q(99.949), TransferMS: q(9.5), Message: "no CUDA here, the processor is used"},
			{Task: "draw", Instances: 1, Status: pipeline.StatusFailed, Processed: 0},
		},
		Detections: map[string]uint64{"dog": 12, "person": 1534, "cat": 12},
		Placements: []tiering.Placement{
			place("detect@768", 0, "cloud-1", tiering.Cloud, tiering.HI, "HI: fog is full, cloud next; cloud-1 has most free (6.5 cores); adjusted to 50 % (0.5 of 1 core)"),
			place("draw", 0, "cloud-1", tiering.Cloud, tiering.HI, "HI: cloud first; nearest to detect@768 (same node)"),
			place("gate", 0, "edge-1", tiering.Edge, "", "source: attached to edge-1"),
			place("resize", 1, "edge-2", tiering.Edge, tiering.NI, "NI: nearest to source yard (same node)"),
			place("resize", 0, "edge-1", tiering.Edge, tiering.NI, "NI: nearest to source gate (same node)"),
			place("yard", 0, "edge-2", tiering.Edge, "", "source: attached to edge-2"),
		},
	}
}

// TestPlansOfEveryKind: what a plan may hold besides new placements.
func TestPlansOfEveryKind(t *testing.T) {
	f := startFake(t)
	const mib = 1 << 20
	f.answer("POST /v1/plan", api.Planned{
		Changes: true,
		Plan: &tiering.Plan{
			Workflow: "people",
			Keep:     []tiering.Placement{{ID: "people/draw#0", Task: "draw", Category: tiering.HI, Node: "cloud-1", Tier: tiering.Cloud, Reserved: tiering.Resources{CPU: 500, Memory: 256 * mib, Disk: gib}, Reason: "HI: cloud first"}},
			Adjust: []tiering.Adjustment{
				{Placement: "people/draw#0", From: tiering.Resources{CPU: 500, Memory: 256 * mib, Disk: gib}, To: tiering.Resources{CPU: 250, Memory: 256 * mib, Disk: gib}},
				{Placement: "dock/detect#0", From: tiering.Resources{CPU: 1000, Memory: 512 * mib, Disk: gib}, To: tiering.Resources{CPU: 500, Memory: 384 * mib, Disk: gib / 2}},
			},
			Remove:   []string{"people/resize#1"},
			Unplaced: []tiering.Unplaced{{Name: "yard", Reason: "node edge-2 is not alive"}},
		},
	})
	golden(t, "plan-adjusts.txt", weftWith(t, t.Context(), f.config, people, "workflow", "plan", "-").want(t, exitChanges, "").out)
}

// TestAVersionThatWaits: what runs, and beside it what takes its place and why it
// does not yet.
func TestAVersionThatWaits(t *testing.T) {
	f := startFake(t)
	shows := func(c called, want string) {
		t.Helper()
		if out := c.want(t, exitOK, "").out; !strings.Contains(out, want) {
			t.Errorf("shown:\n%s\nwant %q", out, want)
		}
	}
	next := &api.NextVersion{Version: 3, Reason: "detect@512: waiting for model yolox on fog-1"}
	f.answer("GET /v1/workflows/people", api.WorkflowStatus{Workflow: "people", Version: 2, Status: "running", Next: next})
	shows(weft(t, f.config, "workflow", "status", "people"), "workflow people is running\nversion 3 waits to take the place of version 2: detect@512: waiting for model yolox on fog-1\n\n")
	f.answer("GET /v1/workflows", []api.Workflow{{Name: "people", Version: 2, Status: "running", Reason: "gate stays", Next: next}})
	shows(weft(t, f.config, "workflow", "list"), "gate stays; version 3 waits: detect@512: waiting for model yolox on fog-1")
	f.answer("POST /v1/workflows", api.Planned{Changes: true, Plan: &tiering.Plan{
		Workflow: "people", Awaits: true, Unplaced: []tiering.Unplaced{{Name: "detect@512", Reason: "waiting for model yolox on fog-1"}},
	}})
	shows(weftWith(t, t.Context(), f.config, people, "workflow", "submit", "-"), "! detect@512 is on no node: waiting for model yolox on fog-1\n\nworkflow people submitted; it starts when its models have come, and what runs under its name goes on until then")
}

func TestWordsOfCoordinators(t *testing.T) {
	f := startFake(t)
	f.fail("GET /v1/nodes", api.Error{Status: 503, Code: api.CodeNoLeader, Detail: "there is no leader at the moment"})
	weft(t, f.config, "nodes").want(t, exitFailure, "weft: there is no leader at the moment\n")
	f.fail("POST /v1/workflows", api.Error{Status: 503, Code: api.CodeUncertain, Detail: "c1 lost the leadership meanwhile: it may or may not have been carried out; look before you ask again"})
	weftWith(t, t.Context(), f.config, people, "workflow", "submit", "-").want(t, exitFailure, "look before you ask again\n`weft workflow list` shows whether it was\n")
	f.fail("POST /v1/plan", api.Error{Status: 500, Code: api.CodeInternal, Detail: "disk full"})
	weftWith(t, t.Context(), f.config, people, "workflow", "plan", "-").want(t, exitPlan, "weft: disk full\n")
	f.handle("GET /v1/mesh", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	weft(t, f.config, "mesh").want(t, exitFailure, "cannot be read")
	f.answer("GET /v1/models", []api.Model{})
	f.answer("GET /v1/workflows", []api.Workflow{})
	weft(t, f.config, "models", "list").want(t, exitOK, "")
}

// TestEventsGoOnWithAnotherCoordinator: a stream that ends is taken up where it
// ended.
func TestEventsGoOnWithAnotherCoordinator(t *testing.T) {
	f := startFake(t)
	var calls atomic.Int32
	f.handle("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		switch n := calls.Add(1); n {
		case 1, 2:
			if want := []string{"", "0", "7"}[n]; r.URL.Query().Get("after") != want {
				t.Errorf("call %d asks for events after %s, want %s", n, r.URL.Query().Get("after"), want)
			}
			fmt.Fprintf(w, "event: node-joined\ndata: {\"index\":%d,\"at\":\"2026-11-23T10:00:00Z\",\"type\":\"node-joined\",\"message\":\"edge-%d joined\\u001b[2J\"}\n\n", 6+n, n)
		default:
			f.send(w, http.StatusForbidden, api.Error{Status: 403, Code: api.CodeForbidden, Detail: "enough"})
		}
	})
	c := weft(t, f.config, "workflow", "events").want(t, exitFailure, "weft: enough\n")
	lines := strings.Split(c.out, "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[0], "node-joined           edge-1 joined [2J") || !strings.Contains(lines[1], "edge-2") {
		t.Errorf("events: %q", lines)
	}
}

func TestVersionAndHelp(t *testing.T) {
	if c := weft(t, "", "version").want(t, exitOK, ""); c.out != "weft "+version+"\n" {
		t.Errorf("version: %q", c.out)
	}
	if v := decode[map[string]string](t, weft(t, "", "version", "-o", "json")); v["version"] != version {
		t.Errorf("version: %v", v)
	}
	for _, args := range [][]string{{}, {"help"}, {"workflow"}, {"workflow", "plan", "--help"}} {
		if c := weft(t, "", args...).want(t, exitOK, ""); !strings.Contains(c.out, "Usage:") || c.err != "" {
			t.Errorf("help of %v: %s%s", args, c.out, c.err)
		}
	}
}

func TestCompletion(t *testing.T) {
	f := startFake(t)
	f.answer("GET /v1/workflows", []api.Workflow{{Name: "dock", Status: "stopped"}, {Name: "people", Status: "running"}})
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if c := weft(t, "", "completion", shell).want(t, exitOK, ""); !strings.Contains(c.out, "weft") {
			t.Errorf("no script for %s: %q", shell, c.out)
		}
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"workflow", "status", ""}, "dock\tstopped\npeople\trunning\n:4\n"},
		{[]string{"workflow", "stop", "people", ""}, ":4\n"},
		{[]string{"nodes", "-o", ""}, "text\njson\n:4\n"},
		{[]string{"ca", "issue", "--role", ""}, "agent\ncoordinator\noperator\n:4\n"},
	} {
		c := weft(t, "", append([]string{"__complete", "--config", f.config}, tc.args...)...)
		if c.code != exitOK || c.out != tc.want {
			t.Errorf("completion of %q: exit code %d, %q, want %q (%s)", tc.args, c.code, c.out, tc.want, c.err)
		}
	}
	// Without a mesh there is nothing to offer, and nothing to complain about.
	if c := weft(t, "", "__complete", "--config", "none.yaml", "workflow", "status", ""); c.out != ":4\n" {
		t.Errorf("completion without a mesh: %q", c.out)
	}
}
