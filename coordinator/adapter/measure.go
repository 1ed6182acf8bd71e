package adapter

import (
	"math"
	"time"

	"github.com/weft-mesh/weft/adaptation/survey"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// trust is how many frames a period must have shown for what they took to weigh
// as much as all that was measured before.
const trust = 10

// fewest is how many frames must have been seen of something to count.
const fewest = 3

// counted is how many pictures must have come for a source's rate: one more or less
// is not to take it for another rate than the document's.
const counted = 2 * trust

// mostTimes is for how many periods a source is waited for whose rate cannot be told
// yet: one with so few frames in them has next to none.
const mostTimes = 6

// unhindered is the quantile of transfer times at which frames hardly waited for
// others: what the link itself takes. The mean has the wait in it, on a link that
// is full up to a second, and would say that nothing at all can pass there.
const unhindered = 0.1

// jump is the factor between what the quickest frames took on a way and take now that
// is no chance: the network has changed, and what was measured before is void.
const jump = 2

// gentle is the weight of a period's share of filtered frames, and steps is how
// finely the share is told: it varies with what cameras see, and decisions are
// not to follow each change.
const (
	gentle = 0.3
	steps  = 20
)

// meter follows what the frames of one workflow take. Reports grow for as long
// as an instance runs; what is measured is what they have grown by. What has grown
// by less than tells something is left to grow on.
type meter struct {
	last    map[start]reading              // by the period
	glanced map[start]pipeline.StageReport // the ways to tasks, at each look
	costs   survey.Costs
	// Of the last period, of what had enough frames.
	waits   map[string]time.Duration // in the queue, by task
	latency map[string]time.Duration // capture to delivery, by source
	rates   map[string]float64       // frames captured or skipped a second, by source
	worked  map[string]bool          // tasks
	f1      float64                  // of the frames of which it is known what they show; 0: of too few
	unused  map[string]*unused       // by task
	// filtered is the moving mean of the share of frames that filters took out; below
	// zero: none was captured yet.
	filtered float64
	silent   map[string]int // periods in which nothing ran on a crowded node
}

// reading is what an instance had reported when it was read.
type reading struct {
	kpi.Instance
	since time.Duration // from then to the last period
	times int           // periods since
}

// passes is the share of frames that filters let pass.
func (m *meter) passes() float64 { return max(1, math.Ceil((1-max(0, m.filtered))*steps)) / steps }

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
	return &meter{last: map[start]reading{}, glanced: map[start]pipeline.StageReport{}, costs: survey.Costs{
		Execute: map[string]map[string]time.Duration{}, Transfer: map[string]time.Duration{}, Link: map[string]time.Duration{},
		Alone: map[string]map[string]time.Duration{}, Cores: map[string]float64{},
	}, unused: map[string]*unused{}, filtered: -1, silent: map[string]int{}}
}

// glance takes in what the ways to tasks took since the last look: a link that is
// suddenly slower shows in the part of a period after that, and in the quickest
// frames of the whole of it hardly. It says whether frames were analysed.
func (m *meter) glance(now []kpi.Instance) (analysed bool) {
	ways, links := map[string]*pipeline.Histogram{}, map[string]*pipeline.Histogram{}
	next := make(map[start]pipeline.StageReport, len(now))
	for _, i := range now {
		if i.Stage == nil {
			continue
		}
		k := start{i.ID, i.Node, i.Stage.Epoch}
		was := m.glanced[k]
		analysed = analysed || i.Stage.Execute.Count() > was.Execute.Count()
		next[k] = *i.Stage
		way := i.Stage.Transfer.Since(was.Transfer)
		if way.Count() < fewest {
			kept := *i.Stage
			kept.Transfer, kept.Link = was.Transfer, was.Link
			next[k] = kept
			continue
		}
		merge(ways, i.Stage.Task, way)
		if link := i.Stage.Link.Since(was.Link); link.Count() > 0 { // else an older weftd
			merge(links, i.Stage.Task, link)
		}
	}
	m.glanced = next
	quickest(m.costs.Transfer, ways)
	quickest(m.costs.Link, links)
	return analysed
}

func merge(into map[string]*pipeline.Histogram, task string, h *pipeline.Histogram) {
	if into[task] == nil {
		into[task] = pipeline.NewHistogram()
	}
	into[task].Merge(h)
}

// quickest takes in what the quickest of new frames took to each task.
func quickest(known map[string]time.Duration, seen map[string]*pipeline.Histogram) {
	for task, way := range seen {
		old, d := known[task], way.Quantile(unhindered)
		if max(old, d) < jump*min(old, d) {
			far := sum{n: way.Count(), total: time.Duration(way.Count()) * d}
			d = far.blend(old)
		}
		known[task] = d
	}
}

// observe takes in what the instances report of a period, elapsed after the last
// time.
func (m *meter) observe(now []kpi.Instance, elapsed time.Duration) {
	m.waits, m.latency, m.rates = map[string]time.Duration{}, map[string]time.Duration{}, map[string]float64{}
	m.worked, m.f1 = map[string]bool{}, 0
	next := make(map[start]reading, len(now))
	var all sources
	var judged pipeline.Judged
	stages := map[string]*sums{}
	nodes := map[string]*crowd{}
	for _, i := range now {
		k := start{i.ID, i.Node, 0}
		var taken bool
		switch {
		case i.Source != nil:
			k.epoch = i.Source.Epoch
			taken = m.source(&all, i.Source, m.last[k], elapsed)
		case i.Stage != nil:
			k.epoch = i.Stage.Epoch
			s := stages[i.Stage.Task]
			if s == nil {
				s = &sums{}
				stages[i.Stage.Task] = s
			}
			was := m.last[k].Stage
			if was == nil {
				was = &pipeline.StageReport{}
			}
			if x := i.Stage; x.Backend != profile.CUDA {
				if nodes[i.Node] == nil {
					nodes[i.Node] = &crowd{tasks: map[string]*executed{}}
				}
				nodes[i.Node].has(x)
			}
			if cold(i.Stage, was) {
				s.some = s.some || i.Stage.Execute.Count() > was.Execute.Count()
				next[k] = reading{Instance: i}
				continue
			}
			if taken = m.stage(s, i.Node, i.Stage, was); taken {
				if n := nodes[i.Node]; n != nil && m.last[k].Stage != nil { // or nobody knows in what time
					n.did(i.Stage, was, m.last[k].since+elapsed)
				}
				judged = judged.Plus(more(i.Stage.Judged, was.Judged))
			}
		}
		if was, seen := m.last[k]; !taken && seen {
			next[k] = reading{was.Instance, was.since + elapsed, was.times + 1}
		} else {
			next[k] = reading{Instance: i}
		}
	}
	m.last = next
	m.crowds(nodes)
	if all.captured >= fewest {
		share := min(1, float64(all.filtered)/float64(all.captured))
		if m.filtered < 0 {
			m.filtered = share
		}
		m.filtered += gentle * (share - m.filtered)
	}
	if all.capture.n >= fewest {
		m.costs.Capture = all.capture.blend(m.costs.Capture)
	}
	if judged.Frames >= trust {
		m.f1 = judged.F1()
	}
	for task, s := range stages {
		m.worked[task] = s.some
		if s.queue.n >= fewest {
			m.waits[task] = s.queue.mean()
		}
	}
}

// source takes in what a source has done since an earlier reading, unless that is
// too little to tell its rate.
func (m *meter) source(all *sources, r *pipeline.SourceReport, last reading, elapsed time.Duration) bool {
	was := last.Source
	if was == nil {
		was = &pipeline.SourceReport{}
	}
	if l := r.Latency.Since(was.Latency); l.Count() >= fewest {
		m.latency[r.Source] = l.Mean()
	}
	captured := r.Frames.Captured - min(was.Frames.Captured, r.Frames.Captured)
	ran := last.Source != nil && was.Status == pipeline.StatusRunning && r.Status == pipeline.StatusRunning
	if ran {
		pictures := captured + r.Skipped - min(was.Skipped, r.Skipped)
		if q := r.Quality; q != nil && r.Skipped == 0 && r.RanMS == 0 {
			pictures *= uint64(max(1, q.Every)) // an agent of before it said that
		}
		took := last.since + elapsed
		if ran := r.RanMS - was.RanMS; was.RanMS > 0 && ran > 0 {
			took = time.Duration(ran) * time.Millisecond // a full link delays reports
		}
		if took <= 0 || pictures < counted && last.times < mostTimes {
			return false
		}
		m.rates[r.Source] = float64(pictures) / took.Seconds()
		all.captured += captured
		all.filtered += r.Frames.Filtered - min(was.Frames.Filtered, r.Frames.Filtered)
	}
	all.capture.add(r.Capture.Since(was.Capture))
	return true
}

// sources is what all sources have done.
type sources struct {
	capture            sum
	captured, filtered uint64
}

// cold says whether what an instance has done since an earlier report is the
// frames of its start, which take longer: a quality that seems slow by them is not
// chosen again, and so never seen to be quicker. Many frames tell enough with them:
// those that a new leader hears of.
func cold(r, was *pipeline.StageReport) bool {
	return was.Execute.Count() < fewest && r.Execute.Count() < 2*trust
}

// stage takes in what an instance has done since an earlier report, unless that is
// too little.
func (m *meter) stage(s *sums, node string, r, was *pipeline.StageReport) bool {
	execute := r.Execute.Since(was.Execute)
	s.some = s.some || execute.Count() > 0
	if execute.Count() < fewest {
		return false
	}
	s.queue.add(r.Queue.Since(was.Queue))
	var all sum
	all.add(execute)
	reduce := r.Reduce.Since(was.Reduce)
	all.total += time.Duration(reduce.Count()) * reduce.Mean()
	if m.costs.Execute[r.Task] == nil {
		m.costs.Execute[r.Task] = map[string]time.Duration{}
	}
	m.costs.Execute[r.Task][node] = all.blend(m.costs.Execute[r.Task][node])
	return true
}

// more is what was judged beyond an earlier time.
func more(now, was *pipeline.Judged) pipeline.Judged {
	if now == nil {
		return pipeline.Judged{}
	}
	if was == nil || was.Frames > now.Frames {
		return *now
	}
	return pipeline.Judged{Frames: now.Frames - was.Frames, Right: now.Right - was.Right, Wrong: now.Wrong - was.Wrong, Missed: now.Missed - was.Missed}
}

// forget drops what is known of tasks that frames no longer take, where they go to
// others of the group: the network and what else the nodes do may have changed. Of
// the way there the others say how it is now (package survey scales it), and of the
// execution what was profiled on the node, if it was.
func (m *meter) forget(w *tiering.Workflow, profiled func(node string, t *tiering.Task) (time.Duration, bool)) {
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
		if u.periods < u.patience {
			continue
		}
		_, known := m.costs.Transfer[t.Name]
		delete(m.costs.Transfer, t.Name)
		delete(m.costs.Link, t.Name)
		for node := range m.costs.Execute[t.Name] {
			if _, ok := profiled(node, t); ok {
				delete(m.costs.Execute[t.Name], node)
				known = true
			}
		}
		if known {
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
	for _, ways := range []map[string]time.Duration{m.costs.Transfer, m.costs.Link} {
		for task, d := range ways {
			ways[task] = half(d)
		}
	}
}

// sums is what the instances of a task have done.
type sums struct {
	queue sum
	some  bool // frames were worked on
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
