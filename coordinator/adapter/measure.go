package adapter

import (
	"time"

	"github.com/weft-mesh/weft/adaptation/survey"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/pipeline"
)

// fresh is the weight of the latest period in what frames take.
const fresh = 0.5

// fewest is how many frames a period must have shown of something to count.
const fewest = 3

// meter follows what the frames of one workflow take. Reports grow for as long
// as an instance runs; what a period adds is what is measured.
type meter struct {
	last  map[start]kpi.Instance
	costs survey.Costs
	// Of the last period, of what had enough frames.
	waits   map[string]time.Duration // in the queue, by task
	latency map[string]time.Duration // capture to delivery, by source
	rates   map[string]float64       // frames captured a second, by source
}

// start names one start of an instance, within which its report grows.
type start struct {
	id, node string
	epoch    uint32
}

func newMeter() *meter {
	return &meter{last: map[start]kpi.Instance{}, costs: survey.Costs{
		Execute: map[string]map[string]time.Duration{}, Transfer: map[string]survey.Transfer{},
	}}
}

// observe takes in what the instances report now, elapsed after the last time.
func (m *meter) observe(now []kpi.Instance, elapsed time.Duration) {
	m.waits, m.latency, m.rates = map[string]time.Duration{}, map[string]time.Duration{}, map[string]float64{}
	last := make(map[start]kpi.Instance, len(now))
	var capture sum
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
			}
		case i.Stage != nil:
			k.epoch = i.Stage.Epoch
			was := &pipeline.StageReport{}
			if old, ok := m.last[k]; ok {
				was = old.Stage
			}
			s := stages[i.Stage.Task]
			if s == nil {
				s = &sums{}
				stages[i.Stage.Task] = s
			}
			m.stage(s, i.Node, i.Stage, was)
		}
		last[k] = i
	}
	m.last = last
	if capture.n >= fewest {
		m.costs.Capture = blend(m.costs.Capture, capture.mean())
	}
	for task, s := range stages {
		if s.queue.n >= fewest {
			m.waits[task] = s.queue.mean()
		}
		if s.worked < fewest {
			continue
		}
		x := survey.Transfer{Share: float64(s.transfer.n) / float64(s.worked)}
		if x.Share = min(x.Share, 1); s.transfer.n > 0 {
			x.Mean = blend(m.costs.Transfer[task].Mean, s.transfer.mean())
		}
		m.costs.Transfer[task] = x
	}
}

// stage takes in what an instance has done since an earlier report.
func (m *meter) stage(s *sums, node string, r, was *pipeline.StageReport) {
	execute := r.Execute.Since(was.Execute)
	s.queue.add(r.Queue.Since(was.Queue))
	s.transfer.add(r.Transfer.Since(was.Transfer))
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
	m.costs.Execute[r.Task][node] = blend(m.costs.Execute[r.Task][node], all.mean())
}

// sums is what the instances of a task have done.
type sums struct {
	queue, transfer sum
	worked          int64
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

// blend is the moving mean.
func blend(old, latest time.Duration) time.Duration {
	if old == 0 {
		return latest
	}
	return time.Duration((1-fresh)*float64(old) + fresh*float64(latest))
}
