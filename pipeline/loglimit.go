package pipeline

import (
	"log/slog"
	"sync"
	"time"
)

// logEvery is how often the same trouble is logged: what fails with every
// frame would fill a disk.
const logEvery = 10 * time.Second

// logLimit logs at most once per logEvery and says how many it left out.
type logLimit struct {
	mu      sync.Mutex
	next    time.Time
	omitted int
}

func (l *logLimit) warn(log *slog.Logger, now time.Time, msg string, args ...any) {
	l.mu.Lock()
	if now.Before(l.next) {
		l.omitted++
		l.mu.Unlock()
		return
	}
	omitted := l.omitted
	l.omitted, l.next = 0, now.Add(logEvery)
	l.mu.Unlock()
	log.Warn(msg, append(args, "omitted", omitted)...)
}
