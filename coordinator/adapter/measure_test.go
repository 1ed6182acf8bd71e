package adapter

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/pipeline"
)

const ms = time.Millisecond

// line is two qualities of one step, whose frames come over a network.
type line struct {
	m       *meter
	reports map[string]*pipeline.StageReport
}

func newLine() *line {
	return &line{newMeter(), map[string]*pipeline.StageReport{}}
}

// period lets frames pass a task.
func (l *line) period(task string, frames int, transfer func(i int) time.Duration) {
	r := l.reports[task]
	if r == nil {
		r = &pipeline.StageReport{Task: task, Queue: pipeline.NewHistogram(), Transfer: pipeline.NewHistogram(), Execute: pipeline.NewHistogram()}
		l.reports[task] = r
	}
	for i := range frames {
		r.Transfer.Record(transfer(i))
		r.Execute.Record(30 * ms)
	}
	var all []kpi.Instance
	for name, r := range l.reports {
		now := *r
		now.Transfer, now.Execute = r.Transfer.Clone(), r.Execute.Clone()
		all = append(all, kpi.Instance{ID: "streets/" + name + "#0", Node: "fog-1", Stage: &now})
	}
	l.m.observe(all, 10*time.Second)
	l.m.forget(streets(1))
}

func always(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// On a link that is full most frames wait. What it takes itself is what the
// quickest took.
func TestTransferWithoutTheWait(t *testing.T) {
	l := newLine()
	l.period("detect@512", 100, func(i int) time.Duration { return 100*ms + time.Duration(i)*10*ms })
	if x := l.m.costs.Transfer["detect@512"]; x.Mean < 100*ms || x.Mean > 250*ms || x.Share != 1 {
		t.Errorf("%+v, want little more than 100 ms, of each frame", x)
	}
}

// Of a way that is not taken nothing is known after a while, and after a longer
// one if that did not last; what is worked there stays known.
func TestForget(t *testing.T) {
	l := newLine()
	l.period("detect@512", 20, always(200*ms))
	away := func() (periods int) {
		for {
			l.period("detect@416", 20, always(100*ms))
			periods++
			if _, known := l.m.costs.Transfer["detect@512"]; !known {
				return periods
			}
		}
	}
	for i, want := range []int{2, 4, 8} {
		if n := away(); n != want {
			t.Errorf("time %d: forgotten after %d periods, want %d", i, n, want)
		}
		l.period("detect@512", 20, always(200*ms))
	}
	if d := l.m.costs.Execute["detect@512"]["fog-1"]; (d - 30*ms).Abs() > ms {
		t.Errorf("execution: %v", l.m.costs.Execute)
	}
	for range lasting {
		l.period("detect@512", 20, always(200*ms))
	}
	if n := away(); n != leastPatience {
		t.Errorf("after it had lasted: forgotten after %d periods, want %d", n, leastPatience)
	}
}

// Without any frame nothing is forgotten, since nothing else would be known.
func TestNothingIsForgottenInSilence(t *testing.T) {
	l := newLine()
	l.period("detect@512", 20, always(200*ms))
	for range 100 {
		l.period("detect@512", 0, nil)
		l.m.fade()
	}
	x := l.m.costs.Transfer["detect@512"]
	if x.Mean <= 0 || x.Mean > ms || l.m.costs.Execute["detect@512"]["fog-1"] <= 0 {
		t.Errorf("faded to %+v, %v; want next to nothing", x, l.m.costs.Execute)
	}
}
