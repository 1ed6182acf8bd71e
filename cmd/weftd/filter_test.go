package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// weftdFilter starts `weftd filter` of the detector that needs no files.
func weftdFilter(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	return command(t, append([]string{"filter", "hog-people", "-r", "512"}, args...)...)
}

// A camera at which nothing moves: the filter on its node learns from the
// outcomes of frames that other nodes analyse, and then hardly any is sent.
func TestAStillCameraIsFiltered(t *testing.T) {
	m := startDev(t, devOptions{})
	doc := strings.Replace(people("street:?seed=10&fps=5", 5, "[320]"), "hog-people", "street", 1) // which sees nothing there
	doc = strings.Replace(doc, "  tasks:\n", "  tasks:\n    - {name: still, type: preprocess, operation: filter, settings: {accuracy: 0.9}, resources: {cpu: 100m, memory: 64MiB}}\n", 1)
	doc = strings.Replace(doc, "{from: sources, to: resize}", "{from: sources, to: still}\n    - {from: still, to: resize}", 1)
	submit(t, m.Client, doc)
	eventually(t, 3*time.Minute, "20 frames are filtered", func() bool { return status(t, m.Client, "people").Frames.Filtered >= 20 })

	s := status(t, m.Client, "people")
	mustBalance(t, s.Frames)
	for _, p := range s.Placements {
		if (p.Task == "still" || p.Task == "resize") && p.Tier != tiering.Edge {
			t.Errorf("%s runs on the %v, want the edge", p.Task, p.Tier)
		}
	}
	for _, x := range s.Stages {
		if x.Task == "still" && (x.Filtered < 20 || x.Processed < 48 || x.Received < x.Filtered+x.Processed) || x.Task != "still" && x.Filtered != 0 {
			t.Errorf("%s: %d received, %d processed, %d filtered", x.Task, x.Received, x.Processed, x.Filtered)
		}
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	cmd, stdout, stderr := weftdFilter(t, "--scenes", "12,10:30", "--frames", "60", "--fps", "5", "--accuracy", "0.9", "--threshold", "0.5", "-o", "json")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var got filterReport
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	if got.Model != "hog-people" || got.Resolution != 512 || len(got.Scenes) != 2 || len(got.Mean) != 2 {
		t.Fatalf("%s", stdout)
	}
	for i, s := range got.Scenes {
		if s.Seed != []uint64{12, 10}[i] || s.Density != []int{100, 30}[i] || s.FPS != 5 || s.Frames != 60 || len(s.Filters) != 2 {
			t.Errorf("scene %d: %+v", i, s)
			continue
		}
		// Until three runs are seen all frames pass; with half of the picture as the
		// threshold, one in sixteen.
		if learnt, fixed := s.Filters[0], s.Filters[1]; learnt.Analysed < 48./60 || fixed.Analysed != 4./60 {
			t.Errorf("seed %d: %+v", s.Seed, s.Filters)
		}
	}
}

func TestFilterTable(t *testing.T) {
	cmd, stdout, stderr := weftdFilter(t, "--scenes", "12", "--frames", "3", "--accuracy", "0.9", "--threshold", "0.5")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	for _, want := range []string{"SCENE   OBJECTS  F1", "KEEP 0.9", "AT 0.5", "12:100", "mean", "hog-people at 512, 3 frames a scene"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	for _, tc := range []struct{ args, says string }{
		{"--scenes seven", "use a seed"}, {"--scenes 7:900", "density 900"}, {"--accuracy 2", "accuracy is 2"}, {"--accuracy 0", "use the share to keep"},
		{"--threshold 2", "threshold is 2"}, {"--frames 0", "nothing to measure"}, {"-o xml", "use text or json"}, {"--fps -3", "frames a second"},
	} {
		cmd, _, stderr := weftdFilter(t, strings.Fields(tc.args)...)
		err := cmd.Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%s: %v, %s", tc.args, err, stderr)
		}
	}
}
