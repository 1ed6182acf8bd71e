package source

import (
	"context"
	"time"
)

const (
	maxFPS = 1000
	// maxLag is how far playback may fall behind before it goes on from where
	// it is: catching up more would be a burst of old frames.
	maxLag = time.Second
)

// interval is the time between two frames; fps is above 0.
func interval(fps float64) time.Duration { return time.Duration(float64(time.Second) / fps) }

// sampler leaves out frames so that on average no more than one remains per
// interval. The zero sampler keeps all.
type sampler struct {
	every time.Duration
	early time.Duration // how much before its time a frame is taken
	next  time.Duration
}

// How early a frame may come, in intervals. A camera that runs at just the
// rate asked for must not lose every other frame to the jitter of its clock.
const (
	recorded = 0.01
	jittery  = 0.25
)

// newSampler returns a sampler for fps frames a second; 0: all.
func newSampler(fps, early float64) *sampler {
	if fps == 0 {
		return &sampler{}
	}
	every := interval(fps)
	return &sampler{every: every, early: time.Duration(early * float64(every))}
}

// take says whether to keep the frame at this point of the input's time.
func (s *sampler) take(at time.Duration) bool {
	if at < s.next-s.early {
		return false
	}
	s.next += s.every
	if s.next <= at {
		s.next = at + s.every // there was a gap; don't make up for it
	}
	return true
}

// backlog recognises the frames of a live stream that are old already: those
// that FFmpeg took in while it opened the stream, up to 5 s. They come at once
// one after the other; the first for which the reader has to wait is live.
type backlog struct {
	left  int           // frames that may be in it
	quick time.Duration // a read without a wait
}

func newBacklog(opening time.Duration, fps float64) *backlog {
	return &backlog{left: int(opening.Seconds() * fps), quick: interval(fps) / 4}
}

// stale says whether a frame that was waited for so long is an old one.
func (b *backlog) stale(waited time.Duration) bool {
	if waited > b.quick {
		b.left = 0
	}
	b.left--
	return b.left >= 0
}

// playback says when each frame of a recording is due.
type playback struct {
	every time.Duration
	begin time.Time // when frame 0 was due
}

// wait is how long it is until frame n is due.
func (p *playback) wait(n int, now time.Time) time.Duration {
	due := p.begin.Add(time.Duration(n) * p.every)
	late := now.Sub(due)
	if late > maxLag {
		p.begin = p.begin.Add(late)
	}
	return max(0, -late)
}

// sleep waits for d; an error says that ctx has ended before.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
