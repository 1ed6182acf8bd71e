package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/internal/pki"
)

func TestGossipKeys(t *testing.T) {
	if gossipKeySize != gossip.KeySize {
		t.Fatalf("keys of %d bytes; gossip wants %d", gossipKeySize, gossip.KeySize)
	}
	keys := map[string]bool{}
	for _, c := range []called{weft(t, "", "keygen"), weft(t, "", "keygen")} {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(c.want(t, exitOK, "").out, "\n"))
		if err != nil || len(key) != gossip.KeySize || keys[string(key)] {
			t.Errorf("key %q: %v", c.out, err)
		}
		keys[string(key)] = true
	}
	key, err := base64.StdEncoding.DecodeString(decode[map[string]string](t, weft(t, "", "keygen", "-o", "json"))["key"])
	if err != nil || len(key) != gossip.KeySize {
		t.Errorf("key %v: %v", key, err)
	}
}

func TestTheAuthority(t *testing.T) {
	t.Chdir(t.TempDir())
	tenYears := time.Now().UTC().Add(authorityDays * day).Format(time.DateOnly)
	c := weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	if !strings.Contains(c.out, "authority of mesh farm, valid until "+tenYears) ||
		!strings.Contains(c.out, filepath.Join("ca", "ca.key")+" is to be kept safe") {
		t.Errorf("it says %s", c.out)
	}
	if c := weft(t, "", "ca", "issue", "edge-1").want(t, exitOK, ""); !strings.Contains(c.out, "to agent edge-1 of mesh farm, valid until ") {
		t.Errorf("it says %s", c.out)
	}
	made := decode[keyFiles](t, weft(t, "", "ca", "issue", "ada", "--role", "operator", "--out", "ada", "--days", "7", "-o", "json").want(t, exitOK, ""))
	if made.Subject != "spiffe://farm/operator/ada" || time.Until(made.Expires) > 7*day || time.Until(made.Expires) < 7*day-time.Hour {
		t.Errorf("issued %+v", made)
	}
	id, err := pki.LoadIdentity(made.CA, made.Certificate, made.Key)
	if err != nil || id.Subject.Role != pki.Operator {
		t.Errorf("%+v: %v", id, err)
	}
	other := decode[keyFiles](t, weft(t, "", "ca", "init", "--mesh", "other", "--dir", "other", "-o", "json").want(t, exitOK, ""))
	if other.CA != filepath.Join("other", "ca.crt") || other.Subject != "other" {
		t.Errorf("made %+v", other)
	}
	weft(t, "", "ca", "issue", "edge-9", "--dir", "other", "--out", "ada").want(t, exitFailure, "is the certificate of another CA: save spiffe://other/agent/edge-9 elsewhere")
}

// TestKeysAreNeverOverwritten: what is there stays, and nothing is added to a
// half of it.
func TestKeysAreNeverOverwritten(t *testing.T) {
	t.Chdir(t.TempDir())
	weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	weft(t, "", "ca", "issue", "edge-1").want(t, exitOK, "")
	files := func() map[string]string {
		all := map[string]string{}
		entries, err := os.ReadDir("ca")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all[e.Name()] = read(t, filepath.Join("ca", e.Name()))
		}
		return all
	}
	before := files()
	refuse := func(want string, args ...string) {
		t.Helper()
		if c := weft(t, "", args...); c.code == exitOK || !strings.Contains(c.err, want) || c.out != "" {
			t.Errorf("%v: exit code %d, %s%s; want %s", args, c.code, c.out, c.err, want)
		}
		after := files()
		for name, content := range before {
			if after[name] != content {
				t.Errorf("%v has changed %s", args, name)
			}
		}
		if len(after) != len(before) {
			t.Errorf("%v leaves %d files, before %d", args, len(after), len(before))
		}
	}
	key, crt := filepath.Join("ca", "edge-1.key"), filepath.Join("ca", "edge-1.crt")
	refuse("weft: "+filepath.Join("ca", "ca.crt")+" exists: an authority is never overwritten; use another directory with --dir\n", "ca", "init", "--mesh", "farm")
	refuse("weft: "+key+" exists: keys are never overwritten; move the old ones away, or write to another directory with --out\n", "ca", "issue", "edge-1")
	refuse(`a node cannot be called "ca": the authority's files have that name`, "ca", "issue", "ca")

	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	before = files()
	refuse(crt+" exists: keys are never overwritten", "ca", "issue", "edge-1")
	if err := os.Remove(filepath.Join("ca", "ca.crt")); err != nil {
		t.Fatal(err)
	}
	before = files()
	refuse(filepath.Join("ca", "ca.key")+" exists", "ca", "init", "--mesh", "farm")
}

func TestAnExpiredAuthority(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.NewCA("farm", time.Now().Add(-48*time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	weft(t, "", "ca", "issue", "edge-1", "--dir", dir).want(t, exitFailure, "expired on "+time.Now().UTC().Add(-24*time.Hour).Format(time.DateOnly))
	write(t, filepath.Join(dir, "ca.key"), "garbage")
	weft(t, "", "ca", "issue", "edge-1", "--dir", dir).want(t, exitFailure, "ca.key: want a PRIVATE KEY block")
}
