package testbed_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

const ms = time.Millisecond

func linkOf(delay time.Duration, rate int64) testbed.Link {
	return testbed.Link{Delay: delay, Rate: rate, Queue: 1000}
}

func tier(t tiering.Tier) testbed.End { return testbed.End{Tier: t} }
func node(name string) testbed.End    { return testbed.End{Node: name} }

func between(a, b testbed.End) testbed.Ends { return testbed.Ends{A: a, B: b} }

// continuum is two edge nodes, a fog node and a cloud node.
func continuum() *testbed.Scenario {
	return &testbed.Scenario{
		Nodes: []testbed.Node{
			{Name: "e1", Tier: tiering.Edge}, {Name: "c1", Tier: tiering.Cloud},
			{Name: "f1", Tier: tiering.Fog}, {Name: "e2", Tier: tiering.Edge},
		},
		Network: testbed.Network{
			Tiers: []testbed.TierLink{
				{A: tiering.Edge, B: tiering.Edge, Link: linkOf(1*ms, 1e9)},
				{A: tiering.Edge, B: tiering.Fog, Link: linkOf(4*ms, 30e6)},
				{A: tiering.Fog, B: tiering.Cloud, Link: linkOf(5*ms, 10e9)},
			},
			Pairs: []testbed.PairLink{{A: "f1", B: "e2", Link: linkOf(40*ms, 3e6)}},
		},
	}
}

func TestTopologyAtTheStart(t *testing.T) {
	top := testbed.NewTopology(continuum())
	if got, want := fmt.Sprint(top.Pairs()), "[{e1 c1} {e1 f1} {e1 e2} {c1 f1} {c1 e2} {f1 e2}]"; got != want {
		t.Errorf("pairs %s, want %s", got, want)
	}
	for _, tt := range []struct {
		a, b string
		want testbed.Link
		ok   bool
	}{
		{"e1", "e2", linkOf(1*ms, 1e9), true},
		{"e1", "f1", linkOf(4*ms, 30e6), true},
		{"f1", "e2", linkOf(40*ms, 3e6), true},  // of their own
		{"e2", "c1", linkOf(9*ms, 30e6), true},  // through the fog, as every edge node
		{"c1", "f1", linkOf(5*ms, 10e9), true},  // in either order
		{"e1", "e1", testbed.Link{}, true},      // itself
		{"e1", "nobody", testbed.Link{}, false}, // no such node
		{"nobody", "somebody", testbed.Link{}, false},
	} {
		for range 2 {
			if got, ok := top.Link(tt.a, tt.b); got != tt.want || ok != tt.ok {
				t.Errorf("%s–%s is %+v, %v; want %+v, %v", tt.a, tt.b, got, ok, tt.want, tt.ok)
			}
			tt.a, tt.b = tt.b, tt.a
		}
	}
}

// A tier's link is no way for nodes that it does not lead to.
func TestTopologyWithoutALink(t *testing.T) {
	s := continuum()
	s.Network.Tiers = s.Network.Tiers[:2] // no fog–cloud
	top := testbed.NewTopology(s)
	for _, other := range []string{"e1", "e2", "f1"} {
		if l, ok := top.Link("c1", other); ok {
			t.Errorf("c1–%s is %+v", other, l)
		}
	}
	err := top.Apply(testbed.Event{Action: testbed.Partition, Ends: between(tier(tiering.Fog), tier(tiering.Cloud))})
	if !errors.Is(err, testbed.ErrContradiction) || err.Error() != "contradiction: there is no link fog–cloud" {
		t.Errorf("a partition of what is not joined: %v", err)
	}
}

func TestTopologyPartitions(t *testing.T) {
	edge, fog, cloud := tier(tiering.Edge), tier(tiering.Fog), tier(tiering.Cloud)
	for _, tt := range []struct {
		ends testbed.Ends
		cut  string
	}{
		{between(fog, cloud), "e1–c1 c1–f1 c1–e2"},      // and what leads through the fog
		{between(edge, fog), "e1–c1 e1–f1 c1–e2 f1–e2"}, //
		{between(edge, cloud), "e1–c1 c1–e2"},           // only that
		{between(edge, edge), "e1–e2"},                  // within a tier
		{between(node("e1"), node("f1")), "e1–f1"},      // the fog is more than that node
		{between(node("e1"), fog), "e1–c1 e1–f1"},       //
		{between(fog, node("c1")), "e1–c1 c1–f1 c1–e2"}, //
		{between(node("c1"), node("e2")), "c1–e2"},      //
		{between(node("e2"), edge), "e1–e2"},            // a node and the rest of its tier
		{between(node("f1"), cloud), "c1–f1"},           //
	} {
		top := testbed.NewTopology(continuum())
		cut := func() string {
			var out []string
			for _, p := range top.Pairs() {
				if _, ok := top.Link(p.A, p.B); !ok {
					out = append(out, p.A+"–"+p.B)
				}
			}
			return strings.Join(out, " ")
		}
		apply := func(a testbed.Action, ends testbed.Ends) {
			if err := top.Apply(testbed.Event{Action: a, Ends: ends}); err != nil {
				t.Fatal(err)
			}
		}
		apply(testbed.Partition, tt.ends)
		if got := cut(); got != tt.cut {
			t.Errorf("%s parts %q, want %q", tt.ends, got, tt.cut)
		}
		swapped := between(tt.ends.B, tt.ends.A)
		if err := top.Apply(testbed.Event{Action: testbed.Partition, Ends: swapped}); !errors.Is(err, testbed.ErrContradiction) {
			t.Errorf("parted twice: %v", err)
		}
		apply(testbed.Heal, swapped)
		if got := cut(); got != "" {
			t.Errorf("%s leaves %q parted", tt.ends, got)
		}
		if err := top.Apply(testbed.Event{Action: testbed.Heal, Ends: tt.ends}); !errors.Is(err, testbed.ErrContradiction) {
			t.Errorf("healed twice: %v", err)
		}
	}
}

// naive is the network as the documentation has it: every path is worked out
// anew from all that has happened.
type naive struct {
	s   *testbed.Scenario
	log []testbed.Event
}

func (n *naive) tierOf(name string) tiering.Tier {
	for _, x := range n.s.Nodes {
		if x.Name == name {
			return x.Tier
		}
	}
	panic(name)
}

func (n *naive) tiers(a, b tiering.Tier) (testbed.Link, bool) {
	for _, l := range n.s.Network.Tiers {
		if l.A == a && l.B == b || l.A == b && l.B == a {
			return l.Link, true
		}
	}
	return testbed.Link{}, false
}

// start is the link of two nodes at the start, or the two of a path through the fog.
func (n *naive) start(a, b string) []testbed.Link {
	for _, l := range n.s.Network.Pairs {
		if l.A == a && l.B == b || l.A == b && l.B == a {
			return []testbed.Link{l.Link}
		}
	}
	x, y := n.tierOf(a), n.tierOf(b)
	if l, ok := n.tiers(x, y); ok {
		return []testbed.Link{l}
	}
	up, first := n.tiers(tiering.Edge, tiering.Fog)
	on, second := n.tiers(tiering.Fog, tiering.Cloud)
	if tiering.Distance(x, y) == 2 && first && second {
		return []testbed.Link{up, on}
	}
	return nil
}

// is reports whether the end is that node; the empty node is the fog in general.
func (n *naive) is(e testbed.End, name string) bool {
	if name == "" {
		return e == tier(tiering.Fog)
	}
	return e == node(name) || e == tier(n.tierOf(name))
}

func (n *naive) names(e testbed.Ends, a, b string) bool {
	return n.is(e.A, a) && n.is(e.B, b) || n.is(e.A, b) && n.is(e.B, a)
}

// fits reports whether the event makes sense on what has happened.
func (n *naive) fits(e testbed.Event) bool {
	parted := 0
	for _, o := range n.log {
		if o.Ends == e.Ends || o.Ends == between(e.Ends.B, e.Ends.A) {
			parted += map[testbed.Action]int{testbed.Partition: 1, testbed.Heal: -1}[o.Action]
		}
	}
	switch e.Action {
	case testbed.Heal:
		return parted > 0
	case testbed.Kill:
		return true
	case testbed.Partition:
		if parted > 0 {
			return false
		}
	}
	for _, x := range n.s.Nodes {
		for _, y := range n.s.Nodes {
			if x.Name == y.Name || x.Tier > y.Tier {
				continue
			}
			start := n.start(x.Name, y.Name)
			via := len(start) == 2 && (n.names(e.Ends, x.Name, "") || n.names(e.Ends, "", y.Name))
			if start != nil && (via || n.names(e.Ends, x.Name, y.Name)) {
				return true
			}
		}
	}
	return false
}

func (n *naive) link(a, b string) (testbed.Link, bool) {
	if n.tierOf(a) > n.tierOf(b) {
		a, b = b, a
	}
	start := n.start(a, b)
	if start == nil {
		return testbed.Link{}, false
	}
	via := len(start) == 2
	now, whole, cuts := slices.Clone(start), []testbed.LinkChange(nil), 0
	for _, e := range n.log {
		all := n.names(e.Ends, a, b)
		part := []bool{via && n.names(e.Ends, a, ""), via && n.names(e.Ends, "", b)}
		switch e.Action {
		case testbed.Partition, testbed.Heal:
			if all || part[0] || part[1] {
				cuts += map[testbed.Action]int{testbed.Partition: 1, testbed.Heal: -1}[e.Action]
			}
		case testbed.Change:
			if all && via {
				whole = append(whole, e.Link)
			} else if all {
				now[0] = e.Link.Apply(now[0])
			}
			for i := range now {
				if part[i] {
					now[i] = e.Link.Apply(now[i])
				}
			}
		case testbed.Restore:
			if all {
				now, whole = slices.Clone(start), nil
			}
			for i := range now {
				if part[i] {
					now[i] = start[i]
				}
			}
		}
	}
	l := now[0]
	if via {
		l = now[0].Then(now[1])
	}
	for _, c := range whole {
		l = c.Apply(l)
	}
	return l, cuts == 0
}

// Whatever happens, every path is as worked out from the beginning.
func TestTopologyAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		anyTier := rapid.SampledFrom(tiering.Tiers())
		anyLink := rapid.Custom(func(t *rapid.T) testbed.Link {
			return testbed.Link{
				Delay: ms * time.Duration(rapid.IntRange(0, 9).Draw(t, "delay")), Rate: rapid.Int64Range(0, 3).Draw(t, "rate"),
				Jitter: ms * time.Duration(rapid.IntRange(0, 9).Draw(t, "jitter")), Loss: rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "loss"),
				Queue: rapid.IntRange(1, 3).Draw(t, "queue"),
			}
		})
		s := &testbed.Scenario{}
		for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
			s.Nodes = append(s.Nodes, testbed.Node{Name: fmt.Sprint("n", i), Tier: anyTier.Draw(t, "tier")})
		}
		anyNode := rapid.Custom(func(t *rapid.T) string { return rapid.SampledFrom(s.Nodes).Draw(t, "node").Name })
		for i, a := range tiering.Tiers() {
			for _, b := range tiering.Tiers()[i:] {
				if rapid.IntRange(0, 3).Draw(t, "joined") > 0 {
					s.Network.Tiers = append(s.Network.Tiers, testbed.TierLink{A: a, B: b, Link: anyLink.Draw(t, "link")})
				}
			}
		}
		for i, a := range s.Nodes {
			for _, b := range s.Nodes[i+1:] {
				if rapid.IntRange(0, 5).Draw(t, "own") == 0 {
					s.Network.Pairs = append(s.Network.Pairs, testbed.PairLink{A: b.Name, B: a.Name, Link: anyLink.Draw(t, "link")})
				}
			}
		}
		anyEnd := rapid.Custom(func(t *rapid.T) testbed.End {
			if rapid.Bool().Draw(t, "of a tier") {
				return tier(anyTier.Draw(t, "tier"))
			}
			return node(anyNode.Draw(t, "node"))
		})
		model, top := naive{s: s}, testbed.NewTopology(s)
		for range rapid.IntRange(0, 12).Draw(t, "events") {
			e := testbed.Event{
				Action: rapid.SampledFrom([]testbed.Action{testbed.Partition, testbed.Heal, testbed.Change, testbed.Restore, testbed.Kill}).Draw(t, "action"),
				Ends:   between(anyEnd.Draw(t, "a"), anyEnd.Draw(t, "b")),
			}
			if e.Action == testbed.Change {
				l := anyLink.Draw(t, "new")
				e.Link = rapid.SampledFrom([]testbed.LinkChange{
					{Delay: &l.Delay}, {Rate: &l.Rate, Queue: &l.Queue}, {Loss: &l.Loss, Jitter: &l.Jitter},
				}).Draw(t, "change")
			}
			fits := model.fits(e)
			if err := top.Apply(e); (err == nil) != fits || err != nil && !errors.Is(err, testbed.ErrContradiction) {
				t.Fatalf("%s: %v, want it to fit: %v", e, err, fits)
			} else if err == nil {
				model.log = append(model.log, e)
			}
			for _, p := range top.Pairs() {
				want, joined := model.link(p.A, p.B)
				for range 2 {
					if got, ok := top.Link(p.A, p.B); got != want || ok != joined {
						t.Fatalf("after %s, %v is %+v, %v; want %+v, %v", e, p, got, ok, want, joined)
					}
					p.A, p.B = p.B, p.A
				}
			}
		}
	})
}

// When everything is restored and healed, everything is as it was.
func TestTopologyRestore(t *testing.T) {
	top, fresh := testbed.NewTopology(continuum()), testbed.NewTopology(continuum())
	slow, far := int64(1e6), 70*ms
	edge, fog, cloud := tier(tiering.Edge), tier(tiering.Fog), tier(tiering.Cloud)
	steps := []struct {
		testbed.Event
		pair [2]string
		want testbed.Link
	}{
		{testbed.Event{Action: testbed.Change, Ends: between(edge, fog), Link: testbed.LinkChange{Rate: &slow}}, [2]string{"e2", "c1"}, linkOf(9*ms, 1e6)},
		{testbed.Event{Action: testbed.Change, Ends: between(node("e2"), cloud), Link: testbed.LinkChange{Delay: &far}}, [2]string{"e2", "c1"}, linkOf(70*ms, 1e6)},
		{testbed.Event{Action: testbed.Restore, Ends: between(node("f1"), node("e2"))}, [2]string{"f1", "e2"}, linkOf(40*ms, 3e6)},
		{testbed.Event{Action: testbed.Restore, Ends: between(fog, edge)}, [2]string{"e2", "c1"}, linkOf(70*ms, 30e6)},
		{testbed.Event{Action: testbed.Restore, Ends: between(cloud, edge)}, [2]string{"e2", "c1"}, linkOf(9*ms, 30e6)},
	}
	for _, s := range steps {
		if err := top.Apply(s.Event); err != nil {
			t.Fatal(err)
		}
		if got, ok := top.Link(s.pair[0], s.pair[1]); got != s.want || !ok {
			t.Errorf("after %s, %v is %+v, %v; want %+v", s.Event, s.pair, got, ok, s.want)
		}
	}
	for _, p := range top.Pairs() {
		got, _ := top.Link(p.A, p.B)
		if want, _ := fresh.Link(p.A, p.B); got != want {
			t.Errorf("%v is %+v in the end, was %+v", p, got, want)
		}
	}
}
