package sim

import (
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed/sim/des"
	"github.com/weft-mesh/weft/tiering"
)

// drain is for how long at most what stops waits for its frames: see package
// agent.
const drain = 2 * time.Second

// maxLag is how far a source may fall behind before it goes on from where it
// is: see package pipeline/source.
const maxLag = time.Second

// opening is how long it takes at most to open a source: recordings that are
// started together stay nearly in step for as long as they play.
const opening = 100 * time.Millisecond

// feed is one run of a source on a node, with the accounts of its frames.
type feed struct {
	source             string
	node, slot, router int32
	deadline           time.Duration // 0: none
	period             time.Duration // of frames
	input              time.Duration // of pictures, of which frames are made
	cost               timing        // of a capture
	draws              des.Stream

	made     time.Duration
	next     time.Duration // when the next frame is due to be captured
	admitted time.Duration // when the next may be admitted, exactly at the rate
	began    time.Duration // of the capture under way
	parked   bool          // its node is paused
	stopping bool
	closed   bool // no frame counts any more

	quality tiering.Quality // of the frames to come
	want    int32           // what those ask instances for
	held    string          // why no frames are taken in; empty: they are
	skip    int             // pictures to pass over before the next frame
	skipped uint64
	status  pipeline.Status

	open, openMeasured int                 // accounts
	counts, before     counts              // before: the measured time
	grabs, latency     *pipeline.Histogram // captures, and ages of delivered frames
}

// startFeed begins to capture, at a moment of its own.
func (p *plane) startFeed(f feed) int32 {
	i := int32(len(p.feeds))
	f.draws = p.stream("capture " + p.slots[f.slot].id)
	f.status, f.grabs, f.latency = pipeline.StatusStarting, pipeline.NewHistogram(), pipeline.NewHistogram()
	f.made = p.now()
	f.next = f.made + p.stream("phase "+p.slots[f.slot].id).Uniform(min(f.period, opening))
	p.feeds = append(p.feeds, f)
	p.q.Add(f.next, evCapture, i, 0, 0)
	return i
}

// setFeed changes the quality of the frames to come, and why there are to be
// none: pipeline.Feed's Set.
func (p *plane) setFeed(i int32, q tiering.Quality, held string) {
	f := &p.feeds[i]
	if q.Every != f.quality.Every {
		f.skip = q.Phase(f.source)
	}
	f.quality, f.want, f.held = q, p.wantOf(q), held
}

// grab begins a capture.
func (p *plane) grab(i int32) {
	f := &p.feeds[i]
	if f.stopping || f.closed {
		return
	}
	if p.nodes[f.node].paused {
		f.parked = true
		return
	}
	f.began = p.now()
	p.work(f.node, f.cost.draw(f.draws), jobCapture, i, 0)
}

// captured makes a frame of the picture and sees to the next.
//
// A source captures one picture after the other. One that cannot keep up
// catches up, within limits, and the feed holds the mean rate to what was
// asked for by pipeline.Feed's algorithm.
func (p *plane) captured(i int32) {
	f := &p.feeds[i]
	if f.stopping || f.closed {
		return
	}
	now := p.now()
	if p.rules.poisson {
		f.next += f.draws.Gamma(f.input, 1)
	} else if f.next += f.input; now-f.next > maxLag {
		f.next = now
	}
	p.q.Add(f.next, evCapture, i, 0, 0)

	if f.held != "" {
		f.status = pipeline.StatusHeld
		return
	}
	if !p.rules.poisson && f.began < f.admitted-f.period/2 {
		return // beyond the rate: it is no frame
	}
	f.admitted = max(f.admitted, f.began) + f.period
	if f.skip > 0 {
		f.skip--
		f.skipped++
		return
	}
	f.skip = max(f.quality.Every-1, 0)
	f.status = pipeline.StatusRunning
	f.grabs.Record(now - f.began)
	p.forward(f.router, p.capture(i, f.began))
}

// unpark goes on with the sources of a node that was paused.
func (p *plane) unpark(n int32) {
	for i := range p.feeds {
		if f := &p.feeds[i]; f.node == n && f.parked {
			f.parked = false
			p.q.Add(p.now(), evCapture, int32(i), 0, 0)
		}
	}
}

// stopFeed ends the capture at once, and the accounts when every frame has one
// outcome, at most drain later.
func (p *plane) stopFeed(i int32) {
	f := &p.feeds[i]
	if f.stopping || f.closed {
		return
	}
	f.stopping = true
	if f.open == 0 {
		p.closeFeed(i, shutdown)
		return
	}
	p.q.Add(p.now()+drain, evFeedEnd, i, 0, 0)
}

// closeFeed closes the accounts: frames that are still open go under why.
func (p *plane) closeFeed(i int32, why reason) {
	f := &p.feeds[i]
	if f.closed {
		return
	}
	f.stopping, f.closed = true, true
	p.stats.wroteOff(why, f.open, f.openMeasured)
	f.counts.settle(why, uint64(f.open))
	f.open, f.openMeasured = 0, 0
	p.endRouter(f.router)
	if p.ended != nil {
		p.ended(f.node)
	}
}

// qualities are those of the sources that take frames in.
func (p *plane) qualities() []tiering.Quality {
	var out []tiering.Quality
	for i := range p.feeds {
		if f := &p.feeds[i]; !f.stopping && !f.closed && f.held == "" {
			out = append(out, f.quality)
		}
	}
	return out
}

// sources is how many capture.
func (p *plane) sources() int {
	n := 0
	for i := range p.feeds {
		if f := &p.feeds[i]; !f.stopping && !f.closed {
			n++
		}
	}
	return n
}
