package pipeline

import (
	"context"
	"errors"
	"testing"
	"time"
)

// burn uses the processor for so long.
func burn(d time.Duration) {
	for start := threadTime(); threadTime()-start < d; {
		continue
	}
}

func TestPaced(t *testing.T) {
	failed := errors.New("failed")
	start := time.Now()
	if err := paced(t.Context(), 0.1, func() error { burn(10 * time.Millisecond); return failed }); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("10 ms of a core at a tenth of its speed took %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start = time.Now()
	if err := paced(ctx, 1e-6, func() error { burn(time.Millisecond); return nil }); err != nil || time.Since(start) > 10*time.Minute {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	for _, full := range []float64{0, 1, 2} {
		if err := paced(t.Context(), full, func() error { return failed }); !errors.Is(err, failed) {
			t.Errorf("at %g: %v", full, err)
		}
	}
}

// burner uses 2 ms of its thread's time for a frame.
type burner struct{}

func (burner) Process(context.Context, *Frame) error { burn(2 * time.Millisecond); return nil }

func TestARunnerOfASlowCore(t *testing.T) {
	r := newTestRunner(t, RunnerConfig{Speed: 0.05}, burner{}, nil)
	var c fates
	r.work(t.Context(), c.frame(1, 0), 0)
	if took := r.Report().Execute.Quantile(1); took < 39*time.Millisecond { // two digits of 40
		t.Errorf("2 ms of a core at a twentieth of its speed took %s", took)
	}
}
