package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/pipeline/gallery"
	"github.com/weft-mesh/weft/tiering"
)

// nothing has no files.
type nothing struct{}

func (nothing) Blob(string) (io.ReadSeekCloser, int64, error) { return nil, 0, store.ErrMissing }

const carsModel = "yolo-fastest-1.1"

// cars is a workflow on a detector that is not built in.
func cars() string {
	return fmt.Sprintf(`apiVersion: weft/v1
kind: Workflow
metadata: {name: cars}
spec:
  objectives: {deadline: 10s}
  sources: [{name: gate, uri: "videotest:", fps: 2, node: edge-1}]
  tasks:
    - {name: resize, type: preprocess, resources: {cpu: 100m, memory: 64MiB}}
    - {name: detect, type: deep-model, models: [{name: %s, resolutions: [320]}], resources: {cpu: 500m, memory: 256MiB}}
  links:
    - {from: gate, to: resize}
    - {from: resize, to: detect}
`, carsModel)
}

// modelFarm is a coordinator, on which nothing runs and which has the files of
// carsModel, and nodes of which fog-1 and edge-1 run; fog-1 hands out its own.
func modelFarm(t *testing.T) (f *farm, m *catalog.Model, dir func(node string) string, whole func(node string) bool) {
	t.Helper()
	from := filepath.Join(testData(t), "detectors")
	f = &farm{t: t, dir: t.TempDir(), ca: newCA(t), processes: map[string]*process{}}
	writeKey(t, f.dir)
	t.Cleanup(f.stopAll)
	at, apiAt := freePort(t), freePort(t)
	f.write("coord-1", tiering.Cloud, at, apiAt, true)
	f.join = []string{at}
	for name, tier := range map[string]tiering.Tier{"fog-1": tiering.Fog, "fog-2": tiering.Fog, "edge-1": tiering.Edge} {
		f.write(name, tier, "127.0.0.1:0", "127.0.0.1:0", false)
	}
	change := func(name, old, text string) {
		t.Helper()
		b, err := os.ReadFile(f.config(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.config(name), []byte(strings.Replace(string(b), old, text, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change("coord-1", "expect: 3", "expect: 1")
	change("fog-1", `http: "127.0.0.1:0"`, `http: "0.0.0.0:0"`) // where others reach it
	m, _ = catalog.Builtin().Lookup(carsModel)
	dir = func(node string) string { return filepath.Join(f.dir, node, "models") }
	whole = func(node string) bool { return store.New(dir(node), catalog.Builtin(), nil).Usable(m) == nil }
	if err := os.MkdirAll(dir("coord-1"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range m.Files {
		b, err := os.ReadFile(filepath.Join(from, file.Name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir("coord-1"), file.Name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"coord-1", "fog-1", "edge-1"} {
		f.start(name)
	}
	id, err := f.ca.Issue(pki.Subject{Role: pki.Operator, Name: "tester"}, nil, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f.Client = api.NewClient(func() []string { return []string{apiAt} }, id.ClientTLS(pki.Coordinator))
	t.Cleanup(f.Close)
	eventually(t, time.Minute, "three nodes are alive", func() bool { return alive(t, f.Client) == 3 })
	return f, m, dir, whole
}

// flip changes a bit in the middle of a file, as its size and time do not show;
// twice is as before.
func flip(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// TestModelsTravelOverTheMesh: only the coordinator, on which nothing runs, has
// the model's files. The nodes that need them get them from it, and the workflow
// waits for that. Then its files are damaged unseen, and a node that comes later
// refuses them, and gets them from another when there is one.
func TestModelsTravelOverTheMesh(t *testing.T) {
	t.Parallel()
	f, m, dir, whole := modelFarm(t)
	if whole("fog-1") || whole("edge-1") {
		t.Fatal("they have it already")
	}

	planned := submit(t, f.Client, cars())
	if len(planned.Plan.Place) != 0 || len(planned.Plan.Unplaced) != 1 || planned.Plan.Unplaced[0].Reason != "waiting for model "+carsModel+" on fog-1" {
		t.Errorf("planned %+v", planned.Plan)
	}
	eventually(t, time.Minute, "frames are analysed", func() bool {
		s, err := f.Workflow(t.Context(), "cars")
		return err == nil && where(s, "detect@320") == "fog-1" && s.Frames.Delivered > 0
	})
	if !whole("fog-1") {
		t.Error("fog-1 runs it and does not have it")
	}
	eventually(t, time.Minute, "the edge node has its model", func() bool { return whole("edge-1") })

	// Damaged on the coordinator's disk, as its size and time do not show.
	flip(t, filepath.Join(dir("coord-1"), m.Files[1].Name))
	f.kill("fog-1")
	f.start("fog-2")
	eventually(t, time.Minute, "fog-2 refuses what it gets", func() bool {
		return strings.Contains(f.processes["fog-2"].log.String(), "its SHA-256 digest is ")
	})
	if _, err := os.Stat(filepath.Join(dir("fog-2"), m.Files[1].Name)); err == nil {
		t.Error("fog-2 keeps what is corrupt")
	}
	eventually(t, time.Minute, "the workflow says what it waits for", func() bool {
		s, err := f.Workflow(t.Context(), "cars")
		return err == nil && strings.Contains(s.Reason, "detect@320: waiting for model "+carsModel+" on fog-2") &&
			slices.ContainsFunc(s.Stages, func(x api.StageStatus) bool { // and why it does not come
				return strings.Contains(x.Message, "; fog-2: cannot get the file ") && strings.Contains(x.Message, "its SHA-256 digest is ")
			})
	})
	f.start("fog-1")
	eventually(t, time.Minute, "fog-2 has got it from fog-1", func() bool { return whole("fog-2") })
	eventually(t, time.Minute, "the list says who has it", func() bool {
		all, err := f.Models(t.Context())
		i := slices.IndexFunc(all, func(m api.Model) bool { return m.Name == carsModel })
		return err == nil && len(all[i].Awaited) == 0 && slices.Contains(all[i].Nodes, "fog-2")
	})
}

// TestAWorkflowRunsOnWhileItsNextModelComes: a workflow that runs is submitted with
// a model that does not arrive yet. Frames go on with the detector that it
// has, and its status says what it waits for; when the model comes it is taken.
func TestAWorkflowRunsOnWhileItsNextModelComes(t *testing.T) {
	t.Parallel()
	f, m, dir, whole := modelFarm(t)
	weights := filepath.Join(dir("coord-1"), m.Files[1].Name)
	flip(t, weights) // who gets it refuses it
	submit(t, f.Client, strings.ReplaceAll(cars(), "{name: "+carsModel+", resolutions: [320]}", "{name: hog-people, resolutions: [512]}"))
	status := func() api.WorkflowStatus {
		s, err := f.Workflow(t.Context(), "cars")
		if err != nil {
			return api.WorkflowStatus{}
		}
		return s
	}
	eventually(t, time.Minute, "frames are analysed", func() bool { s := status(); return where(s, "detect@512") == "fog-1" && s.Frames.Delivered > 0 })
	if p := submit(t, f.Client, cars()); !p.Plan.Awaits || !p.Changes {
		t.Errorf("planned %+v", p.Plan)
	}
	eventually(t, time.Minute, "the workflow says what it waits for", func() bool {
		n := status().Next
		return n != nil && n.Version == 2 && strings.Contains(n.Reason, "detect@320: waiting for model "+carsModel+" on fog-1; ") &&
			strings.Contains(n.Reason, "; fog-1: cannot get the file ") // the other node's reason may come first
	})
	before := status()
	eventually(t, time.Minute, "frames are analysed all the while", func() bool { return status().Frames.Delivered >= before.Frames.Delivered+4 })
	if s := status(); s.Status != "running" || s.Version != 1 || s.Next == nil || whole("fog-1") {
		t.Errorf("version %d is %s: %s; next %+v", s.Version, s.Status, s.Reason, s.Next)
	}
	flip(t, weights)
	eventually(t, 2*time.Minute, "the new version runs", func() bool {
		s := status()
		return s.Version == 2 && s.Status == "running" && s.Next == nil && where(s, "detect@320") == "fog-1"
	})
	before = status()
	eventually(t, time.Minute, "frames are analysed with it", func() bool { return status().Frames.Delivered >= before.Frames.Delivered+4 })
}

// Files are handed out where certificates are asked for, and nowhere else.
func TestWebHandsOutBlobs(t *testing.T) {
	id, err := newCA(t).Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Fog, Name: "fog-1"}, nil, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pictures, err := gallery.New(gallery.Config{Dir: t.TempDir(), Retain: 1, Log: newLog(logFile{})})
	if err != nil {
		t.Fatal(err)
	}
	defer pictures.Close()
	for listen, want := range map[string]string{"127.0.0.1:0": "404 Not Found", "0.0.0.0:0": "400 Bad Request"} {
		w, err := newWeb(listen, id, pictures, []prometheus.Collector{prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"})}, nothing{}, newLog(logFile{}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.run(ctx) }()
		_, port, err := net.SplitHostPort(w.addr())
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{TLSClientConfig: id.ClientTLS(pki.Agent)}
		resp, err := (&http.Client{Transport: transport}).Get(w.scheme + "://127.0.0.1:" + port + "/v1/blobs/sha256:x")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.Status != want {
			t.Errorf("at %s: %s, want %s", listen, resp.Status, want)
		}
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
