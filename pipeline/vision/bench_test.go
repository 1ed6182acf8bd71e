package vision

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"testing"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// BenchmarkFrames compares frames a second of the stages with those of a plain
// gocv loop around the same network. Neither draws nor suppresses much.
func BenchmarkFrames(b *testing.B) {
	const model, resolution = "yolo-fastest-1.1-xl", 416
	cfg := config(b, model, resolution)
	captured := pixelsOf(b, picture(b, "images", "dog.jpg"))
	perSecond := func(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s") }

	b.Run("stages", func(b *testing.B) {
		resize := NewResize(func(*pipeline.Frame) (tiering.Fit, bool) { return cfg.Model.Fit, true })
		detect := NewDetect(open(b, cfg))
		for b.Loop() {
			f := &pipeline.Frame{Image: captured, Quality: resolution}
			if err := resize.Process(context.Background(), f); err != nil {
				b.Fatal(err)
			}
			if err := detect.Process(context.Background(), f); err != nil {
				b.Fatal(err)
			}
			if len(f.Detections) == 0 {
				b.Fatal("nothing found")
			}
		}
		perSecond(b)
	})
	b.Run("gocv", func(b *testing.B) {
		net := gocv.ReadNet(filepath.Join(cfg.Dir, model+".weights"), filepath.Join(cfg.Dir, model+".cfg"))
		defer net.Close()
		var outputs []string
		layers := net.GetLayerNames()
		for _, i := range net.GetUnconnectedOutLayers() {
			outputs = append(outputs, layers[i-1])
		}
		src, err := gocv.NewMatFromBytes(captured.Height, captured.Width, gocv.MatTypeCV8UC3, captured.Data)
		if err != nil {
			b.Fatal(err)
		}
		defer src.Close()
		for b.Loop() {
			blob := gocv.BlobFromImage(src, 1.0/255, image.Pt(resolution, resolution), gocv.NewScalar(0, 0, 0, 0), true, false)
			net.SetInput(blob, "")
			found := 0
			for _, out := range net.ForwardLayers(outputs) {
				data, err := out.DataPtrFloat32()
				if err != nil {
					b.Fatal(err)
				}
				for cols := out.Cols(); len(data) >= cols; data = data[cols:] {
					if _, score := best(data[5:cols]); score > 0.25 {
						found++
					}
				}
				out.Close()
			}
			blob.Close()
			if found == 0 {
				b.Fatal("nothing found")
			}
		}
		perSecond(b)
	})
}

func BenchmarkDetectors(b *testing.B) {
	img := pixelsOf(b, picture(b, "images", "dog.jpg"))
	for _, test := range []struct {
		model      string
		resolution int
	}{{"yolo-fastest-1.1", 320}, {"yolo-fastest-1.1-xl", 416}, {"mobilenetv2-yolov3-nano", 416}, {"yolox-nano", 416}, {"hog-people", 768}} {
		b.Run(fmt.Sprintf("%s@%d", test.model, test.resolution), func(b *testing.B) {
			d := open(b, config(b, test.model, test.resolution))
			for b.Loop() {
				if _, err := d.Detect(img); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDraw marks ten objects in a camera's picture that was reduced to 512.
func BenchmarkDraw(b *testing.B) {
	var found []pipeline.Detection
	for i := range 10 {
		found = append(found, pipeline.Detection{Class: i % 5, Label: "person", Score: 0.9, Box: pipeline.Box{X: float64(i) / 12, Y: float64(i) / 12, W: 0.1, H: 0.2}})
	}
	img, err := scaled(pixelsOf(b, picture(b, "images", "dog.jpg")), 512, 512)
	if err != nil {
		b.Fatal(err)
	}
	if img, err = (Codec{}).Encode(img, tiering.JPEG, 80); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f := drawn(960, 720, found...)
		f.Image = img
		if err := NewDraw(&album{}).Process(context.Background(), f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCodec(b *testing.B) {
	raw, err := scaled(pixelsOf(b, picture(b, "images", "dog.jpg")), 416, 416)
	if err != nil {
		b.Fatal(err)
	}
	for _, to := range []tiering.Encoding{tiering.JPEG, tiering.PNG} {
		b.Run(string(to), func(b *testing.B) {
			b.SetBytes(int64(len(raw.Data)))
			for b.Loop() {
				img, err := Codec{}.Encode(raw, to, DefaultJPEGQuality)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := (Codec{}).Decode(img); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
