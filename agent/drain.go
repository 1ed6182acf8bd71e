package agent

import (
	"context"
	"maps"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// drainTick is how often is looked whether a drain is over.
const drainTick = 100 * time.Millisecond

// settle waits until every frame of a source that has stopped is accounted
// for, at most Drain.
func (i *instance) settle(life context.Context, feed *pipeline.Feed) {
	limit, cancel := context.WithTimeout(life, i.agent.cfg.Drain)
	defer cancel()
	for feed.Report().Frames.InFlight > 0 && sleep(limit, drainTick) {
	}
}

// linger lets a stage finish what is on its way to it: until no frame has come
// for as long as one is of use, at most Drain, and it is done with those that
// have. That may take as long as a frame is of use where that is longer than
// Drain, unless the whole agent shuts down. One that has moved also waits that
// long for frames: those that feed it may hold some that they had before, on a
// slow link or in a stage that lingers itself.
func (i *instance) linger(life context.Context, runner *pipeline.Runner, start time.Time) {
	quiet, most := i.useful(), i.agent.cfg.Drain
	received, since := runner.Report().Received, start
	for {
		r, now := runner.Report(), time.Now()
		if r.Received != received {
			received, since = r.Received, now
		}
		long := now.Sub(start) < max(quiet, most) && !i.agent.leaving.Load()
		expects := now.Sub(since) < quiet && (now.Sub(start) < most || long && i.moves.Load())
		works := long && atWork(&r)
		if !expects && !works || !sleep(life, drainTick) {
			return
		}
	}
}

// hand lets what a stage has done go out, within the same time.
func (i *instance) hand(life context.Context, start time.Time) {
	for i.router.Unsent() > 0 && time.Since(start) < max(i.useful(), i.agent.cfg.Drain) && !i.agent.leaving.Load() && sleep(life, drainTick) {
	}
}

// useful is how long a frame is of use.
func (i *instance) useful() time.Duration {
	if d := i.want.Objectives.Deadline; d > 0 {
		return d
	}
	return i.agent.cfg.Drain
}

// atWork reports whether a stage has frames that it is not done with.
func atWork(r *pipeline.StageReport) bool {
	done := r.Processed + r.Filtered
	for _, n := range r.Dropped {
		done += n
	}
	return r.Received > done
}

// giveUp drops the frames of a source that nobody accounted for in time.
func giveUp(c pipeline.Counts) pipeline.Counts {
	if c.InFlight == 0 {
		return c
	}
	dropped := maps.Clone(c.Dropped)
	dropped[pipeline.ReasonShutdown] += c.InFlight
	c.Dropped, c.InFlight = dropped, 0
	return c
}
