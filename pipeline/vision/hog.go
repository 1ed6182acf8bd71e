package vision

import (
	"fmt"
	"math"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
)

// The window of OpenCV's people detector: nothing smaller can be searched.
const hogWidth, hogHeight = 64, 128

// hog is the detector of Dalal and Triggs (CVPR 2005) with the weights that
// OpenCV ships. Its boxes are wider than the person: the window has a margin
// of 16 pixels around it.
type hog struct{ *peopleHOG }

func newHOG(m catalog.Model) (engine, error) {
	if len(m.Classes) != 1 {
		return nil, fmt.Errorf("the catalogue lists %d classes; HOG finds one, people", len(m.Classes))
	}
	h, err := newPeopleHOG()
	if err != nil {
		return nil, err
	}
	return hog{h}, nil
}

func (hog) padded() bool { return false }

func (h hog) detect(bgr gocv.Mat) ([]pipeline.Detection, error) {
	if bgr.Cols() < hogWidth || bgr.Rows() < hogHeight {
		return nil, nil
	}
	hits, err := h.peopleHOG.detect(bgr)
	if err != nil {
		return nil, err
	}
	out := make([]pipeline.Detection, 0, len(hits))
	for _, x := range hits {
		out = append(out, pipeline.Detection{
			Score: hogScore(x.margin),
			Box:   pipeline.Box{X: float64(x.x), Y: float64(x.y), W: float64(x.w), H: float64(x.h)},
		})
	}
	return out, nil
}

// hogScore maps the SVM's margin (0: undecided, 1: a support vector, above:
// sure) to 0–1 by a logistic curve: 0 → 0.5, 0.5 → 0.73, 1 → 0.88. It orders
// detections; it is no calibrated probability.
func hogScore(margin float64) float64 { return 1 / (1 + math.Exp(-2*margin)) }
