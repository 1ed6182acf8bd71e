package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/profile"
)

// profiled are the profiles on stdout, all of which make sense.
func profiled(t *testing.T, stdout *bytes.Buffer) []profile.Profile {
	t.Helper()
	var out []profile.Profile
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	for _, p := range out {
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
	return out
}

// The detector that needs no files, on pictures that need none.
func TestProfile(t *testing.T) {
	t.Parallel()
	cmd, stdout, stderr := command(t, "profile", "hog-people", "-r", "512", "--frames", "5", "-o", "json", "--threads", "1")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	all := profiled(t, stdout)
	if len(all) != 1 || all[0].Key() != (profile.Key{Model: "hog-people", Resolution: 512, Backend: "cpu"}) || all[0].Frames != 5 || all[0].Platform.Cores != 1 {
		t.Fatalf("%s", stdout)
	}
	if p := all[0]; p.Energy.JoulesPerFrame <= 0 || p.Load < p.ExecuteP50/10 || p.Live || time.Since(p.At) > time.Hour {
		t.Errorf("%s", stdout)
	}
	if !strings.Contains(stderr.String(), "hog-people at 512, 1 of 5 frames") {
		t.Errorf("no progress in %q", stderr)
	}
}

// A net takes longer at a higher resolution, and memory.
func TestProfileOfANet(t *testing.T) {
	t.Parallel()
	models := filepath.Join(testData(t), "detectors")
	cmd, stdout, stderr := command(t, "profile", "mobilenetv2-yolov3-nano", "--models", models, "--frames", "5", "-o", "json")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	all := profiled(t, stdout)
	m, _ := catalog.Builtin().Lookup("mobilenetv2-yolov3-nano")
	if len(all) != len(m.Resolutions) {
		t.Fatalf("%d profiles of %v", len(all), m.Resolutions)
	}
	for _, p := range all {
		if p.Memory < 1<<20 {
			t.Errorf("%v: %d bytes", p.Key(), p.Memory)
		}
	}
	// The same as a file, as text.
	cmd, stdout, stderr = command(t, "profile", filepath.Join(models, "MobileNetV2-YOLOv3-Nano-coco.cfg"), "-r", "320", "--frames", "1", "--backend", "cuda")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if text := stdout.String(); !strings.Contains(text, "MODEL") || !strings.Contains(text, "MobileNetV2-YOLOv3-Nano-coco@320") || !strings.Contains(text, " ms") {
		t.Errorf("%s", text)
	}
}

func TestProfileInterrupted(t *testing.T) {
	cmd, stdout, stderr := command(t, "profile", "hog-people", "-r", "512", "--frames", "1000000")
	cmd.Stderr = nil
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	for seen := ""; !strings.Contains(seen, "1 of 1000000 frames"); {
		b := make([]byte, 1000)
		n, err := pipe.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		seen += string(b[:n])
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, _ = stderr.ReadFrom(pipe)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != exitFailure {
		t.Errorf("exit code %d, want %d", cmd.ProcessState.ExitCode(), exitFailure)
	}
	if !strings.Contains(stderr.String(), "weftd: interrupted after 0 of 1") || stdout.Len() != 0 {
		t.Errorf("it says %q and %q", stderr, stdout)
	}
}

func TestProfileMistakesAreExplained(t *testing.T) {
	t.Setenv(asDaemon, "1") // for what it starts
	empty := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"unknown model", []string{"hog-peple"}, exitUsage, `usage: the catalogue has no model "hog-peple"; did you mean "hog-people"? it has `},
		{"no such resolution", []string{"hog-people", "-r", "300"}, exitUsage, "usage: --resolution is 300: hog-people offers 512, 640, 768, 1024"},
		{"no frames", []string{"--frames", "0"}, exitUsage, "usage: --frames is 0: use 1 or more"},
		{"threads", []string{"--threads", "-1"}, exitUsage, "usage: --threads is -1: use 1 or more"},
		{"backend", []string{"--backend", "tpu"}, exitUsage, `usage: --backend is "tpu": use cpu or cuda`},
		{"output", []string{"-o", "xml"}, exitUsage, `usage: --output is "xml": use text or json`},
		{"a file of no resolution", []string{"my.cfg"}, exitUsage, "usage: --resolution is needed: no catalogue says what my.cfg offers"},
		{"no file", []string{"my.cfg", "-r", "320"}, exitUsage, "usage: there is no my.cfg, the config file of the model"},
		{"no files", []string{"yolov4-tiny", "-r", "416", "--models", empty}, exitFailure, "profile of yolov4-tiny at 416: model yolov4-tiny at 416: model can't be used"},
		{"no job", []string{"--job"}, exitUsage, "usage: --job: stdin says no job: EOF"},
	} {
		out, err := weftd(t, append([]string{"profile"}, tt.args...)...)
		if exitCode(err) != tt.code || !strings.HasPrefix(err.Error(), tt.want) || out != "" {
			t.Errorf("%s: code %d, %v, %q", tt.name, exitCode(err), err, out)
		}
	}
}

// As the daemon has it done: at the lowest priority, and ended when it is to.
func TestMeasurer(t *testing.T) {
	t.Setenv(asDaemon, "1") // for what it starts
	m, err := newMeasurer(slog.LevelWarn)
	if err != nil {
		t.Fatal(err)
	}
	hog, _ := catalog.Builtin().Lookup("hog-people")
	j := job{Model: *hog, Resolution: 512, Frames: 1_000_000, Limit: time.Nanosecond, Meek: true}
	p, err := m.measure(t.Context(), j, nil)
	if err != nil || p.Frames != 5 {
		t.Errorf("%d frames, %v", p.Frames, err)
	}
	errEnough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	j.Limit = 0
	if _, err := m.measure(ctx, j, func(int, int) { cancel(errEnough) }); !errors.Is(err, errEnough) {
		t.Errorf("cancelled: %v", err)
	}
	j.Resolution = 300
	if _, err := m.measure(t.Context(), j, nil); err == nil || !strings.HasPrefix(err.Error(), "profile of hog-people at 300: model hog-people at 300: model can't be used: it does not offer 300") {
		t.Errorf("no such resolution: %v", err)
	}
	m.self = filepath.Join(t.TempDir(), "nowhere")
	if _, err := m.measure(t.Context(), j, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: %v", err)
	}
}

// A workflow comes to a mesh that has no cameras: what its detector costs is
// known on the nodes that could run it before any frame is.
func TestNodesMeasureByThemselves(t *testing.T) {
	m := startDev(t, devOptions{profile: true})
	t.Setenv(asDaemon, "1") // for what it starts
	submit(t, m.Client, people("video:not-there.avi", 5, "[512]"))
	want := []string{"cloud-1", "fog-1"}
	var got []api.NodeProfile
	eventually(t, 3*time.Minute, "profiles of "+strings.Join(want, " and "), func() bool {
		var err error
		got, err = m.Profiles(t.Context())
		return err == nil && len(got) >= len(want)
	})
	var nodes []string
	for _, p := range got {
		nodes = append(nodes, p.Node)
		if err := p.Validate(); err != nil || p.Key() != (profile.Key{Model: "hog-people", Resolution: 512, Backend: "cpu"}) || p.Live {
			t.Errorf("%+v, %v", p, err)
		}
		if p.Platform != platform(t.Context(), profile.CPU) {
			t.Errorf("measured on %+v", p.Platform)
		}
	}
	if !slices.Equal(nodes, want) {
		t.Errorf("measured on %v, want %v", nodes, want)
	}
}
