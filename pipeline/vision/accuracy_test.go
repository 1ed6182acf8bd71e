package vision

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/pipeline"
)

// coco64 are real pictures with what is in them.
func coco64(t testing.TB) *dataset.Set {
	t.Helper()
	m, _ := catalog.Builtin().Lookup("yolox-nano")
	s, err := dataset.Open("yolo:"+testData(t, "coco64"), dataset.Words{Default: m.Classes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The figures come with the data and were measured by an independent scorer.
func TestF1OnCOCO(t *testing.T) {
	tests := []struct {
		model      string
		resolution int
		want       float64
	}{
		{"yolo-fastest-1.1-xl", 320, 0.446},
		{"yolo-fastest-1.1-xl", 416, 0.451},
		{"yolo-fastest-1.1-xl", 512, 0.437},
		{"mobilenetv2-yolov3-nano", 320, 0.404},
		{"mobilenetv2-yolov3-nano", 416, 0.417},
		{"mobilenetv2-yolov3-nano", 512, 0.427},
	}
	set := coco64(t)
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s@%d", test.model, test.resolution), func(t *testing.T) {
			if testing.Short() && test.resolution != 416 {
				t.Skip("one resolution is enough for -short")
			}
			d := open(t, config(t, test.model, test.resolution))
			var tally score.Tally
			for i := range set.Len() {
				x, err := set.Load(i)
				if err != nil {
					t.Fatal(err)
				}
				got, err := d.Detect(x.Picture)
				if err != nil {
					t.Fatal(err)
				}
				tally.Add(got, x.Truth)
			}
			n, _ := tally.Result()
			t.Logf("F1 %.3f, published %.3f", n.F1(), test.want)
			if math.Abs(n.F1()-test.want) > 0.01 || set.Len() != 64 || n.Objects() != 461 {
				t.Errorf("F1 = %.3f (%+v in %d pictures), want %.3f ± 0.01 of 461 in 64", n.F1(), n, set.Len(), test.want)
			}
		})
	}
}

// unsure is a confidence for average precision, which wants all there is.
const unsure = 0.001

// A detector that runs with a low confidence finds, above a higher one, exactly
// what it finds when it runs with that: so one run measures both F1 and average
// precision.
func TestWhatIsSureDoesNotDependOnTheUnsure(t *testing.T) {
	set := coco64(t)
	// 0.3 and 0.65 are no exact float32, as which networks give their scores.
	for _, test := range []struct {
		model       string
		resolution  int
		confidences []float64
	}{
		{"yolo-fastest-1.1-xl", 416, []float64{0.25, 0.3}},
		{"mobilenetv2-yolov3-nano", 320, []float64{0.25, 0.1}},
		{"yolox-nano", 416, []float64{0.25, 0.3}},
		{"hog-people", 512, []float64{0.65}},
	} {
		t.Run(test.model, func(t *testing.T) {
			at := func(confidence float64) *Detector {
				cfg := config(t, test.model, test.resolution)
				cfg.Model.Confidence = confidence
				return open(t, cfg)
			}
			low := at(unsure)
			for _, confidence := range test.confidences {
				live, some, more := at(confidence), 0, 0
				for i := range 8 {
					x, err := set.Load(i)
					if err != nil {
						t.Fatal(err)
					}
					want, err := live.Detect(x.Picture)
					if err != nil {
						t.Fatal(err)
					}
					all, err := low.Detect(x.Picture)
					if err != nil {
						t.Fatal(err)
					}
					got := score.Above(all, confidence)
					if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
						t.Errorf("%s: above %g it has\n%+v\nlive it has\n%+v", x.Name, confidence, got, want)
					}
					some, more = some+len(want), more+len(all)
				}
				if some == 0 || more <= some {
					t.Errorf("%d detections above %g, %d in all: this shows nothing", some, confidence, more)
				}
			}
		})
	}
}

func TestSuppressingBeforeTheConfidenceIsAsAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		side := rapid.Float64Range(0, 10)
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pipeline.Detection {
			return pipeline.Detection{
				Class: rapid.IntRange(0, 1).Draw(t, "class"),
				Score: float64(rapid.IntRange(1, 20).Draw(t, "score")) / 20, // many are equal
				Box:   pipeline.Box{X: side.Draw(t, "x"), Y: side.Draw(t, "y"), W: side.Draw(t, "w"), H: side.Draw(t, "h")},
			}
		}), 0, 40).Draw(t, "all")
		m := catalog.Model{Classes: []string{"a", "b"}, NMS: rapid.Float64Range(0, 1).Draw(t, "nms")}
		confidence := float64(rapid.IntRange(0, 20).Draw(t, "confidence")) / 20
		m.Confidence = confidence
		live := finish(slices.Clone(all), 10, 10, m)
		m.Confidence = 0
		if got := score.Above(finish(slices.Clone(all), 10, 10, m), confidence); !slices.Equal(got, live) {
			t.Fatalf("after: %+v\nbefore: %+v", got, live)
		}
	})
}
