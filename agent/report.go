package agent

import (
	"context"
	"slices"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// lastWords is the final report of an instance: one of the two.
type lastWords struct {
	source *pipeline.SourceReport
	stage  *pipeline.StageReport
}

func (w *lastWords) addTo(r *pipeline.Report) {
	if w.source != nil {
		r.Sources = append(r.Sources, *w.source)
	}
	if w.stage != nil {
		r.Stages = append(r.Stages, *w.stage)
	}
}

// endedLimit bounds the last words that are kept while no coordinator answers.
const endedLimit = 256

// bury replaces an instance that has ended by its last words.
func (a *Agent) bury(inst *instance) {
	words := &lastWords{}
	words.source, words.stage = inst.report()
	if words.source != nil {
		words.source.Frames = giveUp(words.source.Frames)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.instances = slices.DeleteFunc(a.instances, func(i *instance) bool { return i == inst })
	a.ended = append(a.ended, words)
	if n := len(a.ended) - endedLimit; n > 0 {
		a.cfg.Log.Warn("nobody takes reports: what ended first is forgotten", "instances", n)
		a.ended = slices.Delete(a.ended, 0, n)
	}
}

// report tells the coordinator how everything is doing, until ctx ends.
func (a *Agent) report(ctx context.Context) {
	tick := time.NewTicker(a.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, 5*a.cfg.Every)
		if err := a.send(limited); err != nil && ctx.Err() == nil {
			a.cfg.Log.Debug("report not taken", "err", err) // watch says that nobody answers
		}
		cancel()
	}
}

// send reports, and forgets the last words that got through.
func (a *Agent) send(ctx context.Context) error {
	r, told := a.compose()
	if err := a.control.Report(ctx, r); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = slices.DeleteFunc(a.ended, func(w *lastWords) bool { return slices.Contains(told, w) })
	return nil
}

// Report is how everything that runs here is doing, with the last words of
// what has stopped since the last report.
func (a *Agent) Report() pipeline.Report {
	r, _ := a.compose()
	return r
}

// Waiting is how many frames wait for stages here.
func (a *Agent) Waiting() int {
	a.mu.Lock()
	instances := slices.Clone(a.instances)
	a.mu.Unlock()
	n := 0
	for _, inst := range instances {
		n += inst.waiting()
	}
	return n
}

// compose returns a report and the last words in it.
func (a *Agent) compose() (pipeline.Report, []*lastWords) {
	// The index first: what is true of it is true of what follows.
	r := pipeline.Report{Node: a.cfg.Node.ID, Run: a.run, Index: a.follows.Load()}
	// Instances are asked without the lock: one that ends meanwhile is in this
	// report as it was, and its last words are in the next.
	a.mu.Lock()
	instances, ended := slices.Clone(a.instances), slices.Clone(a.ended)
	a.mu.Unlock()
	for _, w := range ended {
		w.addTo(&r)
	}
	for _, inst := range instances {
		w := &lastWords{}
		w.source, w.stage = inst.report()
		w.addTo(&r)
	}
	return r, ended
}
