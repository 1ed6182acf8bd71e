package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
)

// progress shows how something long goes: a line that is written again and
// again on a terminal, and lines that stay.
//
// It is safe for concurrent use.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	width int             // of the terminal; 0: it is none
	said  map[string]bool // troubles that lasted until the last line
	dirty bool            // the terminal's last line is to be written again
	next  time.Time       // when step writes again
}

func newProgress(out io.Writer) *progress { return &progress{out: out, width: terminalWidth(out)} }

// status shows a line, and before it the troubles that are new; failed is why
// there is nothing newer than s, nil if there is.
func (p *progress) status(elapsed time.Duration, s api.WorkflowStatus, failed error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := troubles(s)
	if failed != nil {
		all = append(all, clean(failed.Error()))
	}
	now := map[string]bool{}
	for _, t := range all {
		now[t] = true
		if !p.said[t] {
			p.stay("  ! " + t)
		}
	}
	p.said = now
	f := s.Frames
	line := fmt.Sprintf("%3.0f s  %-8s  %5d captured  %5d delivered  %4d dropped  %3d in flight  p50 %8s  p95 %8s",
		elapsed.Seconds(), s.Status, f.Captured, f.Delivered, f.Lost(), f.InFlight, ms(s.LatencyMS.P50), ms(s.LatencyMS.P95))
	if found := tally(s.Detections); found != "" {
		line += "  " + clean(found)
	}
	p.write(line)
}

// step shows what comes often: now and then.
func (p *progress) step(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(stepEvery)
	if p.width == 0 {
		p.next = now.Add(stepFarApart)
	}
	p.write(line)
}

// How often step shows something, on a terminal and elsewhere.
const stepEvery, stepFarApart = 100 * time.Millisecond, 5 * time.Second

// write shows a line in place of the last; p.mu is held.
func (p *progress) write(line string) {
	if p.width == 0 {
		fmt.Fprintln(p.out, line)
		return
	}
	// Back to the start of the line, and clear what is longer than this.
	fmt.Fprintf(p.out, "\r%.*s\x1b[K", p.width-1, line)
	p.dirty = true
}

// say writes a line that stays.
func (p *progress) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stay(line)
}

// stay is say; p.mu is held.
func (p *progress) stay(line string) {
	if p.dirty {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintln(p.out, line)
	p.dirty = false
}

// end leaves the last line as it is.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirty {
		fmt.Fprintln(p.out)
	}
	p.dirty = false
}
