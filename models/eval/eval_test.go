package eval_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/eval"
	"github.com/weft-mesh/weft/pipeline"
)

// oracle is a detector that knows what the data set has: it sees cars and
// people, sure of the cars only, and dogs, which are not in the set. It fails
// on a picture, if one is named.
type oracle struct {
	set    *dataset.Set
	at     int
	failAt int
	after  func(at int)
}

var errBlind = errors.New("it is blind")

func (o *oracle) Detect(img pipeline.Image) ([]pipeline.Detection, error) {
	x, err := o.set.Load(o.at)
	o.at++
	if err != nil {
		return nil, err
	}
	if o.at == o.failAt {
		return nil, errBlind
	}
	if string(img.Data) != "decoded" {
		return nil, errors.New("the picture was not decoded before")
	}
	found := []pipeline.Detection{{Label: "dog", Score: 0.9, Box: pipeline.Box{W: 1, H: 1}}}
	for _, t := range x.Truth {
		score := map[string]float64{"car": 0.8, "person": 0.2}[t.Label]
		if score > 0 {
			found = append(found, pipeline.Detection{Label: t.Label, Score: score, Box: t.Box})
		}
	}
	if o.after != nil {
		o.after(o.at)
	}
	return found, nil
}

type decoder struct{}

func (decoder) Decode(img pipeline.Image) (pipeline.Image, error) {
	if string(img.Data) != "encoded" || img.Format != pipeline.PNG {
		return img, pipeline.ErrMalformed
	}
	return pipeline.Image{Format: pipeline.BGR, Data: []byte("decoded")}, nil
}

func config(t *testing.T) (eval.Config, *oracle) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("classes.txt", "person\ncar\ntruck\n")
	for i := range 12 {
		name := fmt.Sprintf("%02d", i+1)
		write("images/"+name+".png", "encoded")
		// A person, a truck, and one to three cars beside each other.
		write("labels/"+name+".txt", "0 0.1 0.1 0.1 0.1\n2 0.1 0.1 0.1 0.1\n"+
			strings.Join([]string{"1 0.2 0.5 0.1 0.1\n", "1 0.5 0.5 0.1 0.1\n", "1 0.8 0.5 0.1 0.1\n"}[:i%3+1], ""))
	}
	set, err := dataset.Open("yolo:"+dir, dataset.Words{})
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{set: set}
	return eval.Config{
		Detector: o, Decoder: decoder{}, Set: set, Classes: []string{"dog", "person", "car"}, Confidence: 0.5,
	}, o
}

// objects counts those of a class in the first pictures.
func objects(t *testing.T, set *dataset.Set, pictures int, class string) int {
	t.Helper()
	n := 0
	for i := range pictures {
		x, err := set.Load(i)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range x.Truth {
			if o.Label == class {
				n++
			}
		}
	}
	return n
}

func TestRun(t *testing.T) {
	cfg, _ := config(t)
	var last eval.Progress
	cfg.Progress = func(p eval.Progress) { last = p }
	r, err := eval.Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cars, people := objects(t, cfg.Set, 12, "car"), objects(t, cfg.Set, 12, "person")
	if cars != 24 || people != 12 {
		t.Fatalf("%d cars, %d people", cars, people)
	}
	// The unsure people are missed at the confidence, and not for average
	// precision; the dogs are wrong nowhere.
	if n := r.Total; n.TruePositives != cars || n.FalsePositives != 0 || n.FalseNegatives != people {
		t.Errorf("%+v, want %d cars right and %d people missed", n, cars, people)
	}
	if r.Images != 12 || r.Of != 12 || r.Mean.AP < 1-1e-9 || r.Mean.AP50 < 1-1e-9 || r.PerFrame <= 0 {
		t.Errorf("%d of %d, %+v, %v", r.Images, r.Of, r.Mean, r.PerFrame)
	}
	if last.Done != 12 || last.Total != 12 || last.F1 != r.Total.F1() || last.Left != 0 || last.PerFrame != r.PerFrame {
		t.Errorf("last progress %+v", last)
	}
	if !slices.Equal(r.OnlyDetector, []string{"dog"}) || !slices.Equal(r.OnlySet, []string{"truck"}) {
		t.Errorf("left out %q and %q", r.OnlyDetector, r.OnlySet)
	}
}

func TestLimit(t *testing.T) {
	for limit, want := range map[int]int{0: 12, 3: 3, 99: 12} {
		cfg, _ := config(t)
		cfg.Limit = limit
		r, err := eval.Run(context.Background(), cfg)
		if err != nil || r.Images != want || r.Of != want || r.Total.Objects() != objects(t, cfg.Set, want, "car")+objects(t, cfg.Set, want, "person") {
			t.Errorf("limit %d: %+v, %v", limit, r, err)
		}
	}
}

func TestInterrupted(t *testing.T) {
	for _, after := range []int{0, 4} {
		cfg, o := config(t)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if after == 0 {
			cancel()
		}
		o.after = func(at int) {
			if at == after {
				cancel()
			}
		}
		r, err := eval.Run(ctx, cfg)
		if !errors.Is(err, context.Canceled) || r == nil {
			t.Fatalf("result %v, error %v", r, err)
		}
		if r.Images != after || r.Of != 12 || r.Total.TruePositives != objects(t, cfg.Set, after, "car") {
			t.Errorf("after %d: %d of %d, %+v", after, r.Images, r.Of, r.Total)
		}
	}
}

func TestFailuresNameThePicture(t *testing.T) {
	cfg, o := config(t)
	o.failAt = 3
	if _, err := eval.Run(context.Background(), cfg); !errors.Is(err, errBlind) || !strings.HasPrefix(err.Error(), "picture 03.png: ") {
		t.Errorf("error %v", err)
	}
	cfg, _ = config(t)
	cfg.Classes = []string{"cat"}
	if _, err := eval.Run(context.Background(), cfg); !errors.Is(err, dataset.ErrClasses) {
		t.Errorf("error %v, want ErrClasses", err)
	}
}

var subject = eval.Subject{Model: "oracle", Resolution: 416, Dataset: "yolo:streets", Confidence: 0.5, NMS: 0.45, Backend: "cpu"}

// Scripts read these keys; tables in papers read them in this order.
func TestReportAsJSON(t *testing.T) {
	cfg, _ := config(t)
	r, err := eval.Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.PerFrame = 1500 * time.Microsecond
	b, err := json.Marshal(r.Report(subject))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	d := json.NewDecoder(strings.NewReader(string(b)))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(string))
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"model", "resolution", "precision", "recall", "f1", "ap50", "map", "images", "ms_per_frame"}
	if len(keys) < len(want) || !slices.Equal(keys[:len(want)], want) {
		t.Errorf("keys %q, want first %q", keys, want)
	}
	var got struct {
		F1         float64 `json:"f1"`
		MAP        float64 `json:"map"`
		Images     int     `json:"images"`
		MSPerFrame float64 `json:"ms_per_frame"`
		Partial    bool    `json:"partial"`
		Classes    []struct {
			Class string   `json:"class"`
			F1    float64  `json:"f1"`
			AP50  *float64 `json:"ap50"`
		} `json:"classes"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.F1 != r.Total.F1() || got.MAP != r.Mean.AP || got.Images != 12 || got.MSPerFrame != 1.5 || got.Partial || len(got.Classes) != 2 || got.Classes[0].AP50 == nil {
		t.Errorf("%s", b)
	}
}

func TestReportAsText(t *testing.T) {
	ap := func(v float64) *float64 { return &v }
	r := &eval.Report{
		Model: "oracle", Resolution: 416, Precision: 0.75, Recall: 0.5, F1: 0.6, AP50: 0.51, MAP: 0.255, Images: 3, ImagesAll: 12, Partial: true,
		MSPerFrame: 23.456, Dataset: "yolo:pets", Confidence: 0.25, NMS: 0.45, Backend: "cpu", Objects: 12, Found: 8, Right: 6,
		Classes: []eval.ClassReport{
			{Class: "person", Objects: 12, Found: 7, Right: 6, Precision: 6.0 / 7, Recall: 0.5, F1: 12.0 / 19, AP50: ap(0.51), MAP: ap(0.255)},
			{Class: "tie", Found: 1},
		},
		OnlyModel: []string{"dog"}, OnlyDataset: []string{"zebra", "cow"},
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "report.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
