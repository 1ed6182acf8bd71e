package adapter

import (
	"math"
	"time"

	"github.com/weft-mesh/weft/adaptation/survey"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// trust is how many frames a period must have shown for what they took to weigh
// as much as all that was measured before.
const trust = 10

// fewest is how many frames a period must have shown of something to count.
const fewest = 3

// unhindered is the quantile of transfer times at which frames hardly waited for
// others: what the link itself takes. The mean has the wait in it, on a link that
// is full up to a second, and would say that nothing at all can pass there.
const unhindered = 0.1

// gentle is the weight of a period's share of filtered frames, and steps is how
// finely the share is told: it varies with what cameras see, and decisions are
// not to follow each change.
const (
	gentle = 0.3
	steps  = 20
)

// meter follows what the frames of one workflow take. Reports grow for as long
// as an instance runs; what a period adds is what is measured.
type meter struct {
	last  map[start]kpi.Instance
	costs survey.Costs
	// Of the last period, of what had enough frames.
	waits   map[string]time.Duration // in the queue, by task
	latency map[string]time.Duration // capture to delivery, by source
	rates   map[string]float64       // frames captured a second, by source
	worked  map[string]bool          // tasks
	unused  map[string]*unused       // by task
	// filtered is the moving mean of the share of frames that filters took out.
	filtered float64
}

// passes is the share of frames that filters let pass.
func (m *meter) passes() float64 { return max(1, math.Ceil((1-m.filtered)*steps)) / steps }

// unused is how long a task has had no frames, or has had some.
type unused struct {
	periods  int // without frames; negative: with
	patience int // periods until the way to it is no longer known
}

// How long the way to a task is known that no frame goes. It is tried again ever
// less often if that ends soon each time, and as at first once it has lasted.
const (
	leastPatience = 2
	mostPatience  = 64
	lasting       = 4
)

// start names one start of an instance, within which its report grows.
type start struct {
	id, node string
	epoch    uint32
}

func newMeter() *meter {
	return &meter{last: map[start]kpi.Instance{}, costs: survey.Costs{
		Execute: map[string]map[string]time.Duration{}, Transfer: map[string]survey.Transfer{},
	}, unused: map[string]*unused{}}
}

// observe takes in what the instances report now, elapsed after the last time.
func (m *meter) observe(now []kpi.Instance, elapsed time.Duration) {
	m.waits, m.latency, m.rates = map[string]time.Duration{}, map[string]time.Duration{}, map[string]float64{}
	m.worked = map[string]bool{}
	last := make(map[start]kpi.Instance, len(now))
	var capture sum
	var captured, filtered uint64
	stages := map[string]*sums{}
	for _, i := range now {
		k := start{i.ID, i.Node, 0}
		switch {
		case i.Source != nil:
			k.epoch = i.Source.Epoch
			old, seen := m.last[k]
			was := &pipeline.SourceReport{}
			if seen {
				was = old.Source
			}
			capture.add(i.Source.Capture.Since(was.Capture))
			if l := i.Source.Latency.Since(was.Latency); l.Count() >= fewest {
				m.latency[i.Source.Source] = l.Mean()
			}
			if n := i.Source.Frames.Captured - min(was.Frames.Captured, i.Source.Frames.Captured); seen && elapsed > 0 {
				m.rates[i.Source.Source] = float64(n) / elapsed.Seconds()
				captured += n
				filtered += i.Source.Frames.Filtered - min(was.Frames.Filtered, i.Source.Frames.Filtered)
			}
		case i.Stage != nil:
			k.epoch = i.Stage.Epoch
			was := &pipeline.StageReport{}
			if old, ok := m.last[k]; ok {
				was = old.Stage
			}
			s := stages[i.Stage.Task]
			if s == nil {
				s = &sums{transfers: pipeline.NewHistogram()}
				stages[i.Stage.Task] = s
			}
			m.stage(s, i.Node, i.Stage, was)
		}
		last[k] = i
	}
	m.last = last
	if captured >= fewest {
		m.filtered += gentle * (min(1, float64(filtered)/float64(captured)) - m.filtered)
	}
	if capture.n >= fewest {
		m.costs.Capture = capture.blend(m.costs.Capture)
	}
	for task, s := range stages {
		if s.queue.n >= fewest {
			m.waits[task] = s.queue.mean()
		}
		if s.worked < fewest {
			continue
		}
		far := sum{n: s.transfers.Count()}
		x := survey.Transfer{Share: min(1, float64(far.n)/float64(s.worked))}
		if far.n > 0 {
			far.total = time.Duration(far.n) * s.transfers.Quantile(unhindered)
			x.Mean = far.blend(m.costs.Transfer[task].Mean)
		}
		m.costs.Transfer[task] = x
		m.worked[task] = true
	}
}

// stage takes in what an instance has done since an earlier report.
func (m *meter) stage(s *sums, node string, r, was *pipeline.StageReport) {
	execute := r.Execute.Since(was.Execute)
	s.queue.add(r.Queue.Since(was.Queue))
	s.transfers.Merge(r.Transfer.Since(was.Transfer))
	s.worked += execute.Count()
	if execute.Count() < fewest {
		return
	}
	var all sum
	all.add(execute)
	reduce := r.Reduce.Since(was.Reduce)
	all.total += time.Duration(reduce.Count()) * reduce.Mean()
	if m.costs.Execute[r.Task] == nil {
		m.costs.Execute[r.Task] = map[string]time.Duration{}
	}
	m.costs.Execute[r.Task][node] = all.blend(m.costs.Execute[r.Task][node])
}

// forget drops what is known of the way to tasks that frames no longer take,
// where they go to others of the group: the network may have changed, and those
// say how it is now (package survey scales it).
func (m *meter) forget(w *tiering.Workflow) {
	used := map[string]bool{} // by group
	for i := range w.Tasks {
		used[w.Tasks[i].Group] = used[w.Tasks[i].Group] || m.worked[w.Tasks[i].Name]
	}
	for i := range w.Tasks {
		t := &w.Tasks[i]
		if t.Model == nil || !used[t.Group] {
			continue
		}
		u := m.unused[t.Name]
		if u == nil {
			u = &unused{patience: leastPatience}
			m.unused[t.Name] = u
		}
		if m.worked[t.Name] {
			if u.periods = min(u.periods, 0) - 1; u.periods <= -lasting {
				u.patience = leastPatience
			}
			continue
		}
		u.periods = max(u.periods, 0) + 1
		if _, known := m.costs.Transfer[t.Name]; known && u.periods >= u.patience {
			delete(m.costs.Transfer, t.Name)
			u.patience = min(2*u.patience, mostPatience)
		}
	}
}

// fade takes everything for half as slow as it was. While no source is admitted
// nothing is measured, and what was too slow once would be so for ever: so one
// source is tried again after a while, and shows what is so now.
func (m *meter) fade() {
	half := func(d time.Duration) time.Duration { return max(d/2, min(d, time.Microsecond)) }
	for _, nodes := range m.costs.Execute {
		for node, d := range nodes {
			nodes[node] = half(d)
		}
	}
	for task, x := range m.costs.Transfer {
		x.Mean = half(x.Mean)
		m.costs.Transfer[task] = x
	}
}

// sums is what the instances of a task have done.
type sums struct {
	queue     sum
	transfers *pipeline.Histogram
	worked    int64
}

// sum adds up durations.
type sum struct {
	n     int64
	total time.Duration
}

func (s *sum) add(h *pipeline.Histogram) {
	s.n += h.Count()
	s.total += time.Duration(h.Count()) * h.Mean()
}

func (s *sum) mean() time.Duration {
	if s.n == 0 {
		return 0
	}
	return s.total / time.Duration(s.n)
}

// blend is the moving mean with what was measured before; 0: nothing was.
func (s *sum) blend(old time.Duration) time.Duration {
	if old == 0 {
		return s.mean()
	}
	weight := float64(s.n) / float64(s.n+trust)
	return time.Duration((1-weight)*float64(old) + weight*float64(s.mean()))
}
