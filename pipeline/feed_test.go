package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/tiering"
)

func newTestFeed(t *testing.T, cfg FeedConfig, src Source, next *Router) *Feed {
	t.Helper()
	cfg.Node, cfg.Instance, cfg.Workflow, cfg.Source, cfg.Epoch = "here", "people/gate#0", "people", "gate", 9
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	if next == nil {
		next = newTestRouter(t, RouterConfig{}, nil, nil)
	}
	f, err := NewFeed(cfg, src, next)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// camera emits n pictures (0: for ever), one each period, give or take jitter.
func camera(n int, period, jitter time.Duration) sourceFunc {
	return func(ctx context.Context, emit func(*Frame)) error {
		rng := rand.New(rand.NewPCG(1, 1))
		start := time.Now()
		for i := 0; n == 0 || i < n; i++ {
			at := start.Add(time.Duration(i) * period)
			if jitter > 0 {
				at = at.Add(time.Duration(rng.Int64N(int64(2*jitter))) - jitter)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Until(at)):
			}
			f := &Frame{Captured: time.Now(), SourceWidth: 768, SourceHeight: 576}
			f.Add("", SpanCapture, time.Millisecond)
			emit(f)
		}
		return ErrEnded
	}
}

func TestFeedFrames(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got []*Frame
		local := ReceiverFunc(func(_ string, f *Frame) {
			got = append(got, f)
			switch f.ID.Seq {
			case 1:
				f.Settle(Outcome{Age: 70 * time.Millisecond})
			case 2:
				f.Settle(Outcome{Reason: ReasonQueueFull})
			} // 3 is never heard of again
		})
		next := newTestRouter(t, RouterConfig{}, local, nil)
		next.SetOffers(offersHere("d"))
		f := newTestFeed(t, FeedConfig{Quality: tiering.Quality{Resolution: 512}, Deadline: 500 * time.Millisecond}, camera(3, 100*time.Millisecond, 0), next)
		if rep := f.Report(); rep.Status != StatusStarting {
			t.Errorf("status %q before Run", rep.Status)
		}
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, fr := range got {
			want := FrameID{"people", "gate", 9, uint64(i + 1)}
			if fr.ID != want || fr.Quality != 512 || fr.Deadline.Sub(fr.Captured) != 500*time.Millisecond {
				t.Errorf("frame %d: %+v", i, fr)
			}
			if !reflect.DeepEqual(fr.Spans, []Span{{"gate", SpanCapture, time.Millisecond}}) {
				t.Errorf("frame %d: spans %v", i, fr.Spans)
			}
		}
		rep := f.Report()
		if want := (Counts{Captured: 3, Delivered: 1, InFlight: 1, Dropped: map[Reason]uint64{ReasonQueueFull: 1}}); !reflect.DeepEqual(rep.Frames, want) || rep.Status != StatusEnded {
			t.Errorf("%q with %+v, want ended with %+v", rep.Status, rep.Frames, want)
		}
		if got := rep.Latency.Quantile(1); rep.Latency.Count() != 1 || (got-70*time.Millisecond).Abs() > time.Millisecond {
			t.Errorf("latency %s of %d", got, rep.Latency.Count())
		}
		<-time.After(500*time.Millisecond + lostAfter)
		got[2].Settle(Outcome{}) // too late
		if want := (Counts{Captured: 3, Delivered: 1, Dropped: map[Reason]uint64{ReasonQueueFull: 1, ReasonLost: 1}}); !reflect.DeepEqual(f.Report().Frames, want) {
			t.Errorf("%+v, want %+v", f.Report().Frames, want)
		}
	})
}

// A source that numbers its pictures has its numbers kept, but none twice.
func TestFeedKeepsNumbers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got []uint64
		local := ReceiverFunc(func(_ string, f *Frame) {
			got = append(got, f.ID.Seq)
			f.Settle(Outcome{})
		})
		next := newTestRouter(t, RouterConfig{}, local, nil)
		next.SetOffers(offersHere("d"))
		src := sourceFunc(func(_ context.Context, emit func(*Frame)) error {
			for _, n := range []uint64{1, 2, 5, 9, 3, 0, 12} {
				emit(&Frame{ID: FrameID{Seq: n}, Captured: time.Now()})
				<-time.After(time.Millisecond)
			}
			return ErrEnded
		})
		f := newTestFeed(t, FeedConfig{}, src, next)
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []uint64{1, 2, 5, 9, 10, 11, 12}; !reflect.DeepEqual(got, want) {
			t.Errorf("numbers %v, want %v", got, want)
		}
		if c := f.Report().Frames; c.Captured != 7 || c.Delivered != 7 {
			t.Errorf("%+v: gaps are no frames", c)
		}
	})
}

// The rate is held in the mean, and a source at exactly the limit loses
// nothing to jitter.
func TestFeedFPS(t *testing.T) {
	for _, c := range []struct {
		source       float64
		jitter       time.Duration
		limit        float64
		fewest, most uint64
	}{
		{source: 25, limit: 0, fewest: 1500, most: 1500},
		{source: 25, limit: 10, fewest: 590, most: 601},
		{source: 30, limit: 10, fewest: 590, most: 601},
		{source: 10, limit: 10, fewest: 600, most: 600},
		{source: 10, jitter: 20 * time.Millisecond, limit: 10, fewest: 600, most: 600},
		{source: 5, limit: 10, fewest: 300, most: 300},
		{source: 25, limit: 0.5, fewest: 30, most: 31},
	} {
		t.Run(fmt.Sprintf("%v±%s to %v", c.source, c.jitter, c.limit), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				period := time.Duration(float64(time.Second) / c.source)
				f := newTestFeed(t, FeedConfig{FPS: c.limit}, camera(int(60*c.source), period, c.jitter), nil)
				if err := f.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := f.Report().Frames.Captured; n < c.fewest || n > c.most {
					t.Errorf("%d frames in a minute, want %d to %d", n, c.fewest, c.most)
				}
			})
		})
	}
}

// The quality changes from one frame to the next, without a restart; what is not
// to be analysed, or held, is never captured.
func TestFeedQuality(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got []*Frame
		next := newTestRouter(t, RouterConfig{}, ReceiverFunc(func(_ string, f *Frame) {
			got = append(got, f)
			f.Settle(Outcome{})
		}), nil)
		next.SetOffers(offersHere("d"))
		starts := 0
		src := sourceFunc(func(ctx context.Context, emit func(*Frame)) error {
			starts++
			return camera(0, 100*time.Millisecond, 0)(ctx, emit)
		})
		f := newTestFeed(t, FeedConfig{Quality: tiering.Quality{Resolution: 512}, Held: "not yet"}, src, next)
		stop := start(t, f.Run)
		pass(950 * time.Millisecond)
		if r := f.Report(); r.Status != StatusHeld || r.Message != "not yet" || r.Frames.Captured != 0 {
			t.Errorf("held: %q, %q, %d captured", r.Status, r.Message, r.Frames.Captured)
		}
		low := tiering.Quality{Model: "eyes", Resolution: 416, Every: 3}
		for _, step := range []struct {
			quality tiering.Quality
			held    string
			frames  int
		}{
			{tiering.Quality{Resolution: 512, Every: 1}, "", 10},
			{low, "", 3}, // every third, beginning with its phase
			{low, "again", 0},
			{tiering.Quality{Model: "eyes", Resolution: 416, Every: 1}, "", 10},
		} {
			got = nil
			f.Set(step.quality, step.held)
			pass(time.Second)
			if len(got) != step.frames {
				t.Errorf("%s, held %q: %d frames in a second, want %d", step.quality, step.held, len(got), step.frames)
			}
			for _, fr := range got {
				if fr.Quality != step.quality.Resolution || fr.Analyser != step.quality.Model {
					t.Errorf("%s: a frame for %s at %d", step.quality, fr.Analyser, fr.Quality)
				}
			}
			r := f.Report()
			if r.Quality == nil || *r.Quality != step.quality || (r.Status == StatusHeld) != (step.held != "") || r.Message != step.held {
				t.Errorf("%s, held %q: reported as %v, %q, %q", step.quality, step.held, r.Quality, r.Status, r.Message)
			}
		}
		stop()
		if n := f.Report().Frames.Captured; n != 23 || starts != 1 {
			t.Errorf("%d frames in %d starts", n, starts)
		}
	})
}

// A source that fails is tried again, ever more slowly; each change of state
// is logged once.
func TestFeedRetries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := &logtest.Book{}
		var starts []time.Time
		cut := errors.New("connection refused")
		src := sourceFunc(func(ctx context.Context, emit func(*Frame)) error {
			starts = append(starts, time.Now())
			switch len(starts) {
			case 1: // works for a while
				_ = camera(2, time.Second, 0)(ctx, emit)
				return cut
			case 2:
				panic("driver")
			case 3:
				return nil
			case 15: // works for long
				_ = camera(120, time.Second, 0)(ctx, emit)
				return cut
			case 17:
				<-ctx.Done()
				return ctx.Err()
			}
			return cut
		})
		f := newTestFeed(t, FeedConfig{Log: log.Logger()}, src, nil)
		stop := start(t, f.Run)
		pass(1100 * time.Millisecond)
		if rep := f.Report(); rep.Status != StatusRetrying || rep.Message != cut.Error() || rep.Frames.Captured != 2 {
			t.Errorf("after a failure: %q, %q, %d captured", rep.Status, rep.Message, rep.Frames.Captured)
		}
		pass(time.Hour)
		if len(starts) != 17 {
			t.Fatalf("%d attempts, want 17", len(starts))
		}
		ran := map[int]time.Duration{1: time.Second, 15: 119 * time.Second}
		wait := backoffFirst
		for i := 1; i < len(starts); i++ {
			if i == 15 {
				wait = backoffFirst // it had been healthy
			}
			if got := starts[i].Sub(starts[i-1]) - ran[i]; got < wait/2 || got > wait {
				t.Errorf("attempt %d came %s after the one before failed, want %s to %s", i+1, got, wait/2, wait)
			}
			wait = min(2*wait, backoffMax)
		}
		if n := len(log.Lines("source failed")); n != 2 {
			t.Errorf("logged %d failures, want 2:\n%s", n, log.String())
		}
		if n := len(log.Lines("source running")); n != 2 {
			t.Errorf("logged running %d times, want 2:\n%s", n, log.String())
		}
		stop()
		if rep := f.Report(); rep.Frames.Captured != 122 || !rep.Frames.Balanced() {
			t.Errorf("%+v", rep.Frames)
		}
	})
}

// Stopping while it waits does not wait.
func TestFeedStopsWhileWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newTestFeed(t, FeedConfig{}, sourceFunc(func(context.Context, func(*Frame)) error { return errors.New("no camera") }), nil)
		stop := start(t, f.Run)
		pass(time.Minute)
		before := time.Now()
		stop()
		if d := time.Since(before); d != 0 {
			t.Errorf("took %s to stop", d)
		}
	})
}

// A source that emits after its Run, against the rules, adds no frames.
func TestFeedStopped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var leaked func(*Frame)
		f := newTestFeed(t, FeedConfig{}, sourceFunc(func(_ context.Context, emit func(*Frame)) error {
			leaked = emit
			return ErrEnded
		}), nil)
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		leaked(&Frame{Captured: time.Now()})
		if rep := f.Report(); rep.Frames.Captured != 0 || rep.Status != StatusEnded {
			t.Errorf("%+v", rep)
		}
		synctest.Wait()
	})
}

func TestNewFeedRefuses(t *testing.T) {
	router := newTestRouter(t, RouterConfig{}, nil, nil)
	src := camera(1, 1, 0)
	ok := FeedConfig{Workflow: "w", Source: "s"}
	for _, c := range []struct {
		change func(*FeedConfig)
		src    Source
		next   *Router
		says   string
	}{
		{func(c *FeedConfig) { c.Workflow = "" }, src, router, "must be named"},
		{func(c *FeedConfig) { c.Source = "" }, src, router, "must be named"},
		{func(c *FeedConfig) { c.FPS = -1 }, src, router, "-1 frames a second"},
		{func(c *FeedConfig) { c.Deadline = -1 }, src, router, "negative"},
		{func(*FeedConfig) {}, nil, router, "no source"},
		{func(*FeedConfig) {}, src, nil, "no router"},
	} {
		cfg := ok
		c.change(&cfg)
		if _, err := NewFeed(cfg, c.src, c.next); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want it to say %q", cfg, err, c.says)
		}
	}
}
