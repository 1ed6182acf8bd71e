package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/pki"
)

// machine is a node's directory, to which is copied what weft says is to be
// copied, and nothing else.
type machine struct {
	*testing.T
	dir, name string
}

var named = regexp.MustCompile(`\bca/[a-z0-9-]+\.(crt|crl|key)\b`)

// take copies the files that a text names.
func (m *machine) take(text string) {
	m.Helper()
	files := named.FindAllString(text, -1)
	if len(files) == 0 {
		m.Fatalf("no file is named in %q", text)
	}
	for _, f := range files {
		write(m.T, filepath.Join(m.dir, filepath.Base(f)), read(m.T, f))
	}
}

// start is what weftd does first.
func (m *machine) start() (*pki.Identity, error) {
	at := func(n string) string { return filepath.Join(m.dir, n) }
	return pki.LoadIdentity(at("ca.crt"), at(m.name+".crt"), at(m.name+".key"))
}

func (m *machine) starts(when string) {
	m.Helper()
	if _, err := m.start(); err != nil {
		m.Fatalf("%s, the machine does not start: %v", when, err)
	}
}

// line is that of a text with a part in it.
func line(t *testing.T, text, part string) string {
	t.Helper()
	for l := range strings.Lines(text) {
		if strings.Contains(l, part) {
			return l
		}
	}
	t.Fatalf("no line with %q in %q", part, text)
	return ""
}

// TestRotationByWhatIsSaid follows what the commands print, to the letter,
// with something revoked before, between and after.
func TestRotationByWhatIsSaid(t *testing.T) {
	t.Chdir(t.TempDir())
	ca := func(args ...string) string {
		t.Helper()
		return weft(t, "", append([]string{"ca"}, args...)...).want(t, exitOK, "").out
	}
	ca("init", "--mesh", "farm")
	for _, lost := range []string{"edge-1", "edge-2", "edge-3"} {
		ca("issue", lost, "--tier", "edge")
	}
	fog := &machine{t, t.TempDir(), "fog-1"}
	lost := &machine{t, t.TempDir(), "edge-3"}
	fog.take(line(t, ca("issue", "fog-1", "--tier", "fog"), "give it"))
	fog.starts("with what it was issued")

	fog.take(line(t, ca("revoke", "edge-1"), "copy"))
	fog.starts("with something revoked")
	rotate := ca("renew", "--authority")
	fog.take(line(t, rotate, "1. copy"))
	fog.starts("with both authorities")
	fog.take(line(t, ca("revoke", "edge-2"), "copy"))
	fog.starts("with something revoked in between")
	for l := range strings.Lines(ca("renew", "--all")) {
		if strings.Contains(l, "/fog-1,") {
			fog.take(l)
		} else if strings.Contains(l, "/edge-3,") {
			lost.take(l)
		}
	}
	fog.starts("with its new certificate")
	retire := ca("retire")
	if step := line(t, rotate, "3. "); !strings.Contains(retire, strings.Join(named.FindAllString(step, -1), " and ")) {
		t.Errorf("first it says %q, then %q", step, retire)
	}
	fog.take(retire)
	fog.starts("without the old authority")

	text := ca("revoke", "edge-3")
	fog.take(line(t, text, "copy"))
	fog.starts("with something revoked afterwards")
	lost.take(line(t, text, "copy"))
	if _, err := lost.start(); !errors.Is(err, pki.ErrRevoked) {
		t.Errorf("the revoked one: %v", err)
	}
}

// TestAnAuthorityWithoutItsList is refused: the next list would trust again
// what was revoked.
func TestAnAuthorityWithoutItsList(t *testing.T) {
	t.Chdir(t.TempDir())
	weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	weft(t, "", "ca", "issue", "edge-1", "--tier", "edge").want(t, exitOK, "")
	if err := os.Remove(filepath.Join("ca", "ca.crl")); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"revoke edge-1", "issue edge-2 --tier edge", "renew edge-1", "renew --authority", "retire", "list"} {
		weft(t, "", append([]string{"ca"}, strings.Fields(args)...)...).want(t, exitFailure,
			"ca.crl is not there: it goes with every ca.crt; without it, what was revoked would be trusted again: copy the newest from a machine")
	}
}
