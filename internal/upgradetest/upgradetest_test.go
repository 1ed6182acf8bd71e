package upgradetest

import "testing"

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		got, want string
		n         int
	}{
		{`{"a":1}`, `{"a":1}`, 0},
		{`{"a":1,"b":{"c":[1]}}`, `{"a":1}`, 0},                // added
		{`{"a":1}`, `{"a":1,"b":null,"c":[],"d":0,"e":""}`, 0}, // nothing, left out
		{`{}`, `{"a":{"b":0}}`, 0},
		{`{"a":2}`, `{"a":1}`, 1},
		{`{"b":1}`, `{"a":1}`, 1}, // renamed
		{`{"a":"1"}`, `{"a":1}`, 1},
		{`{"a":[1,2]}`, `{"a":[1]}`, 1},
		{`{"a":[{"x":1}]}`, `{"a":[{"x":1,"y":2}]}`, 1},
		{`{"a":1}`, `{"a":0}`, 1}, // nothing has become something
		{`{"a":18446744073709551615}`, `{"a":18446744073709551614}`, 1},
	} {
		if got := missing("", parse(t, []byte(c.got)), parse(t, []byte(c.want))); len(got) != c.n {
			t.Errorf("%s holds %s: %q", c.got, c.want, got)
		}
	}
}
