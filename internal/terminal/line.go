// Package terminal shows how something long goes: a line that is written again
// and again on a terminal, and lines that stay.
package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Line is the last line of an output, which shows how something goes. Where
// the output is no terminal, each version of it is a line of its own.
//
// It is safe for concurrent use.
type Line struct {
	mu    sync.Mutex
	out   io.Writer
	width int       // of the terminal; 0: it is none
	dirty bool      // the terminal's last line is to be written again
	next  time.Time // when Step writes again
}

// NewLine returns a line of an output that is so wide; see [Width].
func NewLine(out io.Writer, width int) *Line { return &Line{out: out, width: width} }

// How often Step shows something, on a terminal and elsewhere.
const stepEvery, stepFarApart = 100 * time.Millisecond, 5 * time.Second

// Step shows what comes often: now and then.
func (l *Line) Step(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.next) {
		return
	}
	l.next = now.Add(stepEvery)
	if l.width == 0 {
		l.next = now.Add(stepFarApart)
	}
	l.write(line)
}

// Show shows a line in place of the last.
func (l *Line) Show(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(line)
}

// write is Show; l.mu is held.
func (l *Line) write(line string) {
	if l.width == 0 {
		fmt.Fprintln(l.out, line)
		return
	}
	// Back to the start of the line, and clear what is longer than this.
	fmt.Fprintf(l.out, "\r%.*s\x1b[K", l.width-1, line)
	l.dirty = true
}

// Say writes a line that stays.
func (l *Line) Say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dirty {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
	fmt.Fprintln(l.out, line)
	l.dirty = false
}

// End leaves the last line as it is.
func (l *Line) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dirty {
		fmt.Fprintln(l.out)
	}
	l.dirty = false
}

// Bar is how much is done of a whole, as a bar of so many columns.
func Bar(done, total, columns int) string {
	n := columns
	if total > 0 {
		n = min(max(done, 0)*columns/total, columns)
	}
	return "[" + strings.Repeat("=", n) + strings.Repeat(" ", columns-n) + "]"
}
