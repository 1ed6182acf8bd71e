package source

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

// topic takes the pictures published on an MQTT topic.
type topic struct {
	spec      sourceuri.Spec
	fps       float64
	subscribe Subscribe
	log       *slog.Logger
}

func newTopic(cfg Config, spec sourceuri.Spec, log *slog.Logger) (*topic, error) {
	if cfg.Subscribe == nil {
		return nil, fmt.Errorf("MQTT broker: %w", ErrConfig)
	}
	return &topic{spec: spec, fps: cfg.FPS, subscribe: cfg.Subscribe, log: log}, nil
}

// Run implements pipeline.Source.
func (t *topic) Run(ctx context.Context, emit func(*pipeline.Frame)) error {
	var (
		mu      sync.Mutex // against a Subscribe that breaks its promises
		over    bool
		bad     int
		begin   = time.Now()
		sampler = newSampler(t.fps, jittery)
	)
	err := t.subscribe(ctx, t.spec.Path, func(payload []byte) {
		mu.Lock()
		defer mu.Unlock()
		captured := time.Now()
		if over || !sampler.take(captured.Sub(begin)) {
			return
		}
		img, err := encoded(payload, false)
		if err != nil {
			// The first, and then ever fewer: a camera may send nothing else.
			if bad++; bad&(bad-1) == 0 {
				t.log.Warn("message skipped", "bytes", len(payload), "skipped", bad, "err", err)
			}
			return
		}
		emit(newFrame(img, captured))
	})
	mu.Lock()
	over = true
	mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("source %s: %w", t.spec, err)
	default:
		return fmt.Errorf("source %s: %w: the subscription has ended", t.spec, ErrLost)
	}
}
