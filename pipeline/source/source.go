package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

// The conditions that sources report, besides those of pipeline and io/fs.
var (
	ErrOutside  = errors.New("outside the media directory")
	ErrNoVideo  = errors.New("not a video")
	ErrNoFrames = errors.New("no pictures in it")
	ErrDevice   = errors.New("no such camera")
	ErrLost     = errors.New("stream lost")
	ErrConfig   = errors.New("not configured on this node")
)

// The default timeouts of a network stream. FFmpeg may watch it for 5 s before
// it is content that it knows it.
const (
	defaultOpenTimeout = 15 * time.Second
	defaultReadTimeout = 5 * time.Second
)

// Subscribe calls handle with each payload published on the topic, one at a
// time, and gives the payload away. It returns when ctx ends or the broker is
// lost; handle is not called after that.
type Subscribe func(ctx context.Context, topic string, handle func(payload []byte)) error

// Config says what to open, and what of the node it may use.
type Config struct {
	URI string
	FPS float64 // frames a second at most; 0: as the table in the package's comment says

	MediaDir     string // for video: and images:
	AllowAnyPath bool   // take absolute paths outside MediaDir

	Subscribe Subscribe // for mqtt:; nil: none
	// Devices lets several sources share a camera; nil: this source has its
	// own, and a camera that another one reads is busy.
	Devices *Devices

	OpenTimeout time.Duration // of a network stream; 0: 15 s
	ReadTimeout time.Duration // of a network stream between two frames; 0: 5 s

	Log *slog.Logger
}

// Open checks the configuration and returns the source that the URI names.
// Files must exist by now; the network, cameras and the broker are first
// talked to by Run.
func Open(cfg Config) (pipeline.Source, error) {
	spec, err := sourceuri.Parse(cfg.URI)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	src, err := open(cfg, spec)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", spec, err)
	}
	return src, nil
}

func open(cfg Config, spec sourceuri.Spec) (pipeline.Source, error) {
	if math.IsNaN(cfg.FPS) || cfg.FPS < 0 || cfg.FPS > maxFPS {
		return nil, fmt.Errorf("cannot deliver %g frames a second; give a rate above 0 and up to %d, or 0 for the input's own", cfg.FPS, maxFPS)
	}
	log := cfg.Log.With("uri", spec.String())
	switch spec.Scheme {
	case sourceuri.Video, sourceuri.RTSP, sourceuri.RTSPS, sourceuri.HTTP, sourceuri.HTTPS:
		return newVideo(cfg, spec, log)
	case sourceuri.Images:
		return newImages(cfg, spec, log)
	case sourceuri.V4L2, sourceuri.VideoTest:
		return newCamera(cfg, spec, log)
	case sourceuri.Street:
		return newScene(cfg, spec)
	case sourceuri.MQTT:
		return newTopic(cfg, spec, log)
	}
	return nil, fmt.Errorf("scheme %q: %w", spec.Scheme, errors.ErrUnsupported)
}

// newFrame makes a frame of a picture that was captured at the given time and
// took until now to read and decode.
func newFrame(img pipeline.Image, captured time.Time) *pipeline.Frame {
	f := &pipeline.Frame{Captured: captured, SourceWidth: img.Width, SourceHeight: img.Height, Image: img}
	f.Add("", pipeline.SpanCapture, time.Since(captured))
	return f
}
