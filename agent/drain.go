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
// for as long as one is of use, at most Drain.
func (i *instance) linger(life context.Context, runner *pipeline.Runner) {
	quiet := i.want.Objectives.Deadline
	if quiet <= 0 {
		quiet = i.agent.cfg.Drain
	}
	limit, cancel := context.WithTimeout(life, i.agent.cfg.Drain)
	defer cancel()
	received, since := runner.Report().Received, time.Now()
	for time.Since(since) < quiet && sleep(limit, drainTick) {
		if n := runner.Report().Received; n != received {
			received, since = n, time.Now()
		}
	}
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
