package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// quiet is a logger for tests that do not look at the log.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start runs something with a Run method; the function it returns stops it,
// waits for it and fails the test if it reports an error.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// pass lets virtual time pass until everything is idle again.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// journal is a list that several goroutines write.
type journal struct {
	mu   sync.Mutex
	list []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, fmt.Sprintf(format, args...))
}

// entries returns the list as written.
func (j *journal) entries() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.list)
}

// sorted returns the list in alphabetical order.
func (j *journal) sorted() []string {
	return slices.Sorted(slices.Values(j.entries()))
}

// fates collects the outcomes of frames.
type fates struct {
	mu  sync.Mutex
	all map[Reason]int
}

func (c *fates) frame(seq uint64, deadline time.Duration) *Frame {
	now := time.Now()
	f := &Frame{
		ID: FrameID{Workflow: "people", Source: "gate", Epoch: 1, Seq: seq}, Captured: now, Quality: 512,
		Image: Image{Format: BGR, Width: 2, Height: 2, Data: make([]byte, 12)},
	}
	if deadline > 0 {
		f.Deadline = now.Add(deadline)
	}
	f.OnSettle(func(o Outcome) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.all == nil {
			c.all = map[Reason]int{}
		}
		c.all[o.Reason]++
	})
	return f
}

func (c *fates) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, v := range c.all {
		n += v
	}
	return n
}

// want fails unless the outcomes are exactly these.
func (c *fates) want(t *testing.T, want map[Reason]int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range []Reason{ReasonNone, ReasonQueueFull, ReasonDeadline, ReasonLink, ReasonNoRoute, ReasonStage,
		ReasonOversized, ReasonMalformed, ReasonShutdown, ReasonLost} {
		if c.all[r] != want[r] {
			t.Errorf("%d frames settled as %q, want %d (all: %v)", c.all[r], r, want[r], c.all)
		}
	}
}

type stageFunc func(context.Context, *Frame) error

func (fn stageFunc) Process(ctx context.Context, f *Frame) error { return fn(ctx, f) }

type sourceFunc func(context.Context, func(*Frame)) error

func (fn sourceFunc) Run(ctx context.Context, emit func(*Frame)) error { return fn(ctx, emit) }

type senderFunc func(ctx context.Context, addr, instance string, f *Frame) error

func (fn senderFunc) Send(ctx context.Context, addr, instance string, f *Frame) error {
	return fn(ctx, addr, instance, f)
}

// markEncoder makes a picture of one byte that says how it was encoded.
type markEncoder struct{}

func (markEncoder) Encode(img Image, to tiering.Encoding, quality int) (Image, error) {
	format, err := formatOf(to)
	return Image{Format: format, Width: img.Width, Height: img.Height, Data: []byte{byte(quality)}}, err
}

func offerOf(instance, group, node string, resolution int) tiering.Offer {
	return tiering.Offer{
		Instance: instance, Group: group, Node: node, Tier: tiering.Fog, Address: node,
		Link:    tiering.Link{From: "x", To: group, Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 80},
		Accepts: tiering.Data{Type: "image", Resolution: resolution},
	}
}

func newTestRouter(t *testing.T, cfg RouterConfig, local Receiver, sender Sender) *Router {
	t.Helper()
	if cfg.Node == "" {
		cfg.Node = "here"
	}
	cfg.Tier, cfg.Group, cfg.Encoder = tiering.Edge, "from", markEncoder{}
	if cfg.Outbox == 0 {
		cfg.Outbox, cfg.Concurrency = 4, 1
	}
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	if local == nil {
		local = ReceiverFunc(func(i string, f *Frame) { t.Errorf("frame %s for %s, which is not here", f.ID, i) })
	}
	senders := map[tiering.Transport]Sender{}
	if sender != nil {
		senders[tiering.QUIC] = sender
	}
	r, err := NewRouter(cfg, local, senders)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// offersHere are instances of a group each on this node.
func offersHere(instances ...string) []tiering.Offer {
	var out []tiering.Offer
	for _, i := range instances {
		out = append(out, offerOf(i, i, "here", 0))
	}
	return out
}
