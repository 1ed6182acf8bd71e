package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"

	"github.com/weft-mesh/weft/adaptation/filter"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/gallery"
	"github.com/weft-mesh/weft/pipeline/source"
	"github.com/weft-mesh/weft/pipeline/vision"
	"github.com/weft-mesh/weft/tiering"
)

// workshop makes stages and sources out of what this build of weftd has.
type workshop struct {
	models    models
	modelsDir string
	embedded  fs.FS // models built into weftd; nil: none
	mediaDir  string
	retain    int
	gallery   *gallery.Gallery
	broker    *brokerLink
	devices   *source.Devices
	log       *slog.Logger
}

// models says what is known of models now.
type models interface{ Catalogue() *catalog.Catalog }

// Stage makes a task's stage.
func (w *workshop) Stage(_ context.Context, a tiering.Assignment, fit func(*pipeline.Frame) (tiering.Fit, bool)) (pipeline.Stage, string, error) {
	t := a.Task
	switch t.Operation {
	case tiering.OperationFilter:
		return w.filter(t)
	case "resize":
		return vision.NewResize(fit), "", nil
	case "detect":
		return w.detector(a)
	case "draw":
		retain := w.retain
		if v, ok := t.Settings["retain"]; ok {
			n, err := strconv.Atoi(v)
			if err != nil {
				return nil, "", fmt.Errorf("task %s: retain %q is not a number of pictures", t.Name, v)
			}
			retain = n
		}
		if err := w.gallery.Keep(a.Placement.Workflow, retain); err != nil {
			return nil, "", err
		}
		return &publishing{Stage: vision.NewDraw(w.gallery), log: w.log, publish: w.broker.picture(t.Settings)}, "", nil
	}
	return nil, "", fmt.Errorf("task %s: this weftd has no operation %q; it has filter, resize, detect and draw", t.Name, t.Operation)
}

func (w *workshop) filter(t *tiering.Task) (pipeline.Stage, string, error) {
	var p filter.Params
	for name, to := range map[string]*float64{"accuracy": &p.Accuracy, "threshold": &p.Threshold} {
		v, ok := t.Settings[name]
		if !ok {
			continue
		}
		x, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return nil, "", fmt.Errorf("task %s: %s %q is not a number", t.Name, name, v)
		}
		*to = x
	}
	stage, err := vision.NewFilter(p, w.log.With("task", t.Name))
	if err != nil {
		return nil, "", fmt.Errorf("task %s: %w", t.Name, err)
	}
	return stage, "", nil
}

func (w *workshop) detector(a tiering.Assignment) (pipeline.Stage, string, error) {
	t := a.Task
	if t.Model == nil {
		return nil, "", fmt.Errorf("task %s: no model", t.Name)
	}
	model, ok := w.models.Catalogue().Lookup(t.Model.Name)
	if !ok {
		return nil, "", fmt.Errorf("task %s: model %s is not in this node's catalogue", t.Name, t.Model.Name)
	}
	d, err := vision.NewDetector(vision.DetectorConfig{
		Model: *model, Dir: w.modelsDir, Embedded: w.embedded, Resolution: t.Model.Resolution, Backend: t.Backend, Log: w.log,
	})
	if err != nil {
		return nil, "", err
	}
	return &publishing{Stage: vision.NewDetect(d), log: w.log, publish: w.broker.detections}, d.Backend(), nil
}

// Source opens a source.
func (w *workshop) Source(a tiering.Assignment) (pipeline.Source, error) {
	return source.Open(source.Config{
		URI: a.Source.URI, FPS: a.Source.FPS, MediaDir: w.mediaDir,
		Subscribe: w.broker.subscribe, Devices: w.devices, Log: w.log,
	})
}

// publishing is a stage whose results are published as well. What cannot be
// published does not hold up the frame: the publisher counts it.
type publishing struct {
	pipeline.Stage
	publish func(*pipeline.Frame) error
	log     *slog.Logger
}

// Process does the stage's work and publishes.
func (p *publishing) Process(ctx context.Context, f *pipeline.Frame) error {
	if err := p.Stage.Process(ctx, f); err != nil {
		return err
	}
	if err := p.publish(f); err != nil {
		p.log.Debug("not published", "frame", f.ID, "err", err)
	}
	return nil
}

// Close frees what the stage holds.
func (p *publishing) Close() error {
	if c, ok := p.Stage.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}
