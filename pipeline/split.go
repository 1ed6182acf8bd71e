package pipeline

import (
	"slices"
	"sync"
)

// Split returns n frames to hand to n owners; f is settled when all n are: with
// the first reason for which one was dropped; else as delivered, if one was;
// else as filtered. n = 1 returns f itself. Image bytes are shared, slices are
// not.
func (f *Frame) Split(n int) []*Frame {
	if n == 1 {
		return []*Frame{f}
	}
	whole := &parts{of: f, left: n, found: make([]*Finding, n)}
	out := make([]*Frame, n)
	for i := range out {
		out[i] = &Frame{
			ID: f.ID, Captured: f.Captured, Deadline: f.Deadline, Quality: f.Quality, Analyser: f.Analyser,
			SourceWidth: f.SourceWidth, SourceHeight: f.SourceHeight, Image: f.Image, Model: f.Model,
			Detections: append([]Detection(nil), f.Detections...), Truth: f.Truth, Ask: f.Ask,
			Spans:  append([]Span(nil), f.Spans...),
			settle: func(o Outcome) { whole.settle(i, o) },
		}
	}
	return out
}

// finding is what a frame that has arrived answers; nil: it was not asked, or is
// not analysed.
func (f *Frame) finding() *Finding {
	if !f.Ask || f.Model == "" {
		return nil
	}
	return &Finding{f.Model, f.Detections}
}

// parts gathers the outcomes of what a frame was split into.
type parts struct {
	of *Frame

	mu    sync.Mutex
	left  int
	some  bool
	sum   Outcome    // of those that were settled
	found []*Finding // by part
}

func (p *parts) settle(i int, o Outcome) {
	p.mu.Lock()
	p.found[i] = o.Found
	age := max(p.sum.Age, o.Age)
	if !p.some || graver(o.Reason, p.sum.Reason) {
		p.sum = o
	}
	p.some, p.sum.Age = true, age
	p.left--
	last := p.left == 0
	if last && p.sum.Delivered() {
		p.sum.Found = merged(p.found)
	}
	p.mu.Unlock()
	if last {
		p.of.Settle(p.sum)
	}
}

// graver reports whether a counts for the whole rather than b, which came
// before it. A part that was filtered changes nothing for the others.
func graver(a, b Reason) bool {
	rank := func(r Reason) int {
		switch r {
		case ReasonFiltered:
			return 0
		case ReasonNone:
			return 1
		}
		return 2
	}
	return rank(a) > rank(b)
}

// merged puts together what different models found. Parts that one model's
// results were split into say the same.
func merged(all []*Finding) *Finding {
	var out *Finding
	var models []string
	for _, f := range all {
		switch {
		case f == nil || slices.Contains(models, f.Model):
			continue
		case out == nil:
			out = f
		default:
			out = &Finding{out.Model + "+" + f.Model, slices.Concat(out.Detections, f.Detections)}
		}
		models = append(models, f.Model)
	}
	return out
}
