package profiler

import (
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
)

// fewest is how many frames a period must have shown to count.
const fewest = 10

// seen is what was seen of an instance.
type seen struct {
	epoch uint32
	last  *pipeline.Histogram // at the end of the last period
	off   *pipeline.Histogram // of the periods on end that differ
	watch profile.Watch
}

// watch compares what frames have taken since the last time with the profiles.
func (p *Profiler) watch(now time.Time) {
	r := p.work.Report()
	present := map[string]bool{}
	for i := range r.Stages {
		s := &r.Stages[i]
		present[s.Instance] = true
		p.mu.Lock()
		k, ok := p.keys[s.Instance]
		k.Backend = s.Backend
		known, profiled := p.have[k]
		p.mu.Unlock()
		if ok && profiled {
			p.compare(s, known, now)
		}
	}
	for id := range p.live {
		if !present[id] {
			delete(p.live, id)
		}
	}
}

// compare compares what the frames of an instance have taken with its profile.
func (p *Profiler) compare(s *pipeline.StageReport, known profile.Profile, now time.Time) {
	l := p.live[s.Instance]
	if l == nil || l.epoch != s.Epoch {
		p.live[s.Instance] = &seen{epoch: s.Epoch, last: s.Execute.Clone(), off: pipeline.NewHistogram()}
		return // the first frames warm up
	}
	period := s.Execute.Since(l.last)
	if period.Count() < fewest {
		return // it goes on
	}
	l.last = s.Execute.Clone()
	drifted := l.watch.Observe(p.cfg.Drift, known.ExecuteMean, period.Mean())
	if l.watch.Off() == 1 && !drifted {
		l.off = pipeline.NewHistogram() // the first to this side
	}
	l.off.Merge(period)
	if !drifted {
		return
	}
	was := l.off
	l.off = pipeline.NewHistogram()
	if known.Live && now.Sub(known.At) < p.cfg.Rest {
		return
	}
	fresh := known.Refreshed(was.Quantile(0.5), was.Quantile(0.95), was.Mean(), int(was.Count()), now.UTC())
	if err := fresh.Validate(); err != nil {
		p.cfg.Log.Debug("what is seen live is no profile", "detector", known.Key(), "err", err)
		return
	}
	p.cfg.Log.Info("a detector's profile has drifted, and is as it is seen live now",
		"detector", known.Key(), "was", known.ExecuteMean, "is", fresh.ExecuteMean)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have[known.Key()], p.dirty[known.Key()] = fresh, true
}
