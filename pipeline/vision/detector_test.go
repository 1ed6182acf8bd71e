package vision

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

func TestDetectorsFind(t *testing.T) {
	animals := map[string][]string{"dog.jpg": {"dog", "bicycle", "car"}, "person.jpg": {"person", "dog", "horse"}}
	tests := []struct {
		model      string
		resolution int
		want       map[string][]string
	}{
		{"yolo-fastest-1.1-xl", 416, animals},
		{"mobilenetv2-yolov3-nano", 416, animals},
		{"yolox-nano", 416, animals},
		{"hog-people", 768, map[string][]string{"person.jpg": {"person"}, "bus.jpg": {"person", "person"}}},
	}
	for _, test := range tests {
		t.Run(test.model, func(t *testing.T) {
			d := open(t, config(t, test.model, test.resolution))
			if d.Backend() != "cpu" || d.Model() != test.model {
				t.Errorf("it is %s on %s", d.Model(), d.Backend())
			}
			for name, want := range test.want {
				found, err := d.Detect(picture(t, "images", name))
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, f := range found {
					b := f.Box
					if b.X < 0 || b.Y < 0 || b.X+b.W > 1 || b.Y+b.H > 1 || b.W <= 0 || b.H <= 0 || f.Score <= 0 || f.Score > 1 {
						t.Errorf("%s: %+v is not within 0–1", name, f)
					}
					got = append(got, f.Label)
				}
				if !slices.IsSortedFunc(found, func(a, b pipeline.Detection) int { return int(math.Copysign(1, b.Score-a.Score)) }) {
					t.Errorf("%s: not the surest first: %+v", name, found)
				}
				for _, label := range want {
					i := slices.Index(got, label)
					if i < 0 {
						t.Errorf("%s: no %s among %v", name, label, got)
						continue
					}
					got = slices.Delete(got, i, i+1)
				}
			}
		})
	}
}

// A stretched or letterboxed picture gives the same boxes in fractions, in
// each of the places where it can be scaled.
func TestScalingBeforehandChangesNothing(t *testing.T) {
	for _, test := range []struct {
		model      string
		resolution int
	}{{"yolo-fastest-1.1", 320}, {"yolox-nano", 416}, {"hog-people", 768}} {
		cfg := config(t, test.model, test.resolution)
		d := open(t, cfg)
		resize := NewResize(func(*pipeline.Frame) (tiering.Fit, bool) { return cfg.Model.Fit, true })
		for _, name := range []string{"person.jpg", "bus.jpg"} {
			img := pixelsOf(t, picture(t, "images", name))
			want, err := d.Detect(img)
			if err != nil {
				t.Fatal(err)
			}
			f := &pipeline.Frame{Image: img, Quality: test.resolution}
			if err := resize.Process(context.Background(), f); err != nil {
				t.Fatal(err)
			}
			if f.Image.Width > test.resolution || f.Image.Height > test.resolution {
				t.Errorf("%s: %d × %d after resize", name, f.Image.Width, f.Image.Height)
			}
			if err := NewDetect(d).Process(context.Background(), f); err != nil {
				t.Fatal(err)
			}
			if len(want) == 0 || !reflect.DeepEqual(f.Detections, want) || f.Model != test.model {
				t.Errorf("%s, %s: %+v after resize, want %+v", test.model, name, f.Detections, want)
			}
		}
	}
}

// damaged copies a model's files into a directory, changed by fn.
func damaged(t *testing.T, cfg DetectorConfig, fn func(role catalog.Role, data []byte) []byte) DetectorConfig {
	t.Helper()
	dir := t.TempDir()
	cfg.Model.Files = slices.Clone(cfg.Model.Files)
	for _, f := range cfg.Model.Files {
		data, err := os.ReadFile(filepath.Join(cfg.Dir, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if data = fn(f.Role, data); data == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Dir = dir
	return cfg
}

// unchecked forgets what the catalogue knows of the files, as for a user's own
// models.
func unchecked(cfg DetectorConfig) DetectorConfig {
	cfg.Model.Files = slices.Clone(cfg.Model.Files)
	for i := range cfg.Model.Files {
		cfg.Model.Files[i].Size, cfg.Model.Files[i].SHA256 = 0, ""
	}
	return cfg
}

func TestModelsThatAreRefused(t *testing.T) {
	yolo := func(t *testing.T) DetectorConfig { return config(t, "yolo-fastest-1.1", 320) }
	yolox := func(t *testing.T) DetectorConfig { return config(t, "yolox-nano", 416) }
	half := func(roles ...catalog.Role) func(catalog.Role, []byte) []byte {
		return func(r catalog.Role, data []byte) []byte {
			if slices.Contains(roles, r) {
				return data[:len(data)/2]
			}
			return data
		}
	}
	tests := []struct {
		name string
		cfg  func(*testing.T) DetectorConfig
		want string // in the message; DIR is the directory
	}{
		{"weights cut in half", func(t *testing.T) DetectorConfig { return damaged(t, yolo(t), half(catalog.RoleWeights)) },
			"DIR/yolo-fastest-1.1.weights has 692134 bytes, expected 1384268; get it again"},
		{"weights cut in half, unknown to the catalogue",
			func(t *testing.T) DetectorConfig { return damaged(t, unchecked(yolo(t)), half(catalog.RoleWeights)) },
			"DIR/yolo-fastest-1.1.weights has 692134 bytes, but its config needs 1384268; get it again"},
		{"config cut in half", func(t *testing.T) DetectorConfig { return damaged(t, unchecked(yolo(t)), half(catalog.RoleConfig)) },
			"DIR/yolo-fastest-1.1.cfg: no [yolo] layer: this is no detector"},
		{"another byte", func(t *testing.T) DetectorConfig {
			return damaged(t, yolo(t), func(_ catalog.Role, data []byte) []byte {
				data[len(data)-1] ^= 1
				return data
			})
		}, "DIR/yolo-fastest-1.1.cfg has the SHA-256 digest "},
		{"no weights", func(t *testing.T) DetectorConfig {
			return damaged(t, yolo(t), func(r catalog.Role, data []byte) []byte {
				if r == catalog.RoleWeights {
					return nil
				}
				return data
			})
		}, "DIR/yolo-fastest-1.1.weights is not there; get it with `weft models pull yolo-fastest-1.1 --dir DIR`, or from https://github.com/dog-qiuqiu/Yolo-Fastest"},
		{"weights are not numbers", func(t *testing.T) DetectorConfig {
			return damaged(t, unchecked(yolo(t)), func(r catalog.Role, data []byte) []byte {
				if r == catalog.RoleWeights {
					copy(data[20:], bytes.Repeat([]byte{0xff}, len(data)-20))
				}
				return data
			})
		}, "the network's output is not a number: its weights are damaged"},
		{"no directory", func(t *testing.T) DetectorConfig {
			cfg := yolo(t)
			cfg.Dir = filepath.Join(t.TempDir(), "models")
			return cfg
		}, "the model directory DIR does not exist; set it in the agent's config"},
		{"other classes", func(t *testing.T) DetectorConfig {
			cfg := yolo(t)
			cfg.Model.Classes = []string{"person"}
			return cfg
		}, "DIR/yolo-fastest-1.1.cfg tells 80 classes apart, the catalogue names 1"},
		{"resolution not offered", func(t *testing.T) DetectorConfig {
			cfg := yolo(t)
			cfg.Resolution = 600
			return cfg
		}, "model yolo-fastest-1.1 at 600: model can't be used: it does not offer 600; it offers 320, 416 and 512"},
		{"resolution no multiple of 32", func(t *testing.T) DetectorConfig {
			cfg := yolo(t)
			cfg.Model.Resolutions, cfg.Resolution = []int{300}, 300
			return cfg
		}, "its input size must be a multiple of 32"},
		{"onnx cut in half", func(t *testing.T) DetectorConfig { return damaged(t, yolox(t), half(catalog.RoleModel)) },
			"DIR/yolox_nano_416.onnx has 1830046 bytes, expected 3660092; get it again"},
		{"onnx cut in half, unknown to the catalogue",
			func(t *testing.T) DetectorConfig { return damaged(t, unchecked(yolox(t)), half(catalog.RoleModel)) },
			"DIR/yolox_nano_416.onnx: opencv: "},
		{"onnx with other classes", func(t *testing.T) DetectorConfig {
			cfg := yolox(t)
			cfg.Model.Classes = cfg.Model.Classes[:79]
			return cfg
		}, "its output has 85 columns, but the catalogue names 79 classes, which need 84"},
		{"hog with two classes", func(t *testing.T) DetectorConfig {
			cfg := config(t, "hog-people", 512)
			cfg.Model.Classes = []string{"person", "dog"}
			return cfg
		}, "the catalogue lists 2 classes; HOG finds one, people"},
		{"file outside the directory", func(t *testing.T) DetectorConfig {
			cfg := yolo(t)
			cfg.Model.Files = []catalog.File{{Role: catalog.RoleConfig, Name: "../detectors/yolo-fastest-1.1.cfg"}}
			return cfg
		}, "path escapes from parent"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := test.cfg(t)
			d, err := NewDetector(cfg)
			if err == nil {
				d.Close()
				t.Fatal("it is taken")
			}
			if want := strings.ReplaceAll(test.want, "DIR", cfg.Dir); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			t.Log(err)
		})
	}
}

func TestBackends(t *testing.T) {
	if CUDADevices() > 0 {
		t.Skip("this machine has CUDA; the test is of machines without")
	}
	for _, test := range []struct{ model, why string }{
		{"yolo-fastest-1.1", "was built without CUDA or finds no device"},
		{"hog-people", "the HOG detector runs on the CPU only"},
	} {
		cfg := config(t, test.model, 512)
		var log bytes.Buffer
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		cfg.Backend = tiering.Backend{Name: "cuda"}
		d := open(t, cfg)
		if d.Backend() != "cpu" {
			t.Errorf("%s: the effective backend is %s", test.model, d.Backend())
		}
		for _, want := range []string{"level=WARN", "asked=cuda", "effective=cpu", test.why} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s: no %q in the log:\n%s", test.model, want, &log)
			}
		}
		cfg.Backend.Required = true
		if _, err := NewDetector(cfg); !errors.Is(err, ErrBackend) || !strings.Contains(err.Error(), test.why) {
			t.Errorf("%s: required: %v", test.model, err)
		}
		cfg.Backend = tiering.Backend{Name: "tpu"}
		if _, err := NewDetector(cfg); !errors.Is(err, ErrBackend) || !strings.Contains(err.Error(), `unknown backend "tpu": use cpu or cuda`) {
			t.Errorf("%s: unknown backend: %v", test.model, err)
		}
	}
}

func TestDetectorRefusesPictures(t *testing.T) {
	d := open(t, config(t, "hog-people", 512))
	if _, err := d.Detect(pipeline.Image{Format: pipeline.BGR, Width: 10, Height: 10, Data: make([]byte, 299)}); !errors.Is(err, pipeline.ErrMalformed) {
		t.Errorf("a byte short: %v", err)
	}
	for _, size := range [][2]int{{1, 1}, {1, 5000}, {5000, 1}, {63, 127}} {
		img := pipeline.Image{Format: pipeline.BGR, Width: size[0], Height: size[1], Data: make([]byte, size[0]*size[1]*3)}
		if found, err := d.Detect(img); err != nil || len(found) > 0 {
			t.Errorf("%d × %d black pixels: %v, %v", size[0], size[1], found, err)
		}
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if _, err := d.Detect(testCard(512)); !errors.Is(err, pipeline.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestHOGScore(t *testing.T) {
	for _, test := range []struct{ margin, want float64 }{{0, 0.5}, {0.5, 0.731}, {1, 0.881}, {3, 0.998}, {-1, 0.119}} {
		if got := hogScore(test.margin); math.Abs(got-test.want) > 0.001 {
			t.Errorf("hogScore(%g) = %.3f, want %.3f", test.margin, got, test.want)
		}
	}
}

// What is kept does not overlap, and what is not kept overlaps with something
// surer of its class.
func TestSuppress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 0.45
		side := rapid.Float64Range(0, 10)
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pipeline.Detection {
			return pipeline.Detection{
				Class: rapid.IntRange(0, 2).Draw(t, "class"),
				Score: rapid.Float64Range(0, 1).Draw(t, "score"),
				Box:   pipeline.Box{X: side.Draw(t, "x"), Y: side.Draw(t, "y"), W: side.Draw(t, "w"), H: side.Draw(t, "h")},
			}
		}), 0, 30).Draw(t, "all")
		kept := suppress(slices.Clone(all), limit)
		clash := func(a, b pipeline.Detection) bool { return a.Class == b.Class && a.Box.IoU(b.Box) > limit }
		for i, a := range kept {
			if slices.ContainsFunc(kept[:i], func(b pipeline.Detection) bool { return clash(a, b) }) {
				t.Fatalf("%+v is kept beside one it overlaps", a)
			}
			if i > 0 && kept[i-1].Score < a.Score {
				t.Fatalf("not sorted: %+v", kept)
			}
		}
		for _, a := range all {
			if !slices.Contains(kept, a) && !slices.ContainsFunc(kept, func(b pipeline.Detection) bool { return clash(a, b) && b.Score >= a.Score }) {
				t.Fatalf("%+v is gone without reason", a)
			}
		}
	})
}

func TestFinishKeepsToThePicture(t *testing.T) {
	m := catalog.Model{Classes: []string{"a", "b"}, Confidence: 0.5, NMS: 0.45}
	got := finish([]pipeline.Detection{
		{Class: 0, Score: 0.5, Box: pipeline.Box{X: 1, Y: 1, W: 10, H: 10}},      // not above the limit
		{Class: 1, Score: 0.6, Box: pipeline.Box{X: -10, Y: 150, W: 60, H: 100}}, // half outside
		{Class: 0, Score: 0.9, Box: pipeline.Box{X: 101, Y: 10, W: 10, H: 10}},   // in the padding
	}, 100, 200, m)
	want := []pipeline.Detection{{Label: "b", Class: 1, Score: 0.6, Box: pipeline.Box{X: 0, Y: 0.75, W: 0.5, H: 0.25}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A model whose files are built into the program needs no directory, and what
// lies there in their place is not looked at.
func TestEmbeddedModel(t *testing.T) {
	m, _ := catalog.Builtin().Lookup("yolo-fastest-1.1")
	files := fstest.MapFS{}
	dir := t.TempDir()
	for _, f := range m.Files {
		b, err := os.ReadFile(testData(t, "detectors", f.Name))
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = &fstest.MapFile{Data: b}
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := DetectorConfig{Model: *m, Dir: dir, Embedded: files, Resolution: 320, Log: slog.New(slog.DiscardHandler)}
	d, err := NewDetector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	cfg.Embedded = fstest.MapFS{}
	if _, err := NewDetector(cfg); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), "has 7 bytes, expected") {
		t.Errorf("without them: %v", err)
	}
}
