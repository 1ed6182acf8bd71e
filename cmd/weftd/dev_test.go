package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt"
	"github.com/weft-mesh/weft/pipeline/vision"
	"github.com/weft-mesh/weft/tiering"
)

func TestAWorkflowRunsOnTheDevMesh(t *testing.T) {
	t.Parallel()
	media := t.TempDir()
	writeClip(t, filepath.Join(media, "clip.avi"), 50, 10)
	m := startDev(t, devOptions{media: media})

	doc := people("video:clip.avi?loop=true", 5, "[512]")
	planned, err := m.Plan(t.Context(), "test.yaml", []byte(doc))
	if err != nil || !planned.Changes {
		t.Fatalf("%+v %v", planned, err)
	}
	if ws, err := m.Workflows(t.Context()); err != nil || len(ws) != 0 {
		t.Fatalf("a plan has changed something: %v %v", ws, err)
	}
	submit(t, m.Client, doc)
	if again, err := m.Plan(t.Context(), "test.yaml", []byte(doc)); err != nil || again.Changes {
		t.Errorf("the same workflow once more would change %+v, %v", again.Plan, err)
	}
	slower := people("video:clip.avi?loop=true", 4, "[512]")
	if again, err := m.Plan(t.Context(), "test.yaml", []byte(slower)); err != nil || !again.Changes || !again.Plan.Empty() {
		t.Errorf("another frame rate changes nothing: %+v, %v", again.Plan, err)
	}
	eventually(t, time.Minute, "20 frames are delivered", func() bool { return status(t, m.Client, "people").Frames.Delivered >= 20 })

	s := status(t, m.Client, "people")
	mustBalance(t, s.Frames)
	tiers := map[string]tiering.Tier{}
	for _, p := range s.Placements {
		tiers[p.Task] = p.Tier
	}
	for task, want := range map[string]tiering.Tier{"gate": tiering.Edge, "resize": tiering.Edge, "detect@512": tiering.Fog, "draw": tiering.Cloud} {
		if tiers[task] != want {
			t.Errorf("%s runs on the %v, want the %v", task, tiers[task], want)
		}
	}
	for _, st := range s.Stages {
		if st.Status != pipeline.StatusRunning || st.Processed == 0 {
			t.Errorf("stage %+v", st)
		}
		if crossed := st.Task != "resize"; crossed != (st.TransferMS.P50 > 0) {
			t.Errorf("%s: transfer %v ms; frames cross a link: %v", st.Task, st.TransferMS.P50, crossed)
		}
	}

	pictures(t, m, "people")

	if err := m.Stop(t.Context(), "people"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "no frame is in flight after the stop", func() bool { return status(t, m.Client, "people").Frames.InFlight == 0 })
	s = status(t, m.Client, "people")
	mustBalance(t, s.Frames)
	if len(s.Placements) != 0 {
		t.Errorf("a stopped workflow has placements: %v", s.Placements)
	}
	nodes, err := m.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if !n.Reserved.IsZero() {
			t.Errorf("%s still has %v reserved", n.ID, n.Reserved)
		}
	}
}

func TestFramesOverMQTTAndPicturesOnRequest(t *testing.T) {
	m := startDev(t, devOptions{media: t.TempDir()})
	doc := people("videotest:", 5, "[512]")
	for from, to := range map[string]string{
		"{from: resize, to: detect}": "{from: resize, to: detect, transport: mqtt}",
		"store: true,":               "store: true, settings: {publish: true},",
	} {
		if !strings.Contains(doc, from) {
			t.Fatalf("no %q in the document", from)
		}
		doc = strings.Replace(doc, from, to, 1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	got, done := make(chan []byte, 1), make(chan error, 1)
	go func() {
		done <- mqtt.Subscribe(ctx, mqtt.SubscribeConfig{
			Broker: m.dev.nodes[0].addrs.MQTT, TLS: m.ids["operator"].ClientTLS(pki.Agent),
			Topic: mqtt.PicturesTopic("people", "gate"), Log: slog.New(slog.DiscardHandler),
		}, func(payload []byte) {
			select {
			case got <- payload:
			default:
			}
		})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("subscribe: %v", err)
		}
	}()
	submit(t, m.Client, doc)
	eventually(t, time.Minute, "frames are delivered over MQTT", func() bool { return status(t, m.Client, "people").Frames.Delivered >= 10 })
	s := status(t, m.Client, "people")
	mustBalance(t, s.Frames)
	select {
	case jpeg := <-got:
		if !strings.HasPrefix(string(jpeg), "\xff\xd8") {
			t.Errorf("what was published is no JPEG: %.20q", jpeg)
		}
	case <-time.After(30 * time.Second):
		t.Error("no annotated picture was published")
	}
}

// pictures checks that annotated frames are served where draw runs.
func pictures(t *testing.T, m *mesh, workflow string) {
	t.Helper()
	nodes, err := m.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(nodes, func(n api.Node) bool { return n.ID == "cloud-1" })
	base := nodes[i].Addresses.HTTP
	var list []struct{ Source, File string }
	getPage(t, base+"/v1/pictures/"+workflow, &list)
	if len(list) == 0 || list[0].Source != "gate" {
		t.Fatalf("pictures: %v", list)
	}
	resp, err := http.Get(base + "/v1/pictures/" + workflow + "/gate/" + list[0].File)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("picture: %v %v", resp, err)
	}
	if err == nil {
		resp.Body.Close()
	}
}

func getPage(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// TestRealDetectorsThroughTheMesh runs real weights on real pictures through
// the whole mesh; what it finds must be what the detector finds when called
// directly.
func TestRealDetectorsThroughTheMesh(t *testing.T) {
	t.Parallel()
	data := testData(t)
	media := t.TempDir()
	for _, name := range []string{"dog", "person"} {
		b, err := os.ReadFile(filepath.Join(data, "images", name+".jpg"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(media, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(media, name, name+".jpg"), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	models := filepath.Join(data, "detectors")
	m := startDev(t, devOptions{media: media, models: models})
	found := collect(t, m)

	for _, model := range []string{"yolo-fastest-1.1-xl", "mobilenetv2-yolov3-nano", "yolox-nano"} {
		t.Run(model, func(t *testing.T) {
			submit(t, m.Client, objects(model))
			for source, labels := range map[string][]string{"dog": {"dog", "bicycle", "car"}, "person": {"person", "dog", "horse"}} {
				direct := detect(t, models, model, filepath.Join(media, source, source+".jpg"))
				var got mqtt.Detections
				eventually(t, time.Minute, "detections of "+source, func() bool {
					var ok bool
					got, ok = found(model, source)
					return ok
				})
				for _, l := range labels {
					if !slices.ContainsFunc(got.Detections, func(d pipeline.Detection) bool { return d.Label == l }) {
						t.Errorf("no %s in %s.jpg: %v", l, source, got.Detections)
					}
				}
				same(t, source, direct, got.Detections)
			}
			if err := m.Stop(t.Context(), "objects"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func objects(model string) string {
	return fmt.Sprintf(`apiVersion: weft/v1
kind: Workflow
metadata: {name: objects}
spec:
  objectives: {deadline: 5s}
  sources:
    - {name: dog, uri: "images:dog?loop=true", fps: 2}
    - {name: person, uri: "images:person?loop=true", fps: 2}
  tasks:
    - {name: resize, type: preprocess}
    - name: detect
      type: deep-model
      models: [{name: %s, resolutions: [416]}]
      resources: {cpu: 1, memory: 512MiB}
    - {name: draw, type: postprocess}
  links:
    - {from: sources, to: resize}
    - {from: resize, to: detect, encoding: png}
    - {from: detect, to: draw}
`, model)
}

// collect subscribes to everything detected, as an operator's program would.
func collect(t *testing.T, m *mesh) func(model, source string) (mqtt.Detections, bool) {
	t.Helper()
	broker := m.dev.nodes[0].addrs.MQTT
	ctx, cancel := context.WithCancel(context.Background())
	all := make(chan mqtt.Detections, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := mqtt.Subscribe(ctx, mqtt.SubscribeConfig{
			Broker: broker, TLS: m.ids["operator"].ClientTLS(pki.Agent), Topic: "weft/v1/detections/#", Queue: 64, Log: slog.New(slog.DiscardHandler),
		}, func(payload []byte) {
			var d mqtt.Detections
			if err := json.Unmarshal(payload, &d); err != nil {
				t.Errorf("detections %q: %v", payload, err)
			}
			select {
			case all <- d:
			default:
			}
		})
		if err != nil {
			t.Errorf("subscribe: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	last := map[[2]string]mqtt.Detections{}
	return func(model, source string) (mqtt.Detections, bool) {
		for {
			select {
			case d := <-all:
				last[[2]string{d.Model, d.Source}] = d
			default:
				d, ok := last[[2]string{model, source}]
				return d, ok
			}
		}
	}
}

// detect calls a detector directly.
func detect(t *testing.T, models, name, file string) []pipeline.Detection {
	t.Helper()
	m, ok := catalog.Builtin().Lookup(name)
	if !ok {
		t.Fatalf("no model %s", name)
	}
	d, err := vision.NewDetector(vision.DetectorConfig{
		Model: *m, Dir: models, Resolution: 416, Backend: tiering.Backend{Name: "cpu"}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	img, err := vision.Codec{}.Decode(pipeline.Image{Format: pipeline.JPEG, Data: b})
	if err != nil {
		t.Fatal(err)
	}
	found, err := d.Detect(img)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// same wants every object found directly, a clear one at least, to have been
// found by the mesh in the same place, and the other way round.
func same(t *testing.T, source string, direct, meshed []pipeline.Detection) {
	t.Helper()
	const clear = 0.35 // well above the threshold of 0.25: a JPEG on the way does not tip it
	for _, c := range []struct {
		what string
		a, b []pipeline.Detection
	}{{"only the direct call found", direct, meshed}, {"only the mesh found", meshed, direct}} {
		for _, x := range c.a {
			best := 0.0
			for _, y := range c.b {
				if y.Label == x.Label {
					best = max(best, x.Box.IoU(y.Box))
				}
			}
			if x.Score >= clear && best < 0.95 {
				t.Errorf("%s: %s a %s (%.2f); best overlap %.3f", source, c.what, x.Label, x.Score, best)
			}
		}
	}
	if len(direct) == 0 {
		t.Errorf("%s: the direct call found nothing", source)
	}
}
