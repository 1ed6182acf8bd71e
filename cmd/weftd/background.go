package main

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

// How much a node measures in the background: enough for a 95th percentile to
// mean something, and no longer than this where frames take seconds.
const (
	quietFrames = 30
	quietLimit  = 20 * time.Second
	quietWithin = 5 * time.Minute // all of it: the lowest priority may have to wait
)

// background has a node's detectors measured while it works. It implements
// profiler.Bench.
type background struct {
	measurer  *measurer
	models    models
	dir       string // of their files
	threads   int
	platforms map[string]profile.Platform // by backend
}

// newBackground looks once at what the machine is: that does not change while it
// runs.
func newBackground(cfg *config, books models) *background {
	b := &background{measurer: cfg.Measurer, models: books, dir: cfg.ModelsDir, threads: cfg.Threads, platforms: map[string]profile.Platform{}}
	for _, p := range platforms(cfg.Node.Capacity) {
		b.platforms[p.Type] = platform(context.Background(), p.Type)
	}
	return b
}

// Platform implements profiler.Bench.
func (b *background) Platform(backend string) profile.Platform { return b.platforms[backend] }

// Measure implements profiler.Bench. Of the nodes in a process one measures at a
// time.
func (b *background) Measure(ctx context.Context, k profile.Key) (profile.Profile, error) {
	model, ok := b.models.Catalogue().Lookup(k.Model)
	if !ok {
		return profile.Profile{}, fmt.Errorf("model %s is not in this node's catalogue", k.Model)
	}
	select {
	case b.measurer.turn <- struct{}{}:
		defer func() { <-b.measurer.turn }()
	case <-ctx.Done():
		return profile.Profile{}, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, quietWithin)
	defer cancel()
	return b.measurer.measure(ctx, job{
		Model: *model, Dir: b.dir, Resolution: k.Resolution, Backend: tiering.Backend{Name: k.Backend},
		Threads: b.threads, Frames: quietFrames, Limit: quietLimit, Meek: true,
	}, nil)
}
