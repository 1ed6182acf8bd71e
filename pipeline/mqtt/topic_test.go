package mqtt

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTopics(t *testing.T) {
	cam, fog := party{"cam-1", "AB12"}, party{"fog/+#", "R"}
	for _, c := range []struct{ got, want string }{
		{framesTopic("fog-1", cam), "weft/v1/frames/fog-1/cam-1/AB12"},
		{framesFilter("fog-1"), "weft/v1/frames/fog-1/+/+"},
		{framesFilter("+"), "weft/v1/frames/%2B/+/+"},
		{controlTopic(cam, fog), "weft/v1/control/cam-1/AB12/fog%2F%2B%23/R"},
		{controlFilter(cam), "weft/v1/control/cam-1/AB12/+/+"},
		{DetectionsTopic("people", "gate"), "weft/v1/detections/people/gate"},
		{PicturesTopic("people/detect@512#0", "Tür 1"), "weft/v1/pictures/people%2Fdetect%40512%230/T%C3%BCr%201"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

func TestSenderRefuses(t *testing.T) {
	for _, topic := range []string{
		"", "weft/v1/frames/a/b", "weft/v1/frames/a/b/c/d", "weft/v1/control/a/b/c", "weft/v2/frames/a/b/c",
		"weft/v1/frames/a/b%/c", "weft/v1/frames/a/b%2/c", "weft/v1/frames/a/b/%2f", "weft/v1/frames/a/%61/c",
		"weft/v1/frames/a/b+/c", "weft/v1/control/a/b/ /c",
	} {
		if p, err := sender(topic); !errors.Is(err, errTopic) {
			t.Errorf("%q: %v, %v, want errTopic", topic, p, err)
		}
	}
}

// Whatever the names, the topic is one that may be published to, is matched by
// the receiver's filter and by nobody else's, and names its sender.
func TestTopicsOfAnyNames(t *testing.T) {
	name := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("ab/+#%$. \x00é2F")), 0, 8, -1),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		from := party{name.Draw(t, "from"), name.Draw(t, "run")}
		to := party{name.Draw(t, "to"), name.Draw(t, "to run")}
		other := party{name.Draw(t, "other"), name.Draw(t, "other run")}
		for topic, filter := range map[string][3]string{
			framesTopic(to.node, from): {framesFilter(to.node), framesFilter(other.node), other.node},
			controlTopic(to, from):     {controlFilter(to), controlFilter(other), other.node},
		} {
			if strings.ContainsAny(topic, "+#\x00") || !utf8.ValidString(topic) {
				t.Fatalf("%q may not be published to", topic)
			}
			if !matches(filter[0], topic) {
				t.Fatalf("%q is not matched by %q", topic, filter[0])
			}
			if matches(filter[1], topic) && to.node != filter[2] {
				t.Fatalf("%q for %q is matched by %q for %q", topic, to.node, filter[1], filter[2])
			}
			for _, f := range filter[:2] {
				if err := checkFilter(f); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := sender(topic); err != nil || got != from {
				t.Fatalf("%q: sender %q, %v, want %q", topic, got, err, from)
			}
		}
	})
}

// matches is MQTT 3.1.1's section 4.7, the short way.
func matches(filter, topic string) bool {
	f, l := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i := range f {
		if f[i] == "#" {
			return true
		}
		if i >= len(l) || f[i] != "+" && f[i] != l[i] {
			return false
		}
	}
	return len(f) == len(l)
}

func TestCheckFilter(t *testing.T) {
	for filter, want := range map[string]string{
		"cams/gate": "", "cams/+/jpeg": "", "#": "", "cams/#": "", "+": "", "/": "",
		"":                           "empty",
		"cams/#/jpeg":                "last level",
		"cams/gate#":                 "last level",
		"cams/a+/jpeg":               "whole of a level",
		"a\x00b":                     "UTF-8",
		"a\xffb":                     "UTF-8",
		strings.Repeat("a", 1<<16):   "65535",
		strings.Repeat("a", 1<<16-1): "",
	} {
		err := checkFilter(filter)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.20q: %v, want %q", filter, err, want)
		}
	}
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", "gate", "people%2Fdetect%40512%230", "%", "%2", "%2f", "%41", "a/b", "T%C3%BCr", "%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := unescape(s); err == nil && escape(name) != s {
			t.Fatalf("%q is read as %q, which is written %q", s, name, escape(name))
		}
		if name, err := unescape(escape(s)); err != nil || name != s {
			t.Fatalf("%q comes back as %q, %v", s, name, err)
		}
	})
}
