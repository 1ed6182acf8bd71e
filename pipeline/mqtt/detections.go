package mqtt

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// Detections is what is published, as JSON, for every frame that was analysed.
// Its fields are for ever; new ones may come.
type Detections struct {
	Workflow   string               `json:"workflow"`
	Source     string               `json:"source"`
	Seq        uint64               `json:"seq"`        // of the frame, from 1, of one run of the source
	AgeMS      float64              `json:"age_ms"`     // since capture, when it was published
	Quality    int                  `json:"quality"`    // resolution it was analysed at, pixels
	Model      string               `json:"model"`      // that found them
	Width      int                  `json:"width"`      // of the captured picture, pixels
	Height     int                  `json:"height"`     // of the captured picture, pixels
	Detections []pipeline.Detection `json:"detections"` // boxes in fractions of the picture; never null
}

// PublishDetections publishes what was found in the frame to
// [DetectionsTopic], QoS 0, not retained. It never blocks: the publication is
// queued, dropped and counted while the broker is away or when the queue is
// full, then the oldest first. The error is ErrMalformed, for numbers that
// JSON does not have. The caller keeps the frame.
func (l *Link) PublishDetections(f *pipeline.Frame) error {
	d := Detections{
		Workflow: f.ID.Workflow, Source: f.ID.Source, Seq: f.ID.Seq,
		AgeMS:   float64(f.Age(time.Now()).Microseconds()) / 1000,
		Quality: f.Quality, Model: f.Model, Width: f.SourceWidth, Height: f.SourceHeight,
		Detections: f.Detections,
	}
	if d.Detections == nil {
		d.Detections = []pipeline.Detection{}
	}
	payload, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("publish detections of %s: %w: %w", f.ID, pipeline.ErrMalformed, err)
	}
	l.out.addResult(publication{DetectionsTopic(d.Workflow, d.Source), payload})
	return nil
}

// PublishPicture publishes the frame's picture, which must be a JPEG, to
// [PicturesTopic] in the same way; frames and detections go before it. The
// error is ErrMalformed or ErrOversized.
func (l *Link) PublishPicture(f *pipeline.Frame) error {
	switch n := len(f.Image.Data); {
	case f.Image.Format != pipeline.JPEG || n == 0:
		return fmt.Errorf("publish picture of %s: %w: want a JPEG, have %d bytes of format %q", f.ID, pipeline.ErrMalformed, n, f.Image.Format)
	case n > l.conf.MaxFrame:
		return fmt.Errorf("publish picture of %s: %w: %d bytes, at most %d", f.ID, pipeline.ErrOversized, n, l.conf.MaxFrame)
	}
	l.out.addPicture(publication{PicturesTopic(f.ID.Workflow, f.ID.Source), f.Image.Data})
	return nil
}
