package pipeline

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever the delays and the offset, the error is at most half of the least
// round trip: the bound that Cristian proves.
func TestClockSyncBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(-1<<50, 1<<50).Draw(t, "offset")
		delay := rapid.Int64Range(0, int64(time.Second))
		var s ClockSync
		now := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "start")
		for range rapid.IntRange(1, 50).Draw(t, "trips") {
			there, back := delay.Draw(t, "there"), delay.Draw(t, "back")
			s.Observe(now, now+there+offset, now+there+back)
			now += there + back + rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "pause")

			trip, ok := s.RoundTrip()
			if !ok {
				t.Fatal("no round trip after one")
			}
			want := delay.Draw(t, "transfer")
			got, ok := s.Transfer(now-want+offset, now)
			if off := (got - time.Duration(want)).Abs(); !ok || off > trip/2+1 {
				t.Fatalf("transfer %s (%v), want %s ± %s", got, ok, time.Duration(want), trip/2)
			}
		}
	})
}

// On a link of 4 ms with exponential jitter of 20 ms in the mean, the filter
// measures transfers to an eighth of that.
func TestClockSyncJitter(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	const offset = int64(17 * time.Hour)
	delay := func() int64 { return int64(4*time.Millisecond) + int64(rng.ExpFloat64()*20e6) }
	var s ClockSync
	now := int64(0)
	for range syncSamples {
		there, back := delay(), delay()
		s.Observe(now, now+there+offset, now+there+back)
		now += int64(time.Second)
	}
	got, _ := s.Transfer(now-int64(50*time.Millisecond)+offset, now)
	if off := (got - 50*time.Millisecond).Abs(); off > 2500*time.Microsecond {
		t.Errorf("transfer of 50ms measured as %s", got)
	}
}

// The peer's clock runs 50 ppm fast for an hour: old samples must not hold.
func TestClockSyncDrift(t *testing.T) {
	var s ClockSync
	peer := func(at int64) int64 { return at + at/20_000 }
	s.Observe(0, peer(0), 0) // a round trip that none beats
	for at := int64(0); at < int64(time.Hour); at += int64(5 * time.Second) {
		s.Observe(at, peer(at+1e6), at+2e6)
		got, _ := s.Transfer(peer(at+2e6), at+12e6)
		if off := (got - 10*time.Millisecond).Abs(); off > 5*time.Millisecond {
			t.Fatalf("after %s: transfer of 10ms measured as %s", time.Duration(at), got)
		}
	}
}

func TestClockSyncEdges(t *testing.T) {
	var s ClockSync
	if d, ok := s.Transfer(5, 10); ok || d != 0 {
		t.Errorf("before any round trip: %s, %v", d, ok)
	}
	if _, ok := s.RoundTrip(); ok {
		t.Error("a round trip out of nothing")
	}
	s.Observe(10, 5, 9) // ends before it began
	if _, ok := s.RoundTrip(); ok {
		t.Error("an impossible round trip counted")
	}
	s.Observe(0, 1000, 100)
	if d, ok := s.Transfer(2000, 1000); !ok || d != 0 {
		t.Errorf("sent in the future: %s, %v, want 0", d, ok)
	}
}

func TestClockReading(t *testing.T) {
	base := time.Now()
	if got := NewClock(base).Reading(base.Add(time.Second)); got != 1e9 {
		t.Errorf("got %d", got)
	}
}
