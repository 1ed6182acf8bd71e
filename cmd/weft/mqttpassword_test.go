package main

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/weft-mesh/weft/internal/password"
)

func TestMQTTPasswords(t *testing.T) {
	for in, want := range map[string]string{"correct horse\n": "correct horse", "correct horse\r\nmore": "correct horse", " battery staple ": " battery staple "} {
		if got, err := readPassword(strings.NewReader(in), io.Discard); err != nil || string(got) != want {
			t.Errorf("%q: read %q, %v", in, got, err)
		}
	}
	c := weftWith(t, t.Context(), "", "correct horse\nmore", "mqtt-password").want(t, exitOK, "")
	hash, ok := strings.CutSuffix(c.out, "\n")
	if !ok || bcrypt.CompareHashAndPassword([]byte(hash), []byte("correct horse")) != nil || c.err != "" {
		t.Errorf("printed %q, %q", c.out, c.err)
	}
	c = weftWith(t, t.Context(), "", "correct horse", "mqtt-password", "-o", "json").want(t, exitOK, "")
	if hash := decode[map[string]string](t, c)["passwordHash"]; password.CheckHash(hash) != nil {
		t.Errorf("printed %q", c.out)
	}
	for in, want := range map[string]struct {
		code int
		says string
	}{
		"":                             {exitUsage, "no password on standard input"},
		"\n":                           {exitUsage, "no password on standard input"},
		"short\n":                      {exitFailure, "soon guessed: use 8 or more"},
		strings.Repeat("x", 73) + "\n": {exitFailure, "use 72 at most"},
		strings.Repeat("x", 9000):      {exitFailure, "use 72 at most"},
	} {
		if c := weftWith(t, t.Context(), "", in, "mqtt-password").want(t, want.code, want.says); c.out != "" {
			t.Errorf("%.10q: printed %q", in, c.out)
		}
	}
	weft(t, "", "mqtt-password", "secret").want(t, exitUsage, "weft mqtt-password")
}
