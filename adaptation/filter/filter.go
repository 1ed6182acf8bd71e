package filter

import (
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/pipeline"
)

const (
	// runLength is how many frames in a row are analysed to learn from.
	runLength = 16
	// mostSkipped is how many frames in a row are skipped at most: no run says
	// what becomes of more.
	mostSkipped = runLength - 1
	// enough is how many runs must have been seen before a frame is skipped.
	enough = 3
	// kept is how many runs count: the newest.
	kept = 8
	// Frames between two runs: few after one that the threshold did not suit,
	// and ever more while it does.
	leastPause = runLength
	mostPause  = 20 * runLength
	// mostWaiting is how many runs may wait for what was found in their frames.
	mostWaiting = 3
)

// ErrParams reports parameters that are out of range.
var ErrParams = errors.New("invalid filter")

// Params say what a filter lets pass.
type Params struct {
	// Accuracy is the share of accuracy to keep, 0–1: the threshold is learnt.
	// 0: Threshold is what holds.
	Accuracy float64
	// Threshold is the difference, 0–1, up to which a frame is skipped.
	Threshold float64
}

// Validate reports what is out of range.
func (p Params) Validate() error {
	within := func(x float64) bool { return x >= 0 && x <= 1 } // false for NaN, too
	switch {
	case !within(p.Accuracy):
		return fmt.Errorf("%w: accuracy is %v; use the share to keep, from 0 to 1", ErrParams, p.Accuracy)
	case !within(p.Threshold):
		return fmt.Errorf("%w: threshold is %v; use a share of the picture, from 0 to 1", ErrParams, p.Threshold)
	case p.Accuracy > 0 && p.Threshold > 0:
		return fmt.Errorf("%w: both an accuracy of %v and a threshold of %v are given; the one is learnt to keep the other", ErrParams, p.Accuracy, p.Threshold)
	}
	return nil
}

// Kind is what frames must have in common for their detections to be compared.
type Kind struct {
	Resolution int
	Model      string
}

// Source decides about the frames of one source. It is for one goroutine at a
// time.
type Source struct {
	params Params

	last    *View // of the frame that passed last; nil: none has
	kind    Kind
	skipped int // frames since

	threshold float64
	learnt    bool
	trials    []*trial // the newest last
	expected  tried    // of all trials, with the threshold

	run     *run   // that takes frames; nil: none does
	waiting []*run // for what was found, oldest first
	wait    int    // frames until the next run
	pause   int
}

// run is frames in a row that are all analysed.
type run struct {
	frames []seen
	missed int // of which nothing was heard, or is to be expected
	heard  int
}

// Sample names a frame of a run.
type Sample struct {
	run   *run
	index int
}

// New returns a filter for one source. An error is ErrParams.
func New(p Params) (*Source, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	s := &Source{params: p, pause: leastPause}
	if p.Accuracy == 0 {
		s.threshold, s.learnt = p.Threshold, true
	}
	return s, nil
}

// Look decides about the next frame: it is to be analysed, or it is skipped. If
// there is a sample, what is found in the frame is to be told to Found, or else
// Missed.
func (s *Source) Look(v *View, k Kind) (pass bool, sample *Sample) {
	s.learn()
	fresh := s.last == nil || s.kind != k
	if fresh {
		s.run = nil // detections of two kinds do not compare
	}
	s.kind = k
	switch {
	case s.params.Accuracy == 0:
	case s.run == nil && (len(s.trials)+len(s.waiting) < enough || s.wait <= 0):
		s.run = &run{}
	case s.run == nil:
		s.wait--
	}
	if s.run != nil {
		sample = s.take(v)
	}
	if pass = sample != nil || fresh || !s.learnt || passes(v.Difference(s.last), s.threshold, s.skipped); pass {
		s.last, s.skipped = v, 0
	} else {
		s.skipped++
	}
	return pass, sample
}

// passes is the filter's rule.
func passes(difference, threshold float64, skipped int) bool {
	return difference > threshold || skipped >= mostSkipped
}

// take adds a frame to the run that is under way.
func (s *Source) take(v *View) *Sample {
	r := s.run
	r.frames = append(r.frames, seen{view: v})
	if len(r.frames) == runLength {
		s.waiting = append(s.waiting, r)
		if len(s.waiting) > mostWaiting {
			s.waiting = s.waiting[1:]
		}
		s.run, s.wait = nil, s.pause
	}
	return &Sample{r, len(r.frames) - 1}
}

// Found tells what was found in a sample; it is told once.
func (s *Source) Found(x *Sample, found []pipeline.Detection) {
	x.run.frames[x.index].found = found
	x.run.heard++
}

// Missed tells that nobody knows what a sample would have shown: it was dropped,
// or not analysed.
func (s *Source) Missed(x *Sample) {
	x.run.frames[x.index].view = nil
	x.run.missed++
}

// learn takes in the runs that are complete.
func (s *Source) learn() {
	for len(s.waiting) > 0 {
		r := s.waiting[0]
		if r.heard+r.missed < runLength {
			return
		}
		s.waiting = s.waiting[1:]
		if r.heard < runLength/2 {
			s.wait = min(s.wait, leastPause) // too many holes to tell
			continue
		}
		var whole []seen
		for _, f := range r.frames {
			if f.view != nil {
				whole = append(whole, f)
			}
		}
		s.add(newTrial(whole))
	}
}

// add learns from a trial.
func (s *Source) add(t *trial) {
	suits := s.learnt && t.with(s.threshold).kept() >= s.params.Accuracy
	s.trials = append(s.trials, t)
	if len(s.trials) > kept {
		s.trials = s.trials[1:]
	}
	s.learnt = false
	if len(s.trials) >= enough {
		s.threshold, s.expected, s.learnt = choose(s.trials, s.params.Accuracy)
	}
	if suits {
		s.pause = min(2*s.pause, mostPause)
	} else {
		s.pause = leastPause
	}
	s.wait = min(s.wait, s.pause)
}

// with is the trial with the largest of the thresholds tried that is not above t.
func (t *trial) with(threshold float64) tried {
	out := tried{analysed: t.frames}
	for r := range rungs {
		if rung(r) > threshold {
			break
		}
		out = t.rungs[r]
	}
	return out
}

// State is what a filter goes by.
type State struct {
	Threshold float64 // frames that differ by no more are skipped
	Learnt    bool    // false: nothing is skipped, for too little is known or nothing may be
	// What the runs say of the threshold, if it was learnt from them: the share
	// of accuracy kept, and of frames analysed.
	Accuracy, Analysed float64
}

// State returns what the filter goes by.
func (s *Source) State() State {
	out := State{Threshold: s.threshold, Learnt: s.learnt}
	frames := 0
	for _, t := range s.trials {
		frames += t.frames
	}
	if s.learnt && frames > 0 {
		out.Accuracy, out.Analysed = s.expected.kept(), float64(s.expected.analysed)/float64(frames)
	}
	return out
}
