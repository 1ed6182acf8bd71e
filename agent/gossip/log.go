package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"sync/atomic"
)

// newLogger makes Serf's and memberlist's log lines ("[WARN] serf: …") slog
// records.
func newLogger(l *slog.Logger, leaving *atomic.Bool) *log.Logger {
	return log.New(lineWriter{l, leaving}, "", 0)
}

type lineWriter struct {
	log     *slog.Logger
	leaving *atomic.Bool // what fails while this node leaves is no news
}

var levels = []struct {
	prefix string
	level  slog.Level
}{
	{"[ERR] ", slog.LevelError}, {"[ERROR] ", slog.LevelError}, {"[WARN] ", slog.LevelWarn},
	// What Serf calls INFO is detail to an operator of a mesh.
	{"[INFO] ", slog.LevelDebug}, {"[DEBUG] ", slog.LevelDebug},
}

func (w lineWriter) Write(p []byte) (int, error) {
	line, level := bytes.TrimSpace(p), slog.LevelDebug
	for _, l := range levels {
		if rest, ok := bytes.CutPrefix(line, []byte(l.prefix)); ok {
			line, level = rest, l.level
			break
		}
	}
	if w.leaving.Load() {
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, string(line))
	return len(p), nil
}
