package experiment

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"pgregory.net/rapid"
)

// flow is samples every second from rates of delivered and dropped frames, a
// pair for each second.
func flow(from int, rates ...[2]int) []testbed.Sample {
	out := []testbed.Sample{{At: time.Duration(from) * time.Second}}
	var delivered, dropped uint64
	for i, r := range rates {
		delivered, dropped = delivered+uint64(r[0]), dropped+uint64(r[1])
		out = append(out, testbed.Sample{At: time.Duration(from+i+1) * time.Second, Frames: pipeline.Counts{
			Captured: delivered + dropped, Delivered: delivered, Dropped: map[pipeline.Reason]uint64{pipeline.ReasonLost: dropped},
		}})
	}
	return out
}

func times(n int, delivered, dropped int) [][2]int {
	return slices.Repeat([][2]int{{delivered, dropped}}, n)
}

func TestRecovery(t *testing.T) {
	at := func(s float64, a testbed.Action) testbed.Event {
		return testbed.Event{At: time.Duration(s * float64(time.Second)), Action: a, Node: "n"}
	}
	secs := func(x float64) *float64 { return &x }
	for _, c := range []struct {
		name     string
		samples  []testbed.Sample
		timeline []testbed.Event
		want     []Recovery // only the figures
	}{
		{
			"killed, and back after three seconds",
			flow(-10, slices.Concat(times(40, 10, 0), times(3, 0, 10), times(27, 10, 0))...),
			[]testbed.Event{at(30, testbed.Kill)},
			[]Recovery{{Before: 10, After: 10, Gap: 3, RecoveredAfter: secs(3), Lost: map[pipeline.Reason]uint64{"lost": 30}}},
		},
		{
			"never back",
			flow(0, slices.Concat(times(30, 10, 0), times(30, 0, 10))...),
			[]testbed.Event{at(30, testbed.Partition)},
			[]Recovery{{Before: 10, After: 0, Gap: 30, Lost: map[pipeline.Reason]uint64{"lost": 300}}},
		},
		{
			"back to half is not back; it is the new steady state of what follows",
			flow(0, slices.Concat(times(30, 10, 0), times(2, 0, 10), times(28, 5, 5))...),
			[]testbed.Event{at(30, testbed.Change), at(45, testbed.Sources)},
			[]Recovery{
				{Before: 10, After: 5, Gap: 2, Lost: map[pipeline.Reason]uint64{"lost": 85}},
				{Before: 5, After: 5, RecoveredAfter: secs(0), Lost: map[pipeline.Reason]uint64{"lost": 25}},
			},
		},
		{
			"a gap elsewhere is no business of the event",
			flow(0, slices.Concat(times(10, 0, 0), times(30, 10, 0), times(20, 0, 9), times(20, 10, 0))...),
			[]testbed.Event{at(20, testbed.Stop)},
			[]Recovery{{Before: 10, After: 10, Gap: 20, RecoveredAfter: secs(0), Lost: map[pipeline.Reason]uint64{}}},
		},
		{
			"what begins within W is put down to the event",
			flow(0, slices.Concat(times(34, 10, 0), times(4, 0, 10), times(22, 10, 0))...),
			[]testbed.Event{at(30, testbed.Stop)},
			[]Recovery{{Before: 10, After: 10, Gap: 4, RecoveredAfter: secs(8), Lost: map[pipeline.Reason]uint64{"lost": 40}}},
		},
		{
			"given back, and three seconds until it helps",
			flow(0, slices.Concat(times(20, 4, 6), times(3, 4, 6), times(27, 10, 0))...),
			[]testbed.Event{at(20, testbed.Restore)},
			[]Recovery{{Before: 4, After: 10, RecoveredAfter: secs(3), Lost: map[pipeline.Reason]uint64{"lost": 18}}},
		},
		{
			"the next event comes before W is over",
			flow(0, slices.Concat(times(20, 10, 0), times(2, 0, 10), times(30, 10, 0))...),
			[]testbed.Event{at(20, testbed.Pause), at(22, testbed.Resume)},
			[]Recovery{
				{Before: 10, After: 0, Gap: 2, Lost: map[pipeline.Reason]uint64{"lost": 20}},
				{Before: 0, After: 10, RecoveredAfter: secs(0), Lost: map[pipeline.Reason]uint64{}},
			},
		},
		{
			"nothing flowed",
			flow(0, times(60, 0, 3)...),
			[]testbed.Event{at(20, testbed.Kill)},
			[]Recovery{{Before: 0, After: 0, Gap: 40, Lost: map[pipeline.Reason]uint64{"lost": 120}}},
		},
		{
			"in the warm-up's wake, the warm-up is what was before",
			flow(-10, slices.Concat(times(11, 10, 0), times(2, 0, 10), times(30, 10, 0))...),
			[]testbed.Event{at(1, testbed.Kill)},
			[]Recovery{{Before: 10, After: 10, Gap: 2, RecoveredAfter: secs(2), Lost: map[pipeline.Reason]uint64{"lost": 20}}},
		},
		{"the run did not come to it", flow(0, times(10, 10, 0)...), []testbed.Event{at(20, testbed.Kill)}, nil},
		{"no samples", nil, []testbed.Event{at(20, testbed.Kill)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := recoveries(incidents(c.timeline), &testbed.Recording{Samples: c.samples})
			var got []Recovery
			for _, n := range slices.Sorted(maps.Keys(found)) {
				r := found[n]
				got = append(got, Recovery{
					Before: round(r.Before, 6), After: round(r.After, 6), Gap: round(r.Gap, 6), RecoveredAfter: r.RecoveredAfter, Lost: r.Lost,
				})
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %s\nwant %s", jsonOf(t, got), jsonOf(t, c.want))
			}
		})
	}
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	data, err := encodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Events at the same time are one, errors and the time they took are those of
// the marks, and decisions belong to the event before them.
func TestRecoveryReadsMarks(t *testing.T) {
	timeline := []testbed.Event{
		{At: 10 * time.Second, Action: testbed.Kill, Node: "a"},
		{At: 10 * time.Second, Action: testbed.Kill, Node: "b"},
		{At: 20 * time.Second, Action: testbed.Start, Node: "a"},
	}
	mark := func(at float64, kind testbed.MarkKind, what, err string) testbed.Mark {
		return testbed.Mark{At: time.Duration(at * float64(time.Second)), Kind: kind, Type: what, Subject: "x", Message: what, Error: err}
	}
	rec := &testbed.Recording{Run: 3, Samples: flow(0, times(30, 10, 0)...), Marks: []testbed.Mark{
		mark(20.4, testbed.Timeline, "start", "no such process"),
		mark(5, testbed.Decision, "task-placed", ""), mark(21, testbed.Decision, "node-returned", ""), mark(14, testbed.Decision, "task-moved", ""),
		mark(12, testbed.Decision, "node-failed", ""), mark(10.2, testbed.Timeline, "kill", ""), mark(10.3, testbed.Timeline, "kill", "gone already"),
		mark(30, testbed.Decision, "late", ""),
	}}
	got := recoveries(incidents(timeline), rec)
	if len(got) != 2 {
		t.Fatalf("%d events, want 2", len(got))
	}
	first, second := got[1], got[2]
	if first.At != 10.2 || first.Until != 20.4 || first.Last || second.At != 20.4 || second.Until != 30 || !second.Last || first.Run != 3 {
		t.Errorf("spans: %+v, %+v", first, second)
	}
	if want := []string{"kill b: gone already"}; !slices.Equal(first.Errors, want) {
		t.Errorf("errors %q, want %q", first.Errors, want)
	}
	if want := []string{"start a: no such process"}; !slices.Equal(second.Errors, want) {
		t.Errorf("errors %q, want %q", second.Errors, want)
	}
	types := func(ds []Decided) (out []string) {
		for _, d := range ds {
			out = append(out, d.Type)
		}
		return out
	}
	if got := types(first.Decisions); !slices.Equal(got, []string{"node-failed", "task-moved"}) {
		t.Errorf("decisions after the first: %v", got)
	}
	if got := types(second.Decisions); !slices.Equal(got, []string{"node-returned", "late"}) {
		t.Errorf("decisions after the second: %v", got)
	}
}

// On frames known one by one: the gap is what the true one can show on the
// samples, every frame lost in the outage is counted, and recovery is found
// within two sampling intervals of the truth.
func TestRecoveryOfFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := synthScenario()
		s.Timeline = s.Timeline[:1]
		s.Measure.Every = time.Duration(rapid.IntRange(100, 1000).Draw(t, "every")) * time.Millisecond
		kill := s.Timeline[0].At
		length := time.Duration(rapid.IntRange(1500, 40_000).Draw(t, "outage")) * time.Millisecond
		back := kill + length
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		fates := synthFates(s, rng, []outage{{kill, back, pipeline.ReasonLink}}, [2]time.Duration{})
		rec := &testbed.Recording{Run: 1, Samples: sampleFates(s, fates, nil)}
		got := recoveries(incidents(s.Timeline), rec)[1]

		var longest, last time.Duration
		lost := uint64(0)
		last = kill
		for _, f := range fates {
			if f.reason == pipeline.ReasonLink {
				lost++
			}
			if f.reason == "" && f.settled > kill {
				longest, last = max(longest, f.settled-last), f.settled
			}
		}
		gap := time.Duration(got.Gap * float64(time.Second))
		if gap > longest+time.Microsecond || gap < longest-2*s.Measure.Every {
			t.Fatalf("gap %v, truly %v with samples every %v", gap, longest, s.Measure.Every)
		}
		if got.Lost[pipeline.ReasonLink] != lost {
			t.Fatalf("%d lost, truly %d", got.Lost[pipeline.ReasonLink], lost)
		}
		if got.RecoveredAfter == nil {
			t.Fatalf("not recovered; it was after %v", length)
		}
		after := time.Duration(*got.RecoveredAfter * float64(time.Second))
		// A tenth of the window may lack, and latency comes on top.
		slack := 2*s.Measure.Every + windowTime/5
		if after < length-slack || after > length+slack {
			t.Fatalf("recovered after %v, truly %v with samples every %v", after, length, s.Measure.Every)
		}
	})
}

// Whatever the samples, the figures are finite and in bounds.
func TestRecoveryOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var samples []testbed.Sample
		for range rapid.IntRange(0, 30).Draw(t, "samples") {
			samples = append(samples, testbed.Sample{
				At: time.Duration(rapid.Int64Range(-20, 60).Draw(t, "at")) * time.Second,
				Frames: pipeline.Counts{
					Delivered: rapid.Uint64Range(0, 100).Draw(t, "delivered"),
					Dropped:   map[pipeline.Reason]uint64{"x": rapid.Uint64Range(0, 100).Draw(t, "dropped")},
				},
			})
		}
		var timeline []testbed.Event
		at := time.Duration(0)
		for range rapid.IntRange(0, 6).Draw(t, "events") {
			at += time.Duration(rapid.IntRange(0, 15).Draw(t, "after")) * time.Second
			timeline = append(timeline, testbed.Event{At: at, Action: rapid.SampledFrom([]testbed.Action{testbed.Kill, testbed.Start, testbed.Heal}).Draw(t, "action")})
		}
		for _, r := range recoveries(incidents(timeline), &testbed.Recording{Samples: samples}) {
			if r.Until <= r.At || r.Gap < 0 || r.Gap > r.Until-r.At+1e-9 || !finite(r.Before) || !finite(r.After) || r.Before < 0 || r.After < 0 {
				t.Fatalf("%+v", r)
			}
			if x := r.RecoveredAfter; x != nil && (*x < 0 || *x > r.Until-r.At) {
				t.Fatalf("recovered after %v of %+v", *x, r)
			}
		}
	})
}
