package bench_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/models/profile/bench"
	"github.com/weft-mesh/weft/pipeline"
)

// detector counts; its work is to use a millisecond.
type detector struct {
	m      *machine
	seen   []int // widths
	failAt int   // 0: never
	closed int
}

var (
	errBlind  = errors.New("blind")
	errBroken = errors.New("broken")
)

func (d *detector) Detect(img pipeline.Image) ([]pipeline.Detection, error) {
	d.seen = append(d.seen, img.Width)
	if len(d.seen) == d.failAt {
		return nil, errBlind
	}
	d.m.cpu += time.Millisecond
	d.m.ran += time.Millisecond
	d.m.memory += 10
	for start := time.Now(); time.Since(start) < 100*time.Microsecond; {
	}
	return nil, nil
}

func (d *detector) Backend() string { return profile.CUDA }
func (d *detector) Close() error    { d.closed++; return nil }

// machine says what it is told.
type machine struct {
	cpu    time.Duration
	memory int64
	fails  string
	began  int
	ended  int
	used   bench.Use
	ran    time.Duration
	waits  time.Duration // for each that it runs; 0: not known
}

func (m *machine) Scheduled() (ran, waited time.Duration, ok bool) {
	return m.ran, m.ran / time.Millisecond * m.waits, m.waits > 0
}

func (m *machine) Memory() (int64, error) {
	if m.fails == "memory" {
		return 0, errBroken
	}
	return m.memory, nil
}

func (m *machine) CPU() (time.Duration, error) {
	if m.fails == "cpu" {
		return 0, errBroken
	}
	return m.cpu, nil
}

func (m *machine) Energy(_ context.Context, backend string) func(bench.Use) (float64, profile.EnergySource) {
	if backend != profile.CUDA {
		m.fails = "energy of " + backend
	}
	m.began++
	return func(u bench.Use) (float64, profile.EnergySource) {
		m.ended++
		m.used = u
		return 12, profile.NVIDIA
	}
}

func config() (bench.Config, *detector, *machine) {
	m := &machine{memory: 1000}
	d := &detector{m: m}
	return bench.Config{
		Model: "yolo", Resolution: 416, Frames: 6, Warm: 2, Machine: m,
		Platform: func(backend string) profile.Platform { return profile.Platform{Backend: backend, Cores: 2} },
		Open:     func() (bench.Detector, error) { m.memory += 500; return d, nil },
		Pictures: []pipeline.Image{{Width: 1}, {Width: 2}},
	}, d, m
}

func TestRun(t *testing.T) {
	cfg, d, m := config()
	var steps []int
	cfg.Progress = func(done, total int) { steps = append(steps, 10*total+done) }
	p, err := bench.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.At = time.Unix(1, 0)
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	// The first frame is of the load, two are to warm up.
	if len(d.seen) != 9 || d.seen[0] != 1 || d.seen[1] != 2 || d.seen[2] != 1 || p.Frames != 6 || d.closed != 1 {
		t.Errorf("%d frames seen, %+v", len(d.seen), p)
	}
	if p.Memory != 500+9*10 || m.used.CPU != 6*time.Millisecond || m.used.Elapsed <= 0 || m.began != 1 || m.ended != 1 {
		t.Errorf("%+v of %+v", p, m)
	}
	if p.Energy != (profile.Energy{JoulesPerFrame: 2, Source: profile.NVIDIA}) || p.Platform != (profile.Platform{Backend: "cuda", Cores: 2}) || m.fails != "" {
		t.Errorf("%+v", p)
	}
	if p.ExecuteP50 < 100*time.Microsecond || p.ExecuteP95 < p.ExecuteP50 || p.Load < 100*time.Microsecond {
		t.Errorf("%+v", p)
	}
	if len(steps) != 6 || steps[5] != 66 {
		t.Errorf("progress %v", steps)
	}
}

// What threads wait for processors that others have is not the detector's.
func TestWaitingForProcessorsIsTakenOut(t *testing.T) {
	cfg, _, m := config()
	m.waits = 1000 * time.Second // for each millisecond
	p, err := bench.Run(t.Context(), cfg)
	// A frame takes 100 µs or more; a millionth of that is left.
	if err != nil || p.ExecuteP50 <= 0 || p.ExecuteP50 >= 100*time.Microsecond || p.ExecuteMean <= 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestTheLimitEndsItEarly(t *testing.T) {
	cfg, _, _ := config()
	cfg.Frames, cfg.Limit = 1_000_000, time.Nanosecond
	if p, err := bench.Run(t.Context(), cfg); err != nil || p.Frames != 5 {
		t.Errorf("%d frames, %v", p.Frames, err)
	}
}

func TestWhatFailsIsSaidAndClosed(t *testing.T) {
	for what, tc := range map[string]struct {
		spoil func(*bench.Config, *detector, *machine)
		want  error
		open  bool
	}{
		"no frames":   {func(c *bench.Config, _ *detector, _ *machine) { c.Frames = 0 }, bench.ErrConfig, false},
		"no pictures": {func(c *bench.Config, _ *detector, _ *machine) { c.Pictures = nil }, bench.ErrConfig, false},
		"no memory":   {func(_ *bench.Config, _ *detector, m *machine) { m.fails = "memory" }, errBroken, false},
		"no CPU":      {func(_ *bench.Config, _ *detector, m *machine) { m.fails = "cpu" }, errBroken, true},
		"not opened": {func(c *bench.Config, _ *detector, _ *machine) {
			c.Open = func() (bench.Detector, error) { return nil, errBroken }
		}, errBroken, false},
		"first frame":    {func(_ *bench.Config, d *detector, _ *machine) { d.failAt = 1 }, errBlind, true},
		"warming up":     {func(_ *bench.Config, d *detector, _ *machine) { d.failAt = 2 }, errBlind, true},
		"while measured": {func(_ *bench.Config, d *detector, _ *machine) { d.failAt = 5 }, errBlind, true},
	} {
		cfg, d, m := config()
		tc.spoil(&cfg, d, m)
		if _, err := bench.Run(t.Context(), cfg); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", what, err)
		}
		if m.began != m.ended || (d.closed == 1) != tc.open {
			t.Errorf("%s: energy %d of %d, closed %d", what, m.ended, m.began, d.closed)
		}
	}
	cfg, d, m := config()
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Progress = func(done, _ int) {
		if done == 3 {
			cancel()
		}
	}
	if _, err := bench.Run(ctx, cfg); !errors.Is(err, context.Canceled) || len(d.seen) != 6 || d.closed != 1 || m.began != m.ended {
		t.Errorf("cancelled: %v after %d", err, len(d.seen))
	}
}
