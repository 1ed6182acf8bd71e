package vision

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pipeline"
)

// truth is one labelled object.
type truth struct {
	class int
	box   pipeline.Box
}

// labels reads a YOLO label file: class, then box centre and size, 0–1.
func labels(t *testing.T, file string) []truth {
	t.Helper()
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return nil // nothing in the picture
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []truth
	for s := bufio.NewScanner(f); s.Scan(); {
		var l truth
		if _, err := fmt.Sscan(s.Text(), &l.class, &l.box.X, &l.box.Y, &l.box.W, &l.box.H); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		l.box.X -= l.box.W / 2
		l.box.Y -= l.box.H / 2
		out = append(out, l)
	}
	return out
}

// matches counts the detections that have their own labelled object: same
// class, IoU of at least 0.5; the surest detection chooses first.
func matches(found []pipeline.Detection, want []truth) (n int) {
	taken := make([]bool, len(want))
	for _, d := range found {
		at, overlap := -1, 0.5
		for i, l := range want {
			if iou := d.Box.IoU(l.box); !taken[i] && l.class == d.Class && iou >= overlap {
				at, overlap = i, iou
			}
		}
		if at >= 0 {
			taken[at] = true
			n++
		}
	}
	return n
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
	pictures, err := filepath.Glob(filepath.Join(testData(t, "coco64", "images"), "*.jpg"))
	if err != nil || len(pictures) != 64 {
		t.Fatalf("%d pictures, %v", len(pictures), err)
	}
	slices.Sort(pictures)
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s@%d", test.model, test.resolution), func(t *testing.T) {
			if testing.Short() && test.resolution != 416 {
				t.Skip("one resolution is enough for -short")
			}
			d := open(t, config(t, test.model, test.resolution))
			var right, found, labelled int
			for _, p := range pictures {
				got, err := d.Detect(picture(t, "coco64", "images", filepath.Base(p)))
				if err != nil {
					t.Fatal(err)
				}
				name := strings.TrimSuffix(filepath.Base(p), ".jpg") + ".txt"
				want := labels(t, filepath.Join(testData(t, "coco64", "labels"), name))
				right += matches(got, want)
				found += len(got)
				labelled += len(want)
			}
			f1 := 2 * float64(right) / float64(found+labelled)
			t.Logf("F1 %.3f, published %.3f", f1, test.want)
			if math.Abs(f1-test.want) > 0.01 {
				t.Errorf("F1 = %.3f (%d of %d right, %d labelled), want %.3f ± 0.01", f1, right, found, labelled, test.want)
			}
		})
	}
}
