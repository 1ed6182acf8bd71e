package testbed_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

func TestLinkThen(t *testing.T) {
	a := testbed.Link{Delay: 4 * ms, Jitter: ms, Rate: 30e6, Loss: 0.1, Queue: 100}
	b := testbed.Link{Delay: 5 * ms, Jitter: 2 * ms, Rate: 10e9, Loss: 0.5, Queue: 1000}
	want := testbed.Link{Delay: 9 * ms, Jitter: 3 * ms, Rate: 30e6, Loss: 0.55, Queue: 100}
	for _, got := range []testbed.Link{a.Then(b), b.Then(a)} {
		if math.Abs(got.Loss-want.Loss) > 1e-12 {
			t.Errorf("loss %v, want %v", got.Loss, want.Loss)
		}
		if got.Loss = want.Loss; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	a.Rate = 0 // unshaped
	if got := a.Then(b); got.Rate != 10e9 {
		t.Errorf("the rate is %d, want that of the shaped part", got.Rate)
	}
	if got := a.Then(a); got.Rate != 0 {
		t.Errorf("the rate is %d, want unshaped", got.Rate)
	}
}

// Changes made one after the other are what Then makes of them, and leave alone
// what they do not name.
func TestLinkChange(t *testing.T) {
	optional := func(t *rapid.T, name string) *time.Duration {
		if rapid.Bool().Draw(t, name) {
			d := time.Duration(rapid.IntRange(0, 5).Draw(t, name))
			return &d
		}
		return nil
	}
	change := rapid.Custom(func(t *rapid.T) testbed.LinkChange {
		c := testbed.LinkChange{Delay: optional(t, "delay"), Jitter: optional(t, "jitter")}
		if d := optional(t, "rate"); d != nil {
			c.Rate = (*int64)(d)
		}
		if d := optional(t, "loss"); d != nil {
			l := float64(*d) / 10
			c.Loss = &l
		}
		if d := optional(t, "queue"); d != nil {
			q := int(*d)
			c.Queue = &q
		}
		return c
	})
	rapid.Check(t, func(t *rapid.T) {
		l := testbed.Link{Delay: 7, Jitter: 6, Rate: 9, Loss: 0.9, Queue: 8}
		c, d := change.Draw(t, "c"), change.Draw(t, "d")
		if got, want := c.Then(d).Apply(l), d.Apply(c.Apply(l)); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		got := c.Apply(l)
		for _, p := range []struct{ given, changed bool }{
			{c.Delay != nil, got.Delay != l.Delay}, {c.Jitter != nil, got.Jitter != l.Jitter}, {c.Rate != nil, got.Rate != l.Rate},
			{c.Loss != nil, got.Loss != l.Loss}, {c.Queue != nil, got.Queue != l.Queue},
		} {
			if p.given != p.changed { // no drawn value is that of l
				t.Fatalf("%+v by %s is %+v", l, c, got)
			}
		}
	})
}

func TestFormatRate(t *testing.T) {
	for bits, want := range map[int64]string{
		0: "unshaped", 1: "1 bit/s", 999: "999 bit/s", 1000: "1 kbit/s", 64_000: "64 kbit/s", 30e6: "30 Mbit/s", 28_812_345: "28.812 Mbit/s",
		1e9: "1 Gbit/s", 2_500_000_000: "2.5 Gbit/s", 10e9: "10 Gbit/s", 1e12: "1000 Gbit/s", 123_456_789_000_000: "123456.789 Gbit/s",
	} {
		if got := testbed.FormatRate(bits); got != want {
			t.Errorf("%d: %q, want %q", bits, got, want)
		}
	}
}

func TestEventString(t *testing.T) {
	rate, delay, jitter, loss, queue := int64(3e6), 20*ms, 5*ms, 0.005, 50
	ends := between(tier(tiering.Fog), node("cloud-1"))
	for want, e := range map[string]testbed.Event{
		"kill fog-1":            {Action: testbed.Kill, Node: "fog-1"},
		"resume fog-1":          {Action: testbed.Resume, Node: "fog-1"},
		"partition fog–cloud-1": {Action: testbed.Partition, Ends: ends},
		"restore fog–cloud-1":   {Action: testbed.Restore, Ends: ends},
		"sources +5":            {Action: testbed.Sources, Count: 5},
		"sources -5":            {Action: testbed.Sources, Count: -5},
		"link fog–cloud-1 3 Mbit/s, delay 20ms, jitter 5ms, loss 0.5 %, queue 50": {Action: testbed.Change, Ends: ends,
			Link: testbed.LinkChange{Rate: &rate, Delay: &delay, Jitter: &jitter, Loss: &loss, Queue: &queue}},
	} {
		if got := e.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
