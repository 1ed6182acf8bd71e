package mqtt

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
	// stable is how long a session must have lasted for the next attempt to
	// come at once.
	stable = 10 * time.Second
)

// retry paces the attempts to connect and says in the log when the broker is
// lost and found, once each.
type retry struct {
	log   *slog.Logger
	delay time.Duration
	lost  bool
}

// failed waits before the next attempt, twice as long each time, with a spread
// of a half so that nodes do not all return at once. It returns false when ctx
// ends.
func (r *retry) failed(ctx context.Context, err error) bool {
	level := slog.LevelDebug
	if !r.lost {
		level, r.lost = slog.LevelWarn, true
	}
	r.delay = min(max(2*r.delay, firstRetry), lastRetry)
	wait := r.delay/2 + rand.N(r.delay/2)
	r.log.Log(ctx, level, "mqtt: no connection to the broker, will keep trying", "error", err, "retry_in", wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *retry) connected() {
	r.lost = false
	r.log.Info("mqtt: connected to the broker")
}

// ended resets the pace after a session that was stable.
func (r *retry) ended(lasted time.Duration) {
	if lasted >= stable {
		r.delay = 0
	}
}

// limiter lets one log line through every so often.
type limiter struct{ last atomic.Int64 }

func (r *limiter) allow(now time.Time) bool {
	const every = int64(10 * time.Second)
	last, n := r.last.Load(), now.UnixNano()
	return n-last >= every && r.last.CompareAndSwap(last, n)
}
