package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// eventually polls until ok, and fails the test when it takes too long.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", limit, what)
		case <-tick.C:
		}
	}
}

// weftd runs a command in this process. What it says on stderr beside the error
// is lost.
func weftd(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var b bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(""))
	root.SetOut(&b)
	root.SetErr(io.Discard)
	err = root.ExecuteContext(t.Context())
	return b.String(), err
}

// command is weftd in a process of its own, not started yet.
func command(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// dataDir is where real detectors and pictures are, if there are any.
func dataDir() string {
	if dir := os.Getenv("WEFT_TEST_DATA"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "..", "shared", "data")
}

// testData is the directory of real detectors and pictures; the test is
// skipped where there is none.
func testData(t *testing.T) string {
	t.Helper()
	dir := dataDir()
	if _, err := os.Stat(filepath.Join(dir, "detectors")); err != nil {
		t.Skipf("no real detectors: %v (set WEFT_TEST_DATA to a directory that has detectors/ and images/)", err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// writeClip makes a short video of a moving square.
func writeClip(t *testing.T, path string, frames int, fps float64) {
	t.Helper()
	w, err := gocv.VideoWriterFile(path, "MJPG", fps, 640, 480, true)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	img := gocv.NewMatWithSize(480, 640, gocv.MatTypeCV8UC3)
	defer img.Close()
	for i := range frames {
		img.SetTo(gocv.NewScalar(60, 60, 60, 0))
		x := 10 * i % 560
		gocv.Rectangle(&img, image.Rect(x, 200, x+80, 280), color.RGBA{R: 200, G: 80, B: 20}, -1)
		if err := w.Write(img); err != nil {
			t.Fatal(err)
		}
	}
}

// mesh is a running `weftd dev` in this process.
type mesh struct {
	*api.Client
	dev *devMesh
	ids map[string]*pki.Identity
}

// startDev runs `weftd dev` until the test ends.
func startDev(t *testing.T, o devOptions) *mesh {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mesh")
	o.dir, o.log = dir, newLog(logFile{Level: slog.LevelError})
	d, err := newDev(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("weftd dev: %v", err)
		}
	})
	keys := filepath.Join(dir, "operator")
	id, err := pki.LoadIdentity(filepath.Join(keys, "ca.crt"), filepath.Join(keys, "operator.crt"), filepath.Join(keys, "operator.key"))
	if err != nil {
		t.Fatal(err)
	}
	c := api.NewClient(func() []string { return []string{d.nodes[0].addrs.API} }, id.ClientTLS(pki.Coordinator))
	t.Cleanup(c.Close)
	m := &mesh{Client: c, dev: d, ids: map[string]*pki.Identity{"operator": id}}
	eventually(t, 30*time.Second, "all nodes are alive", func() bool { return alive(t, c) == len(d.nodes) })
	return m
}

func alive(t *testing.T, c *api.Client) int {
	nodes, err := c.Nodes(t.Context())
	if err != nil {
		return 0
	}
	n := 0
	for _, x := range nodes {
		if x.Status == tiering.NodeAlive {
			n++
		}
	}
	return n
}

// submit submits a document and returns its plan.
func submit(t *testing.T, c *api.Client, document string) api.Planned {
	t.Helper()
	p, err := c.Submit(t.Context(), "test.yaml", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func status(t *testing.T, c *api.Client, workflow string) api.WorkflowStatus {
	t.Helper()
	s, err := c.Workflow(t.Context(), workflow)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mustBalance fails the test if a captured frame is not accounted for.
func mustBalance(t *testing.T, c pipeline.Counts) {
	t.Helper()
	if !c.Balanced() {
		t.Errorf("captured %d ≠ delivered %d + dropped %v + in flight %d", c.Captured, c.Delivered, c.Dropped, c.InFlight)
	}
}

// people is a workflow on the built-in detector, with one source.
func people(source string, fps float64, resolutions string) string {
	return fmt.Sprintf(`apiVersion: weft/v1
kind: Workflow
metadata: {name: people}
spec:
  objectives: {deadline: 2s}
  sources:
    - {name: gate, uri: %q, fps: %g}
  tasks:
    - {name: resize, type: preprocess, resources: {cpu: 100m, memory: 64MiB}}
    - name: detect
      type: deep-model
      models: [{name: hog-people, resolutions: %s}]
      resources: {cpu: 500m, memory: 256MiB}
    - {name: draw, type: postprocess, store: true, resources: {cpu: 500m, memory: 128MiB}}
  links:
    - {from: sources, to: resize}
    - {from: resize, to: detect}
    - {from: detect, to: draw}
`, source, fps, resolutions)
}
