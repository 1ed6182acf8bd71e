package api

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecrets(t *testing.T) {
	s, other := NewSecret(), NewSecret()
	text := s.Reveal()
	if back, err := ParseSecret(text); err != nil || back != s {
		t.Errorf("%s came back as %s, %v", text, back.Reveal(), err)
	}
	if s == other || s.ID == other.ID || !s.Matches(s.Hash()) || s.Matches(other.Hash()) || s.Matches(nil) {
		t.Error("two secrets are taken for one another")
	}
	hidden := text[len("weft_")+16+1:]
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s)
	for _, shown := range []string{s.String(), fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s", s, s, s, s), log.String()} {
		if strings.Contains(shown, hidden[:8]) {
			t.Errorf("the secret is in %q", shown)
		}
		if !strings.Contains(shown, s.ID) {
			t.Errorf("the ID is not in %q", shown)
		}
	}
	for _, bad := range []string{
		"", "weft_", hidden, strings.ToUpper(text), text + "0", text[:len(text)-1], " " + text, text + "\n",
		"weft_" + hidden + "_" + s.ID, strings.Replace(text, "_", "-", 1),
	} {
		if _, err := ParseSecret(bad); !errors.Is(err, ErrSecret) || (len(bad) > 8 && strings.Contains(err.Error(), bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzSecret(f *testing.F) {
	f.Add(NewSecret().Reveal())
	f.Add("weft_0123456789abcdef_")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		if err == nil && s.Reveal() != text {
			t.Errorf("%q came back as %q", text, s.Reveal())
		}
	})
}
