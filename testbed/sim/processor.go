package sim

import (
	"math"
	"time"
)

// processor is the cores of a node. The jobs on it share them equally and each
// gets one core at most (processor sharing), as threads under a fair scheduler
// do. All get the same service, so one clock of attained service orders them: a
// job that came when the clock said v is done when it says v plus its work.
//
// A node that has less than its whole cores, since the experiment is scaled
// down or the machine is a slice of one, is held to its share as Linux holds a
// control group (CFS bandwidth control): in each period jobs run at full speed
// until the quota is used up, and then stand still until the next. A short job
// on an idle node is then quicker than on a slower machine, as it is in the
// emulation.
type processor struct {
	cores  float64       // for jobs, on average
	width  float64       // that may be busy at once
	speed  float64       // of a core: what one job gets at most
	period time.Duration // of the quota; 0: none

	jobs     []job   // a heap, the one done first at the root
	attained float64 // ns of service that a job present all along has had
	seq      uint64
	at       time.Duration // of attained
	busy     float64       // ns of cores since the beginning
	paused   bool

	left float64       // ns of cores left of the quota
	ends time.Duration // of the period

	wake time.Duration // of the pending event; never: none
	gen  uint32        // of it
}

const never = time.Duration(math.MaxInt64)

// The quota's period is that of testbed/emulation/cgroup. But the kernel looks
// whether a quota is used up when its clock ticks, every 4 ms as Debian builds
// it, and what was used too much is made up for later: on average a job runs
// for 2 ms before it has to stand still. (Measured at 0.2 cores: 4 ms of work
// take 13 ms and 20 ms take 93; with 2 ms in 10 this model has 12 and 92.)
const (
	leastQuota  = 2 * time.Millisecond
	leastPeriod = 5 * time.Millisecond
)

// job is work on a processor.
type job struct {
	ends float64 // when attained says so
	seq  uint64
	kind jobKind
	a, b int32
}

type jobKind uint8

const (
	jobCapture jobKind = iota // a: feed
	jobSend                   // a: frame
	jobReceive                // a: frame
	jobWork                   // a: frame, b: instance
	jobStart                  // a: instance
)

func (j *job) before(o *job) bool { return j.ends < o.ends || j.ends == o.ends && j.seq < o.seq }

// newProcessor makes the processor of a node with that many cores, which may use a
// quota of them and loses idle. Slow cores, of a speed below 1, use up no quota before
// its period is over: they have none.
func newProcessor(cores, quota, idle, speed float64) processor {
	p := processor{cores: quota - idle, width: math.Ceil(cores), speed: speed, wake: never}
	if quota < p.width && speed == 1 {
		p.period = max(leastPeriod, time.Duration(float64(leastQuota)/quota))
	} else {
		p.width = p.cores
	}
	return p
}

// rate is how fast quota is used up, in cores.
func (p *processor) rate() float64 { return min(float64(len(p.jobs))*p.speed, p.width) }

func (p *processor) quota() float64 { return p.cores * float64(p.period) }

// advance brings the clocks up to now.
func (p *processor) advance(now time.Duration) {
	d := now - p.at
	n := float64(len(p.jobs))
	if d > 0 && n > 0 && !p.paused {
		used := p.use(d)
		p.busy += used
		p.attained += used / n
	}
	p.at = now
}

// use takes from the quota what the jobs use in the next d, and returns it, in
// ns of cores.
func (p *processor) use(d time.Duration) float64 {
	rate := p.rate()
	if p.period == 0 {
		return rate * float64(d)
	}
	here := p.ends - p.at
	if d < here {
		used := min(p.left, rate*float64(d))
		p.left -= used
		return used
	}
	used := min(p.left, rate*float64(here))
	whole, rest := (d-here)/p.period, (d-here)%p.period
	used += float64(whole) * min(p.quota(), rate*float64(p.period))
	last := min(p.quota(), rate*float64(rest))
	p.left = p.quota() - last
	p.ends += (whole + 1) * p.period
	return used + last
}

// takes is how long the jobs take to use that much.
func (p *processor) takes(used float64) float64 {
	rate := p.rate()
	if p.period == 0 {
		return used / rate
	}
	here := float64(p.ends - p.at)
	first := min(p.left, rate*here)
	if used <= first {
		return used / rate
	}
	used -= first
	each := min(p.quota(), rate*float64(p.period))
	whole := max(math.Ceil(used/each)-1, 0)
	return here + whole*float64(p.period) + (used-whole*each)/rate
}

// add begins a job of that much work.
func (p *processor) add(now, work time.Duration, kind jobKind, a, b int32) {
	p.advance(now)
	if len(p.jobs) == 0 {
		p.attained = 0
		if p.period > 0 && now >= p.ends { // the first period after a rest
			p.left, p.ends = p.quota(), now+p.period
		}
	}
	p.seq++
	p.push(job{ends: p.attained + float64(work), seq: p.seq, kind: kind, a: a, b: b})
}

// slack is what rounding may leave undone, in ns.
const slack = 0.5

// done takes a job that has ended by now; false: none has.
func (p *processor) done(now time.Duration) (job, bool) {
	p.advance(now)
	if len(p.jobs) == 0 || p.jobs[0].ends > p.attained+slack {
		return job{}, false
	}
	return p.pop(), true
}

// next is when the next job ends, if no other comes.
func (p *processor) next() time.Duration {
	if len(p.jobs) == 0 || p.paused {
		return never
	}
	more := max(p.jobs[0].ends-p.attained, 0) * float64(len(p.jobs))
	return p.at + time.Duration(math.Ceil(p.takes(more)))
}

// pause stops or resumes everything.
func (p *processor) pause(now time.Duration, on bool) {
	p.advance(now)
	p.paused = on
	if p.period > 0 && now >= p.ends {
		p.left, p.ends = p.quota(), now+p.period
	}
}

// clear forgets every job.
func (p *processor) clear(now time.Duration) {
	p.advance(now)
	p.jobs = p.jobs[:0]
}

func (p *processor) push(j job) {
	p.jobs = append(p.jobs, j)
	h, i := p.jobs, len(p.jobs)-1
	for i > 0 {
		up := (i - 1) / 2
		if !j.before(&h[up]) {
			break
		}
		h[i], i = h[up], up
	}
	h[i] = j
}

func (p *processor) pop() job {
	h := p.jobs
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	p.jobs = h
	i := 0
	for {
		k := 2*i + 1
		if k >= len(h) {
			break
		}
		if k+1 < len(h) && h[k+1].before(&h[k]) {
			k++
		}
		if !h[k].before(&last) {
			break
		}
		h[i], i = h[k], k
	}
	if len(h) > 0 {
		h[i] = last
	}
	return first
}
