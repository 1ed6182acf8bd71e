package detector_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/eval"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/models/street/detector"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/vision"
	"github.com/weft-mesh/weft/tiering"
)

func model(t *testing.T) catalog.Model {
	t.Helper()
	m, ok := catalog.Builtin().Lookup("street")
	if !ok {
		t.Fatal("the catalogue has no model street")
	}
	return *m
}

func open(t *testing.T, m catalog.Model, resolution int) *vision.Detector {
	t.Helper()
	d, err := vision.NewDetector(vision.DetectorConfig{
		Model: m, Embedded: detector.Files(), Resolution: resolution,
		Backend: tiering.Backend{Name: "cpu"}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// What the training's PyTorch finds on some scenes (models/street/train/expect.py),
// OpenCV finds as well: the same objects, scores and boxes.
func TestAgreesWithPyTorch(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "pytorch.json"))
	if err != nil {
		t.Fatal(err)
	}
	var scenes []struct {
		Seed            uint64
		Resolution      int
		Confidence, NMS float64
		Found           []struct {
			Class int
			Score float64
			Box   [4]float64 // left, top, right, bottom
		}
	}
	if err := json.Unmarshal(text, &scenes); err != nil {
		t.Fatal(err)
	}
	if len(scenes) == 0 {
		t.Fatal("no scenes")
	}
	for _, want := range scenes {
		t.Run(fmt.Sprintf("seed %d at %d", want.Seed, want.Resolution), func(t *testing.T) {
			m := model(t)
			m.Confidence, m.NMS = want.Confidence, want.NMS
			s, err := street.New(street.Options{Seed: want.Seed})
			if err != nil {
				t.Fatal(err)
			}
			o := s.Options()
			bgr := make([]byte, s.Bytes())
			s.RenderAt(1, bgr)
			found, err := open(t, m, want.Resolution).Detect(pipeline.Image{Format: pipeline.BGR, Width: o.Width, Height: o.Height, Data: bgr})
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != len(want.Found) || len(found) == 0 {
				t.Fatalf("OpenCV finds %d objects, PyTorch %d", len(found), len(want.Found))
			}
			const tolerance = 1e-3
			for i, w := range want.Found {
				g := found[i]
				off := max(math.Abs(g.Score-w.Score), math.Abs(g.Box.X-w.Box[0]), math.Abs(g.Box.Y-w.Box[1]),
					math.Abs(g.Box.X+g.Box.W-w.Box[2]), math.Abs(g.Box.Y+g.Box.H-w.Box[3]))
				if g.Class != w.Class || off > tolerance {
					t.Errorf("object %d: OpenCV finds %+v, PyTorch %+v", i, g, w)
				}
			}
		})
	}
}

// It is as accurate as the catalogue says, as far as a few scenes can tell.
func TestAccuracy(t *testing.T) {
	if testing.Short() {
		t.Skip("detects on 32 scenes")
	}
	const tolerance = 0.06
	m := model(t)
	for _, resolution := range []int{416, 512} {
		t.Run(fmt.Sprint(resolution), func(t *testing.T) {
			want := 0.0
			for _, a := range m.Accuracy {
				if a.Metric == catalog.F1 && a.Resolution == resolution {
					want = a.Value
				}
			}
			if want == 0 {
				t.Fatal("the catalogue has no F1 for it")
			}
			set, err := dataset.Open("street:seeds=1-16", dataset.Words{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := eval.Run(t.Context(), eval.Config{
				Detector: open(t, m, resolution), Decoder: vision.Codec{}, Set: set, Classes: m.Classes, Confidence: m.Confidence,
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Total.F1(); math.Abs(got-want) > tolerance {
				t.Errorf("F1 is %.3f, the catalogue says %.3f", got, want)
			}
		})
	}
}
