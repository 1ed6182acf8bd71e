package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
)

// ErrConfig reports a configuration that nothing can be measured with.
var ErrConfig = errors.New("nothing to measure")

// Detector finds objects in pictures.
type Detector interface {
	Detect(pipeline.Image) ([]pipeline.Detection, error)
	Backend() string // what it really runs on
	Close() error
}

// Machine is what a process uses of its machine.
type Machine interface {
	Memory() (int64, error)      // that is resident, in bytes; 0: not known
	CPU() (time.Duration, error) // that the process has had
	// Scheduled is how long the threads of the process have run, and how long
	// they have waited for a processor while others had it. ok is false where
	// nobody knows.
	Scheduled() (ran, waited time.Duration, ok bool)
	// Energy begins to measure what is drawn. end says how much that was; it
	// is given what the process has used in between.
	Energy(ctx context.Context, backend string) (end func(used Use) (joules float64, source profile.EnergySource))
}

// Use is what of a machine was used.
type Use struct{ CPU, Elapsed time.Duration }

// Config says what to measure.
type Config struct {
	Model      string
	Resolution int
	Platform   func(backend string) profile.Platform
	Open       func() (Detector, error)
	Pictures   []pipeline.Image // as they come to the detector, again and again
	Frames     int              // to measure
	Warm       int              // not to measure, before that
	// Limit ends the measuring early, with fewer frames; 0: never.
	Limit    time.Duration
	Machine  Machine
	Progress func(done, total int) // may be nil
}

// fewest is how many frames are measured, whatever the limit.
const fewest = 5

// Run measures. The time of the profile is left to the caller.
func Run(ctx context.Context, cfg Config) (p profile.Profile, err error) {
	if cfg.Frames < 1 || cfg.Warm < 0 || len(cfg.Pictures) == 0 {
		return p, fmt.Errorf("%w: %d frames after %d, of %d pictures", ErrConfig, cfg.Frames, cfg.Warm, len(cfg.Pictures))
	}
	before, err := cfg.Machine.Memory()
	if err != nil {
		return p, err
	}
	begin := time.Now()
	d, err := cfg.Open()
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	next := 0
	one := func() (time.Duration, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		img := cfg.Pictures[next%len(cfg.Pictures)]
		next++
		ran, waited, known := cfg.Machine.Scheduled()
		start := time.Now()
		_, err := d.Detect(img)
		took := time.Since(start)
		if now, then, ok := cfg.Machine.Scheduled(); known && ok {
			took = undisturbed(took, now-ran, then-waited)
		}
		return took, err
	}
	if _, err := one(); err != nil {
		return p, err
	}
	p = profile.Profile{Model: cfg.Model, Resolution: cfg.Resolution, Platform: cfg.Platform(d.Backend()), Load: time.Since(begin)}
	for range cfg.Warm {
		if _, err := one(); err != nil {
			return p, err
		}
	}
	took, joules, source, err := cfg.measure(ctx, d.Backend(), one)
	if err != nil {
		return p, err
	}
	p.ExecuteP50, p.ExecuteP95, p.ExecuteMean = profile.Times(took)
	p.Frames = len(took)
	p.Energy = profile.Energy{JoulesPerFrame: joules / float64(len(took)), Source: source}
	after, err := cfg.Machine.Memory()
	if err != nil {
		return p, err
	}
	if before > 0 && after > 0 {
		p.Memory = max(after-before, 0)
	}
	return p, nil
}

// undisturbed is what something would have taken had its threads not waited for
// processors that others had: they are taken to have been slowed down alike. On a
// machine that does other work, where measuring has the lowest priority, it would
// else be that work that is measured.
func undisturbed(took, ran, waited time.Duration) time.Duration {
	if ran <= 0 || waited <= 0 {
		return took
	}
	share := float64(ran) / float64(ran+waited)
	return max(time.Duration(share*float64(took)), 1)
}

// measure has frames analysed.
func (cfg *Config) measure(ctx context.Context, backend string, one func() (time.Duration, error)) (
	took []time.Duration, joules float64, source profile.EnergySource, err error,
) {
	var used Use
	before, err := cfg.Machine.CPU()
	if err != nil {
		return nil, 0, "", err
	}
	end := cfg.Machine.Energy(ctx, backend)
	defer func() { joules, source = end(used) }()
	begin := time.Now()
	for len(took) < cfg.Frames {
		d, err := one()
		if err != nil {
			return nil, 0, "", err
		}
		took = append(took, d)
		if cfg.Progress != nil {
			cfg.Progress(len(took), cfg.Frames)
		}
		if cfg.Limit > 0 && len(took) >= fewest && time.Since(begin) >= cfg.Limit {
			break
		}
	}
	used.Elapsed = time.Since(begin)
	after, err := cfg.Machine.CPU()
	if err != nil {
		return nil, 0, "", err
	}
	used.CPU = after - before
	return took, 0, "", nil
}
