package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

const (
	// The pace at which a coordinator that does not answer is asked again.
	retryFirst = 200 * time.Millisecond
	retryMax   = 5 * time.Second
	// outdatedFor is how long answers older than what runs are disregarded: by
	// then a coordinator that lags has caught up, or the log has begun anew.
	outdatedFor = time.Minute
	// unknownFor is how long after a start a coordinator that does not know the
	// node holds up what the journal says: by then it has heard of it.
	unknownFor = time.Minute
)

// progress is how far an agent has followed its coordinators, of which one
// may know less than another.
type progress struct {
	matched uint64    // index of what runs
	asleep  bool      // what matched is of ran before the restart, and does not yet again
	after   uint64    // index to ask for news of; 0: ask what is now
	older   time.Time // since when all answers were older than what runs; zero: they are not
}

// take decides whether an answer of that index is to be acted on.
func (p *progress) take(index uint64, now time.Time) bool {
	switch {
	case index == p.matched && !p.asleep:
		p.after, p.older = index, time.Time{}
		return false
	case index < p.matched && p.older.IsZero():
		p.after, p.older = 0, now
		return false
	case index < p.matched && now.Sub(p.older) < outdatedFor:
		return false
	}
	*p = progress{matched: index, after: index}
	return true
}

// lose notes that no coordinator answered.
func (p *progress) lose() { *p = progress{matched: p.matched, asleep: p.asleep} }

// watch makes what runs match what the coordinator wants, until ctx ends.
// last is what the run before was told; it is resumed when no coordinator has
// said anything newer, nor that it does not know the node, after a while.
func (a *Agent) watch(ctx, life context.Context, last known, keep *keeper) {
	p := progress{matched: last.index, asleep: last.index != 0}
	resume, latest := time.Now().Add(a.cfg.Grace), time.Now().Add(unknownFor)
	retry, silent := retryFirst, false
	for {
		if p.asleep && !time.Now().Before(resume) {
			p.asleep = false
			a.resume(life, last)
		}
		want, index, err := a.ask(ctx, p, resume)
		pause := retryFirst
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			switch {
			case silent:
			case p.matched == 0 || p.asleep: // as usual at the start
				a.cfg.Log.Info("no assignments from a coordinator yet", "err", err)
			default:
				a.cfg.Log.Warn("no assignments from a coordinator; what runs goes on", "err", err)
			}
			p.lose()
			silent, pause, retry = true, retry, min(2*retry, retryMax)
			if p.asleep && errors.Is(err, ErrUnknown) {
				// It answers, and will say what to run. It is asked again before then.
				if resume = time.Now().Add(a.cfg.Grace); resume.After(latest) {
					resume = latest
				}
			}
		default:
			if silent {
				a.cfg.Log.Info("a coordinator answers again")
			}
			silent, retry = false, retryFirst
			if p.take(index, time.Now()) {
				a.match(life, want)
				keep.note(known{want, index})
				a.follows.Store(index)
				continue
			}
			// No news: after a long wait, or from a coordinator that lags or
			// shuts down, which is not to be pressed.
		}
		pause = jitter(pause)
		if p.asleep { // a coordinator that is found late is to be heard first
			pause = min(pause, a.cfg.Grace/4, time.Until(resume))
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// ask asks a coordinator. Before there is something to resume it is given no
// longer than until then: one that does not answer must not hold that up.
func (a *Agent) ask(ctx context.Context, p progress, resume time.Time) ([]tiering.Assignment, uint64, error) {
	if p.asleep {
		limited, cancel := context.WithDeadline(ctx, resume)
		defer cancel()
		ctx = limited
	}
	return a.control.Assignments(ctx, a.cfg.Node.ID, p.after)
}

// jitter is between half of d and d, so that agents that lost the same
// coordinator do not all ask the next at once.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// match stops what is no longer wanted, tells the rest where frames go now,
// and starts what is missing. It waits for nothing.
func (a *Agent) match(life context.Context, want []tiering.Assignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wanted := map[string]tiering.Assignment{}
	for _, w := range want {
		wanted[w.Placement.ID] = w
	}
	latest := map[string]*instance{} // by placement
	for _, inst := range a.instances {
		latest[inst.id()] = inst
		if inst.ending() {
			continue
		}
		if w, ok := wanted[inst.id()]; ok && inst.does(w) {
			inst.redirect(w)
			delete(wanted, inst.id())
			continue
		}
		a.cfg.Log.Info("stopping", "instance", inst.id())
		inst.stop()
	}
	for _, w := range want {
		id := w.Placement.ID
		if _, missing := wanted[id]; !missing {
			continue
		}
		delete(wanted, id)
		a.cfg.Log.Info("starting", "instance", id, "why", w.Placement.Reason)
		inst := a.newInstance(life, w, latest[id])
		a.instances = append(a.instances, inst)
		a.running.Go(func() {
			inst.run(life)
			a.bury(inst)
			close(inst.done)
		})
	}
}
