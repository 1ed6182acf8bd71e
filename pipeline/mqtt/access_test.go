package mqtt

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/pki"
)

var (
	edge1    = pki.Subject{Mesh: "test", Role: pki.Agent, Name: "edge-1"}
	coord    = pki.Subject{Mesh: "test", Role: pki.Coordinator, Name: "edge-1"}
	operator = pki.Subject{Mesh: "test", Role: pki.Operator, Name: "edge-1"} // named as a node is
)

func TestAllowed(t *testing.T) {
	const read, write = false, true
	for _, c := range []struct {
		topic           string
		write           bool
		agent, operator bool
	}{
		// Frames and control messages: as oneself, and what is addressed to oneself.
		{"weft/v1/frames/fog-1/edge-1/R", write, true, false},
		{"weft/v1/frames/fog-1/edge-2/R", write, false, false},
		{"weft/v1/frames/fog-1/edge-1", write, false, false},
		{"weft/v1/frames/fog-1/edge-1/R/more", write, false, false},
		{"weft/v1/frames/edge-1/edge-2/R", write, false, false},
		{"weft/v1/frames/+/edge-1/R", write, false, false},
		{"weft/v1/control/fog-1/R/edge-1/R", write, true, false},
		{"weft/v1/control/fog-1/R/edge-2/R", write, false, false},
		{"weft/v1/control/fog-1/edge-1/R", write, false, false},
		{"weft/v1/frames/edge-1/+/+", read, true, false},
		{"weft/v1/frames/edge-1/#", read, true, false},
		{"weft/v1/frames/edge-1/edge-2/R", read, true, false},
		{"weft/v1/control/edge-1/R/+/+", read, true, false},
		{"weft/v1/frames/edge-2/+/+", read, false, false},
		{"weft/v1/frames/edge-2/edge-1/R", read, false, false},
		{"weft/v1/frames/edge-1", read, true, false}, // which weft/v1/frames/edge-1/# matches too
		{"weft/v1/frames/edge-10/#", read, false, false},
		{"weft/v2/frames/edge-1/#", read, false, false},

		// Wildcards that would cover more.
		{"#", read, false, false},
		{"+/#", read, false, false},
		{"+", read, false, false},
		{"weft/#", read, false, false},
		{"weft/v1/#", read, false, false},
		{"weft/+/frames/edge-1/+/+", read, false, false},
		{"weft/v1/+/edge-1/+/+", read, false, false},
		{"weft/v1/frames/+/+/+", read, false, false},
		{"weft/v1/frames/#", read, false, false},
		{"+/v1/frames/edge-1/+/+", read, false, false},
		{"weft/v1/frames/edge-1/#/x", read, false, false},
		{"weft/v1/frames/edge-1/x#", read, false, false},
		{"weft/v1/frames/edge-1/x+/y", read, false, false},

		// Results.
		{"weft/v1/detections/people/gate", write, true, false},
		{"weft/v1/pictures/people/gate", write, true, false},
		{"weft/v1/detections/people", write, false, false},
		{"weft/v1/detections/people/gate/more", write, false, false},
		{"weft/v1/detections/people/gate", read, false, true},
		{"weft/v1/detections/#", read, false, true},
		{"weft/v1/pictures/+/gate", read, false, true},
		{"weft/v1/+/people/gate", read, false, false},

		// Cameras.
		{"cams/gate", write, false, true},
		{"cams/gate", read, true, true},
		{"cams/+/jpeg", read, true, true},
		{"cams/#", read, true, true},
		{"/cams/gate", read, true, true},
		{"/cams/gate", write, false, true},
		{"+/gate", read, false, false},
		{"weft", write, false, false},
		{"weft/cams/gate", write, false, false},
		{"weft/cams/gate", read, false, false},

		// What the broker says of itself, and other topics that begin with $.
		{"$SYS/#", read, false, true},
		{"$SYS/broker/version", read, false, true},
		{"$SYS/broker/version", write, false, false},
		{"$other", read, false, false},
		{"$other", write, false, false},

		// Shared subscriptions.
		{"$share/g/weft/v1/frames/edge-1/+/+", read, true, false},
		{"$share/g/weft/v1/frames/edge-2/+/+", read, false, false},
		{"$SHARE/g/weft/v1/frames/edge-2/+/+", read, false, false},
		{"$share/g/#", read, false, false},
		{"$share/g/+/v1/frames/edge-2/+/+", read, false, false},
		{"$share/g/$share/h/cams/gate", read, false, false},
		{"$share/g/cams/#", read, true, true},
		{"$share/g/$SYS/#", read, false, true},
		{"$share/+/cams/gate", read, false, false},
		{"$share/cams", read, false, false},
		{"$share//cams", read, false, false},
		{"$share/g/", read, false, false},
		{"$share/g/cams/gate", write, false, false},

		// What is no topic, or too much of one.
		{"", write, false, false},
		{"", read, false, false},
		{"cams/\x00", write, false, false},
		{"cams/\xff", write, false, false},
		{strings.Repeat("c", maxTopic), write, false, true},
		{strings.Repeat("c", maxTopic+1), write, false, false},
		{strings.Repeat("c/", maxLevels-1) + "c", read, true, true},
		{strings.Repeat("c/", maxLevels) + "c", read, false, false},
		{"weft/v1/detections/" + strings.Repeat("c", maxTopic) + "/gate", write, false, false},
	} {
		for who, want := range map[pki.Subject]bool{
			edge1: c.agent, coord: c.agent, operator: c.operator,
			{Mesh: "test", Role: "guest", Name: "edge-1"}: false, {Mesh: "test", Role: pki.Agent}: false, {}: false,
		} {
			if got := Allowed(who, c.topic, c.write); got != want {
				t.Errorf("%s, %.60q, write %t: %t, want %t", who, c.topic, c.write, got, want)
			}
		}
	}
}

// someTopic draws topics, or filters, that come near to Weft's own.
func someTopic(words ...string) *rapid.Generator[string] {
	level := rapid.SampledFrom(append([]string{
		"weft", "v1", "v2", "frames", "control", "detections", "pictures", "edge-1", "edge-2", "R", "cams", "$SYS", "$share", "g", "",
	}, words...))
	start := rapid.SampledFrom([][]string{
		{}, {"weft", "v1", "frames"}, {"weft", "v1", "control", "edge-1"}, {"weft", "v1"}, {"$share", "g"}, {"$share", "g", "weft", "v1", "frames"},
	})
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(append(slices.Clone(start.Draw(t, "start")), rapid.SliceOfN(level, 1, 7).Draw(t, "rest")...), "/")
	})
}

// A filter never lets in more than its topics one by one would.
func TestFiltersCoverNoMoreThanAllowed(t *testing.T) {
	who := rapid.SampledFrom([]pki.Subject{edge1, coord, operator})
	filters, topics := someTopic("+", "#", "+", "x+"), someTopic()
	rapid.Check(t, func(t *rapid.T) {
		mustNotCoverMore(t, who.Draw(t, "who"), filters.Draw(t, "filter"), topics.Draw(t, "topic"))
	})
}

func mustNotCoverMore(t interface{ Fatalf(string, ...any) }, who pki.Subject, filter, topic string) {
	if checkFilter(topic) != nil || len(topic) > maxTopic || strings.Count(topic, "/") >= maxLevels {
		return // nobody may publish to it, so nothing comes through it
	}
	if Allowed(who, filter, false) && brokerMatches(filter, topic) && !Allowed(who, topic, false) {
		t.Fatalf("%s may subscribe to %q and so gets %q, which it may not read", who, filter, topic)
	}
}

// Of frames and control messages, whatever the names: the node that they are
// for reads them, the node that they are from publishes them, nobody else.
func TestFramesBelongToTheirEnds(t *testing.T) {
	name := rapid.StringMatching(`(edge|fog)-[12]`)
	role := rapid.SampledFrom([]pki.Role{pki.Agent, pki.Coordinator, pki.Operator})
	run := rapid.StringMatching(`[A-Z0-9]{1,3}`)
	filters := someTopic("+", "#", "+")
	rapid.Check(t, func(t *rapid.T) {
		from := party{name.Draw(t, "from"), run.Draw(t, "from run")}
		to := party{name.Draw(t, "to"), run.Draw(t, "to run")}
		who := pki.Subject{Mesh: "test", Role: role.Draw(t, "role"), Name: name.Draw(t, "name")}
		acts := who.Role != pki.Operator
		for _, topic := range []string{framesTopic(to.node, from), controlTopic(to, from)} {
			if got, want := Allowed(who, topic, true), acts && who.Name == from.node; got != want {
				t.Fatalf("%s publishes to %s: %t, want %t", who, topic, got, want)
			}
			if got, want := Allowed(who, topic, false), acts && who.Name == to.node; got != want {
				t.Fatalf("%s reads %s: %t, want %t", who, topic, got, want)
			}
			if f := filters.Draw(t, "filter"); who.Name != to.node && brokerMatches(f, topic) && Allowed(who, f, false) {
				t.Fatalf("%s reads %s through %s", who, topic, f)
			}
		}
		if acts {
			self := party{who.Name, "R"}
			for _, f := range []string{framesFilter(who.Name), controlFilter(self)} {
				if !Allowed(who, f, false) {
					t.Fatalf("%s may not subscribe to its own %s", who, f)
				}
			}
		}
	})
}

// brokerMatches is MQTT's section 4.7 in full, generous where brokers differ:
// a/# matches a, and wildcards topics that begin with $.
func brokerMatches(filter, topic string) bool {
	if rest, ok := unshared(filter); ok {
		filter = rest
	}
	return matches(filter, topic) || strings.HasSuffix(filter, "/#") && matches(strings.TrimSuffix(filter, "/#"), topic)
}

func FuzzAllowed(f *testing.F) {
	for _, s := range [][2]string{
		{"weft/v1/frames/edge-1/+/+", "weft/v1/frames/edge-1/a/b"}, {"$share/g/cams/#", "cams/gate"}, {"#", "weft/v1/frames/a/b/c"},
		{"+/+", "$SYS/x"}, {"weft/v1/frames/edge-1/#", "weft/v1/frames/edge-1"}, {"/#", "/weft"}, {"$SHARE/x/+/y", "weft/y"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		for _, who := range []pki.Subject{edge1, coord, operator} {
			mustNotCoverMore(t, who, filter, topic)
			if strings.HasPrefix(topic, "$") && Allowed(who, topic, true) || strings.ContainsAny(topic, "+#") && Allowed(who, topic, true) {
				t.Fatalf("%s may publish to %q", who, topic)
			}
			if p, err := sender(topic); err == nil && p.node != who.Name && Allowed(who, topic, true) {
				t.Fatalf("%s may publish to %q", who, topic)
			}
		}
	})
}
