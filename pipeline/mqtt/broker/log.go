package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// logEvery is how often the same trouble is logged: clients can make as much of
// it as they like.
const logEvery = 10 * time.Second

// limited is a log of troubles that clients make. Of the same message it lets
// one through per logEvery, with how many it left out.
type limited struct {
	log *slog.Logger
	pace
}

func (l *limited) warn(now time.Time, msg string, args ...any) {
	if omitted, ok := l.allow(msg, now); ok {
		l.log.Warn("mqtt broker: "+msg, append(args, "omitted", omitted)...)
	}
}

// pace counts, for each of a few messages, what is not logged.
type pace struct {
	mu      sync.Mutex
	next    map[string]time.Time
	omitted map[string]int
}

func newPace() pace { return pace{next: map[string]time.Time{}, omitted: map[string]int{}} }

func (p *pace) allow(msg string, now time.Time) (omitted int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.next[msg]) {
		p.omitted[msg]++
		return 0, false
	}
	omitted = p.omitted[msg]
	p.omitted[msg], p.next[msg] = 0, now.Add(logEvery)
	return omitted, true
}

// quieter is mochi's log: what it says of its own starting and stopping is
// debugging here; its debugging is left out; and so is what of its warnings
// repeats, and the whole packets in them.
type quieter struct {
	slog.Handler
	pace *pace
}

func newQuieter(h slog.Handler) quieter {
	p := newPace()
	return quieter{h, &p}
}

func (q quieter) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo && q.Handler.Enabled(ctx, demoted(level))
}

func (q quieter) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, demoted(r.Level), "mqtt broker: "+r.Message, r.PC)
	if r.Level >= slog.LevelWarn {
		omitted, ok := q.pace.allow(r.Message, r.Time)
		if !ok {
			return nil
		}
		out.AddAttrs(slog.Int("omitted", omitted))
	}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "pk", "packet", "will":
		case "client":
			out.AddAttrs(slog.String(a.Key, shortened(a.Value.String())))
		default:
			out.AddAttrs(a)
		}
		return true
	})
	return q.Handler.Handle(ctx, out)
}

func (q quieter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quieter{q.Handler.WithAttrs(attrs), q.pace}
}
func (q quieter) WithGroup(name string) slog.Handler {
	return quieter{q.Handler.WithGroup(name), q.pace}
}

func demoted(level slog.Level) slog.Level {
	if level == slog.LevelInfo {
		return slog.LevelDebug
	}
	return level
}
