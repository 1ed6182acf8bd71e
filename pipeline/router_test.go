package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/tiering"
)

func TestRouterDeliversAtTheEnd(t *testing.T) {
	r := newTestRouter(t, RouterConfig{}, nil, nil)
	var c fates
	r.Forward(c.frame(1, 0))
	late := c.frame(2, 0)
	late.Deadline = time.Now()
	r.Forward(late)
	c.want(t, map[Reason]int{ReasonNone: 1, ReasonDeadline: 1})
}

// A frame that asks is answered with what was found in it, if it was analysed.
func TestRouterAnswers(t *testing.T) {
	r := newTestRouter(t, RouterConfig{}, nil, nil)
	for _, tc := range []struct {
		ask   bool
		model string
		want  *Finding
	}{
		{true, "street", &Finding{"street", []Detection{{Label: "car"}}}}, {true, "", nil}, {false, "street", nil},
	} {
		f := newTestFrame(1, time.Time{})
		f.Ask, f.Model, f.Detections = tc.ask, tc.model, []Detection{{Label: "car"}}
		r.Forward(f.Frame)
		if got := (*f.outcomes)[0]; !got.Delivered() || !reflect.DeepEqual(got.Found, tc.want) {
			t.Errorf("asked %t of %q: %+v, want %+v", tc.ask, tc.model, got.Found, tc.want)
		}
	}
}

func TestRouterChooses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got journal
		local := ReceiverFunc(func(i string, f *Frame) {
			got.add("local %s %s", i, f.Image.Format)
			f.Settle(Outcome{})
		})
		sender := senderFunc(func(_ context.Context, addr, i string, f *Frame) error {
			got.add("%s %s %s %d", addr, i, f.Image.Format, f.Image.Data[0])
			f.Settle(Outcome{})
			return nil
		})
		r := newTestRouter(t, RouterConfig{}, local, sender)
		defer start(t, r.Run)()
		r.SetOffers([]tiering.Offer{
			offerOf("d512", "detect", "there", 512), offerOf("d768", "detect", "here", 768), offerOf("s", "store", "here", 0),
		})
		var c fates
		r.Forward(c.frame(1, 0))
		synctest.Wait()
		small := c.frame(2, 0)
		small.Quality = 768
		r.Forward(small)
		encoded := c.frame(3, 0)
		encoded.Image = Image{Format: JPEG, Width: 2, Height: 2, Data: []byte{7}}
		r.Forward(encoded)
		none := c.frame(4, 0)
		none.Quality = 1024
		r.Forward(none)
		synctest.Wait()
		want := []string{
			"fog/there@there d512 jpeg 7", "fog/there@there d512 jpeg 80", // not encoded again; encoded at 80
			"local d768 bgr", "local s bgr", "local s bgr", "local s bgr", "local s jpeg",
		}
		if got := got.sorted(); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		c.want(t, map[Reason]int{ReasonNone: 3, ReasonNoRoute: 1})
	})
}

func TestRouterSendErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Reason
	}{
		{ErrLate, ReasonDeadline}, {ErrUnreachable, ReasonLink}, {ErrFull, ReasonLink}, {errors.New("?"), ReasonLink},
		{ErrOversized, ReasonOversized}, {ErrMalformed, ReasonMalformed}, {ErrClosed, ReasonShutdown},
	} {
		inBubble(t, func(t *testing.T) {
			sender := senderFunc(func(context.Context, string, string, *Frame) error { return fmt.Errorf("send: %w", c.err) })
			r := newTestRouter(t, RouterConfig{}, nil, sender)
			defer start(t, r.Run)()
			r.SetOffers([]tiering.Offer{offerOf("d", "detect", "there", 0)})
			var f fates
			r.Forward(f.frame(1, 0))
			synctest.Wait()
			f.want(t, map[Reason]int{c.want: 1})
		})
	}
}

type brokenEncoder struct{}

func (brokenEncoder) Encode(Image, tiering.Encoding, int) (Image, error) {
	return Image{}, errors.New("no such colour")
}

func TestRouterEncodeError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := &logtest.Book{}
		r := newTestRouter(t, RouterConfig{Log: log.Logger()}, nil, senderFunc(nil))
		r.cfg.Encoder = brokenEncoder{}
		defer start(t, r.Run)()
		var c fates
		for i, e := range []tiering.Encoding{tiering.JPEG, tiering.PNG, tiering.Raw} {
			o := offerOf("d", "detect", "there", 0)
			o.Link.Encoding = e
			r.SetOffers([]tiering.Offer{o})
			f := c.frame(1, 0)
			f.Image.Format = []Format{BGR, JPEG, PNG}[i]
			r.Forward(f)
			synctest.Wait()
		}
		c.want(t, map[Reason]int{ReasonStage: 3})
		if n := len(log.Lines("no such colour")); n != 3 { // one for each outbox
			t.Errorf("logged %d times, want 3: %s", n, log.String())
		}
	})
}

// While a send hangs, the newest frames wait, go out newest first, and the
// rest is settled when the router stops.
func TestRouterSlowLink(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var sent journal
		gate := make(chan struct{})
		sender := senderFunc(func(ctx context.Context, _, _ string, f *Frame) error {
			select {
			case <-gate:
			case <-ctx.Done():
				return ctx.Err()
			}
			sent.add("%d", f.ID.Seq)
			f.Settle(Outcome{})
			return nil
		})
		r := newTestRouter(t, RouterConfig{Outbox: 3, Concurrency: 1}, nil, sender)
		stop := start(t, r.Run)
		r.SetOffers([]tiering.Offer{offerOf("d", "detect", "there", 0)})
		synctest.Wait()
		var c fates
		for seq := uint64(1); seq <= 6; seq++ {
			r.Forward(c.frame(seq, 0))
			synctest.Wait()
		}
		if n := r.Waiting(); n != 3 {
			t.Errorf("%d frames wait, want 3", n)
		}
		gate <- struct{}{}
		gate <- struct{}{}
		synctest.Wait()
		if got, want := sent.entries(), []string{"1", "6"}; !slices.Equal(got, want) {
			t.Errorf("sent %v, want %v", got, want)
		}
		c.want(t, map[Reason]int{ReasonNone: 2, ReasonQueueFull: 2})
		stop()
		c.want(t, map[Reason]int{ReasonNone: 2, ReasonQueueFull: 2, ReasonShutdown: 2})
		r.Forward(c.frame(7, 0))
		c.want(t, map[Reason]int{ReasonNone: 2, ReasonQueueFull: 2, ReasonShutdown: 3})
		r.SetOffers(nil)
	})
}

// The wait for a worker is part of the transfer.
func TestRouterOutboxWaitIsTransfer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var spans journal
		sender := senderFunc(func(_ context.Context, _, _ string, f *Frame) error {
			spans.add("%s of stage %q for %s", f.Spans[0].Kind, f.Spans[0].Stage, f.Spans[0].Duration)
			<-time.After(2 * time.Second)
			f.Settle(Outcome{})
			return nil
		})
		r := newTestRouter(t, RouterConfig{}, nil, sender)
		defer start(t, r.Run)()
		r.SetOffers([]tiering.Offer{offerOf("d", "detect", "there", 0)})
		var c fates
		r.Forward(c.frame(1, 0))
		synctest.Wait()
		r.Forward(c.frame(2, 0))
		pass(5 * time.Second)
		want := []string{`transfer of stage "" for 0s`, `transfer of stage "" for 2s`}
		if got := spans.entries(); !slices.Equal(got, want) {
			t.Errorf("spans %q, want %q", got, want)
		}
	})
}

// As many sends are under way as the configuration allows.
func TestRouterConcurrency(t *testing.T) {
	for _, want := range []int64{1, 3} {
		inBubble(t, func(t *testing.T) {
			var under atomic.Int64
			sender := senderFunc(func(_ context.Context, _, _ string, f *Frame) error {
				under.Add(1)
				<-time.After(time.Second)
				under.Add(-1)
				f.Settle(Outcome{})
				return nil
			})
			r := newTestRouter(t, RouterConfig{Outbox: 9, Concurrency: int(want)}, nil, sender)
			defer start(t, r.Run)()
			r.SetOffers([]tiering.Offer{offerOf("d", "detect", "there", 0)})
			var c fates
			for seq := range uint64(6) {
				r.Forward(c.frame(seq, 0))
			}
			synctest.Wait()
			if got := under.Load(); got != want {
				t.Errorf("%d sends at once, want %d", got, want)
			}
			if n := r.Unsent(); n != 6 {
				t.Errorf("%d frames wait or are being sent, want 6", n)
			}
			r.SetOffers(nil) // what is being sent is so nevertheless
			if n := r.Unsent(); n != int(want) {
				t.Errorf("%d frames are being sent, want %d", n, want)
			}
			r.SetOffers([]tiering.Offer{offerOf("d", "detect", "there", 0)})
			for seq := range uint64(6 - want) {
				r.Forward(c.frame(10+seq, 0))
			}
			pass(10 * time.Second)
			if n := r.Unsent(); n != 0 {
				t.Errorf("%d frames wait or are being sent, want none", n)
			}
			c.want(t, map[Reason]int{ReasonNone: 6, ReasonNoRoute: 6 - int(want)})
		})
	}
}

func TestRouterSetOffers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var sent journal
		sender := senderFunc(func(_ context.Context, addr, i string, f *Frame) error {
			sent.add("%s %s %d", addr, i, f.ID.Seq)
			f.Settle(Outcome{})
			return nil
		})
		r := newTestRouter(t, RouterConfig{}, nil, sender)
		a, b := offerOf("a", "detect", "n1", 512), offerOf("b", "detect", "n2", 768)
		r.SetOffers([]tiering.Offer{a, b})
		var c fates
		for seq := uint64(1); seq <= 2; seq++ {
			r.Forward(c.frame(seq, 0)) // for a
		}
		other := c.frame(3, 0)
		other.Quality = 768
		r.Forward(other) // for b
		// a moves to another node; b stays, with all that waits for it.
		moved := a
		moved.Node, moved.Address = "n3", "n3"
		r.SetOffers([]tiering.Offer{moved, b})
		defer start(t, r.Run)()
		synctest.Wait()
		if got, want := sent.sorted(), []string{"fog/n2@n2 b 3", "fog/n3@n3 a 1", "fog/n3@n3 a 2"}; !slices.Equal(got, want) {
			t.Errorf("sent %v, want %v", got, want)
		}
		c.want(t, map[Reason]int{ReasonNone: 3})
	})
}

// A group whose last instance is gone is still expected.
func TestRouterGroups(t *testing.T) {
	r := newTestRouter(t, RouterConfig{}, nil, senderFunc(nil))
	r.SetOffers([]tiering.Offer{offerOf("a", "detect", "there", 0)})
	var c fates
	r.Forward(c.frame(1, 0))
	r.SetOffers(nil)
	c.want(t, map[Reason]int{ReasonNoRoute: 1}) // had been waiting
	r.Forward(c.frame(2, 0))
	c.want(t, map[Reason]int{ReasonNoRoute: 2})
	r.SetGroups(nil)
	r.Forward(c.frame(3, 0))
	c.want(t, map[Reason]int{ReasonNoRoute: 2, ReasonNone: 1})
	r.SetGroups([]string{"draw"})
	r.Forward(c.frame(4, 0))
	c.want(t, map[Reason]int{ReasonNoRoute: 3, ReasonNone: 1})
}

func TestRouterFit(t *testing.T) {
	r := newTestRouter(t, RouterConfig{}, nil, senderFunc(nil))
	hog, yolo := offerOf("h", "detect", "there", 512), offerOf("y", "detect", "here", 416)
	hog.Fit, yolo.Fit = tiering.Letterbox, tiering.Stretch
	r.SetOffers([]tiering.Offer{hog, yolo, offerOf("s", "store", "here", 0)})
	for quality, want := range map[int]tiering.Fit{512: tiering.Letterbox, 416: tiering.Stretch, 300: ""} {
		if got, ok := r.Fit(&Frame{Quality: quality}); got != want || ok != (want != "") {
			t.Errorf("fit at %d: %q, %v, want %q", quality, got, ok, want)
		}
	}
}

func TestRouterRefuses(t *testing.T) {
	log := &logtest.Book{}
	r := newTestRouter(t, RouterConfig{Log: log.Logger()}, nil, senderFunc(nil))
	byMQTT, webp := offerOf("m", "detect", "there", 0), offerOf("w", "detect", "there", 0)
	byMQTT.Link.Transport, webp.Link.Encoding = tiering.MQTT, "webp"
	r.SetOffers([]tiering.Offer{byMQTT, webp})
	if n := len(log.Lines("offer left out")); n != 2 {
		t.Errorf("%d offers left out, want 2: %s", n, log.String())
	}
	var c fates
	r.Forward(c.frame(1, 0))
	r.Forward(c.frame(2, 0))
	c.want(t, map[Reason]int{ReasonNoRoute: 2})
	if n := len(log.Lines("no instance takes the frame")); n != 1 {
		t.Errorf("logged %d times, want once: %s", n, log.String())
	}
	ok := RouterConfig{Node: "n", Group: "g", Outbox: 1, Concurrency: 1}
	for _, change := range []func(*RouterConfig){
		func(c *RouterConfig) { c.Node = "" }, func(c *RouterConfig) { c.Group = "" },
		func(c *RouterConfig) { c.Outbox = 0 }, func(c *RouterConfig) { c.Concurrency = 0 },
	} {
		cfg := ok
		change(&cfg)
		if _, err := NewRouter(cfg, NewSwitchboard(), nil); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
	if _, err := NewRouter(ok, nil, nil); err == nil {
		t.Error("no local receiver: no error")
	}
}

// Routers take turns from where they were told to begin: cameras that start
// together do not all send to one instance and then all to the next.
func TestRouterTurn(t *testing.T) {
	for turn := range uint64(4) {
		var got journal
		local := ReceiverFunc(func(i string, f *Frame) {
			got.add("%s", i)
			f.Settle(Outcome{})
		})
		r := newTestRouter(t, RouterConfig{Turn: turn}, local, nil)
		r.SetOffers([]tiering.Offer{offerOf("a", "detect", "here", 0), offerOf("b", "detect", "here", 0)})
		var c fates
		r.Forward(c.frame(1, 0))
		if want := []string{"b", "a"}[turn%2]; !slices.Equal(got.sorted(), []string{want}) {
			t.Errorf("turn %d: the first frame goes to %q, want %s", turn, got.sorted(), want)
		}
	}
}

// Instances of each group, and those for each quality, take turns among
// themselves: whatever else passes the router in between.
func TestRouterTurnsApart(t *testing.T) {
	for name, tc := range map[string]struct {
		offers    []tiering.Offer
		qualities []int // of frames, again and again
	}{
		"groups": {[]tiering.Offer{
			offerOf("a1", "detect", "here", 0), offerOf("a2", "detect", "here", 0), offerOf("b1", "store", "here", 0), offerOf("b2", "store", "here", 0),
		}, []int{0}},
		"qualities": {[]tiering.Offer{
			offerOf("a1", "detect", "here", 416), offerOf("a2", "detect", "here", 416), offerOf("b1", "detect", "here", 512), offerOf("b2", "detect", "here", 512),
		}, []int{416, 512}},
	} {
		t.Run(name, func(t *testing.T) {
			took := map[string]int{}
			local := ReceiverFunc(func(i string, f *Frame) {
				took[i]++
				f.Settle(Outcome{})
			})
			r := newTestRouter(t, RouterConfig{}, local, nil)
			r.SetOffers(tc.offers)
			var c fates
			for i := range 4 * len(tc.qualities) {
				f := c.frame(uint64(i+1), 0)
				f.Quality = tc.qualities[i%len(tc.qualities)]
				r.Forward(f)
			}
			if want := map[string]int{"a1": 2, "a2": 2, "b1": 2, "b2": 2}; !maps.Equal(took, want) {
				t.Errorf("the instances took %v, want %v", took, want)
			}
		})
	}
}
