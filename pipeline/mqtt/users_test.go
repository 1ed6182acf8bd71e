package mqtt

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
	"pgregory.net/rapid"
)

// hashOf is a hash of the least cost that is taken.
func hashOf(t *testing.T, secret string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(secret), 10)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func TestUsers(t *testing.T) {
	hash := hashOf(t, "correct horse")
	u, err := NewUsers([]User{
		{Name: "gate", Hash: hash, Publish: []string{"cameras/gate/#"}},
		{Name: "screen", Hash: hash, Publish: []string{"screens/+/state"}, Subscribe: []string{"cameras/+", "weft/v1/detections/#"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !u.Login("gate", []byte("correct horse")) || u.Login("gate", []byte("horse")) || u.Login("operator", []byte("correct horse")) {
		t.Error("who logs in is not who knows the password")
	}
	const read, write = false, true
	for _, c := range []struct {
		user, topic string
		write       bool
		want        bool
	}{
		{"gate", "cameras/gate", write, true},
		{"gate", "cameras/gate/jpeg", write, true},
		{"gate", "cameras/gate/jpeg/1", write, true},
		{"gate", "cameras/yard", write, false},
		{"gate", "cameras/gate2", write, false},
		{"gate", "cameras/gate/+", write, false},
		{"gate", "cameras/gate", read, false},
		{"gate", "#", read, false},
		{"gate", "weft/v1/frames/fog-1/edge-1/R", write, false},
		{"gate", "weft/v1/detections/w/s", write, false},
		{"gate", "", write, false},
		{"screen", "screens/a/state", write, true},
		{"screen", "screens/a/b/state", write, false},
		{"screen", "cameras/gate", read, true},
		{"screen", "cameras/+", read, true},
		{"screen", "cameras/#", read, false},
		{"screen", "cameras", read, false},
		{"screen", "+/gate", read, false},
		{"screen", "$share/g/cameras/+", read, true},
		{"screen", "$share/g/cameras/#", read, false},
		{"screen", "$share/g", read, false},
		{"screen", "weft/v1/detections", read, true},
		{"screen", "weft/v1/detections/w/#", read, true},
		{"screen", "weft/v1/pictures/w/s", read, false},
		{"screen", "weft/v1/frames/screen/+/+", read, false},
		{"screen", "$SYS/broker/clients", read, false},
		{"screen", "cameras/" + strings.Repeat("x", maxTopic), read, false},
		{"gate", "cameras/gate" + strings.Repeat("/x", maxLevels), write, false},
		{"", "cameras/gate", write, false},
		{"nobody", "cameras/gate", read, false},
	} {
		if got := u.Allowed(c.user, c.topic, c.write); got != c.want {
			t.Errorf("%s, %.60s, write %v: %v", c.user, c.topic, c.write, got)
		}
	}
}

// TestCovers compares with every topic of a few levels.
func TestCovers(t *testing.T) {
	var topics [][]string
	for n, last := 0, [][]string{nil}; n < 6; n++ {
		var next [][]string
		for _, l := range last {
			for _, w := range []string{"a", "b"} {
				next = append(next, append(slices.Clone(l), w))
			}
		}
		topics, last = append(topics, next...), next
	}
	matches := func(filter, topic []string) bool { // MQTT 3.1.1, section 4.7
		for i, f := range filter {
			if f == "#" {
				return i <= len(topic)
			}
			if i >= len(topic) || f != "+" && f != topic[i] {
				return false
			}
		}
		return len(filter) == len(topic)
	}
	filter := rapid.Custom(func(t *rapid.T) []string {
		f := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "+"}), 0, 3).Draw(t, "levels")
		if len(f) == 0 || rapid.Bool().Draw(t, "and all below") {
			f = append(f, "#")
		}
		return f
	})
	rapid.Check(t, func(t *rapid.T) {
		wide, narrow := filter.Draw(t, "wide"), filter.Draw(t, "narrow")
		wide = append([]string{"a"}, wide...) // no user has a filter that begins with a wildcard
		if rapid.Bool().Draw(t, "alike") {
			narrow = append([]string{"a"}, narrow...)
		}
		want := true
		for _, topic := range topics {
			if matches(narrow, topic) && !matches(wide, topic) {
				want = false
			}
		}
		if got := covers(wide, narrow); got != want {
			t.Fatalf("%v covers %v: %v, and the topics say %v", wide, narrow, got, want)
		}
	})
}

func TestUsersThatCannotBe(t *testing.T) {
	hash := hashOf(t, "correct horse")
	good := User{Name: "gate", Hash: hash, Publish: []string{"cameras/gate"}}
	if p := CheckUsers([]User{good}); len(p) > 0 {
		t.Fatal(p[0])
	}
	for _, c := range []struct {
		change func(*User)
		field  string
		want   string
	}{
		{func(u *User) { u.Name = "" }, "name", "1 to 63 letters"},
		{func(u *User) { u.Name = "a/b" }, "name", "1 to 63 letters"},
		{func(u *User) { u.Hash = "correct horse" }, "passwordHash", "weft mqtt-password"},
		{func(u *User) { u.Publish = nil }, "publish", "it may do nothing"},
		{func(u *User) { u.Publish = append(u.Publish, "#") }, "publish[1]", "needs a certificate"},
		{func(u *User) { u.Publish[0] = "+/gate" }, "publish[0]", "needs a certificate"},
		{func(u *User) { u.Publish[0] = "weft/v1/detections/w/s" }, "publish[0]", "needs a certificate"},
		{func(u *User) { u.Publish[0] = "cameras/#/x" }, "publish[0]", "#"},
		{func(u *User) { u.Subscribe = []string{"a", "weft/v1/frames/#"} }, "subscribe[1]", "needs a certificate"},
		{func(u *User) { u.Subscribe = []string{"$SYS/#"} }, "subscribe[0]", "needs a certificate"},
		{func(u *User) { u.Subscribe = []string{""} }, "subscribe[0]", "empty"},
		{func(u *User) { u.Subscribe = []string{"a" + strings.Repeat("/a", maxLevels)} }, "subscribe[0]", "levels"},
	} {
		bad := good
		bad.Name, bad.Publish = "yard", slices.Clone(good.Publish)
		c.change(&bad)
		users := []User{good, bad}
		p := CheckUsers(users)
		if len(p) != 1 || p[0].User != 1 || p[0].Field != c.field || !strings.Contains(p[0].Error(), c.want) {
			t.Errorf("%+v: %v, want %s: %s", bad, p, c.field, c.want)
		}
		if _, err := NewUsers(users); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if p := CheckUsers([]User{good, good}); len(p) != 1 || p[0].Field != "name" || !strings.Contains(p[0].Error(), "twice") {
		t.Errorf("one name twice: %v", p)
	}
	other, err := bcrypt.GenerateFromPassword([]byte("correct horse"), 11)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewUsers([]User{good, {Name: "yard", Hash: string(other), Publish: []string{"cameras/yard"}}}); !errors.Is(err, ErrConfig) {
		t.Errorf("hashes of two costs: %v", err)
	}
}
