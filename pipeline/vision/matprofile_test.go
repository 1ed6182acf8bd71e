//go:build matprofile

package vision

import (
	"bytes"
	"context"
	"testing"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/tiering"
)

// go test -tags matprofile: nothing that gocv made is left open.
func TestNoMatIsLeft(t *testing.T) {
	before := gocv.MatProfile.Count()
	for _, model := range []string{"hog-people", "yolo-fastest-1.1"} {
		cfg := config(t, model, 512)
		d, err := NewDetector(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			f := drawn(768, 576)
			f.Quality = 300
			if f.Image, err = (Codec{}).Encode(f.Image, tiering.JPEG, 90); err != nil {
				t.Fatal(err)
			}
			if err := NewResize(func(*pipeline.Frame) (tiering.Fit, bool) { return tiering.Letterbox, true }).Process(context.Background(), f); err != nil {
				t.Fatal(err)
			}
			if err := NewDetect(d).Process(context.Background(), f); err != nil {
				t.Fatal(err)
			}
			if err := NewDraw(&album{}).Process(context.Background(), f); err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
	}
	if after := gocv.MatProfile.Count(); after != before {
		var where bytes.Buffer
		_ = gocv.MatProfile.WriteTo(&where, 1)
		t.Errorf("%d Mats left open:\n%s", after-before, &where)
	}
}
