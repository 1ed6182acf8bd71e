package scoreplot_test

import (
	"bytes"
	"image/png"
	"testing"

	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/models/score/scoreplot"
	"github.com/weft-mesh/weft/pipeline"
)

func TestPNG(t *testing.T) {
	var c score.Curves
	for i := range 20 {
		b := pipeline.Box{X: float64(i) / 40, W: 0.1, H: 0.1}
		c.Add([]pipeline.Detection{
			{Label: "car", Score: float64(i) / 20, Box: b},
			{Label: "bus", Score: float64(i) / 30, Box: pipeline.Box{X: 0.9, Y: 0.9, W: 0.1, H: 0.1}},
		}, []pipeline.Truth{{Label: "car", Box: b}, {Label: "bus", Box: b}})
	}
	classes := []string{"car", "bus", "never seen", "1", "2", "3", "4", "5"}
	seen := map[string]bool{}
	for _, p := range []scoreplot.Plot{
		{Title: "both", Curves: &c, Classes: classes, Recall: 0.5, Precision: 0.5, Confidence: 0.25},
		{Title: "both", Curves: &c, Classes: classes, Recall: 0.25, Precision: 0.5, Confidence: 0.25},
		{Title: "pooled", Curves: &c},
		{Title: "nothing", Curves: &score.Curves{}, Classes: classes},
	} {
		got, err := p.PNG()
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(got))
		if err != nil || img.Bounds().Dx() != 864 || img.Bounds().Dy() != 864 {
			t.Fatalf("%s: %v, %v", p.Title, img.Bounds(), err)
		}
		if seen[string(got)] {
			t.Errorf("%s looks like another", p.Title)
		}
		seen[string(got)] = true
	}
}

func TestRatesPNG(t *testing.T) {
	for _, r := range []scoreplot.Rates{
		{Title: "falling", FPS: []float64{10, 5, 2.5}, F1: []float64{0.9, 0.8, 0.6}},
		{Title: "one", FPS: []float64{10}, F1: []float64{0.9}},
	} {
		got, err := r.PNG()
		if err != nil {
			t.Fatal(err)
		}
		if img, err := png.Decode(bytes.NewReader(got)); err != nil || img.Bounds().Dx() != 864 {
			t.Errorf("%s: %v", r.Title, err)
		}
	}
}
