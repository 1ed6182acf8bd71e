package main

import (
	"bytes"
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// evaluated is what scripts read.
type evaluated struct {
	Model      string  `json:"model"`
	Resolution int     `json:"resolution"`
	F1         float64 `json:"f1"`
	AP50       float64 `json:"ap50"`
	MAP        float64 `json:"map"`
	Images     int     `json:"images"`
	ImagesAll  int     `json:"images_all"`
	MSPerFrame float64 `json:"ms_per_frame"`
	Partial    bool    `json:"partial"`
}

// The detectors that are built in, on pictures that need no files either.
func TestEval(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"hog-people", "street"} {
		t.Run(model, func(t *testing.T) {
			picture := filepath.Join(t.TempDir(), "pr.png")
			cmd, stdout, stderr := command(t, "eval", model, "-r", "512", "-d", "street:seeds=1-4", "-o", "json", "--plot", picture)
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, stderr)
			}
			var got evaluated
			if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
				t.Fatalf("%v\n%s", err, stdout)
			}
			if got.Model != model || got.Resolution != 512 || got.Images != 4 || got.ImagesAll != 4 || got.MSPerFrame <= 0 || got.Partial {
				t.Errorf("%s", stdout)
			}
			if !strings.Contains(stderr.String(), "of 4  F1 0") {
				t.Errorf("no progress in %q", stderr)
			}
			b, err := os.ReadFile(picture)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := png.Decode(bytes.NewReader(b)); err != nil {
				t.Error(err)
			}
		})
	}
}

// What fewer frames cost, on films that are drawn.
func TestEvalOverRates(t *testing.T) {
	t.Parallel()
	picture := filepath.Join(t.TempDir(), "rates.png")
	cmd, stdout, stderr := command(t, "eval", "hog-people", "-r", "512", "-d", "street:seeds=2-3", "--fps", "5", "--every", "1,3", "--frames", "4", "-o", "json", "--plot", picture)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var got struct {
		FPS    int  `json:"fps"`
		Films  int  `json:"films"`
		Judged int  `json:"frames_judged"`
		Part   bool `json:"partial"`
		Rates  []struct {
			Every int     `json:"every"`
			FPS   float64 `json:"fps"`
			Kept  float64 `json:"kept"`
		} `json:"rates"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	if got.FPS != 5 || got.Films != 2 || got.Judged != 4 || got.Part || len(got.Rates) != 2 || got.Rates[1].Every != 3 || got.Rates[1].FPS != 5.0/3 {
		t.Errorf("%s", stdout)
	}
	if !strings.Contains(stderr.String(), "of 8  F1 of every frame 0") {
		t.Errorf("no progress in %q", stderr)
	}
	if b, err := os.ReadFile(picture); err != nil || !bytes.HasPrefix(b, []byte("\x89PNG")) {
		t.Errorf("no plot: %v", err)
	}
}

func TestEvalInterrupted(t *testing.T) {
	cmd, stdout, stderr := command(t, "eval", "hog-people", "-r", "512", "-d", "street:seeds=1-1000000", "-o", "json")
	cmd.Stderr = nil
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := pipe.Read(first); err != nil { // it has a picture
		t.Fatal(err)
	}
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, _ = stderr.ReadFrom(pipe)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != exitFailure {
		t.Errorf("exit code %d, want %d", cmd.ProcessState.ExitCode(), exitFailure)
	}
	var got evaluated
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
	}
	if !got.Partial || got.Images == 0 || got.Images == got.ImagesAll {
		t.Errorf("%s", stdout)
	}
	if !strings.Contains(stderr.String(), "weftd: interrupted after ") {
		t.Errorf("it says %q", stderr)
	}
}

// A path gives what the catalogue's name gives: that of the figures which came
// with the data, here of the first pictures.
func TestEvalOfAFile(t *testing.T) {
	t.Parallel()
	data := testData(t)
	var f1 []float64
	for _, args := range [][]string{
		{"mobilenetv2-yolov3-nano", "--models", filepath.Join(data, "detectors")},
		{filepath.Join(data, "detectors", "MobileNetV2-YOLOv3-Nano-coco.cfg")},
		{filepath.Join(data, "detectors", "MobileNetV2-YOLOv3-Nano-coco.cfg"), "--names", filepath.Join(data, "detectors", "coco.names")},
	} {
		cmd, stdout, stderr := command(t, append(append([]string{"eval"}, args...), "-r", "320", "-d", "yolo:"+filepath.Join(data, "coco64"), "--limit", "8", "-o", "json")...)
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
		var got evaluated
		if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		if got.Images != 8 || got.MAP <= 0 || got.AP50 <= got.MAP || math.IsNaN(got.F1) || got.F1 <= 0 {
			t.Errorf("%s", stdout)
		}
		f1 = append(f1, got.F1)
	}
	if f1[0] != f1[1] || f1[0] != f1[2] {
		t.Errorf("F1 %v, want the same", f1)
	}
}

func TestEvalMistakesAreExplained(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cfg := write("lone.cfg", "[net]\n")
	bad := write("bad/images/a.png", "no picture")
	write("bad/labels/a.txt", "0 0.5 0.5 1 1\n0 0.5 0.5 1\n")
	write("damaged/images/a.png", "no picture")
	write("damaged/labels/a.txt", "")
	write("shelf/catalogue.d/own.yaml", "apiVersion: weft/v1\nkind: Catalogue\nmodels:\n  - {name: own, format: hog, resolutions: [512], fit: letterbox, classes: people}\n")
	write("shelf/catalogue.d/odd.yaml", "apiVersion: weft/v2\n")
	const few = "street:seeds=1-2"
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no model", nil, exitUsage, "usage: one MODEL is needed"},
		{"unknown model", []string{"hog-peple", "-r", "512", "-d", few}, exitUsage, `usage: the catalogue has no model "hog-peple"; did you mean "hog-people"? it has `},
		{"resolution of an added model", []string{"own", "-r", "416", "-d", few, "--models", filepath.Join(dir, "shelf")}, exitUsage, "usage: --resolution is 416: own offers 512"},
		{"an added model that is left out", []string{"odd", "-r", "416", "-d", few, "--models", filepath.Join(dir, "shelf")}, exitUsage, filepath.Join(dir, "shelf", "catalogue.d", "odd.yaml") + " is left out: "},
		{"no resolution", []string{"hog-people", "-d", few}, exitUsage, "usage: --resolution is 0: hog-people offers 512, 640, 768, 1024"},
		{"no data set", []string{"hog-people", "-r", "512"}, exitUsage, "usage: --dataset is needed"},
		{"unknown kind", []string{"hog-people", "-r", "512", "-d", "voc:x"}, exitUsage, `unknown kind "voc"; use coco:DIR or yolo:DIR or street:seeds=A-B`},
		{"confidence", []string{"hog-people", "-r", "512", "-d", few, "--confidence", "25"}, exitUsage, "usage: --confidence is 25: use 0 to 1"},
		{"limit", []string{"hog-people", "-r", "512", "-d", few, "--limit", "-1"}, exitUsage, "usage: --limit is -1"},
		{"format", []string{"hog-people", "-r", "512", "-d", few, "-o", "yaml"}, exitUsage, `usage: --output is "yaml": use text or json`},
		{"a rate of pictures", []string{"hog-people", "-r", "512", "-d", "yolo:" + filepath.Join(dir, "damaged"), "--every", "1,2"}, exitUsage, "usage: --every: data set can't be used: the pictures of a yolo: set are no film"},
		{"rates without every frame", []string{"hog-people", "-r", "512", "-d", few, "--every", "2,3"}, exitUsage, "usage: --every lacks 1"},
		{"no rate", []string{"hog-people", "-r", "512", "-d", few, "--every", "1,0"}, exitUsage, "usage: --every has 0: use 1 (every frame) to "},
		{"short films", []string{"hog-people", "-r", "512", "-d", few, "--every", "1,9", "--frames", "5"}, exitUsage, "usage: --frames is 5: use 9 or more"},
		{"fast films", []string{"hog-people", "-r", "512", "-d", few, "--every", "1,9", "--fps", "500"}, exitUsage, "500 frames a second; use 1 to 120"},
		{"a film for nothing", []string{"hog-people", "-r", "512", "-d", few, "--fps", "5"}, exitUsage, "usage: --fps goes with --every"},
		{"rates of the first", []string{"hog-people", "-r", "512", "-d", few, "--every", "1,2", "--limit", "1"}, exitUsage, "usage: --limit does not go with --every"},
		{"names", []string{"hog-people", "-r", "512", "-d", few, "--names", cfg}, exitUsage, "a street: set names its classes itself"},
		{"no such file", []string{filepath.Join(dir, "none.onnx"), "-r", "416", "-d", few}, exitUsage, "there is no " + filepath.Join(dir, "none.onnx")},
		{"no weights", []string{cfg, "-r", "416", "-d", few}, exitUsage, "there is no " + filepath.Join(dir, "lone.weights") + ", the weights file of the model"},
		{"resolution of a file", []string{cfg, "-r", "410", "-d", few}, exitUsage, "usage: --resolution is 410: use a multiple of 32"},
		{"malformed labels", []string{"hog-people", "-r", "512", "-d", "yolo:" + filepath.Dir(filepath.Dir(bad))}, exitUsage, filepath.Join(dir, "bad", "labels", "a.txt") + ":2:11: 4 numbers: want `class cx cy w h`"},
		{"a damaged picture", []string{"hog-people", "-r", "512", "-d", "yolo:" + filepath.Join(dir, "damaged")}, exitFailure, "picture a.png: malformed"},
		{"no files of the model", []string{"yolox-nano", "-r", "416", "-d", few, "--models", dir}, exitFailure, "yolox_nano_416.onnx is not there; get it with `weft models pull yolox-nano"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := weftd(t, append([]string{"eval"}, tt.args...)...)
			if code := exitCode(err); code != tt.code || out != "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("exit code %d, want %d; it says\n%s%v\nwant\n%s", code, tt.code, out, err, tt.want)
			}
		})
	}
}
