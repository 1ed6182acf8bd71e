package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// mesh is three nodes in virtual time, edge – fog – cloud, with the camera and
// a resize on the edge, detection in the fog and drawing in the cloud.
type mesh struct {
	net     *MemoryNetwork
	feed    *Feed
	runners map[string]*Runner
	routers map[string]*Router // by group they are from
	links   map[string]*MemoryLink
	stops   []func() // in the order of starting

	mu     sync.Mutex
	drawn  []uint64
	ages   []time.Duration
	kinds  map[string]int
	strays []error
}

type meshConfig struct {
	fps      float64
	deadline time.Duration
	detect   time.Duration // a frame
	network  MemoryConfig
	edge     Stage // in place of the resize; nil: it
}

const meshQueue = 4

func newMesh(t *testing.T, cfg meshConfig) *mesh {
	t.Helper()
	m := &mesh{runners: map[string]*Runner{}, routers: map[string]*Router{}, links: map[string]*MemoryLink{}, kinds: map[string]int{}}
	cfg.network.Limits, cfg.network.InFlight, cfg.network.Inbox = DefaultLimits(), 100, 32
	cfg.network.Grace, cfg.network.Log = time.Second, quiet()
	var err error
	if m.net, err = NewMemoryNetwork(cfg.network); err != nil {
		t.Fatal(err)
	}
	boards := map[string]*Switchboard{}
	for _, node := range []string{"edge", "fog", "cloud"} {
		boards[node] = NewSwitchboard()
		m.join(t, node, boards[node])
	}
	if cfg.edge == nil {
		cfg.edge = m.work(5 * time.Millisecond)
	}
	steps := []struct {
		group, node string
		stage       Stage
	}{
		{"resize", "edge", cfg.edge}, {"detect", "fog", m.work(cfg.detect)}, {"draw", "cloud", m.draw()},
	}
	for i, s := range steps {
		router := m.router(t, s.group, s.node, boards[s.node])
		runner, err := NewRunner(RunnerConfig{
			Node: s.node, Instance: s.group + "#0", Workflow: "people", Task: s.group, Group: s.group, Queue: meshQueue, Log: quiet(),
		}, s.stage, router)
		if err != nil {
			t.Fatal(err)
		}
		boards[s.node].Connect(s.group+"#0", runner)
		m.runners[s.group] = runner
		if i+1 < len(steps) {
			router.SetOffers([]tiering.Offer{meshOffer(steps[i+1].group, steps[i+1].node)})
		}
		m.stops = append(m.stops, start(t, runner.Run))
	}
	first := m.router(t, "gate", "edge", boards["edge"])
	first.SetOffers([]tiering.Offer{meshOffer("resize", "edge")})
	m.feed, err = NewFeed(FeedConfig{
		Node: "edge", Instance: "gate#0", Workflow: "people", Source: "gate", Quality: tiering.Quality{Resolution: 512}, Deadline: cfg.deadline, Epoch: 1, Log: quiet(),
	}, camera(0, time.Duration(float64(time.Second)/cfg.fps), 0), first)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func meshOffer(group, node string) tiering.Offer { return offerOf(group+"#0", group, node, 0) }

func (m *mesh) join(t *testing.T, node string, recv Receiver) func() {
	t.Helper()
	l, err := m.net.Join(node, recv)
	if err != nil {
		t.Fatal(err)
	}
	m.links[node] = l
	stop := start(t, l.Run)
	m.stops = append(m.stops, stop)
	return stop
}

func (m *mesh) router(t *testing.T, group, node string, local Receiver) *Router {
	t.Helper()
	r, err := NewRouter(RouterConfig{
		Node: node, Tier: tiering.Edge, Group: group, Outbox: meshQueue, Concurrency: 2, Encoder: markEncoder{}, Log: quiet(),
	}, local, map[tiering.Transport]Sender{tiering.QUIC: m.links[node]})
	if err != nil {
		t.Fatal(err)
	}
	m.routers[group] = r
	m.stops = append(m.stops, start(t, r.Run))
	return r
}

// work is a stage that takes that long, and makes a picture so that it must be
// encoded for the next link.
func (m *mesh) work(d time.Duration) Stage {
	return stageFunc(func(ctx context.Context, f *Frame) error {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
		f.Image = Image{Format: BGR, Width: 2, Height: 2, Data: make([]byte, 12)}
		f.Model, f.Detections = "street", []Detection{{Label: fmt.Sprint(f.ID.Seq)}}
		return nil
	})
}

// draw records the frames that got through and checks that their spans tell
// where their time went.
func (m *mesh) draw() Stage {
	return stageFunc(func(_ context.Context, f *Frame) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.drawn = append(m.drawn, f.ID.Seq)
		age := f.Age(time.Now())
		m.ages = append(m.ages, age)
		var sum time.Duration
		for _, s := range f.Spans {
			m.kinds[s.Stage+" "+string(s.Kind)]++
			if s.Kind != SpanCapture { // comes before Captured here
				sum += s.Duration
			}
		}
		if sum != age {
			m.strays = append(m.strays, fmt.Errorf("frame %d: spans %v make %s, its age is %s", f.ID.Seq, f.Spans, sum, age))
		}
		return nil
	})
}

// stop stops the feed by its function, then everything else, last started
// first.
func (m *mesh) stop(feed func()) {
	feed()
	for _, stop := range slices.Backward(m.stops) {
		stop()
	}
}

// check checks what must hold at any moment, and returns the counts.
func (m *mesh) check(t *testing.T) Counts {
	t.Helper()
	synctest.Wait()
	c := m.feed.Report().Frames
	if !c.Balanced() {
		t.Fatalf("unbalanced: %+v", c)
	}
	for name, r := range m.runners {
		if n := r.Waiting(); n > meshQueue {
			t.Fatalf("%d frames wait for %s, at most %d", n, name, meshQueue)
		}
	}
	for name, r := range m.routers {
		if n := r.Waiting(); n > meshQueue {
			t.Fatalf("%d frames wait to be sent by %s, at most %d", n, name, meshQueue)
		}
	}
	return c
}

// A source twice as fast as detection, for a minute: queues stay bounded,
// what is delivered is on time, every frame is accounted for at every moment,
// and detection is kept busy with frames that are still of use.
func TestMeshOverload(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := meshConfig{fps: 20, deadline: 300 * time.Millisecond, detect: 100 * time.Millisecond}
		cfg.network.Delay, cfg.network.Jitter, cfg.network.Rand = 4*time.Millisecond, 2*time.Millisecond, rand.New(rand.NewPCG(1, 2))
		m := newMesh(t, cfg)
		feed := start(t, m.feed.Run)
		// What can be in flight: every queue and outbox full, one frame in
		// each stage and two in each outbox's workers.
		const most = 3*(meshQueue+1) + 2*(meshQueue+2)
		for range 600 {
			<-time.After(100 * time.Millisecond)
			if c := m.check(t); c.InFlight > most {
				t.Fatalf("%d frames in flight, at most %d", c.InFlight, most)
			}
		}
		rep := m.feed.Report()
		c := rep.Frames
		if c.Captured < 1199 || c.Captured > 1201 {
			t.Errorf("captured %d in a minute, want 1200", c.Captured)
		}
		// 600 is all that detection can do.
		if c.Delivered < 570 || c.Delivered > 600 {
			t.Errorf("delivered %d in a minute, want nearly 600: %+v", c.Delivered, c)
		}
		if other := c.Lost() - c.Dropped[ReasonQueueFull] - c.Dropped[ReasonDeadline]; other != 0 {
			t.Errorf("dropped for other reasons: %+v", c)
		}
		if got := rep.Latency.Quantile(1); got > cfg.deadline {
			t.Errorf("delivered after %s, the deadline is %s", got, cfg.deadline)
		}
		if !slices.IsSorted(m.drawn) {
			t.Error("frames were drawn out of order")
		}
		for _, err := range m.strays {
			t.Error(err)
		}
		m.stop(feed)
		<-time.After(cfg.deadline + lostAfter)
		if c := m.check(t); c.InFlight != 0 || c.Dropped[ReasonLost] != 0 {
			t.Errorf("after the end: %+v", c)
		}
	})
}

// Without overload every frame is delivered, and its spans say where each
// part of its time went.
func TestMeshSpans(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := meshConfig{fps: 10, deadline: 500 * time.Millisecond, detect: 50 * time.Millisecond}
		cfg.network.Delay = 10 * time.Millisecond
		m := newMesh(t, cfg)
		feed := start(t, m.feed.Run)
		pass(10*time.Second - time.Nanosecond)
		c := m.check(t)
		if c.Captured != 100 || c.Delivered != 100 {
			t.Errorf("%+v, want 100 captured and delivered", c)
		}
		for _, age := range m.ages {
			if want := (5 + 10 + 50 + 10) * time.Millisecond; age != want {
				t.Errorf("drawn at the age of %s, want %s", age, want)
			}
		}
		var kinds []string
		for k, n := range m.kinds {
			if n != 100 {
				t.Errorf("%d spans of %q, want 100", n, k)
			}
			kinds = append(kinds, k)
		}
		slices.Sort(kinds)
		want := "detect execute, detect queue, detect transfer, draw queue, draw transfer, gate capture, resize execute, resize queue"
		if got := strings.Join(kinds, ", "); got != want {
			t.Errorf("spans\n%s, want\n%s", got, want)
		}
		if got := m.runners["detect"].Report().Transfer.Quantile(0.5); (got - 10*time.Millisecond).Abs() > 200*time.Microsecond {
			t.Errorf("transfer %s, want 10ms", got)
		}
		m.stop(feed)
	})
}

// A filter on the camera's node takes frames out, which are no loss, and is told
// by the others' outcomes what was found in them, over two links that cut.
func TestMeshFilter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var (
			mu            sync.Mutex
			found, missed int
		)
		cfg := meshConfig{fps: 20, deadline: 500 * time.Millisecond, detect: 30 * time.Millisecond}
		cfg.network.Delay, cfg.network.Cut, cfg.network.Rand = 5*time.Millisecond, 0.02, rand.New(rand.NewPCG(3, 4))
		cfg.edge = stageFunc(func(_ context.Context, f *Frame) error {
			if f.ID.Seq%3 != 0 {
				return ErrFiltered
			}
			f.Ask = true
			f.Image = Image{Format: BGR, Width: 2, Height: 2, Data: make([]byte, 12)}
			want := fmt.Sprint(f.ID.Seq)
			f.Follow(func(o Outcome) {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case o.Found == nil:
					missed++
				case !o.Delivered() || o.Found.Model != "street" || len(o.Found.Detections) != 1 || o.Found.Detections[0].Label != want:
					t.Errorf("frame %s: %+v, found %+v", want, o, *o.Found)
				default:
					found++
				}
			})
			return nil
		})
		m := newMesh(t, cfg)
		feed := start(t, m.feed.Run)
		for range 400 {
			<-time.After(50 * time.Millisecond)
			m.check(t)
		}
		m.stop(feed)
		<-time.After(cfg.deadline + lostAfter)
		c := m.check(t)
		if c.InFlight != 0 || c.Filtered < 250 || c.Delivered < 100 || c.Lost() == 0 || uint64(found) != c.Delivered || uint64(missed) != c.Lost() {
			t.Errorf("%+v, %d found, %d missed", c, found, missed)
		}
		if r := m.runners["resize"].Report(); r.Filtered != c.Filtered || r.Received != r.Processed+r.Filtered {
			t.Errorf("the filter reports %d received, %d processed, %d filtered", r.Received, r.Processed, r.Filtered)
		}
	})
}

// The fog node dies and comes back, and the connection to the cloud flaps:
// frames are dropped as what they were, never twice, and then flow again.
func TestMeshFaults(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := meshConfig{fps: 20, deadline: 500 * time.Millisecond, detect: 30 * time.Millisecond}
		cfg.network.Delay, cfg.network.Cut, cfg.network.Rand = 5*time.Millisecond, 0.02, rand.New(rand.NewPCG(3, 4))
		m := newMesh(t, cfg)
		feed := start(t, m.feed.Run)
		run := func(d time.Duration) Counts {
			for end := time.Now().Add(d); time.Now().Before(end); {
				<-time.After(50 * time.Millisecond)
				m.check(t)
			}
			return m.check(t)
		}
		healthy := run(20 * time.Second)
		if healthy.Dropped[ReasonLink] == 0 || healthy.Delivered < healthy.Captured*8/10 {
			t.Errorf("with cuts of 2 %%: %+v", healthy)
		}

		m.net.Break("edge", "fog")
		broken := run(10 * time.Second)
		if n := broken.Delivered - healthy.Delivered; n > 1 {
			t.Errorf("%d frames delivered through a broken connection", n)
		}
		if n := broken.Dropped[ReasonLink] - healthy.Dropped[ReasonLink]; n < 190 {
			t.Errorf("%d dropped by the link in 10 s at 20 a second: %+v", n, broken)
		}

		// Its stages are placed again, on the cloud node.
		moved := meshOffer("detect", "cloud")
		m.net.Heal("edge", "fog")
		m.routers["resize"].SetOffers(nil)
		gone := run(time.Second)
		if n := gone.Dropped[ReasonNoRoute]; n < 15 {
			t.Errorf("%d dropped for want of a route: %+v", n, gone)
		}
		m.routers["resize"].SetOffers([]tiering.Offer{moved})
		unknown := run(time.Second)
		if n := unknown.Dropped[ReasonNoRoute] - gone.Dropped[ReasonNoRoute]; n < 15 {
			t.Errorf("%d refused by a node that does not run the stage yet: %+v", n, unknown)
		}
		m.routers["resize"].SetOffers([]tiering.Offer{meshOffer("detect", "fog")})
		again := run(10 * time.Second)
		if n := again.Delivered - unknown.Delivered; n < 160 {
			t.Errorf("%d delivered in 10 s after all healed: %+v", n, again)
		}

		m.stop(feed)
		<-time.After(cfg.deadline + lostAfter)
		if c := m.check(t); c.InFlight != 0 {
			t.Errorf("after the end: %+v", c)
		}
		drawn := slices.Clone(m.drawn)
		slices.Sort(drawn)
		if n := len(slices.Compact(drawn)); n != len(m.drawn) {
			t.Errorf("%d frames were drawn twice", len(m.drawn)-n)
		}
	})
}
