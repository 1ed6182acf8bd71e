package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

// camera shows what a device sees: a V4L2 camera, or the colour bars.
type camera struct {
	spec    sourceuri.Spec
	fps     float64
	devices *Devices
	log     *slog.Logger
}

func newCamera(cfg Config, spec sourceuri.Spec, log *slog.Logger) (*camera, error) {
	const even = 2
	if spec.Scheme == sourceuri.VideoTest && (spec.Width%even != 0 || spec.Height%even != 0) {
		return nil, errors.New("the colour bars have an even width and height")
	}
	c := &camera{spec: spec, fps: cfg.FPS, devices: cfg.Devices, log: log}
	if c.devices == nil {
		c.devices = NewDevices(cfg.Log)
	}
	return c, nil
}

// Run implements pipeline.Source.
func (c *camera) Run(ctx context.Context, emit func(*pipeline.Frame)) error {
	err := c.devices.watch(ctx, c.spec, c.fps, emit)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("source %s: %w", c.spec, err)
}
