package linktest

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// Frames sent one after another, each when the one before is settled, arrive
// in that order.
func testOrder(b *bench) {
	const n = 20
	for range n {
		b.outcome(b.mustSend("detect", b.frame(1000)))
	}
	for i, a := range b.received(n) {
		if want := uint64(i + 1); a.frame.ID.Seq != want || a.instance != "detect" {
			b.Fatalf("arrival %d is frame %d for %q, want %d for detect", i, a.frame.ID.Seq, a.instance, want)
		}
	}
}

// Frames sent without waiting all arrive, in whatever order.
func testBurst(b *bench) {
	const n = 100
	for range n {
		b.mustSend("detect", b.frame(20_000))
	}
	b.settled()
	if got := len(b.received(n)); got != n {
		b.Fatalf("%d frames arrived, want %d", got, n)
	}
	b.eachOutcome(pipeline.ReasonNone)
}

// Everything in a frame but its times arrives as it was sent.
func testContent(b *bench) {
	full := b.frame(maxImage)
	full.Model = "hog-people"
	full.Detections = []pipeline.Detection{
		{Label: "person", Class: 14, Score: 0.1 + 0.2, Box: pipeline.Box{X: 1. / 3, Y: 0.25, W: 1e-9, H: 1}},
		{Label: "Fußgänger", Class: 0, Score: 1, Box: pipeline.Box{X: -0.01, Y: 0, W: 1.02, H: 0.5}},
	}
	full.Spans = []pipeline.Span{
		{Stage: "gate", Kind: pipeline.SpanCapture, Duration: 3 * time.Millisecond},
		{Stage: "resize", Kind: pipeline.SpanQueue, Duration: 0},
		{Stage: "resize", Kind: pipeline.SpanExecute, Duration: 12345},
	}
	raw := b.frame(0)
	raw.Image = pipeline.Image{Format: pipeline.BGR, Width: 5, Height: 3, Data: picture(9, 45)}
	bare := b.frame(0) // results without a picture
	bare.Image = pipeline.Image{}
	bare.Detections = full.Detections

	for i, f := range []*pipeline.Frame{full, raw, bare} {
		want := pipeline.Frame{
			ID: f.ID, Quality: f.Quality, SourceWidth: f.SourceWidth, SourceHeight: f.SourceHeight,
			Image: f.Image, Model: f.Model, Detections: f.Detections, Spans: f.Spans,
		}
		b.outcome(b.mustSend("detect", f))
		got := b.received(i + 1)[i].frame
		n := len(got.Spans) - 1
		if n < 0 || got.Spans[n].Kind != pipeline.SpanTransfer || got.Spans[n].Stage != "" || got.Spans[n].Duration < 0 {
			b.Fatalf("spans %+v: the last must be a transfer of no stage", got.Spans)
		}
		for _, c := range []struct {
			what      string
			got, want any
		}{
			{"id", got.ID, want.ID},
			{"quality", got.Quality, want.Quality},
			{"source size", [2]int{got.SourceWidth, got.SourceHeight}, [2]int{want.SourceWidth, want.SourceHeight}},
			{"picture", fmt.Sprintf("%+v", got.Image), fmt.Sprintf("%+v", want.Image)},
			{"model", got.Model, want.Model},
			{"detections", fmt.Sprint(got.Detections), fmt.Sprint(want.Detections)},
			{"spans", fmt.Sprint(got.Spans[:n]), fmt.Sprint(want.Spans)},
		} {
			if !reflect.DeepEqual(c.got, c.want) {
				b.Errorf("frame %d: %s\n%.200v, want\n%.200v", i, c.what, c.got, c.want)
			}
		}
	}
}

// Times arrive as durations put back on this process's clock. What the link gets
// wrong is less than it took to arrive and the round trip by which it compared the
// clocks, and on a busy machine that is milliseconds.
func testTimes(b *bench) {
	b.usable() // a link may need a round trip before it can tell times
	before := len(b.received(1))

	start := time.Now()
	f := b.frame(1000)
	f.Captured = start.Add(-10 * time.Minute)
	captured, deadline := f.Captured, f.Deadline
	b.outcome(b.mustSend("detect", f))
	none := b.frame(1000)
	none.Deadline = time.Time{}
	b.outcome(b.mustSend("detect", none))

	got := b.received(before + 2)[before:]
	took := got[0].at.Sub(start) + time.Second
	if off := got[0].frame.Captured.Sub(captured).Abs(); off > took {
		b.Errorf("captured is off by %s after %s under way", off, took)
	}
	if off := got[0].frame.Deadline.Sub(deadline).Abs(); off > took {
		b.Errorf("deadline is off by %s after %s under way", off, took)
	}
	spans := got[0].frame.Spans
	if d := spans[len(spans)-1].Duration; d > took {
		b.Errorf("transfer of %s, but it arrived within %s", d, took)
	}
	if !got[1].frame.Deadline.IsZero() {
		b.Errorf("a frame without a deadline got %s", got[1].frame.Deadline)
	}
}

// What the receiver settles a frame with is what the sender's is settled with.
func testOutcomes(b *bench) {
	var n int
	for _, reason := range []pipeline.Reason{
		pipeline.ReasonNone, pipeline.ReasonQueueFull, pipeline.ReasonDeadline, pipeline.ReasonLink, pipeline.ReasonNoRoute,
		pipeline.ReasonStage, pipeline.ReasonOversized, pipeline.ReasonMalformed, pipeline.ReasonShutdown, pipeline.ReasonLost, pipeline.ReasonFiltered,
	} {
		n++
		want := pipeline.Outcome{Reason: reason, Stage: "detect", Age: time.Duration(n) * time.Second}
		b.arrive(func(_ string, f *pipeline.Frame) {
			f.Settle(want)
			f.Settle(pipeline.Outcome{Reason: pipeline.ReasonLost}) // only the first counts
		})
		if got := b.outcome(b.mustSend("detect", b.frame(100))); got != want {
			b.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// A frame that asks is answered with what was found in it.
func testFindings(b *bench) {
	want := pipeline.Finding{Model: "street", Detections: []pipeline.Detection{
		{Label: "car", Class: 1, Score: 0.75, Box: pipeline.Box{X: 0.1, Y: 0.2, W: 0.3, H: 0.4}}, {Label: "person", Score: 0.1},
	}}
	var asked atomic.Bool // the answer's way over the network orders nothing for the race detector
	b.arrive(func(_ string, f *pipeline.Frame) {
		asked.Store(f.Ask)
		f.Settle(pipeline.Outcome{Stage: "detect", Found: &want})
	})
	f := b.frame(100)
	f.Ask = true
	got := b.outcome(b.mustSend("detect", f))
	if !asked.Load() || got.Found == nil || !reflect.DeepEqual(*got.Found, want) {
		b.Errorf("asked %t, answered %+v, want %+v", asked.Load(), got.Found, want)
	}
}

// Many goroutines send and settle at once.
func testConcurrentSenders(b *bench) {
	const senders, each = 8, 25
	var settlers sync.WaitGroup
	b.arrive(func(i string, f *pipeline.Frame) { settlers.Go(func() { deliver(i, f) }) })
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				ctx, cancel := context.WithTimeout(b.Context(), patience)
				if _, err := b.send(ctx, fmt.Sprintf("stage%d", s%2), b.frame(1000*(i+1))); err != nil {
					b.Errorf("send: %v", err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	b.settled()
	if got := len(b.received(senders * each)); got != senders*each {
		b.Errorf("%d frames arrived, want %d", got, senders*each)
	}
	settlers.Wait()
	b.eachOutcome(pipeline.ReasonNone)
}

// A receiver that keeps the frames of one instance holds up neither those of
// another nor, once their deadlines have passed, the sender's memory.
func testSlowReader(b *bench) {
	b.arrive(func(instance string, f *pipeline.Frame) {
		if instance != "slow" {
			deliver(instance, f)
		}
	})
	const n = 50
	for range n {
		f := b.frame(100_000)
		f.Deadline = time.Now().Add(time.Second)
		ctx, cancel := context.WithTimeout(b.Context(), patience)
		if _, err := b.send(ctx, "slow", f); err != nil && !refusal(err) {
			b.Errorf("send to the slow instance: %v", err)
		}
		if p := b.mustSend("fast", b.frame(1000)); !b.outcome(p).Delivered() {
			b.Errorf("a frame for the fast instance: %+v", b.outcome(p))
		}
		cancel()
	}
	b.settled()
	b.eventually("the frames held by the peer to be given up", func() bool { return b.InFlight() == 0 })
	// Now the slow instance is done with them, too late to matter.
	for _, a := range b.received(0) {
		a.frame.Settle(pipeline.Outcome{Stage: "slow"})
	}
	b.usable()
}

// A frame past its deadline is not sent.
func testLate(b *bench) {
	f := b.frame(100)
	f.Deadline = time.Now().Add(-time.Millisecond)
	if _, err := b.send(b.Context(), "detect", f); !isErr(err, pipeline.ErrLate) {
		b.Fatalf("send of a late frame: %v, want ErrLate", err)
	}
	next := b.frame(100)
	b.outcome(b.mustSend("detect", next))
	for _, a := range b.received(1) {
		if a.frame.ID != next.ID {
			b.Errorf("late frame %s arrived", a.frame.ID)
		}
	}
}

// The peer says nothing of a frame: it is given up soon after its deadline,
// and what the peer says then changes nothing.
func testDeadlineAtPeer(b *bench) {
	b.usable() // connected
	before := len(b.received(1))
	b.hold()
	f := b.frame(100)
	f.Deadline = time.Now().Add(time.Second)
	p := b.mustSend("detect", f)
	held := b.received(before + 1)[before].frame
	if o := b.outcome(p); o.Reason != pipeline.ReasonLink && o.Reason != pipeline.ReasonDeadline {
		b.Errorf("settled as %q, want %q or %q", o.Reason, pipeline.ReasonLink, pipeline.ReasonDeadline)
	}
	if now := time.Now(); !f.Late(now) {
		b.Errorf("given up %s before the deadline", f.Deadline.Sub(now))
	}
	held.Settle(pipeline.Outcome{Stage: "detect"})
	b.usable()
}

func (b *bench) eachOutcome(want pipeline.Reason) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.sent {
		for _, o := range p.outcomes {
			if o.Reason != want {
				b.Errorf("%s: settled as %+v, want reason %q", p.id, o, want)
			}
		}
	}
}
