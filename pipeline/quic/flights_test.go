package quic

import (
	"errors"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/pipeline"
)

// cancelled records the codes with which a stream was cancelled.
type cancelled []quic.StreamErrorCode

func (c *cancelled) CancelWrite(code quic.StreamErrorCode) { *c = append(*c, code) }

func TestFlights(t *testing.T) {
	const grace, patience = time.Second, 30 * time.Second
	t0 := time.Now()
	for _, c := range []struct {
		name     string
		deadline time.Duration // of the frame, 0: none
		do       func(*flights)
		want     []pipeline.Reason
		cancels  int
	}{
		{"outcome", 0, func(f *flights) { f.settle(2, pipeline.Outcome{}) }, []pipeline.Reason{""}, 0},
		{"outcome twice", 0, func(f *flights) {
			f.settle(2, pipeline.Outcome{Reason: pipeline.ReasonStage})
			f.settle(2, pipeline.Outcome{})
		}, []pipeline.Reason{pipeline.ReasonStage}, 0},
		{"another's outcome", 0, func(f *flights) { f.settle(6, pipeline.Outcome{}) }, nil, 0},
		{"on time", 5 * time.Second, func(f *flights) { f.sweep(t0.Add(4 * time.Second)) }, nil, 0},
		{"late", 5 * time.Second, func(f *flights) {
			f.sweep(t0.Add(5 * time.Second))
			f.sweep(t0.Add(5 * time.Second))
		}, nil, 1},
		{"overdue", 5 * time.Second, func(f *flights) {
			f.sweep(t0.Add(6 * time.Second))
			f.settle(2, pipeline.Outcome{})
		}, []pipeline.Reason{pipeline.ReasonLink}, 1},
		{"no deadline, waited for", 0, func(f *flights) { f.sweep(t0.Add(patience - 1)) }, nil, 0},
		{"no deadline, overdue", 0, func(f *flights) { f.sweep(t0.Add(patience)) }, []pipeline.Reason{pipeline.ReasonLink}, 1},
		{"connection gone", 0, func(f *flights) { f.end(t0); f.end(t0); f.sweep(t0.Add(time.Hour)) },
			[]pipeline.Reason{pipeline.ReasonLink}, 0},
		{"taken back", 0, func(f *flights) { f.remove(2); f.settle(2, pipeline.Outcome{}); f.end(t0) }, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var counted, got []pipeline.Reason
			f := newFlights(grace, patience, func(r pipeline.Reason) { counted = append(counted, r) })
			fr := &pipeline.Frame{Captured: t0, Image: pipeline.Image{Data: []byte{1}}}
			if c.deadline > 0 {
				fr.Deadline = t0.Add(c.deadline)
			}
			fr.OnSettle(func(o pipeline.Outcome) { got = append(got, o.Reason) })
			var stream cancelled
			if err := f.add(2, fr, &stream, t0); err != nil {
				t.Fatal(err)
			}
			f.written(2)
			if fr.Image.Data != nil {
				t.Error("the picture is kept after it was written")
			}
			c.do(f)
			if len(got) != len(c.want) || len(got) > 0 && got[0] != c.want[0] {
				t.Errorf("settled as %q, want %q", got, c.want)
			}
			if len(counted) != len(got) {
				t.Errorf("%d counted, %d settled", len(counted), len(got))
			}
			if len(stream) != c.cancels {
				t.Errorf("stream cancelled with %v, want %d times", stream, c.cancels)
			}
		})
	}
}

func TestFlightsWake(t *testing.T) {
	t0 := time.Now()
	f := newFlights(time.Second, time.Minute, func(pipeline.Reason) {})
	want := func(what string, at time.Time, kicked bool) {
		t.Helper()
		if got := f.sweepAt(); !got.Equal(at) {
			t.Errorf("%s: sweep at %s, want %s", what, got.Sub(t0), at.Sub(t0))
		}
		select {
		case <-f.kick:
			if !kicked {
				t.Errorf("%s: kicked for nothing", what)
			}
		default:
			if kicked {
				t.Errorf("%s: not kicked", what)
			}
		}
	}
	add := func(id quic.StreamID, deadline time.Duration) {
		t.Helper()
		if err := f.add(id, &pipeline.Frame{Deadline: t0.Add(deadline)}, new(cancelled), t0); err != nil {
			t.Fatal(err)
		}
		f.written(id)
	}
	want("nothing", time.Time{}, false)
	add(2, 5*time.Second)
	want("first", t0.Add(5*time.Second), true)
	add(6, 7*time.Second)
	want("later", t0.Add(5*time.Second), false)
	add(10, 3*time.Second)
	want("sooner", t0.Add(3*time.Second), true)
	f.sweep(t0.Add(3 * time.Second))
	want("one is late", t0.Add(4*time.Second), false)
	f.sweep(t0.Add(4 * time.Second))
	want("one is overdue", t0.Add(5*time.Second), false)
	f.sweep(t0.Add(time.Hour))
	want("all are overdue", time.Time{}, false)
}

func TestFlightsAreBounded(t *testing.T) {
	f := newFlights(time.Second, time.Minute, func(pipeline.Reason) {})
	for i := range quic.StreamID(maxFlights) {
		if err := f.add(i, &pipeline.Frame{}, new(cancelled), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.add(maxFlights, &pipeline.Frame{}, new(cancelled), time.Now()); !errors.Is(err, pipeline.ErrFull) {
		t.Errorf("one too many: %v, want ErrFull", err)
	}
	f.end(time.Now())
	if err := f.add(0, &pipeline.Frame{}, new(cancelled), time.Now()); !errors.Is(err, errGone) {
		t.Errorf("after the end: %v, want errGone", err)
	}
}

func TestOutcomes(t *testing.T) {
	o := newOutcomes()
	for i := range uint64(maxOutcomes + 10) {
		o.add(pipeline.Settlement{Ref: i})
	}
	for _, c := range []<-chan struct{}{o.some, o.batch} {
		select {
		case <-c:
		default:
			t.Error("not woken")
		}
	}
	var next uint64
	for {
		batch := o.take()
		if len(batch) == 0 {
			break
		}
		if len(batch) > maxBatch {
			t.Fatalf("batch of %d, at most %d", len(batch), maxBatch)
		}
		for _, s := range batch {
			if s.Ref != next {
				t.Fatalf("got %d, want %d", s.Ref, next)
			}
			next++
		}
	}
	if next != maxOutcomes {
		t.Errorf("%d kept, want %d", next, maxOutcomes)
	}
	o.close()
	o.add(pipeline.Settlement{})
	if batch := o.take(); len(batch) != 0 {
		t.Errorf("%d kept after the end", len(batch))
	}
}

// The fullest batch there can be fits a control message.
func TestBatchFitsMessage(t *testing.T) {
	codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	name := make([]byte, 512)
	for i := range name {
		name[i] = 'x'
	}
	var m pipeline.Control
	for range maxBatch {
		m.Settlements = append(m.Settlements, pipeline.Settlement{
			Ref:     1<<62 - 1,
			Outcome: pipeline.Outcome{Reason: pipeline.ReasonQueueFull, Stage: string(name), Age: 300 * 24 * time.Hour},
		})
	}
	if _, err := codec.AppendControl(nil, m); err != nil {
		t.Error(err)
	}
}

func TestComplaints(t *testing.T) {
	var c complaints
	t0 := time.Now()
	for _, s := range []struct {
		at      time.Duration
		skipped int
		ok      bool
	}{
		{0, 0, true}, {1, 0, false}, {complainEvery - 1, 0, false}, {complainEvery, 2, true}, {3 * complainEvery, 0, true},
	} {
		if n, ok := c.now(t0.Add(s.at)); n != s.skipped || ok != s.ok {
			t.Errorf("at %s: %d, %t; want %d, %t", s.at, n, ok, s.skipped, s.ok)
		}
	}
}
