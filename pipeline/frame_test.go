package pipeline

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIoU(t *testing.T) {
	for _, c := range []struct {
		a, b Box
		want float64
	}{
		{Box{0, 0, 1, 1}, Box{0, 0, 1, 1}, 1},
		{Box{0, 0, 1, 1}, Box{0.5, 0, 1, 1}, 1. / 3},
		{Box{0, 0, 0.5, 0.5}, Box{0.5, 0.5, 0.5, 0.5}, 0}, // touch
		{Box{0, 0, 0.1, 0.1}, Box{0.5, 0.5, 0.1, 0.1}, 0},
		{Box{0, 0, 1, 1}, Box{0.25, 0.25, 0.5, 0.5}, 0.25},
		{Box{0, 0, 0, 0}, Box{0, 0, 0, 0}, 0}, // empty
	} {
		if got := c.a.IoU(c.b); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("IoU(%v, %v) = %v, want %v", c.a, c.b, got, c.want)
		}
		if c.a.IoU(c.b) != c.b.IoU(c.a) {
			t.Errorf("IoU of %v and %v is not symmetric", c.a, c.b)
		}
	}
}

// A split frame is settled once, after its last part, with the first drop or,
// if there was none, as delivered; its age is the greatest.
func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newTestFrame(7, time.Time{})
		f.Spans = []Span{{"gate", SpanCapture, 1}}
		parts := f.Split(rapid.IntRange(1, 5).Draw(t, "n"))
		order := rapid.Permutation(parts).Draw(t, "order")
		want := Outcome{Reason: ReasonFiltered}
		for i, p := range order {
			if len(*f.outcomes) != 0 {
				t.Fatalf("settled after %d of %d parts", i, len(parts))
			}
			p.Add("part", SpanExecute, time.Duration(i)) // shares no slice with the others
			o := Outcome{
				Reason: rapid.SampledFrom([]Reason{ReasonNone, ReasonFiltered, ReasonLink, ReasonStage}).Draw(t, "reason"),
				Stage:  "s", Age: time.Duration(rapid.IntRange(0, 9).Draw(t, "age")),
			}
			switch lost := func(r Reason) bool { return r != ReasonNone && r != ReasonFiltered }; {
			case lost(want.Reason):
			case lost(o.Reason), o.Delivered():
				want.Reason = o.Reason
			}
			want.Age = max(want.Age, o.Age)
			p.Settle(o)
			p.Settle(Outcome{Reason: ReasonLost})
		}
		if len(*f.outcomes) != 1 {
			t.Fatalf("settled %d times", len(*f.outcomes))
		}
		if got := (*f.outcomes)[0]; got.Reason != want.Reason || got.Age != want.Age {
			t.Fatalf("settled as %+v, want %+v", got, want)
		}
		for i, p := range order {
			if p.ID != f.ID || p.Spans[1].Duration != time.Duration(i) {
				t.Fatalf("part %d was changed by another: %+v", i, p.Spans)
			}
		}
	})
}

// The whole says what its parts found, each model once, in the parts' order.
func TestSplitFindings(t *testing.T) {
	cars, people := &Finding{"cars", []Detection{{Label: "car"}}}, &Finding{"people", []Detection{{Label: "person"}, {Label: "person"}}}
	for _, tc := range []struct {
		name     string
		outcomes []Outcome
		want     *Finding
	}{
		{"nothing", []Outcome{{}, {}}, nil},
		{"one", []Outcome{{}, {Found: people}}, people},
		{"one model twice", []Outcome{{Found: cars}, {Found: &Finding{Model: "cars", Detections: cars.Detections}}}, cars},
		{"two models", []Outcome{{Found: cars}, {Found: people}}, &Finding{"cars+people", slices.Concat(cars.Detections, people.Detections)}},
		{"one was filtered", []Outcome{{Found: cars}, {Reason: ReasonFiltered}}, cars},
		{"one was lost", []Outcome{{Found: cars}, {Reason: ReasonLink}}, nil},
	} {
		f := newTestFrame(7, time.Time{})
		parts := f.Split(len(tc.outcomes))
		for i, p := range slices.Backward(parts) {
			p.Settle(tc.outcomes[i])
		}
		if got := (*f.outcomes)[0].Found; !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// Whoever follows a frame is told of it once, before its owner is.
func TestFollow(t *testing.T) {
	var told []string
	f := &Frame{}
	f.OnSettle(func(o Outcome) { told = append(told, "owner "+o.Stage) })
	f.Follow(func(o Outcome) { told = append(told, "follower "+o.Stage) })
	f.Settle(Outcome{Stage: "draw"})
	f.Settle(Outcome{Stage: "late"})
	if want := []string{"follower draw", "owner draw"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestFrameLate(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		deadline time.Time
		want     bool
	}{{time.Time{}, false}, {now.Add(1), false}, {now, true}, {now.Add(-1), true}} {
		if got := (&Frame{Deadline: c.deadline}).Late(now); got != c.want {
			t.Errorf("deadline %s from now: late %v", c.deadline.Sub(now), got)
		}
	}
}

func TestCounts(t *testing.T) {
	a := Counts{Captured: 14, Delivered: 5, Filtered: 4, InFlight: 2, Dropped: map[Reason]uint64{ReasonLink: 2, ReasonStage: 1}}
	b := Counts{Captured: 3, Filtered: 2, Dropped: map[Reason]uint64{ReasonLink: 2}}
	if !a.Balanced() || b.Balanced() || a.Lost() != 3 {
		t.Errorf("balanced %v and %v, lost %d", a.Balanced(), b.Balanced(), a.Lost())
	}
	if s := a.Plus(b); s.Captured != 17 || s.Filtered != 6 || s.Dropped[ReasonLink] != 4 || s.Dropped[ReasonStage] != 1 || a.Dropped[ReasonLink] != 2 {
		t.Errorf("sum %+v of %+v", s, a)
	}
}

func TestHistogram(t *testing.T) {
	a, b := NewHistogram(), NewHistogram()
	for i := range 100 {
		a.Record(time.Duration(i+1) * time.Millisecond)
	}
	b.Record(time.Hour) // over the range
	b.Record(-1)        // under it
	a.Merge(b)
	a.Merge(nil)
	report, err := json.Marshal(StageReport{Execute: a})
	if err != nil {
		t.Fatal(err)
	}
	var back StageReport
	if err := json.Unmarshal(report, &back); err != nil {
		t.Fatal(err)
	}
	if back.Execute.Count() != 102 || back.Queue.Count() != 0 {
		t.Errorf("%d and %d values after JSON, want 102 and 0", back.Execute.Count(), back.Queue.Count())
	}
	for q, want := range map[float64]time.Duration{0: time.Microsecond, 0.5: 50 * time.Millisecond, 1: 10 * time.Minute} {
		if got := back.Execute.Quantile(q); (got - want).Abs() > want/50 {
			t.Errorf("quantile %v: %s, want %s within 2 %%", q, got, want)
		}
	}
	if got := a.Mean(); got < 5*time.Second || got > 7*time.Second { // (5.05 s + 600 s) / 102
		t.Errorf("mean %s", got)
	}
	for _, bad := range []string{`1`, `"x"`, `""`} {
		if err := json.Unmarshal([]byte(bad), NewHistogram()); err == nil {
			t.Errorf("%s was taken for a histogram", bad)
		}
	}
	var none *Histogram
	if none.Quantile(0.5) != 0 || none.Mean() != 0 || NewHistogram().Mean() != 0 {
		t.Error("an empty histogram has values")
	}
}

func TestHistogramSince(t *testing.T) {
	h := NewHistogram()
	h.Record(time.Millisecond)
	then := h.Clone()
	for range 10 {
		h.Record(100 * time.Millisecond)
	}
	if d := h.Since(then); d.Count() != 10 || (d.Quantile(0)-100*time.Millisecond).Abs() > 2*time.Millisecond {
		t.Errorf("since then %d values from %s, want 10 from 100 ms", d.Count(), d.Quantile(0))
	}
	if d := h.Since(nil); d.Count() != 11 {
		t.Errorf("since the beginning %d values, want 11", d.Count())
	}
	if d := then.Since(h); d.Count() != 1 {
		t.Errorf("counting began anew with 1 value, and %d are new", d.Count())
	}
	if h.Count() != 11 || then.Count() != 1 {
		t.Error("Since has changed a histogram")
	}
}

func FuzzHistogramJSON(f *testing.F) {
	h := NewHistogram()
	h.Record(time.Second)
	b, err := json.Marshal(h)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`"HISTFAAAAB542pNpmSzMwMDAxAABzFCaEUoz2X+AMIKZAEARAtM="`)
	f.Fuzz(func(t *testing.T, s string) {
		var h Histogram
		if json.Unmarshal([]byte(s), &h) == nil {
			h.Quantile(0.5)
			if _, err := json.Marshal(&h); err != nil {
				t.Fatal(err)
			}
		}
	})
}
