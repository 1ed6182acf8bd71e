package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/terminal"
)

// progress shows how something long goes, also a workflow.
//
// It is safe for concurrent use.
type progress struct {
	line *terminal.Line
	mu   sync.Mutex
	said map[string]bool // troubles that lasted until the last line
}

func newProgress(out io.Writer) *progress {
	return &progress{line: terminal.NewLine(out, terminal.Width(out))}
}

// step shows what comes often: now and then.
func (p *progress) step(line string) { p.line.Step(line) }

// say writes a line that stays.
func (p *progress) say(line string) { p.line.Say(line) }

// end leaves the last line as it is.
func (p *progress) end() { p.line.End() }

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
			p.say("  ! " + t)
		}
	}
	p.said = now
	f := s.Frames
	filtered := ""
	if f.Filtered > 0 {
		filtered = fmt.Sprintf("  %5d filtered", f.Filtered)
	}
	line := fmt.Sprintf("%3.0f s  %-8s  %5d captured  %5d delivered%s  %4d dropped  %3d in flight  p50 %8s  p95 %8s",
		elapsed.Seconds(), s.Status, f.Captured, f.Delivered, filtered, f.Lost(), f.InFlight, ms(s.LatencyMS.P50), ms(s.LatencyMS.P95))
	if found := tally(s.Detections); found != "" {
		line += "  " + clean(found)
	}
	p.line.Show(line)
}
