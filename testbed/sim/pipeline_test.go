package sim

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/sim/des"
	"github.com/weft-mesh/weft/tiering"
)

// rig is a small data plane that is run twice: by package pipeline over a
// network in memory, with goroutines in the virtual time of a synctest bubble,
// and by the simulator. Both draw the same service times. So they must agree
// frame by frame, to the nanosecond.
type rig struct {
	nodes    int
	fps      float64
	deadline time.Duration
	delay    time.Duration
	write    time.Duration // to put a frame on a link
	stages   []rigStage    // each sends to later ones only
	first    []int         // stages that the source on node 0 sends to
	turns    int           // how many instances of a node work at a time; 0: all
	length   time.Duration
}

type rigStage struct {
	group string
	node  int32
	work  timing
	next  []int
}

// outcome is what a run of a rig is compared by.
type outcome struct {
	frames  pipeline.Counts
	latency string // histogram
	stages  []stageOutcome
}

type stageOutcome struct {
	received, processed uint64
	dropped             map[pipeline.Reason]uint64
	queue, transfer     string // histograms
}

func TestAgainstPipeline(t *testing.T) {
	ms := time.Millisecond
	for name, r := range map[string]rig{
		"one stage, light": {
			nodes: 1, fps: 20, first: []int{0},
			stages: []rigStage{{group: "detect", work: timing{20 * ms, 0.5}}},
		},
		"one stage, overloaded": {
			nodes: 1, fps: 25, first: []int{0},
			stages: []rigStage{{group: "detect", work: timing{90 * ms, 0.5}}},
		},
		"one stage, overloaded, with a deadline": {
			nodes: 1, fps: 25, deadline: 200 * ms, first: []int{0},
			stages: []rigStage{{group: "detect", work: timing{90 * ms, 0.8}}},
		},
		"a chain": {
			nodes: 3, fps: 20, deadline: 500 * ms, delay: 7 * ms, first: []int{0},
			stages: []rigStage{
				{group: "resize", node: 0, work: timing{5 * ms, 0.3}, next: []int{1}},
				{group: "detect", node: 1, work: timing{40 * ms, 0.4}, next: []int{2}},
				{group: "draw", node: 2, work: timing{8 * ms, 0.3}},
			},
		},
		"a chain, overloaded in the middle": {
			nodes: 3, fps: 20, deadline: 300 * ms, delay: 7 * ms, first: []int{0},
			stages: []rigStage{
				{group: "resize", node: 0, work: timing{5 * ms, 0.3}, next: []int{1}},
				{group: "detect", node: 1, work: timing{100 * ms, 0.4}, next: []int{2}},
				{group: "draw", node: 2, work: timing{60 * ms, 1}},
			},
		},
		"two that take turns": {
			nodes: 3, fps: 50, deadline: 300 * ms, delay: 3 * ms, first: []int{0, 1},
			stages: []rigStage{
				{group: "detect", node: 1, work: timing{35 * ms, 0.6}, next: []int{2}},
				{group: "detect", node: 2, work: timing{55 * ms, 0.6}, next: []int{2}},
				{group: "draw", node: 0, work: timing{6 * ms, 0.2}},
			},
		},
		"a link that is too slow": {
			nodes: 2, fps: 25, delay: 7 * ms, write: 61 * ms, first: []int{0},
			stages: []rigStage{
				{group: "resize", node: 0, work: timing{5 * ms, 0.3}, next: []int{1}},
				{group: "detect", node: 1, work: timing{20 * ms, 0.4}},
			},
		},
		"a link that is too slow, with a deadline": {
			nodes: 2, fps: 25, deadline: 150 * ms, delay: 7 * ms, write: 61 * ms, first: []int{0},
			stages: []rigStage{
				{group: "resize", node: 0, work: timing{5 * ms, 0.3}, next: []int{1}},
				{group: "detect", node: 1, work: timing{20 * ms, 0.4}},
			},
		},
		"two ways over one link": {
			nodes: 2, fps: 25, deadline: 400 * ms, delay: 7 * ms, write: 23 * ms, first: []int{0, 1},
			stages: []rigStage{
				{group: "resize", node: 0, work: timing{5 * ms, 0.3}, next: []int{2}},
				{group: "crop", node: 0, work: timing{15 * ms, 0.5}, next: []int{3}},
				{group: "detect", node: 1, work: timing{20 * ms, 0.4}},
				{group: "store", node: 1, work: timing{20 * ms, 0.4}},
			},
		},
		"a node with one processor, overloaded": {
			nodes: 2, fps: 40, deadline: 400 * ms, delay: 3 * ms, first: []int{0, 1}, turns: 1,
			stages: []rigStage{
				{group: "detect", node: 0, work: timing{61 * ms, 0.4}, next: []int{3}},
				{group: "detect", node: 1, work: timing{37 * ms, 0.4}, next: []int{2}},
				{group: "draw", node: 0, work: timing{13 * ms, 0.4}},
				{group: "draw", node: 0, work: timing{17 * ms, 0.4}},
			},
		},
		"two processors for three": {
			nodes: 1, fps: 30, deadline: 300 * ms, first: []int{0, 1}, turns: 2,
			stages: []rigStage{
				{group: "detect", work: timing{70 * ms, 0.6}, next: []int{2}},
				{group: "detect", work: timing{50 * ms, 0.6}, next: []int{2}},
				{group: "draw", work: timing{40 * ms, 0.3}},
			},
		},
		"two groups after one": {
			nodes: 3, fps: 25, deadline: 250 * ms, delay: 4 * ms, first: []int{0},
			stages: []rigStage{
				{group: "resize", node: 0, work: timing{5 * ms, 0.3}, next: []int{1, 2}},
				{group: "detect", node: 1, work: timing{50 * ms, 0.5}},
				{group: "store", node: 2, work: timing{30 * ms, 0.9}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r.length = 15 * time.Second
			want, got := r.pipeline(t), r.simulate(t)
			if want.frames.Captured < 250 || want.frames.Delivered < 50 {
				t.Fatalf("nothing happens: %+v", want.frames)
			}
			t.Logf("%+v", want.frames)
			if !maps.Equal(got.frames.Dropped, want.frames.Dropped) || got.frames.Captured != want.frames.Captured ||
				got.frames.Delivered != want.frames.Delivered || got.frames.InFlight != want.frames.InFlight {
				t.Errorf("simulated %+v, pipeline has %+v", got.frames, want.frames)
			}
			if got.latency != want.latency {
				t.Errorf("simulated latency %s, pipeline has %s", got.latency, want.latency)
			}
			for i := range want.stages {
				if g, w := got.stages[i], want.stages[i]; g.received != w.received || g.processed != w.processed ||
					!maps.Equal(g.dropped, w.dropped) || g.queue != w.queue || g.transfer != w.transfer {
					t.Errorf("stage %s: simulated %+v, pipeline has %+v", r.stages[i].group, g, w)
				}
			}
		})
	}
}

func (r *rig) id(stage int) string { return tiering.SlotID("w", r.stages[stage].group, stage) }

const (
	rigSeed   = 11
	rigSource = "w/src-0#0"
)

func (r *rig) phase() time.Duration {
	return des.NewStream(rigSeed, "phase "+rigSource).Uniform(min(opening, time.Duration(float64(time.Second)/r.fps)))
}

// simulate runs the rig in the simulator.
func (r *rig) simulate(t *testing.T) outcome {
	var tasks []task
	for i := range r.stages {
		x := free(r.stages[i].group, r.stages[i].work)
		x.bytes, x.rank = int64(r.write), i
		tasks = append(tasks, x)
	}
	l := newLab(t, rigSeed, realRules(), r.nodes, tasks...)
	l.join(testbed.Link{Delay: r.delay, Rate: 8e9}) // a byte each ns
	for i := range l.nodes {
		l.nodes[i].cpu = newProcessor(16, 16, 0, 1) // nobody waits for a core
		l.nodes[i].turns.most = r.turns
	}
	numbers := make([]int32, len(r.stages))
	for i := len(r.stages) - 1; i >= 0; i-- {
		s := r.stages[i]
		router := l.addRouter(s.node)
		numbers[i] = l.startInstance(instance{node: s.node, slot: l.slotOf(r.id(i), int32(i)), task: int32(i), router: router})
		l.lead(router, pick(numbers, s.next)...)
	}
	l.source(0, r.fps, r.deadline, pick(numbers, r.first)...)
	l.run(r.length)
	out := outcome{frames: l.stats.all.export(), latency: text(t, l.stats.latency.histogram)}
	for i := range r.stages {
		x := &l.stats.stages[i]
		out.stages = append(out.stages, stageOutcome{
			x.handled.received, x.handled.processed, dropped(x.handled.dropped), text(t, x.queue.histogram), text(t, x.transfer.histogram),
		})
	}
	return out
}

func pick(from []int32, which []int) []int32 {
	var out []int32
	for _, i := range which {
		out = append(out, from[i])
	}
	return out
}

func text(t *testing.T, h *pipeline.Histogram) string {
	b, err := h.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pipeline runs the rig with package pipeline.
func (r *rig) pipeline(t *testing.T) (out outcome) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		start := func(run func(context.Context) error) {
			running.Go(func() {
				if err := run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		limits := pipeline.DefaultLimits()
		quiet := slog.New(slog.DiscardHandler)
		net, err := pipeline.NewMemoryNetwork(pipeline.MemoryConfig{
			Limits: limits, Grace: time.Second, InFlight: 1000, Inbox: 1000, Delay: r.delay, Log: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		boards, lines := make([]*pipeline.Switchboard, r.nodes), make([]*line, r.nodes)
		for i := range r.nodes {
			boards[i] = pipeline.NewSwitchboard()
			link, err := net.Join(nodeName(int32(i)), boards[i])
			if err != nil {
				t.Fatal(err)
			}
			lines[i] = &line{link: link, write: r.write, turns: map[string][]*turn{}}
			start(link.Run)
		}
		router := func(group string, node int32, next []int) *pipeline.Router {
			x, err := pipeline.NewRouter(pipeline.RouterConfig{
				Node: nodeName(node), Tier: tiering.Fog, Group: group, Outbox: 4, Concurrency: 4, Encoder: asIs{}, Log: quiet,
			}, boards[node], map[tiering.Transport]pipeline.Sender{tiering.QUIC: lines[node]})
			if err != nil {
				t.Fatal(err)
			}
			var offers []tiering.Offer
			for _, i := range next {
				offers = append(offers, tiering.Offer{
					Instance: r.id(i), Group: r.stages[i].group, Node: nodeName(r.stages[i].node), Tier: tiering.Fog, Address: nodeName(r.stages[i].node),
					Link: tiering.Link{Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90}, Accepts: tiering.Data{Type: "image"},
				})
			}
			x.SetOffers(offers)
			start(x.Run)
			return x
		}
		runners := make([]*pipeline.Runner, len(r.stages))
		turns := make([]*pipeline.Turns, r.nodes) // nil: all work
		for i := range turns {
			if r.turns > 0 {
				turns[i] = pipeline.NewTurns(r.turns)
			}
		}
		for i, s := range r.stages {
			draws := des.NewStream(rigSeed, "work "+r.id(i))
			runners[i], err = pipeline.NewRunner(pipeline.RunnerConfig{
				Node: nodeName(s.node), Instance: r.id(i), Workflow: "w", Task: s.group, Group: s.group, Queue: 4, Log: quiet,
				Turns: turns[s.node], Rank: i,
			}, stage(func(ctx context.Context) { wait(ctx, s.work.draw(draws)) }), router(s.group, s.node, s.next))
			if err != nil {
				t.Fatal(err)
			}
			boards[s.node].Connect(r.id(i), runners[i])
			start(runners[i].Run)
		}
		feed, err := pipeline.NewFeed(pipeline.FeedConfig{
			Node: nodeName(0), Instance: rigSource, Workflow: "w", Source: "src-0", Quality: tiering.Quality{Resolution: 512}, Deadline: r.deadline, Epoch: 1, Log: quiet,
		}, &clockwork{r.phase(), time.Duration(float64(time.Second) / r.fps)}, router("src-0", 0, r.first))
		if err != nil {
			t.Fatal(err)
		}
		start(feed.Run)
		<-time.After(r.length)
		synctest.Wait()

		rep := feed.Report()
		out.frames, out.latency = rep.Frames, text(t, rep.Latency)
		for _, x := range runners {
			s := x.Report()
			out.stages = append(out.stages, stageOutcome{s.Received, s.Processed, s.Dropped, text(t, s.Queue), text(t, s.Transfer)})
		}
		cancel()
		running.Wait()
	})
	return out
}

func nodeName(i int32) string { return fmt.Sprintf("n%d", i) }

// clockwork is a source that emits a picture each period.
type clockwork struct{ phase, period time.Duration }

func (c *clockwork) Run(ctx context.Context, emit func(*pipeline.Frame)) error {
	for wait(ctx, c.phase); ctx.Err() == nil; wait(ctx, c.period) {
		emit(&pipeline.Frame{
			Captured: time.Now(), SourceWidth: 2, SourceHeight: 2,
			Image: pipeline.Image{Format: pipeline.BGR, Width: 2, Height: 2, Data: make([]byte, 12)},
		})
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// stage is a stage that takes its time.
type stage func(context.Context)

func (s stage) Process(ctx context.Context, _ *pipeline.Frame) error {
	s(ctx)
	return nil
}

// asIs calls any picture a JPEG.
type asIs struct{}

func (asIs) Encode(img pipeline.Image, _ tiering.Encoding, _ int) (pipeline.Image, error) {
	img.Format = pipeline.JPEG
	return img, nil
}

// line is a link on which writing a frame takes time. One frame at a time is
// written to a peer, then the newest of those that wait, and a frame is
// cancelled when it is late: pipeline/quic without QUIC.
type line struct {
	link  *pipeline.MemoryLink
	write time.Duration

	mu    sync.Mutex
	turns map[string][]*turn // by peer; the first is writing, the others wait, the best first
}

type turn struct {
	captured time.Time
	ready    chan struct{}
}

func (l *line) Send(ctx context.Context, addr, instance string, f *pipeline.Frame) error {
	if l.write == 0 {
		return l.link.Send(ctx, addr, instance, f)
	}
	if !f.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, f.Deadline, pipeline.ErrLate)
		defer cancel()
	}
	entered := time.Now()
	me := &turn{f.Captured, make(chan struct{})}
	l.mu.Lock()
	at := slices.IndexFunc(l.turns[addr], func(o *turn) bool { return o != l.turns[addr][0] && !o.captured.After(me.captured) })
	if at < 0 {
		at = len(l.turns[addr])
	}
	l.turns[addr] = slices.Insert(l.turns[addr], at, me)
	if at == 0 {
		close(me.ready)
	}
	l.mu.Unlock()
	defer l.leave(addr, me)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-me.ready:
	}
	if wait(ctx, l.write); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f.Add("", pipeline.SpanTransfer, time.Since(entered)) // pipeline/quic counts it, too
	return l.link.Send(context.WithoutCancel(ctx), addr, instance, f)
}

// leave gives the turn to the best, if it was mine.
func (l *line) leave(addr string, me *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.turns[addr], me)
	l.turns[addr] = slices.Delete(l.turns[addr], at, at+1)
	if rest := l.turns[addr]; at == 0 && len(rest) > 0 {
		close(rest[0].ready)
	}
}
