package sim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/sim/des"
	"github.com/weft-mesh/weft/tiering"
)

// invariants checks what must hold between any two events.
func (p *plane) invariants() error {
	open, perFeed := uint64(0), make([]int, len(p.feeds))
	for i := range p.frames {
		f := &p.frames[i]
		if f.place == nowhere || f.settled || f.parent != none || p.feeds[f.feed].closed {
			continue
		}
		open++
		perFeed[f.feed]++
	}
	if open != p.stats.all.open {
		return fmt.Errorf("%d frames have open accounts, %d are counted", open, p.stats.all.open)
	}
	for i := range p.feeds {
		if !p.feeds[i].closed && perFeed[i] != p.feeds[i].open {
			return fmt.Errorf("source %d has %d open accounts, %d are counted", i, perFeed[i], p.feeds[i].open)
		}
	}
	for _, c := range []counts{p.stats.all, p.stats.measured} {
		sum := c.open
		for _, n := range c.fates {
			sum += n
		}
		if sum != c.captured {
			return fmt.Errorf("unbalanced: %+v", c)
		}
	}
	for i := range p.instances {
		if x := &p.instances[i]; x.queue.n > 4 || x.ended && x.queue.n > 0 {
			return fmt.Errorf("%d frames wait for instance %d (ended: %v)", x.queue.n, i, x.ended)
		}
	}
	for i := range p.boxes {
		if b := &p.boxes[i]; b.queue.n > 4 || b.sending > 4 || b.sending < 0 {
			return fmt.Errorf("outbox %d holds %d and sends %d", i, b.queue.n, b.sending)
		}
	}
	if len(p.frames) > 400 {
		return fmt.Errorf("%d frames in memory", len(p.frames))
	}
	return nil
}

// Whatever happens to nodes, network and sources, every frame is accounted for
// at every moment, queues are bounded, and memory is.
func TestConservation(t *testing.T) {
	base := setting{sources: 3, coordinators: 3, fps: 6, length: 8 * time.Second, timeline: []string{"at: 1s, sources: +2"}}
	scenarios := []*testbed.Scenario{base.scenario(t), filtering(adapting(base, "period: 1s"), 0.3).scenario(t), adapting(base, "period: 3s").scenario(t)}
	nodes := []string{"edge-1", "edge-2", "fog-1", "cloud-1", "cloud-2", "cloud-3"}
	ends := []testbed.End{{Tier: tiering.Edge}, {Tier: tiering.Fog}, {Tier: tiering.Cloud}, {Node: "edge-1"}, {Node: "fog-1"}, {Node: "cloud-1"}}
	rapid.Check(t, func(t *rapid.T) {
		s := *rapid.SampledFrom(scenarios).Draw(t, "scenario")
		s.Timeline = nil
		for range rapid.IntRange(0, 14).Draw(t, "events") {
			e := testbed.Event{
				At: time.Duration(rapid.IntRange(0, 7_500).Draw(t, "at")) * time.Millisecond,
				Action: rapid.SampledFrom([]testbed.Action{
					testbed.Kill, testbed.Stop, testbed.Start, testbed.Pause, testbed.Resume,
					testbed.Partition, testbed.Heal, testbed.Change, testbed.Restore, testbed.Sources,
				}).Draw(t, "action"),
			}
			switch e.Action {
			case testbed.Sources:
				e.Count = rapid.IntRange(-2, 2).Draw(t, "count")
			case testbed.Partition, testbed.Heal, testbed.Change, testbed.Restore:
				e.Ends = testbed.Ends{A: rapid.SampledFrom(ends).Draw(t, "a"), B: rapid.SampledFrom(ends).Draw(t, "b")}
				rate, jitter, loss := rapid.Int64Range(500_000, 50_000_000).Draw(t, "rate"), time.Millisecond, 0.05
				e.Link = testbed.LinkChange{Rate: &rate, Jitter: &jitter, Loss: &loss}
			default:
				e.Node = rapid.SampledFrom(nodes).Draw(t, "node")
			}
			s.Timeline = append(s.Timeline, e)
		}
		slices.SortStableFunc(s.Timeline, func(a, b testbed.Event) int { return int(a.At - b.At) })
		costs := s.Costs.Or(testbed.Costs{Tasks: map[string]testbed.TaskCosts{
			"detect@512": {Work: &testbed.Time{Mean: 30 * time.Millisecond, CV: 0.8}},
		}})
		c, err := newControl(Config{Scenario: &s, Seed: 5, CPUScale: 1}, costs)
		if err != nil {
			t.Fatal(err)
		}
		other, events := c.plane.other, 0
		c.plane.other = func(e des.Event) {
			other(e)
			if err := c.invariants(); err != nil {
				t.Fatalf("at %s, after %+v: %v", c.now()-c.zero, e, err)
			}
			events++
		}
		rec, err := c.run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if events < 25 || len(rec.Samples) < 25 {
			t.Fatalf("%d events of control, %d samples", events, len(rec.Samples))
		}
		// Nothing is left behind: when the sources have stopped, every frame
		// has an outcome.
		for end := c.now() + 20*time.Second; c.now() < end; {
			for i := range c.feeds { // a node that returns now starts another
				c.stopFeed(int32(i))
			}
			e, ok := c.q.Next()
			if !ok {
				break
			}
			c.handle(e)
		}
		if c.stats.all.open != 0 {
			t.Fatalf("%d frames are still open", c.stats.all.open)
		}
	})
}

// A faster stage never does less, where there is one queue.
func TestFasterIsNotWorse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fps := rapid.Float64Range(5, 60).Draw(t, "fps")
		work := time.Duration(rapid.IntRange(5, 100).Draw(t, "work")) * time.Millisecond
		cv := rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "cv")
		run := func(work time.Duration) uint64 {
			l := newLab(testing.TB(quiet{}), 9, realRules(), 1, free("work", timing{work, cv}))
			l.source(0, fps, time.Second, l.stage(0, 0))
			l.run(10 * time.Second)
			return l.stats.all.fates[delivered]
		}
		fast, slow := run(work), run(2*work)
		// Which frames are dropped, and so which service times are drawn for
		// whom, differs: allow for the last few.
		if slow > fast+4 {
			t.Fatalf("%d frames delivered at %s a frame, %d at twice that", fast, work, slow)
		}
	})
}

// quiet is a testing.TB for labs inside of rapid.
type quiet struct{ testing.TB }

func (quiet) Helper()           {}
func (quiet) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// naive is a processor in small steps.
type naive struct {
	cores, width float64
	period       time.Duration
	left         float64
	ends         time.Duration
	work         map[int32]float64 // still to be done
}

const step = 10 * time.Microsecond

func (n *naive) add(at, work time.Duration, id int32) {
	if len(n.work) == 0 && at >= n.ends { // the first period after a rest
		n.left, n.ends = n.cores*float64(n.period), at+n.period
	}
	n.work[id] = float64(work)
}

func (n *naive) step(at time.Duration) {
	if len(n.work) == 0 {
		return
	}
	if n.period > 0 && at >= n.ends {
		n.left = n.cores * float64(n.period)
		n.ends += n.period
	}
	used := min(float64(len(n.work)), n.width) * float64(step)
	if n.period > 0 {
		used = min(used, n.left)
	}
	n.left -= used
	each := used / float64(len(n.work))
	for id := range n.work {
		if n.work[id] -= each; n.work[id] <= 0 {
			delete(n.work, id)
		}
	}
}

// On slow cores a job takes its work over the speed, while there are enough of them.
func TestSlowCores(t *testing.T) {
	const work = 30 * time.Millisecond
	for _, x := range []struct {
		jobs int
		want time.Duration
	}{{1, 600 * time.Millisecond}, {7, 600 * time.Millisecond}, {8, 600 * time.Millisecond}, {16, 1200 * time.Millisecond}} {
		p := newProcessor(8, 0.43, 0.03, 0.05)
		for i := range x.jobs {
			p.add(time.Second, work, jobWork, int32(i), 0)
		}
		if got := p.next() - time.Second; (got - x.want).Abs() > time.Microsecond {
			t.Errorf("%d jobs of %s are done after %s, want %s", x.jobs, work, got, x.want)
		}
		if p.advance(time.Second + x.want); math.Abs(p.busy-float64(x.jobs)*float64(work)) > float64(time.Microsecond) {
			t.Errorf("%d jobs of %s had %s of cores", x.jobs, work, time.Duration(p.busy))
		}
	}
}

// A processor has done at each moment what it would have if one looked in small
// steps.
func TestProcessor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cores := rapid.SampledFrom([]float64{0.3, 1, 1.5, 4}).Draw(t, "cores")
		scale := rapid.SampledFrom([]float64{1, 0.5, 0.07}).Draw(t, "scale")
		p := newProcessor(cores, cores*scale, 0.01*cores*scale, 1)
		n := naive{cores: p.cores, width: p.width, period: p.period, work: map[int32]float64{}}
		jobs := rapid.IntRange(1, 12).Draw(t, "jobs")
		var next, total time.Duration // when the next job comes; work of all
		begun, ended := 0, 0
		for at := time.Duration(0); ended < jobs; at += step {
			for begun < jobs && next <= at {
				work := time.Duration(rapid.IntRange(1, 400).Draw(t, "work")) * step
				p.add(at, work, jobWork, int32(begun), 0)
				n.add(at, work, int32(begun))
				begun++
				total += work
				next += time.Duration(rapid.IntRange(0, 2000).Draw(t, "after")) * step // a rest may outlast a period
			}
			n.step(at)
			left := map[int32]float64{}
			for when := p.next(); when <= at+step; when = p.next() {
				for _, ok := p.done(when); ok; _, ok = p.done(when) {
					ended++
				}
			}
			p.advance(at + step)
			for _, j := range p.jobs {
				left[j.a] = j.ends - p.attained
			}
			for id := range int32(begun) {
				if math.Abs(left[id]-n.work[id]) > float64(20*step) {
					t.Fatalf("at %s %g ns are left of job %d, in small steps %g", at, left[id], id, n.work[id])
				}
			}
		}
		if math.Abs(p.busy-float64(total)) > 100 {
			t.Fatalf("%g ns of cores used for %d", p.busy, total)
		}
	})
}

// Asking discovery once is as good as asking for each frame.
func TestPicksAreDiscovery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "nodes")
		trips := map[[2]string]time.Duration{}
		p := newPlane(1, realRules(), newStats(1))
		p.rtt = func(a, b string) (time.Duration, bool) {
			d, ok := trips[[2]string{a, b}]
			return d, ok
		}
		for i := range n {
			tier := rapid.SampledFrom(tiering.Tiers()).Draw(t, "tier")
			p.addNode(nodeName(int32(i)), tier, newProcessor(1, 1, 0, 1), 0)
			if rapid.Bool().Draw(t, "measured") {
				trips[[2]string{nodeName(0), nodeName(int32(i))}] = time.Duration(rapid.IntRange(0, 5000).Draw(t, "trip")) * time.Microsecond
			}
		}
		var r route
		for i := range rapid.IntRange(0, 8).Draw(t, "offers") {
			at := rapid.IntRange(0, n-1).Draw(t, "node")
			r.offers = append(r.offers, tiering.Offer{
				Instance: fmt.Sprint(i), Node: nodeName(int32(at)), Tier: p.nodes[at].tier,
				Accepts: tiering.Data{
					Type: "image", Resolution: rapid.SampledFrom([]int{0, 416, 512}).Draw(t, "resolution"),
					Model: rapid.SampledFrom([]string{"", "small", "large"}).Draw(t, "model"),
				},
			})
		}
		quality := tiering.Quality{
			Model: rapid.SampledFrom([]string{"", "small", "large"}).Draw(t, "wanted"), Resolution: rapid.SampledFrom([]int{416, 512}).Draw(t, "quality"),
		}
		picks := p.discover(0, &r, p.wantOf(quality))
		for range 20 {
			turn := rapid.Uint64().Draw(t, "turn")
			want, err := tiering.Discover(tiering.Data{Type: "image", Resolution: quality.Resolution, Model: quality.Model}, nodeName(0), p.nodes[0].tier, r.offers, p.rtt, turn)
			if (err != nil) != (len(picks) == 0) {
				t.Fatalf("picks %v, discovery says %v", picks, err)
			}
			if err == nil && r.offers[picks[turn%uint64(len(picks))]].Instance != want.Instance {
				t.Fatalf("turn %d: picks %v, discovery says %s", turn, picks, want.Instance)
			}
		}
	})
}
