package main

import (
	"context"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/tiering"
)

// people is a workflow of two cameras that fits the live mesh.
const people = `apiVersion: weft/v1
kind: Workflow
metadata:
  name: people
spec:
  objectives: {deadline: 1s}
  sources:
    - {name: gate, uri: "videotest:", node: edge-1, fps: 5, resolution: 768}
    - {name: yard, uri: "videotest:", node: edge-2, fps: 5, resolution: 512}
  tasks:
    - {name: resize, type: preprocess, replicas: 2, resources: {cpu: 250m, memory: 128MiB}}
    - name: detect
      type: deep-model
      models: [{name: hog-people, resolutions: [512, 768]}]
      resources: {cpu: 1, memory: 512MiB}
    - {name: draw, type: postprocess, store: true, resources: {cpu: 500m, memory: 256MiB, disk: 256MiB}}
  links:
    - {from: sources, to: resize}
    - {from: resize, to: detect}
    - {from: detect, to: draw}
`

// TestAWorkflowsLife goes through a workflow's life as an operator does.
func TestAWorkflowsLife(t *testing.T) {
	m := startLive(t)
	t.Chdir(t.TempDir())
	write(t, "people.yaml", people)
	if c := weft(t, m.config, "workflow", "list").want(t, exitOK, ""); !strings.Contains(c.out, "no workflows") {
		t.Errorf("an empty list: %q", c.out)
	}
	if ws := decode[[]api.Workflow](t, weft(t, m.config, "workflow", "list", "-o", "json")); len(ws) != 0 {
		t.Errorf("an empty list: %v", ws)
	}

	planned := weft(t, m.config, "workflow", "plan", "people.yaml").want(t, exitChanges, "")
	text := decode[api.Planned](t, weft(t, m.config, "workflow", "plan", "people.yaml", "-o", "json").want(t, exitChanges, ""))
	if !text.Changes || len(text.Plan.Place) != 7 {
		t.Errorf("planned: %+v", text)
	}
	submitted := weft(t, m.config, "workflow", "submit", "people.yaml").want(t, exitOK, "")
	if submitted.out != planned.out+"\nworkflow people submitted\n" {
		t.Errorf("submitted\n%s\nplanned\n%s", submitted.out, planned.out)
	}
	same := weftWith(t, t.Context(), m.config, people, "workflow", "plan", "-").want(t, exitOK, "")
	again := weft(t, m.config, "workflow", "submit", "people.yaml", "-o", "json").want(t, exitOK, "")
	if p := decode[api.Planned](t, again); p.Changes || len(p.Plan.Keep) != 7 {
		t.Errorf("the same again: %+v", p)
	}
	if c := weft(t, m.config, "workflow", "submit", "people.yaml").want(t, exitOK, ""); !strings.HasSuffix(c.out, "\nworkflow people submitted; everything stays where it is\n") {
		t.Errorf("the same again: %s", c.out)
	}
	alone := strings.NewReplacer("replicas: 2", "replicas: 1", `    - {name: yard, uri: "videotest:", node: edge-2, fps: 5, resolution: 512}`+"\n", "", "[512, 768]", "[768]").Replace(people)
	less := weftWith(t, t.Context(), m.config, alone, "workflow", "plan", "-").want(t, exitChanges, "")
	golden(t, "plan.txt", planned.out, same.out, less.out)

	status := weft(t, m.config, "workflow", "status", "people").want(t, exitOK, "")
	golden(t, "status-starting.txt", status.out)
	s := decode[api.WorkflowStatus](t, weft(t, m.config, "workflow", "status", "people", "-o", "json"))
	if s.Workflow != "people" || len(s.Placements) != 7 || len(s.Stages) != 4 {
		t.Errorf("status: %+v", s)
	}
	for _, n := range decode[[]api.Node](t, weft(t, m.config, "nodes", "-o", "json")) {
		if n.ID == "fog-1" && n.Reserved.CPU != 1000 {
			t.Errorf("fog-1 has %v reserved", n.Reserved)
		}
	}

	weft(t, m.config, "workflow", "stop", "people").want(t, exitOK, "")
	if c := weft(t, m.config, "workflow", "stop", "people", "-o", "json").want(t, exitOK, ""); decode[map[string]string](t, c)["status"] != "stopped" {
		t.Errorf("stopped: %s", c.out)
	}
	for _, n := range decode[[]api.Node](t, weft(t, m.config, "nodes", "-o", "json")) {
		if !n.Reserved.IsZero() {
			t.Errorf("%s still has %v reserved", n.ID, n.Reserved)
		}
	}
	list := decode[[]api.Workflow](t, weft(t, m.config, "workflow", "list", "-o", "json"))
	if len(list) != 1 || list[0].Status != "stopped" {
		t.Errorf("listed: %+v", list)
	}
	stopped := decode[api.WorkflowStatus](t, weft(t, m.config, "workflow", "status", "people", "-o", "json"))
	if len(stopped.Placements) != 0 || stopped.Status != "stopped" {
		t.Errorf("status: %+v", stopped)
	}
	if mesh := decode[api.Mesh](t, weft(t, m.config, "mesh", "-o", "json")); mesh.Leader != "coordinator" {
		t.Errorf("mesh: %+v", mesh)
	}
	if models := decode[[]api.Model](t, weft(t, m.config, "models", "list", "-o", "json")); len(models) < 2 || len(models[0].Nodes) != 4 {
		t.Errorf("models: %+v", models)
	}
}

func TestCheckNeedsNoMesh(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "people.yaml", people)
	c := weft(t, "", "workflow", "check", "people.yaml").want(t, exitOK, "")
	if want := "people.yaml: workflow people is sound: 2 sources, 4 tasks\n"; c.out != want {
		t.Errorf("it says %q, want %q", c.out, want)
	}
	w := decode[tiering.Workflow](t, weft(t, "", "workflow", "check", "people.yaml", "-o", "json").want(t, exitOK, ""))
	if w.Name != "people" || len(w.Tasks) != 4 {
		t.Errorf("checked: %+v", w)
	}

	// A catalogue of one's own.
	own := strings.ReplaceAll(people, "hog-people", "mine")
	weftWith(t, t.Context(), "", own, "workflow", "check", "-").want(t, exitFailure, `unknown model "mine"`)
	models := write(t, "models.yaml", `apiVersion: weft/v1
kind: Catalogue
classLists: {things: [thing]}
models:
  - {name: mine, family: mine, format: onnx, files: [{role: model, name: mine.onnx}], resolutions: [512, 768], fit: letterbox, classes: things}
`)
	weftWith(t, t.Context(), "", own, "workflow", "check", "-", "--catalogue", models).want(t, exitOK, "")
	clash := write(t, "clash.yaml", strings.Replace(read(t, models), "name: mine,", "name: hog-people,", 1))
	weftWith(t, t.Context(), "", own, "workflow", "check", "-", "--catalogue", clash).want(t, exitFailure, `"hog-people"; give yours another name`)
}

func TestEventsAreFollowed(t *testing.T) {
	m := startLive(t)
	weftWith(t, t.Context(), m.config, people, "workflow", "submit", "-").want(t, exitOK, "")
	for _, format := range []string{"text", "json"} {
		ctx, cancel := context.WithCancel(t.Context())
		out, lines := newLines()
		done := make(chan int, 1)
		var errOut strings.Builder
		go func() {
			code := run(ctx, []string{"--config", m.config, "workflow", "events", "-o", format}, strings.NewReader(""), out, &errOut)
			out.Close()
			done <- code
		}()
		var submitted string
		for submitted == "" {
			l, ok := <-lines
			if !ok {
				t.Fatalf("events ended: %s", errOut.String())
			}
			if strings.Contains(l, "workflow-submitted") {
				submitted = l
			}
		}
		cancel()
		for range lines {
		}
		if code := <-done; code != exitOK || errOut.String() != "" {
			t.Errorf("exit code %d: %s", code, errOut.String())
		}
		if format == "json" {
			if e := decode[api.Event](t, called{out: submitted}); e.Subject != "people" {
				t.Errorf("event %+v", e)
			}
		} else if want := "  workflow-submitted    workflow people version 1: 2 sources, 4 tasks"; submitted[len("15:04:05"):] != want {
			t.Errorf("event %q, want …%q", submitted, want)
		}
	}
}
