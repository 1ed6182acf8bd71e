package pipeline

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/logtest"
)

func newTestRunner(t *testing.T, cfg RunnerConfig, stage Stage, next *Router) *Runner {
	t.Helper()
	cfg.Node, cfg.Instance, cfg.Workflow, cfg.Task, cfg.Group = "here", "people/detect#0", "people", "detect", "detect"
	if cfg.Queue == 0 {
		cfg.Queue = 4
	}
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	if next == nil {
		next = newTestRouter(t, RouterConfig{}, nil, nil)
	}
	r, err := NewRunner(cfg, stage, next)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// detectStage takes 30 ms for reducing and 50 ms for detecting.
type detectStage struct{ closed int }

func (d *detectStage) Process(_ context.Context, f *Frame) error {
	<-time.After(30 * time.Millisecond)
	f.Add("whatever", SpanReduce, 30*time.Millisecond)
	<-time.After(50 * time.Millisecond)
	f.Model = "hog-people"
	f.Detections = []Detection{{Label: "person"}, {Label: "person"}, {Label: "dog"}}
	return nil
}

func (d *detectStage) Backend() string { return "cpu" }
func (d *detectStage) Close() error    { d.closed++; return nil }

func TestRunnerSpans(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		stage := &detectStage{}
		judge := func(found []Detection, truth []Truth) Judged {
			return Judged{1, uint64(len(truth)), uint64(len(found) - len(truth)), 0}
		}
		r := newTestRunner(t, RunnerConfig{Judge: judge}, stage, nil)
		if got := r.Report().Status; got != StatusStarting {
			t.Errorf("status %q before Run", got)
		}
		stop := start(t, r.Run)
		synctest.Wait()
		var c fates
		first, second := c.frame(1, 0), c.frame(2, 0)
		for _, f := range []*Frame{first, second} {
			f.Add("gate", SpanCapture, time.Millisecond)
			f.Add("", SpanTransfer, 4*time.Millisecond) // encoding
			f.Add("", SpanTransfer, 6*time.Millisecond) // link
		}
		first.Truth = []Truth{{Label: "person"}} // of the second nobody knows
		first.Image.Data, second.Image.Data = make([]byte, 100), make([]byte, 50)
		r.Receive(first)
		synctest.Wait()
		r.Receive(second)
		pass(time.Second)
		want := []Span{
			{"gate", SpanCapture, time.Millisecond}, {"detect", SpanTransfer, 10 * time.Millisecond},
			{"detect", SpanQueue, 80 * time.Millisecond}, {"detect", SpanReduce, 30 * time.Millisecond},
			{"detect", SpanExecute, 50 * time.Millisecond},
		}
		if !reflect.DeepEqual(second.Spans, want) {
			t.Errorf("spans %v, want %v", second.Spans, want)
		}
		analysed := c.frame(3, 0)  // detections that another stage made
		analysed.Truth = []Truth{} // judged where it was analysed
		analysed.Model, analysed.Image.Data = "yolo", make([]byte, 30)
		r.Receive(analysed)
		pass(time.Second)
		stop()
		rep := r.Report()
		if rep.Received != 3 || rep.Processed != 3 || rep.Backend != "cpu" || stage.closed != 1 {
			t.Errorf("received %d, processed %d, backend %q, closed %d times", rep.Received, rep.Processed, rep.Backend, stage.closed)
		}
		if rep.Bytes != 150 { // the third came from this node
			t.Errorf("%d bytes from other nodes, want 150", rep.Bytes)
		}
		if want := map[string]uint64{"person": 4, "dog": 2}; !reflect.DeepEqual(rep.Detections, want) {
			t.Errorf("detections %v, want %v", rep.Detections, want)
		}
		if want := (&Judged{1, 1, 2, 0}); !reflect.DeepEqual(rep.Judged, want) {
			t.Errorf("judged %+v, want %+v", rep.Judged, want)
		}
		for _, h := range []struct {
			name  string
			got   *Histogram
			count int64
			max   time.Duration
		}{
			{"transfer", rep.Transfer, 2, 10 * time.Millisecond}, {"link", rep.Link, 2, 6 * time.Millisecond}, {"queue", rep.Queue, 3, 80 * time.Millisecond},
			{"reduce", rep.Reduce, 3, 30 * time.Millisecond}, {"execute", rep.Execute, 3, 50 * time.Millisecond},
		} {
			if got := h.got.Quantile(1); h.got.Count() != h.count || (got-h.max).Abs() > h.max/50 {
				t.Errorf("%s: %d values up to %s, want %d up to %s", h.name, h.got.Count(), got, h.count, h.max)
			}
		}
		c.want(t, map[Reason]int{ReasonNone: 3})
	})
}

// Frames fail and the stage panics: the runner goes on, says so in its report,
// and does not fill the log.
func TestRunnerErrors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := &logtest.Book{}
		stage := stageFunc(func(_ context.Context, f *Frame) error {
			switch f.ID.Seq % 3 {
			case 0:
				panic("index out of range")
			case 1:
				return errors.New("no weights")
			}
			return nil
		})
		r := newTestRunner(t, RunnerConfig{Queue: 100, Log: log.Logger()}, stage, nil)
		defer start(t, r.Run)()
		var c fates
		for seq := range uint64(30) {
			r.Receive(c.frame(seq, 0))
		}
		synctest.Wait()
		c.want(t, map[Reason]int{ReasonNone: 10, ReasonStage: 20})
		if rep := r.Report(); rep.Processed != 10 || rep.Dropped[ReasonStage] != 20 || rep.Status != StatusRunning || rep.Message != "" {
			t.Errorf("report %+v", rep)
		}
		if n := len(log.Lines("stage failed on a frame")); n != 1 {
			t.Errorf("logged %d times, want once:\n%s", n, log.String())
		}
		pass(logEvery)
		r.Receive(c.frame(31, 0))
		r.Receive(c.frame(30, 0))
		synctest.Wait()
		lines := log.Lines("stage failed on a frame")
		if len(lines) != 2 || !strings.Contains(lines[1], "omitted=19") {
			t.Errorf("logged %q, want a second line that says that 19 were omitted", lines)
		}
		if !strings.Contains(lines[0], "panic: index out of range") || !strings.Contains(lines[0], "runner_test.go") {
			t.Errorf("a panic is logged without what or where: %s", lines[0])
		}
		if got := r.Report().Message; got != "panic: index out of range" {
			t.Errorf("message %q", got)
		}
	})
}

// What a filter takes out is no failure: it is work that was done, and a count
// of its own.
func TestRunnerFilters(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		stage := stageFunc(func(_ context.Context, f *Frame) error {
			pass(time.Millisecond)
			if f.ID.Seq%4 != 0 {
				if f.ID.Seq%4 == 1 { // it is known what is shown in its place
					f.Model, f.Truth = "street", []Truth{}
				}
				return fmt.Errorf("like the last: %w", ErrFiltered)
			}
			return nil
		})
		judge := func([]Detection, []Truth) Judged { return Judged{Frames: 1, Right: 2} }
		r := newTestRunner(t, RunnerConfig{Queue: 100, Judge: judge}, stage, nil)
		defer start(t, r.Run)()
		var c fates
		for seq := range uint64(20) {
			r.Receive(c.frame(seq, 0))
		}
		pass(time.Second)
		c.want(t, map[Reason]int{ReasonNone: 5, ReasonFiltered: 15})
		rep := r.Report()
		if rep.Processed != 5 || rep.Filtered != 15 || len(rep.Dropped) != 0 || rep.Message != "" || rep.Execute.Count() != 20 || rep.Judged == nil || *rep.Judged != (Judged{Frames: 5, Right: 10}) {
			t.Errorf("report %+v", rep)
		}
	})
}

// Instances that share one turn work one after the other, whatever becomes of frames
// and of instances: a turn is given back by a stage that fails, panics or filters, and
// by one that is stopped while it stands in line.
func TestRunnersTakeTurns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		turns := NewTurns(1)
		var order journal
		runner := func(name string, rank int) *Runner {
			return newTestRunner(t, RunnerConfig{Queue: 100, Turns: turns, Rank: rank}, stageFunc(func(_ context.Context, f *Frame) error {
				<-time.After(10 * time.Millisecond)
				order.add("%s", name)
				switch f.ID.Seq {
				case 1:
					return errors.New("no weights")
				case 2:
					panic("index out of range")
				case 3:
					return ErrFiltered
				}
				return nil
			}), nil)
		}
		detect, draw, gone := runner("detect", 1), runner("draw", 2), runner("gone", 2)
		stop := start(t, gone.Run)
		defer start(t, detect.Run)()
		defer start(t, draw.Run)()
		synctest.Wait()
		var c fates
		for seq := range uint64(5) {
			detect.Receive(c.frame(seq, 0))
		}
		synctest.Wait() // detect works
		gone.Receive(c.frame(10, 0))
		gone.Receive(c.frame(11, 0))
		draw.Receive(c.frame(12, 0))
		draw.Receive(c.frame(13, time.Millisecond)) // too late when its turn comes
		stop()
		gone.Receive(c.frame(14, 0))
		pass(time.Second)
		if got, want := strings.Join(order.entries(), " "), "detect draw detect detect detect detect"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		c.want(t, map[Reason]int{ReasonNone: 3, ReasonStage: 2, ReasonFiltered: 1, ReasonShutdown: 3, ReasonDeadline: 1})
		if turns.taken != 0 || len(turns.waiting) > 0 {
			t.Errorf("%d turns are taken and %d wait when all is done", turns.taken, len(turns.waiting))
		}
		if rep := draw.Report(); rep.Turns != 1 || rep.Execute.Count() != 1 || rep.Queue.Quantile(1) < 9*time.Millisecond {
			t.Errorf("draw: %+v", rep)
		}
	})
}

// The queue is bounded, the deadline checked before queueing and before work,
// and nothing is left unsettled when the runner stops.
func TestRunnerOverload(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var worked journal
		stage := stageFunc(func(ctx context.Context, f *Frame) error {
			worked.add("%d", f.ID.Seq)
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		r := newTestRunner(t, RunnerConfig{Queue: 3}, stage, nil)
		stop := start(t, r.Run)
		synctest.Wait()
		var c fates
		r.Receive(c.frame(1, 0))
		synctest.Wait()
		r.Receive(c.frame(2, 900*time.Millisecond)) // late before its turn
		r.Receive(c.frame(3, 0))
		late := c.frame(4, 0)
		late.Deadline = time.Now()
		r.Receive(late) // late already
		if r.Waiting() != 2 {
			t.Errorf("%d frames wait, want 2", r.Waiting())
		}
		pass(1500 * time.Millisecond) // 1 done, 2 passed over, 3 under way
		c.want(t, map[Reason]int{ReasonNone: 1, ReasonDeadline: 2})
		for seq := uint64(5); seq <= 9; seq++ {
			r.Receive(c.frame(seq, 0))
		}
		c.want(t, map[Reason]int{ReasonNone: 1, ReasonDeadline: 2, ReasonQueueFull: 2})
		stop()
		c.want(t, map[Reason]int{ReasonNone: 1, ReasonDeadline: 2, ReasonQueueFull: 2, ReasonShutdown: 4})
		r.Receive(c.frame(10, 0))
		want := map[Reason]uint64{ReasonDeadline: 2, ReasonQueueFull: 2, ReasonShutdown: 5}
		if rep := r.Report(); !reflect.DeepEqual(rep.Dropped, want) || rep.Received != 10 || rep.Processed != 1 {
			t.Errorf("received %d, processed %d, dropped %v, want 10, 1, %v", rep.Received, rep.Processed, rep.Dropped, want)
		}
		if got := worked.entries(); !slices.Equal(got, []string{"1", "3"}) {
			t.Errorf("worked on %v, want 1 and 3", got)
		}
	})
}

// A stage that finishes after the deadline has not delivered.
func TestRunnerTooSlow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newTestRunner(t, RunnerConfig{}, &detectStage{}, nil)
		defer start(t, r.Run)()
		var c fates
		r.Receive(c.frame(1, 79*time.Millisecond))
		r.Receive(c.frame(2, 0))
		pass(time.Second)
		c.want(t, map[Reason]int{ReasonDeadline: 1, ReasonNone: 1})
	})
}

type badCloser struct{ Stage }

var errClose = errors.New("still open")

func (badCloser) Close() error { return errClose }

func TestRunnerCloseError(t *testing.T) {
	r := newTestRunner(t, RunnerConfig{}, badCloser{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); !errors.Is(err, errClose) {
		t.Errorf("run: %v, want %v", err, errClose)
	}
}

func TestNewRunnerRefuses(t *testing.T) {
	router := newTestRouter(t, RouterConfig{}, nil, nil)
	ok := RunnerConfig{Instance: "i", Group: "g", Queue: 1}
	for i, c := range []struct {
		cfg   RunnerConfig
		stage Stage
		next  *Router
	}{
		{RunnerConfig{Group: "g", Queue: 1}, &detectStage{}, router},
		{RunnerConfig{Instance: "i", Queue: 1}, &detectStage{}, router},
		{RunnerConfig{Instance: "i", Group: "g"}, &detectStage{}, router},
		{ok, nil, router},
		{ok, &detectStage{}, nil},
	} {
		if _, err := NewRunner(c.cfg, c.stage, c.next); err == nil {
			t.Errorf("case %d: no error", i)
		}
	}
}

func TestSwitchboard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := NewSwitchboard()
		r := newTestRunner(t, RunnerConfig{}, stageFunc(func(context.Context, *Frame) error { return nil }), nil)
		defer start(t, r.Run)()
		var c fates
		s.Receive("people/detect#0", c.frame(1, 0))
		s.Connect("people/detect#0", r)
		s.Receive("people/detect#0", c.frame(2, 0))
		s.Receive("people/detect#1", c.frame(3, 0))
		s.Disconnect("people/detect#0")
		s.Receive("people/detect#0", c.frame(4, 0))
		synctest.Wait()
		c.want(t, map[Reason]int{ReasonNone: 1, ReasonNoRoute: 3})
	})
}

// A panic is an error with a stack, an error stays what it is.
func TestGuard(t *testing.T) {
	if err := guard(func() error { return errClose }); err != errClose {
		t.Errorf("got %v", err)
	}
	err := guard(func() error { panic(errClose) })
	if got := fmt.Sprint(errorArgs(err)...); !strings.Contains(got, "runner_test.go") {
		t.Errorf("no stack in %s", got)
	}
}
