package dnslabel_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/dnslabel"
)

func TestValid(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "9": true, "edge-1": true, "a--b": true, strings.Repeat("x", 63): true,
		"": false, "-": false, "-a": false, "a-": false, "Edge": false, "a.b": false, "a_b": false, "a/b": false,
		"a b": false, "é": false, "a\n": false, strings.Repeat("x", 64): false,
	} {
		if got := dnslabel.Valid(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func FuzzValid(f *testing.F) {
	label := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z`)
	for _, s := range []string{"edge-1", "a-", "\xff", "a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := dnslabel.Valid(s), label.MatchString(s); got != want {
			t.Errorf("%q: %v, not %v", s, got, want)
		}
	})
}
