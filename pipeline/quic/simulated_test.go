package quic

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

func TestNewerAndMoreUrgentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 4*mbit, 10*time.Millisecond, 0)
		in := &inbox{}
		edge, _ := n.start(n.config(edgeAddr), deliver), n.start(n.config(fogAddr), in)
		mustSend(t, edge, fogPeer, newParcel(1, 100, time.Minute))

		// Each is handed over while the ones before wait or are being written.
		var wg sync.WaitGroup
		for i, c := range []struct {
			size     int
			deadline time.Duration
		}{
			{1_000_000, 0}, // takes 2 s, and is not urgent
			{1_000_000, time.Minute},
			{100_000, time.Minute},
			{100_000, time.Minute},
			{20_000, time.Second},
			{20_000, 0},
		} {
			sleep(50 * time.Millisecond)
			p := newParcel(uint64(i+2), c.size, c.deadline)
			wg.Go(func() { mustSend(t, edge, fogPeer, p) })
		}
		wg.Wait()
		eventually(t, "all to arrive", func() bool { return len(in.seqs()) == 7 })
		if got, want := in.seqs(), []uint64{1, 6, 3, 5, 4, 2, 7}; !slices.Equal(got, want) {
			t.Errorf("arrived in order %v, want %v", got, want)
		}
	})
}

// A source makes four times what the link can carry: what arrives is fresh,
// the link is busy with frames that arrive, and every frame is accounted for.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			frames   = 200
			size     = 40_000
			deadline = time.Second
			every    = 40 * time.Millisecond
			rate     = 2 * mbit
		)
		n := newNetwork(t, rate, 20*time.Millisecond, 0)
		in := &inbox{}
		edge, _ := n.start(n.config(edgeAddr), deliver), n.start(n.config(fogAddr), in)

		var (
			wg     sync.WaitGroup
			mu     sync.Mutex
			counts = map[pipeline.Reason]int{}
		)
		for seq := range uint64(frames) {
			wg.Go(func() {
				p := newParcel(seq, size, deadline)
				err := edge.Send(t.Context(), fogPeer, "detect", p.Frame)
				reason := pipeline.ReasonDeadline
				switch {
				case err == nil:
					reason = p.await(t).Reason
				case !errors.Is(err, pipeline.ErrLate):
					t.Errorf("send: %v", err)
				}
				mu.Lock()
				counts[reason]++
				mu.Unlock()
			})
			sleep(every)
		}
		wg.Wait()
		for _, a := range in.got {
			if age := a.Age(a.at); age > deadline+100*time.Millisecond {
				t.Errorf("frame %d arrived %s old", a.ID.Seq, age)
			}
		}
		if total := counts[pipeline.ReasonNone] + counts[pipeline.ReasonDeadline] + counts[pipeline.ReasonLink]; total != frames {
			t.Errorf("%d frames accounted for of %d: %v", total, frames, counts)
		}
		carries := int(rate * (frames * every).Seconds() / size)
		if got := counts[pipeline.ReasonNone]; got < carries/2 || got != len(in.got) {
			t.Errorf("%d delivered, %d arrived; the link could carry %d: %v", got, len(in.got), carries, counts)
		}
		t.Logf("delivered %d of the %d that the link could carry, of %d: %v", counts[pipeline.ReasonNone], carries, frames, counts)
		if s := edge.Stats()[0]; int(s.Cancelled+s.Settled[pipeline.ReasonDeadline]) != counts[pipeline.ReasonDeadline] {
			t.Errorf("stats %+v: want %v", s, counts)
		}
	})
}

func TestCancelledAtDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, mbit, 10*time.Millisecond, 0)
		in := &inbox{}
		edge, fog := n.start(n.config(edgeAddr), deliver), n.start(n.config(fogAddr), in)
		mustSend(t, edge, fogPeer, newParcel(1, 100, 0))

		began := time.Now()
		late := newParcel(2, 1_000_000, 300*time.Millisecond) // needs 8 s
		err := edge.Send(t.Context(), fogPeer, "detect", late.Frame)
		if !errors.Is(err, pipeline.ErrLate) {
			t.Fatalf("send: %v, want ErrLate", err)
		}
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("cancelled after %s, want 300ms", took)
		}
		next := newParcel(3, 1000, time.Second)
		mustSend(t, edge, fogPeer, next)
		if o := next.await(t); !o.Delivered() {
			t.Errorf("the frame after: %+v", o)
		}
		if got := in.seqs(); !slices.Equal(got, []uint64{1, 3}) {
			t.Errorf("arrived %v, want 1 and 3", got)
		}
		if s := edge.Stats()[0]; s.Cancelled != 1 || s.Sent != 2 {
			t.Errorf("sender counts %d cancelled and %d sent, want 1 and 2", s.Cancelled, s.Sent)
		}
		if got := fog.Stats()[0].Refused; got[pipeline.ReasonDeadline] != 1 {
			t.Errorf("receiver counts %v refused, want 1 for its deadline", got)
		}
	})
}

// A frame that was written but not received when its deadline passes is not
// repeated; the receiver says so.
func TestNotRepeatedAfterDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 10*time.Millisecond, 0)
		in := &inbox{}
		cfg := n.config(edgeAddr)
		cfg.Grace = 2 * time.Second
		edge, _ := n.start(cfg, deliver), n.start(n.config(fogAddr), in)
		mustSend(t, edge, fogPeer, newParcel(1, 100, 0))
		eventually(t, "it to arrive", func() bool { return len(in.seqs()) == 1 })

		n.unplug(fogAddr, true)
		lost := newParcel(2, 2000, 200*time.Millisecond)
		mustSend(t, edge, fogPeer, lost)
		sleep(300 * time.Millisecond)
		n.unplug(fogAddr, false)
		if o := lost.await(t); o.Reason != pipeline.ReasonDeadline && o.Reason != pipeline.ReasonLink {
			t.Errorf("settled as %+v, want its deadline or the link", o)
		}
		next := newParcel(3, 1000, 5*time.Second)
		mustSend(t, edge, fogPeer, next)
		if o := next.await(t); !o.Delivered() {
			t.Errorf("the frame after: %+v", o)
		}
		if got := in.seqs(); !slices.Equal(got, []uint64{1, 3}) {
			t.Errorf("arrived %v, want 1 and 3", got)
		}
	})
}

func TestLossyLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 20*mbit, 15*time.Millisecond, 0.05)
		edge, _ := n.start(n.config(edgeAddr), deliver), n.start(n.config(fogAddr), deliver)
		var parcels []parcel
		for seq := range uint64(50) {
			p := newParcel(seq, 20_000, 0)
			mustSend(t, edge, fogPeer, p)
			parcels = append(parcels, p)
		}
		for _, p := range parcels {
			if o := p.await(t); !o.Delivered() {
				t.Errorf("frame %d: %+v", p.ID.Seq, o)
			}
		}
		s := edge.Stats()[0]
		if s.Settled[pipeline.ReasonNone] != 50 || s.Sent != 50 || s.SentBytes < 50*20_000 || s.InFlight != 0 {
			t.Errorf("stats %+v: want 50 frames sent and delivered", s)
		}
		if s.PacketsLost == 0 || s.PacketsLost > s.PacketsSent/2 || s.RTT < 30*time.Millisecond {
			t.Errorf("stats %+v: want some packets lost and a round trip of 30 ms", s)
		}
	})
}

// The clocks of two nodes have nothing in common (each counts from when its
// link was made), yet the receiver knows how old a frame is.
func TestTransferTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 40 * time.Millisecond
		n := newNetwork(t, 1000*mbit, delay, 0)
		in := &inbox{}
		edge := n.start(n.config(edgeAddr), deliver)
		sleep(time.Hour)
		n.start(n.config(fogAddr), in)
		for seq := range uint64(3) { // the first before any ping was answered
			p := newParcel(seq, 1000, time.Minute)
			captured, deadline := p.Captured, p.Deadline
			mustSend(t, edge, fogPeer, p)
			p.await(t)
			a := in.got[seq]
			span := a.Spans[len(a.Spans)-1]
			if span.Kind != pipeline.SpanTransfer || span.Duration < delay {
				t.Errorf("span %+v: want a transfer of at least %s", span, delay)
			}
			if seq == 0 {
				continue // waited for the connection, of which nothing is known yet
			}
			if off := (span.Duration - delay).Abs(); off > time.Millisecond {
				t.Errorf("frame %d: transfer of %s, want %s", seq, span.Duration, delay)
			}
			if off := a.Captured.Sub(captured).Abs(); off > time.Millisecond {
				t.Errorf("frame %d: captured is off by %s", seq, off)
			}
			if off := a.Deadline.Sub(deadline).Abs(); off > time.Millisecond {
				t.Errorf("frame %d: deadline is off by %s", seq, off)
			}
		}

		// A frame's wait for the one before it is part of its transfer.
		n.limit(mbit)
		var wg sync.WaitGroup
		wg.Go(func() { mustSend(t, edge, fogPeer, newParcel(3, 500_000, time.Minute)) })
		sleep(100 * time.Millisecond)
		p := newParcel(4, 1000, time.Minute)
		captured := p.Captured
		mustSend(t, edge, fogPeer, p)
		wg.Wait()
		p.await(t)
		a := in.got[slices.Index(in.seqs(), 4)]
		if took := a.at.Sub(captured); took < time.Second {
			t.Fatalf("arrived after %s and did not wait", took)
		}
		if off := a.Captured.Sub(captured).Abs(); off > time.Millisecond {
			t.Errorf("frame that waited: captured is off by %s", off)
		}
	})
}

func TestUnreachableFailsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 10*time.Millisecond, 0)
		edge := n.start(n.config(edgeAddr), deliver)
		send := func() (error, time.Duration) {
			began := time.Now()
			return edge.Send(t.Context(), fogPeer, "detect", frame(1, 100, time.Minute)), time.Since(began)
		}
		err, took := send()
		if !errors.Is(err, pipeline.ErrUnreachable) || took > 2*answerWithin {
			t.Fatalf("first send: %v after %s, want ErrUnreachable", err, took)
		}
		t.Log(err)
		for range 100 {
			if err, took := send(); !errors.Is(err, pipeline.ErrUnreachable) || took != 0 {
				t.Fatalf("send while backing off: %v after %s, want ErrUnreachable at once", err, took)
			}
			sleep(20 * time.Millisecond)
		}
		n.start(n.config(fogAddr), deliver)
		eventually(t, "frames to flow", func() bool { err, _ := send(); return err == nil })
	})
}

func TestIdleConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 10*time.Millisecond, 0)
		edgeCfg, fogCfg := n.config(edgeAddr), n.config(fogAddr)
		edgeCfg.Silence, fogCfg.Silence = pingEvery/2, pingEvery/2 // needs more than pings
		edge, fog := n.start(edgeCfg, deliver), n.start(fogCfg, deliver)
		connected := func() bool { return edge.Stats()[0].Connected && fog.Stats()[0].Connected }
		for seq := range uint64(2) {
			p := newParcel(seq, 100, time.Minute)
			mustSend(t, edge, fogPeer, p)
			p.await(t)
			sleep(30 * time.Second)
			if !connected() {
				t.Fatal("closed before it was idle for long")
			}
			sleep(2 * time.Minute)
			if connected() {
				t.Fatal("an idle connection is not closed")
			}
		}
		if s := edge.Stats()[0]; s.Sent != 2 || s.PacketsSent == 0 {
			t.Errorf("stats %+v: want what both connections did", s)
		}
		sleep(3 * forgetAfter)
		if s := edge.Stats(); len(s) != 0 {
			t.Errorf("a peer not heard of for long is remembered: %+v", s)
		}
	})
}

// A node that lost its power says nothing: what was on its way is settled when
// it has been silent for long enough.
func TestPeerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 10*time.Millisecond, 0)
		held := pipeline.ReceiverFunc(func(string, *pipeline.Frame) {})
		edge, _ := n.start(n.config(edgeAddr), deliver), n.start(n.config(fogAddr), held)
		p := newParcel(1, 100, time.Minute)
		mustSend(t, edge, fogPeer, p)
		sleep(time.Second)
		began := time.Now()
		n.unplug(fogAddr, true)
		if o := p.await(t); o.Reason != pipeline.ReasonLink {
			t.Errorf("settled as %+v, want the link", o)
		}
		if took := time.Since(began); took > 2*edge.cfg.Silence {
			t.Errorf("settled after %s of silence, want %s", took, edge.cfg.Silence)
		}
	})
}

// A node that is killed and started again at the same address, with the same
// certificate, tells its peers that it has forgotten them.
func TestPeerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 10*time.Millisecond, 0)
		edgeCfg, fogCfg := n.config(edgeAddr), n.config(fogAddr)
		edgeCfg.Silence, fogCfg.Silence = time.Hour, time.Hour
		edge, killed := n.start(edgeCfg, deliver), n.start(fogCfg, deliver)
		p := newParcel(1, 100, time.Minute)
		mustSend(t, edge, fogPeer, p)
		p.await(t)

		n.unplug(fogAddr, true)
		killed.stop()
		n.unplug(fogAddr, false)
		n.start(fogCfg, deliver)
		began := time.Now()
		for seq := uint64(2); ; seq++ {
			p := newParcel(seq, 100, 200*time.Millisecond)
			if err := edge.Send(t.Context(), fogPeer, "detect", p.Frame); err == nil && p.await(t).Delivered() {
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatal("no frame was delivered within 10s of the restart")
			}
		}
		t.Logf("delivered %s after the restart", time.Since(began))
	})
}

// A receiver that is stopped still says what it knows.
func TestOutcomesBeforeGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 30*time.Millisecond, 0)
		held := make(chan *pipeline.Frame, 2)
		edge := n.start(n.config(edgeAddr), deliver)
		fog := n.start(n.config(fogAddr), pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) { held <- f }))
		known, unknown := newParcel(1, 100, time.Minute), newParcel(2, 100, time.Minute)
		mustSend(t, edge, fogPeer, known)
		mustSend(t, edge, fogPeer, unknown)
		for range 2 {
			if f := <-held; f.ID == known.ID {
				f.Settle(pipeline.Outcome{Stage: "draw"})
			}
		}
		fog.stop()
		if o := known.await(t); !o.Delivered() || o.Stage != "draw" {
			t.Errorf("settled as %+v, want delivered by draw", o)
		}
		if o := unknown.await(t); o.Reason != pipeline.ReasonLink {
			t.Errorf("settled as %+v, want the link", o)
		}
	})
}

// The peer restarts while one frame is being written to it and another waits:
// the first is lost, the second goes over the next connection.
func TestWaitingFrameOutlivesConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, mbit, 10*time.Millisecond, 0)
		fogCfg := n.config(fogAddr)
		edge, fog := n.start(n.config(edgeAddr), deliver), n.start(fogCfg, deliver)
		p := newParcel(1, 100, time.Minute)
		mustSend(t, edge, fogPeer, p)
		p.await(t)

		big, small := newParcel(2, 5_000_000, time.Minute), newParcel(3, 1000, time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() {
			// The end of the connection is seen by Send or settled before.
			err := edge.Send(t.Context(), fogPeer, "detect", big.Frame)
			if !errors.Is(err, pipeline.ErrUnreachable) && (err != nil || big.await(t).Reason != pipeline.ReasonLink) {
				t.Errorf("the frame being written: %v, want ErrUnreachable", err)
			}
		})
		sleep(time.Second)
		wg.Go(func() { mustSend(t, edge, fogPeer, small) })
		sleep(time.Second)
		n.unplug(fogAddr, true) // or the dial could reach the node that stops
		fog.stop()
		n.start(fogCfg, deliver)
		n.unplug(fogAddr, false)
		wg.Wait()
		if o := small.await(t); !o.Delivered() {
			t.Errorf("the frame that waited: %+v", o)
		}
	})
}

func TestSendOutsideRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 10*time.Millisecond, 0)
		n.start(n.config(fogAddr), deliver)
		l := n.make(n.config(edgeAddr), deliver)
		if err := l.Send(t.Context(), fogPeer, "detect", frame(1, 100, time.Second)); !errors.Is(err, pipeline.ErrLate) {
			t.Errorf("send before run: %v, want ErrLate when its time is over", err)
		}
		first := newParcel(2, 100, time.Minute)
		sent := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { sent <- l.Send(ctx, fogPeer, "detect", first.Frame) }()
		synctest.Wait()
		edge := start(t, l)
		if err := <-sent; err != nil {
			t.Errorf("send that waited for run: %v", err)
		}
		first.await(t)
		edge.stop()
		if err := edge.Send(t.Context(), fogPeer, "detect", frame(3, 100, 0)); !errors.Is(err, pipeline.ErrClosed) {
			t.Errorf("send after run: %v, want ErrClosed", err)
		}
		if err := edge.Run(t.Context()); !errors.Is(err, pipeline.ErrClosed) {
			t.Errorf("run again: %v, want ErrClosed", err)
		}
	})
}

// A camera's frames over a link that loses one packet in a hundred, and has
// bandwidth: Reno over one connection carries a quarter of them.
func TestLossyPathGetsMoreConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			frames  = 900
			size    = 60_000
			allowed = 200 * time.Millisecond
		)
		n := newNetwork(t, 1000*mbit, 20*time.Millisecond, 0.01)
		in := &inbox{}
		edge, fog := n.start(n.config(edgeAddr), deliver), n.start(n.config(fogAddr), in)
		p := newParcel(1<<40, 100, time.Minute)
		mustSend(t, edge, fogPeer, p)
		p.await(t)
		var wg sync.WaitGroup
		for seq := range uint64(frames) {
			wg.Go(func() { _ = edge.Send(t.Context(), fogPeer, "detect", frame(seq, size, allowed)) })
			sleep(time.Second / 30)
		}
		wg.Wait()
		eventually(t, "all to be settled", func() bool { return edge.Stats()[0].InFlight == 0 })
		onTime := 0
		in.mu.Lock()
		defer in.mu.Unlock()
		for _, a := range in.got {
			if a.Age(a.at) <= allowed {
				onTime++
			}
		}
		s := edge.Stats()[0]
		t.Logf("%d of %d on time over %d connections, %d of %d packets lost", onTime, frames, s.Connections, s.PacketsLost, s.PacketsSent)
		if onTime < frames/2 || // goroutines run in any order, so it is another path each time
			s.Connections < 2 || s.Connections > maxLanes {
			t.Errorf("%d of %d on time over %d connections", onTime, frames, s.Connections)
		}
		// Those that are not needed go, the peer's when it hears of it or hears nothing more.
		sleep(time.Minute + time.Second)
		if s := edge.Stats()[0]; s.Connections != 0 {
			t.Errorf("unused for a minute: %+v", s)
		}
		sleep(6 * time.Second)
		if s := fog.Stats()[0]; s.Connected {
			t.Errorf("the peer of what was unused: %+v", s)
		}
	})
}

// The first release takes one connection from a peer, and closes it when there is
// another. That is found out, and then left alone.
func TestPeerThatTakesOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 1000*mbit, 20*time.Millisecond, 0.01)
		in := &inbox{}
		cfg := n.config(fogAddr)
		cfg.lanes = 1
		edge, _ := n.start(n.config(edgeAddr), deliver), n.start(cfg, in)
		var wg sync.WaitGroup
		var late, lost atomic.Int64
		for seq := range uint64(300) {
			wg.Go(func() {
				p := newParcel(seq, 60_000, 500*time.Millisecond)
				switch err := edge.Send(t.Context(), fogPeer, "detect", p.Frame); {
				case errors.Is(err, pipeline.ErrLate):
					late.Add(1)
				case err != nil || p.await(t).Reason == pipeline.ReasonLink:
					lost.Add(1)
				}
			})
			sleep(time.Second / 30)
		}
		wg.Wait()
		if s := edge.Stats()[0]; s.Connections != 1 || late.Load() == 0 {
			t.Errorf("%d connections; %d late of 300", s.Connections, late.Load())
		}
		if n := lost.Load(); n > 15 { // those under way, half a second's, when it was closed
			t.Errorf("%d frames lost with a connection", n)
		}
	})
}
