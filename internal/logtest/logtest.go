// Package logtest keeps what is logged, for tests that look at it. Only tests
// import it.
package logtest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// Book keeps what is written, and can be read meanwhile. The zero value is
// empty.
type Book struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *Book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns all that was written.
func (b *Book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Logger writes to the book.
func (b *Book) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// Count says how often the text was written.
func (b *Book) Count(text string) int { return strings.Count(b.String(), text) }

// Lines returns the lines that hold the text.
func (b *Book) Lines(text string) []string {
	var out []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}
