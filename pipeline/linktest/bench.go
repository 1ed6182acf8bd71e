package linktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

const (
	// patience is how long what must happen is waited for: long enough for a
	// loaded machine, and never waited out when the link works.
	patience = 20 * time.Second
	grace    = 300 * time.Millisecond
	// plenty is a time left that no case lets run out.
	plenty   = 2 * time.Minute
	maxImage = 256 << 10
)

// bench is one case's pair with the records of what was sent and received.
type bench struct {
	*testing.T
	Pair

	mu       sync.Mutex
	seq      uint64
	sent     []*parcel
	arrived  []arrival
	onArrive func(instance string, f *pipeline.Frame)
}

// parcel is a frame handed to Send, with all that became of it.
type parcel struct {
	id       pipeline.FrameID
	returned bool
	err      error
	outcomes []pipeline.Outcome
}

type arrival struct {
	instance string
	frame    *pipeline.Frame
	at       time.Time
}

func newBench(t *testing.T, f Factory) *bench {
	b := &bench{T: t}
	b.onArrive = deliver
	limits := pipeline.DefaultLimits()
	limits.Image = maxImage
	b.Pair = f(t, pipeline.ReceiverFunc(b.receive), Options{Limits: limits, Grace: grace, Log: slog.New(slog.DiscardHandler)})
	return b
}

// deliver settles a frame as delivered.
func deliver(_ string, f *pipeline.Frame) {
	f.Settle(pipeline.Outcome{Stage: "peer", Age: max(f.Age(time.Now()), 0)})
}

func (b *bench) receive(instance string, f *pipeline.Frame) {
	b.mu.Lock()
	b.arrived = append(b.arrived, arrival{instance, f, time.Now()})
	fn := b.onArrive
	b.mu.Unlock()
	fn(instance, f)
}

// arrive sets what the receiver does with frames from now on.
func (b *bench) arrive(fn func(instance string, f *pipeline.Frame)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onArrive = fn
}

// hold makes the receiver keep frames instead of settling them.
func (b *bench) hold() { b.arrive(func(string, *pipeline.Frame) {}) }

// frame makes a frame with a picture of that many bytes, unlike any other's.
func (b *bench) frame(size int) *pipeline.Frame {
	b.mu.Lock()
	b.seq++
	seq := b.seq
	b.mu.Unlock()
	now := time.Now()
	return &pipeline.Frame{
		ID:       pipeline.FrameID{Workflow: "people", Source: "gate", Epoch: 7, Seq: seq},
		Captured: now, Deadline: now.Add(plenty), Quality: 512, SourceWidth: 768, SourceHeight: 576,
		Image: pipeline.Image{Format: pipeline.JPEG, Width: 512, Height: 384, Data: picture(seq, size)},
	}
}

func picture(seq uint64, size int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%08x", seq)), size/8+1)[:size]
}

// send hands the frame over and records everything that becomes of it.
func (b *bench) send(ctx context.Context, instance string, f *pipeline.Frame) (*parcel, error) {
	p := &parcel{id: f.ID}
	f.OnSettle(func(o pipeline.Outcome) {
		b.mu.Lock()
		defer b.mu.Unlock()
		p.outcomes = append(p.outcomes, o)
	})
	b.mu.Lock()
	b.sent = append(b.sent, p)
	b.mu.Unlock()
	err := b.Sender.Send(ctx, b.Addr, instance, f)
	b.mu.Lock()
	defer b.mu.Unlock()
	p.returned, p.err = true, err
	return p, err
}

// mustSend is send where nothing stands in the way.
func (b *bench) mustSend(instance string, f *pipeline.Frame) *parcel {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	p, err := b.send(ctx, instance, f)
	if err != nil {
		b.Fatalf("send %s: %v", f.ID, err)
	}
	return p
}

// outcome waits until the parcel is settled.
func (b *bench) outcome(p *parcel) pipeline.Outcome {
	b.Helper()
	b.eventually(fmt.Sprintf("%s to be settled", p.id), func() bool { return len(p.outcomes) > 0 })
	b.mu.Lock()
	defer b.mu.Unlock()
	return p.outcomes[0]
}

// settled waits until every frame that was handed over is.
func (b *bench) settled() {
	b.Helper()
	b.eventually("every frame to be settled", func() bool {
		for _, p := range b.sent {
			if !p.returned || p.err == nil && len(p.outcomes) == 0 {
				return false
			}
		}
		return true
	})
}

// received waits until n frames have arrived and returns them.
func (b *bench) received(n int) []arrival {
	b.Helper()
	b.eventually(fmt.Sprintf("%d frames to arrive", n), func() bool { return len(b.arrived) >= n })
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]arrival(nil), b.arrived...)
}

// usable sends frames until one is delivered.
func (b *bench) usable() {
	b.Helper()
	b.arrive(deliver)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		f := b.frame(100)
		f.Deadline = time.Now().Add(time.Second)
		ctx, cancel := context.WithTimeout(b.Context(), patience)
		p, err := b.send(ctx, "again", f)
		cancel()
		if err != nil {
			b.pause()
			continue
		}
		if b.outcome(p).Delivered() {
			return
		}
	}
	b.Fatalf("no frame was delivered within %s", patience)
}

// audit checks what holds whatever happened: a frame handed over is settled
// exactly once, one that was refused never; none arrives twice; nothing stays
// behind.
func (b *bench) audit() {
	b.Helper()
	b.settled()
	b.eventually("no frame to be in flight", func() bool { return b.InFlight() == 0 })
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.sent {
		switch {
		case p.err == nil && len(p.outcomes) != 1:
			b.Errorf("%s: handed over, settled %d times: %v", p.id, len(p.outcomes), p.outcomes)
		case p.err != nil && len(p.outcomes) != 0:
			b.Errorf("%s: Send said %v and yet the link settled it: %v", p.id, p.err, p.outcomes)
		}
	}
	seen := map[pipeline.FrameID]bool{}
	for _, a := range b.arrived {
		if seen[a.frame.ID] {
			b.Errorf("%s arrived twice", a.frame.ID)
		}
		seen[a.frame.ID] = true
	}
	for _, p := range b.sent {
		for _, o := range p.outcomes {
			if o.Delivered() && !seen[p.id] {
				b.Errorf("%s was settled as delivered and never arrived", p.id)
			}
		}
	}
}

// eventually waits for cond, which is called with b.mu held.
func (b *bench) eventually(what string, cond func() bool) {
	b.Helper()
	ok := func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return cond()
	}
	for end := time.Now().Add(patience); !ok(); b.pause() {
		if time.Now().After(end) {
			b.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// pause lets a poll wait a moment.
func (b *bench) pause() {
	t := time.NewTimer(2 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.Context().Done():
	}
}

// refusal reports whether err is one that Send may return while the
// connection is broken.
func refusal(err error) bool {
	return errors.Is(err, pipeline.ErrUnreachable) || errors.Is(err, pipeline.ErrLate) || errors.Is(err, pipeline.ErrFull)
}
