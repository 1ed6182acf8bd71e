package vision

import (
	"errors"
	"fmt"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/darknet"
	"github.com/weft-mesh/weft/pipeline"
)

// inputStep is what YOLO inputs are a multiple of: the stride of the coarsest
// detection layer.
const inputStep = 32

var errNotANumber = errors.New("the network's output is not a number: its weights are damaged")

// yolo is a darknet YOLO detector. Each row of its output is a box centre and
// size (0–1 of the input), the objectness, and for each class the product of
// objectness and class score.
type yolo struct {
	net        *network
	classes    int
	resolution float64
	confidence float64
	input      catalog.Input
}

func newYOLO(cfg DetectorConfig, backend string) (engine, error) {
	if cfg.Resolution%inputStep != 0 {
		return nil, fmt.Errorf("its input size must be a multiple of %d", inputStep)
	}
	text, name, err := readModelFile(cfg, catalog.RoleConfig)
	if err != nil {
		return nil, err
	}
	weights, weightsName, err := readModelFile(cfg, catalog.RoleWeights)
	if err != nil {
		return nil, err
	}
	c, err := darknet.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	want, classes, err := c.Check()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := darknet.CheckWeights(weights, int64(len(weights)), want); err != nil {
		return nil, fmt.Errorf("%s has %w; get it again", weightsName, err)
	}
	if classes != len(cfg.Model.Classes) {
		return nil, fmt.Errorf("%s tells %d classes apart, the catalogue names %d", name, classes, len(cfg.Model.Classes))
	}
	net, err := newDarknetNetwork(c.ForInput(cfg.Resolution), weights)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := net.use(backend); err != nil {
		net.close()
		return nil, err
	}
	return &yolo{net, classes, float64(cfg.Resolution), cfg.Model.Confidence, cfg.Model.Wants()}, nil
}

func (*yolo) padded() bool { return true }

func (y *yolo) close() { y.net.close() }

func (y *yolo) detect(bgr gocv.Mat) ([]pipeline.Detection, error) {
	data, cols, err := y.net.forward(bgr, 1/y.input.DivideBy, y.input.Channels == catalog.RGB)
	if err != nil {
		return nil, err
	}
	if cols != 5+y.classes {
		return nil, fmt.Errorf("its output has %d columns, not 5 and %d classes", cols, y.classes)
	}
	var out []pipeline.Detection
	for ; len(data) >= cols; data = data[cols:] {
		objectness := data[4]
		if objectness != objectness {
			return nil, errNotANumber
		}
		if float64(objectness) <= y.confidence {
			continue // no class score is higher
		}
		w, h := float64(data[2])*y.resolution, float64(data[3])*y.resolution
		box := pipeline.Box{X: float64(data[0])*y.resolution - w/2, Y: float64(data[1])*y.resolution - h/2, W: w, H: h}
		// As in darknet, a box stands for every class that is sure enough.
		for class, v := range data[5:cols] {
			if score := float64(v); score > y.confidence {
				out = append(out, pipeline.Detection{Class: class, Score: score, Box: box})
			}
		}
	}
	return out, nil
}
