package agent

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// shop makes stages and sources in Go, for all nodes of a mesh, and keeps a
// diary of them.
type shop struct {
	mu     sync.Mutex
	diary  []entry
	alive  map[string]int // instance@node → running now
	twice  []string       // that ever ran more than once at a time
	drawn  map[pipeline.FrameID]int
	load   func(a tiering.Assignment) (time.Duration, error) // of a stage, whatever ctx says
	work   func(ctx context.Context, a tiering.Assignment, f *pipeline.Frame) error
	camera func(a tiering.Assignment) error // may fail to open
}

type entry struct {
	at   time.Duration
	what string // "open", "close" or "fail"
	id   string // instance@node
}

func newShop() *shop {
	return &shop{alive: map[string]int{}, drawn: map[pipeline.FrameID]int{}}
}

// bubbleStart is when the clock of a synctest bubble starts.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *shop) note(what string, p tiering.Placement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := p.ID + "@" + p.Node
	s.diary = append(s.diary, entry{time.Since(bubbleStart), what, id})
	switch what {
	case "open":
		if s.alive[id]++; s.alive[id] > 1 {
			s.twice = append(s.twice, id)
		}
	case "close":
		if s.alive[id]--; s.alive[id] == 0 {
			delete(s.alive, id)
		}
	}
}

// running are the stages and sources that are open, sorted.
func (s *shop) running() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.alive))
}

// entries are the diary's of one kind and instance, oldest first.
func (s *shop) entries(what, id string) []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []entry
	for _, e := range s.diary {
		if e.what == what && (id == "" || e.id == id) {
			out = append(out, e)
		}
	}
	return out
}

func (s *shop) Stage(_ context.Context, a tiering.Assignment, _ func(*pipeline.Frame) (tiering.Fit, bool)) (pipeline.Stage, string, error) {
	if s.load != nil {
		d, err := s.load(a)
		<-time.After(d)
		if err != nil {
			s.note("fail", a.Placement)
			return nil, "", err
		}
	}
	s.note("open", a.Placement)
	return &testStage{shop: s, a: a}, "slide rule", nil
}

// testStage is a stage whose work takes what the shop says.
type testStage struct {
	shop *shop
	a    tiering.Assignment
}

func (s *testStage) Process(ctx context.Context, f *pipeline.Frame) error {
	if s.shop.work != nil {
		if err := s.shop.work(ctx, s.a, f); err != nil {
			return err
		}
	}
	switch s.a.Task.Operation {
	case "detect":
		f.Model = "eyes"
		f.Detections = []pipeline.Detection{{Label: "person", Score: 1, Box: pipeline.Box{W: 1, H: 1}}}
	case "draw":
		s.shop.mu.Lock()
		s.shop.drawn[f.ID]++
		s.shop.mu.Unlock()
	}
	return nil
}

func (s *testStage) Close() error {
	s.shop.note("close", s.a.Placement)
	return nil
}

func (s *shop) Source(a tiering.Assignment) (pipeline.Source, error) {
	if s.camera != nil {
		if err := s.camera(a); err != nil {
			s.note("fail", a.Placement)
			return nil, err
		}
	}
	return &camera{s, a}, nil
}

// camera takes a picture FPS times a second.
type camera struct {
	shop *shop
	a    tiering.Assignment
}

func (c *camera) Run(ctx context.Context, emit func(*pipeline.Frame)) error {
	c.shop.note("open", c.a.Placement)
	defer c.shop.note("close", c.a.Placement)
	tick := time.NewTicker(time.Duration(float64(time.Second) / c.a.Source.FPS))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		emit(&pipeline.Frame{
			Captured: time.Now(), SourceWidth: 2, SourceHeight: 2,
			Image: pipeline.Image{Format: pipeline.JPEG, Width: 2, Height: 2, Data: []byte("picture")},
			Spans: []pipeline.Span{{Kind: pipeline.SpanCapture, Duration: time.Millisecond}},
		})
	}
}

// delays makes the work of a task take a while that ctx cuts short.
func delays(by map[string]time.Duration) func(context.Context, tiering.Assignment, *pipeline.Frame) error {
	return func(ctx context.Context, a tiering.Assignment, _ *pipeline.Frame) error {
		select {
		case <-time.After(by[a.Task.Name]):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notebook is a journal in memory.
type notebook struct {
	mu      sync.Mutex
	held    known
	saves   int
	refuses error // of every Save
	damaged error // of the next Load
}

func (n *notebook) Load() ([]tiering.Assignment, uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.damaged; err != nil {
		n.damaged, n.held = nil, known{}
		return nil, 0, err
	}
	return wire(n.held.assignments), n.held.index, nil
}

func (n *notebook) Save(as []tiering.Assignment, index uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.saves++
	if n.refuses != nil {
		return n.refuses
	}
	n.held = known{wire(as), index}
	return nil
}

// set changes what the disk does.
func (n *notebook) set(refuses, damaged error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuses, n.damaged = refuses, damaged
}

// is returns what the journal says, and how often it was written to.
func (n *notebook) is() (held known, saves int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held, n.saves
}
