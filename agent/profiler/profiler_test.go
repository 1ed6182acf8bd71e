package profiler

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

const (
	ms     = time.Millisecond
	period = 10 * time.Second
)

var (
	errDown = errors.New("down")
	low     = profile.Key{Model: "yolo", Resolution: 416, Backend: profile.CPU}
	high    = profile.Key{Model: "yolo", Resolution: 512, Backend: profile.CPU}
)

// node is what a profiler has to do with, in virtual time.
type node struct {
	t        *testing.T
	profiler *Profiler

	mu       sync.Mutex
	platform profile.Platform
	takes    time.Duration // to measure
	fails    error
	asked    []profile.Key
	active   int
	down     bool
	kept     []profile.Profile
	puts     int
	waiting  int
	stages   []pipeline.StageReport
}

// start runs a profiler until the bubble's function ends.
func start(t *testing.T, kept ...profile.Profile) (*node, func()) {
	n := &node{t: t, takes: 5 * time.Second, kept: kept, platform: profile.Platform{Backend: profile.CPU, Processor: "Cortex-A72", Cores: 4}}
	var err error
	n.profiler, err = New(Config{Node: "fog-1", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, n, n, n)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.profiler.Run(ctx) }()
	return n, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func (n *node) set(how func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	how()
}

// Measure implements Bench.
func (n *node) Measure(ctx context.Context, k profile.Key) (profile.Profile, error) {
	n.mu.Lock()
	n.asked = append(n.asked, k)
	if n.active++; n.active > 1 {
		n.t.Error("two at a time")
	}
	takes, err, p := n.takes, n.fails, measured(k, 100*ms, time.Now())
	p.Platform = n.platform
	n.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.active--
	return p, err
}

// Platform implements Bench.
func (n *node) Platform(backend string) profile.Platform {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.platform
	p.Backend = backend
	return p
}

// PutProfiles implements Reporter.
func (n *node) PutProfiles(_ context.Context, node string, ps []profile.Profile) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return errDown
	}
	if node != "fog-1" {
		n.t.Errorf("profiles of %s", node)
	}
	n.puts++
	n.kept = profile.Merge(n.kept, ps)
	return nil
}

// Report implements Work.
func (n *node) Report() pipeline.Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := pipeline.Report{Node: "fog-1", Stages: slices.Clone(n.stages)}
	for i := range r.Stages {
		r.Stages[i].Execute = r.Stages[i].Execute.Clone()
	}
	return r
}

// Waiting implements Work.
func (n *node) Waiting() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.waiting
}

// follow is an answer of a coordinator, which knows what it was told.
func (n *node) follow(want ...profile.Key) {
	task := &tiering.Task{Name: "detect@416", Model: &tiering.Model{Name: "yolo", Resolution: 416}}
	n.mu.Lock()
	kept := slices.Clone(n.kept)
	n.mu.Unlock()
	n.profiler.Follow([]tiering.Assignment{
		{Placement: tiering.Placement{ID: "people/detect@416#0"}, Task: task}, {Placement: tiering.Placement{ID: "people/cam#0"}, Source: &tiering.Source{}},
		{Placement: tiering.Placement{ID: "people/resize#0"}, Task: &tiering.Task{Name: "resize"}},
	}, want, kept)
}

func (n *node) measurings() int { n.mu.Lock(); defer n.mu.Unlock(); return len(n.asked) }

func (n *node) known(k profile.Key) (profile.Profile, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return profile.Find(n.kept, k)
}

func measured(k profile.Key, mean time.Duration, at time.Time) profile.Profile {
	return profile.Profile{
		Model: k.Model, Resolution: k.Resolution, Platform: profile.Platform{Backend: k.Backend, Processor: "Cortex-A72", Cores: 4},
		ExecuteP50: mean, ExecuteP95: mean, ExecuteMean: mean, Load: time.Second, Memory: 1 << 20,
		Energy: profile.Energy{JoulesPerFrame: 1, Source: profile.Modelled}, Frames: 20, At: at,
	}
}

// sleep lets virtual time pass and everything settle.
func sleep(d time.Duration) { <-time.After(d); synctest.Wait() }

func TestWhatIsWantedIsMeasuredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := start(t)
		defer stop()
		sleep(time.Minute)
		if n.measurings() != 0 {
			t.Error("nobody asked")
		}
		n.follow(low, high)
		sleep(period)
		if _, ok := n.known(low); !ok || n.measurings() < 1 {
			t.Errorf("%d measured", n.measurings())
		}
		sleep(3 * period)
		if _, ok := n.known(high); !ok || n.measurings() != 2 {
			t.Errorf("%d measured", n.measurings())
		}
		for range 10 {
			n.follow(low, high)
			sleep(time.Minute)
		}
		if n.measurings() != 2 || n.puts != 2 {
			t.Errorf("%d measured and %d told, after ten more minutes", n.measurings(), n.puts)
		}
	})
}

func TestWhatACoordinatorKnowsIsNotMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := measured(low, 80*ms, time.Now().Add(-time.Hour))
		n, stop := start(t, old)
		defer stop()
		n.follow(low)
		sleep(time.Minute)
		if n.measurings() != 0 || n.puts != 0 {
			t.Errorf("%d measured, %d told", n.measurings(), n.puts)
		}
		// Unless it was on another processor.
		n.set(func() { n.platform.Processor = "Cortex-A76" })
		sleep(time.Minute)
		if p, _ := n.known(low); n.measurings() != 1 || p.Platform.Processor != "Cortex-A76" {
			t.Errorf("%d measured: %+v", n.measurings(), p)
		}
	})
}

// One that runs on another backend than thought is not measured again and again.
func TestAnotherBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := start(t)
		defer stop()
		gpu := low
		gpu.Backend = profile.CUDA
		for range 5 {
			n.follow(gpu)
			sleep(time.Minute)
		}
		if _, ok := n.known(low); !ok || n.measurings() != 1 {
			t.Errorf("%d measured", n.measurings())
		}
	})
}

func TestFailuresAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := start(t)
		defer stop()
		n.set(func() { n.fails = errDown })
		n.follow(low)
		sleep(10 * time.Minute)
		if k := n.measurings(); k < 4 || k > 9 {
			t.Errorf("%d trials in ten minutes", k)
		}
		n.set(func() { n.fails = nil })
		sleep(20 * time.Minute)
		if _, ok := n.known(low); !ok {
			t.Error("not measured in the end")
		}
	})
}

func TestNothingIsMeasuredWhileFramesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := start(t)
		defer stop()
		n.set(func() { n.waiting = 1 })
		n.follow(low)
		sleep(5 * time.Minute)
		if n.measurings() != 0 {
			t.Errorf("%d began", n.measurings())
		}
		n.set(func() { n.waiting = 0 })
		sleep(period + time.Second)
		if n.measurings() != 1 {
			t.Fatalf("%d began", n.measurings())
		}
		// A frame now and then does not matter, a queue does.
		n.set(func() { n.waiting = 1 })
		sleep(150 * ms)
		n.set(func() { n.waiting = 0 })
		sleep(300 * ms)
		if n.active != 1 {
			t.Error("given up for one frame")
		}
		n.set(func() { n.waiting = 3 })
		sleep(500 * ms)
		if _, ok := n.known(low); n.active != 0 || ok {
			t.Error("it goes on beside frames that wait")
		}
		n.set(func() { n.waiting = 0 })
		sleep(2 * time.Minute)
		if _, ok := n.known(low); !ok {
			t.Error("not measured in the end")
		}
	})
}

func TestCoordinatorsThatAreDownOrForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := start(t)
		defer stop()
		n.set(func() { n.down = true })
		n.follow(low)
		sleep(5 * time.Minute)
		if n.measurings() != 1 || n.puts != 0 {
			t.Fatalf("%d measured, %d told", n.measurings(), n.puts)
		}
		n.set(func() { n.down = false })
		sleep(2 * period)
		if _, ok := n.known(low); !ok {
			t.Fatal("not told")
		}
		// The node was forgotten, and with it its profiles.
		n.set(func() { n.kept = nil })
		for range 7 {
			n.follow(low)
			sleep(time.Minute)
		}
		if _, ok := n.known(low); !ok || n.measurings() != 1 || n.puts != 2 {
			t.Errorf("%d measured, %d told", n.measurings(), n.puts)
		}
	})
}

// What frames take live is compared with the profile.
func TestDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := start(t, measured(low, 100*ms, time.Now()))
		defer stop()
		n.follow(low)
		work := func(epoch uint32, frames int, each time.Duration, periods int) {
			for range periods {
				n.set(func() {
					if len(n.stages) == 0 || n.stages[0].Epoch != epoch {
						n.stages = []pipeline.StageReport{{Instance: "people/detect@416#0", Epoch: epoch, Backend: profile.CPU, Execute: pipeline.NewHistogram()}}
					}
					for range frames {
						n.stages[0].Execute.Record(each)
					}
				})
				sleep(period)
			}
		}
		is := func(what string, want time.Duration) {
			t.Helper()
			p, _ := n.known(low)
			if math.Abs(p.ExecuteMean.Seconds()/want.Seconds()-1) > 0.02 || p.Validate() != nil {
				t.Errorf("%s: %v, want %v", what, p.ExecuteMean, want)
			}
		}
		work(1, 20, 500*ms, 1) // warms up
		work(1, 20, 120*ms, 10)
		work(1, 20, 200*ms, 2)
		work(1, 20, 120*ms, 1)
		is("as it was, but for two periods", 100*ms)
		work(1, 4, 200*ms, 7) // too few for a period by themselves
		is("not for long enough", 100*ms)
		work(1, 4, 200*ms, 3)
		is("slower for three periods of ten frames or more", 200*ms)
		p, _ := n.known(low)
		if !p.Live || p.Frames != 36 || p.Load != time.Second || p.Energy.Source != profile.Modelled {
			t.Errorf("%+v", p)
		}
		work(1, 20, 50*ms, 6)
		is("faster, a minute later", 200*ms)
		work(1, 20, 50*ms, 30)
		is("faster, five minutes later", 50*ms)
		work(2, 20, 500*ms, 1) // it was started anew
		work(2, 20, 50*ms, 10)
		is("after a restart", 50*ms)
		n.set(func() { n.stages[0].Backend = profile.CUDA })
		work(2, 20, 5*ms, 40)
		is("on a backend without a profile", 50*ms)
		if n.measurings() != 0 {
			t.Errorf("%d measured by themselves", n.measurings())
		}
	})
}

func TestConfig(t *testing.T) {
	for what, cfg := range map[string]Config{
		"no node": {}, "a time": {Node: "n", Every: -1}, "a rule": {Node: "n", Drift: profile.Drift{Ratio: 1, Periods: 1}},
	} {
		if _, err := New(cfg, nil, nil, nil); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
