package vision

import (
	"fmt"
	"math"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
)

// yoloxStrides are the cell sizes of the detection grids in pixels, in the
// order of the output.
var yoloxStrides = [...]int{8, 16, 32}

// yolox is a YOLOX detector exported to ONNX with its output undecoded: one
// row a grid cell, [1, N, 5 + classes]. A row is the box centre relative to
// the cell and the logarithm of its size, both in strides, the objectness and
// the class scores.
type yolox struct {
	net        *network
	classes    int
	resolution int
	confidence float64
	input      catalog.Input
}

func newYOLOX(cfg DetectorConfig, backend string) (engine, error) {
	if cfg.Resolution%inputStep != 0 {
		return nil, fmt.Errorf("its input size must be a multiple of %d", inputStep)
	}
	data, name, err := readModelFile(cfg, catalog.RoleModel)
	if err != nil {
		return nil, err
	}
	net, err := newONNXNetwork(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := net.use(backend); err != nil {
		net.close()
		return nil, err
	}
	return &yolox{net, len(cfg.Model.Classes), cfg.Resolution, cfg.Model.Confidence, cfg.Model.Wants()}, nil
}

func (*yolox) padded() bool { return true }

func (y *yolox) close() { y.net.close() }

func (y *yolox) detect(bgr gocv.Mat) ([]pipeline.Detection, error) {
	data, cols, err := y.net.forward(bgr, 1/y.input.DivideBy, y.input.Channels == catalog.RGB)
	if err != nil {
		return nil, err
	}
	if cols != 5+y.classes {
		return nil, fmt.Errorf("its output has %d columns, but the catalogue names %d classes, which need %d",
			cols, y.classes, 5+y.classes)
	}
	if rows, want := len(data)/cols, yoloxRows(y.resolution); rows != want {
		return nil, fmt.Errorf("its output has %d rows, but an input of %d needs %d", rows, y.resolution, want)
	}
	var out []pipeline.Detection
	for _, stride := range yoloxStrides {
		side := y.resolution / stride
		for cell := range side * side {
			row := data[:cols]
			data = data[cols:]
			if row[4] != row[4] {
				return nil, errNotANumber
			}
			if float64(row[4]) <= y.confidence {
				continue
			}
			class, score := best(row[5:])
			if score *= row[4]; float64(score) <= y.confidence {
				continue
			}
			s := float64(stride)
			w, h := math.Exp(float64(row[2]))*s, math.Exp(float64(row[3]))*s
			out = append(out, pipeline.Detection{Class: class, Score: float64(score), Box: pipeline.Box{
				X: (float64(cell%side)+float64(row[0]))*s - w/2,
				Y: (float64(cell/side)+float64(row[1]))*s - h/2,
				W: w, H: h,
			}})
		}
	}
	return out, nil
}

// yoloxRows is the number of grid cells of a square input.
func yoloxRows(resolution int) int {
	n := 0
	for _, s := range yoloxStrides {
		n += (resolution / s) * (resolution / s)
	}
	return n
}

// best is the index and value of the highest score.
func best(scores []float32) (class int, score float32) {
	for i, s := range scores {
		if s > score {
			class, score = i, s
		}
	}
	return class, score
}
