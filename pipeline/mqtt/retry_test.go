package mqtt

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/logtest"
)

// Attempts are made ever less often, up to a limit, and at once again after a
// session that held; the log is spared.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var book logtest.Book
		r := retry{log: book.Logger()}
		why := errors.New("refused")
		attempts := func(n int) {
			t.Helper()
			upper := firstRetry
			for range n {
				start := time.Now()
				if !r.failed(t.Context(), why) {
					t.Fatal("gave up")
				}
				if d := time.Since(start); d < upper/2 || d > upper {
					t.Errorf("waited %s, want %s to %s", d, upper/2, upper)
				}
				upper = min(2*upper, lastRetry)
			}
		}
		attempts(10)
		if n := book.Count("level=WARN"); n != 1 {
			t.Errorf("%d warnings, want one", n)
		}
		r.connected()
		r.ended(stable - 1)
		start := time.Now()
		r.failed(t.Context(), why)
		if d := time.Since(start); d < lastRetry/2 {
			t.Errorf("waited %s after a session that did not hold, want %s at least", d, lastRetry/2)
		}
		r.connected()
		r.ended(stable)
		attempts(3)
		if lost, found := book.Count("level=WARN"), book.Count("level=INFO"); lost != 3 || found != 2 {
			t.Errorf("said %d times lost and %d times connected, want 3 and 2", lost, found)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start = time.Now()
		if r.failed(ctx, why) || time.Since(start) != time.Millisecond {
			t.Errorf("waited %s for a context of 1 ms", time.Since(start))
		}
	})
}

func TestLimiter(t *testing.T) {
	var l limiter
	base := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Second, false}, {9 * time.Second, false}, {10 * time.Second, true}, {19 * time.Second, false}, {time.Hour, true}} {
		if got := l.allow(base.Add(c.after)); got != c.want {
			t.Errorf("after %s: %v, want %v", c.after, got, c.want)
		}
	}
}
