package vision

import (
	"context"

	"github.com/weft-mesh/weft/pipeline"
)

// Detect is the analysis stage: it adds what its detector finds to a frame and
// leaves the picture as it is.
type Detect struct{ detector *Detector }

// NewDetect makes a stage that owns the detector.
func NewDetect(d *Detector) *Detect { return &Detect{d} }

// Process sets f.Detections and f.Model.
func (s *Detect) Process(_ context.Context, f *pipeline.Frame) error {
	found, err := s.detector.Detect(f.Image)
	if err != nil {
		return err
	}
	f.Detections, f.Model = found, s.detector.Model()
	return nil
}

// Backend is what the detector really runs on: "cpu" or "cuda".
func (s *Detect) Backend() string { return s.detector.Backend() }

// Close frees the detector.
func (s *Detect) Close() error { return s.detector.Close() }
