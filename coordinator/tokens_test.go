package coordinator

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

// A token that somebody gives in place of its name, or as the name of a new
// one, is refused before it is written to the log that every coordinator keeps.
func TestSecretsDoNotReachTheLog(t *testing.T) {
	cfg := tlsConfig(t, pkitest.CA(t), "c1")
	c, err := New(cfg, newGossip(coordinatorNode("c1")).view(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, c)
	secret := "weft_0123456789abcdef_" + strings.Repeat("5e", 32)
	hash := sha256.Sum256(nil)
	create := func(name string) error {
		_, err := c.CreateToken(t.Context(), state.Token{ID: "0123456789abcdef", Name: name, Scope: state.ScopeRead, Hash: hash[:]}, 0)
		return err
	}
	wait(t, "a token to be made", func() bool { return create("made-in-the-log") == nil })
	if err := c.RevokeToken(t.Context(), "nobody-has-it"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("a token that is not there: %v", err)
	}
	if err := c.RevokeToken(t.Context(), secret); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("the secret of one: %v", err)
	}
	if err := create(secret); !errors.Is(err, state.ErrInvalid) {
		t.Errorf("one with the name of a secret: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var kept []byte
	if err := filepath.WalkDir(cfg.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		kept = append(kept, b...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"made-in-the-log", "nobody-has-it"} {
		if !bytes.Contains(kept, []byte(name)) {
			t.Errorf("%s is not in the log, where this test looks for secrets", name)
		}
	}
	if bytes.Contains(kept, []byte(secret)) {
		t.Error("the secret is in the log")
	}
}
