package pki_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

func TestRenewedCertificatesSayTheSame(t *testing.T) {
	ca := authority(t, "farm")
	old := issue(t, ca, pki.Coordinator, "fog-1")
	id := renew(t, ca, old)
	a, b := old.Certificate(), id.Certificate()
	if id.Subject != old.Subject || strings.Join(a.DNSNames, " ") != strings.Join(b.DNSNames, " ") || len(b.IPAddresses) != 1 || !b.IPAddresses[0].Equal(a.IPAddresses[0]) {
		t.Errorf("%s, %v, %v", id.Subject, b.DNSNames, b.IPAddresses)
	}
	if a.SerialNumber.Cmp(b.SerialNumber) == 0 || bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo) {
		t.Error("the key or the serial number is the old one")
	}
	if d := b.NotAfter.Sub(b.NotBefore) - a.NotAfter.Sub(a.NotBefore); d.Abs() > 5*time.Second {
		t.Errorf("valid for %s longer", d)
	}
	leaf, err := x509.ParseCertificate(certify(t, ca, named("spiffe://farm/agent/edge-1")).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Renew(leaf, 0, time.Now(), 0); !errors.Is(err, pki.ErrName) {
		t.Errorf("without a tier: %v", err)
	}
	if id, err := ca.Renew(leaf, tiering.Edge, time.Now(), 0); err != nil || id.Subject.String() != "spiffe://farm/agent/edge/edge-1" {
		t.Errorf("with one: %v, %v", id, err)
	}
	if _, err := ca.Renew(old.Certificate(), tiering.Cloud, time.Now(), 0); !errors.Is(err, pki.ErrName) {
		t.Errorf("with another: %v", err)
	}
}

// TestLivesThatTheAuthorityCut are not short for ever.
func TestLivesThatTheAuthorityCut(t *testing.T) {
	const day = 24 * time.Hour
	dying, err := pki.NewCA("farm", time.Now(), 5*day)
	if err != nil {
		t.Fatal(err)
	}
	next, err := dying.Replace(time.Now(), 10*year)
	if err != nil {
		t.Fatal(err)
	}
	days := func(c *x509.Certificate) int { return int((time.Until(c.NotAfter) + time.Hour) / day) }
	cut := issue(t, dying, pki.Agent, "fog-1") // for a year
	if d := days(cut.Certificate()); d != 5 {
		t.Fatalf("issued for %d days", d)
	}
	short, err := dying.Issue(pki.Subject{Role: pki.Operator, Name: "guest"}, nil, time.Now(), 2*day)
	if err != nil {
		t.Fatal(err)
	}
	if d := days(renew(t, dying, cut).Certificate()); d != 5 {
		t.Errorf("still by the old authority: %d days", d)
	}
	if d := days(renew(t, next, cut).Certificate()); d != 365 {
		t.Errorf("by the new one: %d days", d)
	}
	if d := days(renew(t, next, short).Certificate()); d != 2 {
		t.Errorf("one that was to be short: %d days", d)
	}
	if id, err := next.Renew(cut.Certificate(), 0, time.Now(), 30*day); err != nil || days(id.Certificate()) != 30 {
		t.Errorf("for 30 days: %v", err)
	}
}

// TestOnlyTheMeshsOwnIsRenewed: what a certificate says counts only if an
// authority of the mesh has signed it, or the register has it.
func TestOnlyTheMeshsOwnIsRenewed(t *testing.T) {
	ca, dir := authority(t, "farm"), t.TempDir()
	forged, old := issue(t, authority(t, "farm"), pki.Operator, "edge-9"), issue(t, ca, pki.Agent, "fog-1")
	if _, err := ca.Renew(forged.Certificate(), 0, time.Now(), 0); !errors.Is(err, pki.ErrIssuer) {
		t.Errorf("one of somebody else's: %v", err)
	}
	next, err := ca.Replace(time.Now(), year)
	if err != nil {
		t.Fatal(err)
	}
	renew(t, next, old) // both authorities are trusted
	next.Retire()
	if err := errors.Join(next.Save(dir), pki.Record(dir, old)); err != nil {
		t.Fatal(err)
	}
	if next, err = pki.LoadCA(dir); err != nil {
		t.Fatal(err)
	}
	renew(t, next, old) // it is on the register
	if _, err := next.Renew(issue(t, ca, pki.Agent, "fog-2").Certificate(), 0, time.Now(), 0); !errors.Is(err, pki.ErrIssuer) {
		t.Errorf("one that is not: %v", err)
	}
	// Nor does another one of that name and serial number.
	serial := old.Certificate().SerialNumber
	fake := certify(t, authority(t, "farm"), func(c *x509.Certificate) {
		named("spiffe://farm/operator/fog-1")(c)
		c.SerialNumber = serial
	})
	leaf, err := x509.ParseCertificate(fake.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.Renew(leaf, 0, time.Now(), 0); !errors.Is(err, pki.ErrIssuer) {
		t.Errorf("one with its serial number: %v", err)
	}
}

// TestRotationOfEverything replaces a certificate and then the authority while
// the TLS settings of a server and a client stay what they were.
func TestRotationOfEverything(t *testing.T) {
	ca := authority(t, "farm")
	first := issue(t, ca, pki.Agent, "fog-1")
	fog, edge := settle(t, first), settle(t, issue(t, ca, pki.Agent, "edge-1"))
	server, client := fog.Identity.ServerTLS(pki.Agent), edge.Identity.ClientTLS(pki.Agent).Clone()
	meet(t, server, client)

	second := renew(t, ca, first)
	fog.Take(second)
	if got := fog.Identity.Certificate(); !got.Equal(second.Certificate()) {
		t.Fatal("the renewed certificate is not in use")
	}
	meet(t, server, client)

	next, err := ca.Replace(time.Now(), year)
	if err != nil {
		t.Fatal(err)
	}
	third, forth := renew(t, next, second), renew(t, next, edge.Identity)
	fog.Take(third)
	// One has moved on, the other knows nothing of the new authority.
	if serr, cerr := handshake(t, server, client); serr == nil && cerr == nil {
		t.Fatal("a certificate of an unknown authority was accepted")
	}
	edge.put("ca.crt", fog.get("ca.crt"), 0o644) // both authorities, the old certificate
	edge.Look()
	meet(t, server, client)
	edge.Take(forth)
	meet(t, server, client)

	old := issue(t, ca, pki.Agent, "edge-2").ClientTLS(pki.Agent)
	old.VerifyConnection = client.VerifyConnection // it knows both authorities
	meet(t, server, old)
	next.Retire()
	fog.Take(renew(t, next, third))
	meet(t, server, client)
	if serr, cerr := handshake(t, server, old); serr == nil && cerr == nil {
		t.Error("a certificate of a retired authority was accepted")
	}
	if n := strings.Count(fog.Node.Log(), "new certificates in use"); n != 3 {
		t.Errorf("%d times it says that there are new certificates:\n%s", n, fog.Node.Log())
	}
}

// TestUselessCertificatesDoNotReplaceUsefulOnes, unless both are useless.
func TestUselessCertificatesDoNotReplaceUsefulOnes(t *testing.T) {
	ca := authority(t, "farm")
	at := func(issued time.Time) *pki.Identity {
		id, err := ca.Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Fog, Name: "fog-1"}, nil, issued, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	revoked := issue(t, ca, pki.Agent, "fog-1")
	if err := ca.Revoke(time.Now(), revoked.Certificate()); err != nil {
		t.Fatal(err)
	}
	good, peer := issue(t, ca, pki.Agent, "fog-1"), issue(t, ca, pki.Agent, "edge-1")
	expired := at(time.Now().Add(-48 * time.Hour))
	for name, tc := range map[string]struct {
		id   *pki.Identity
		want string
	}{
		"expired": {expired, "expired"}, "not yet valid": {at(time.Now().Add(48 * time.Hour)), "is before"}, "revoked": {revoked, "revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			fog := settle(t, good)
			fog.Take(tc.id)
			meet(t, fog.Identity.ServerTLS(pki.Agent), peer.ClientTLS(pki.Agent))
			if said := fog.Node.Log(); !strings.Contains(said, "fog-1.crt is of no use: ") || !strings.Contains(said, tc.want) {
				t.Errorf("it says %s", said)
			}
		})
	}
	fog := settle(t, expired)
	next := at(time.Now().Add(-47 * time.Hour))
	if fog.Take(next); !fog.Identity.Certificate().Equal(next.Certificate()) {
		t.Error("an expired one stays for another expired one")
	}
}

// TestKeysThatWereBeingWritten when the machine failed do not stay.
func TestKeysThatWereBeingWritten(t *testing.T) {
	ca, dir := authority(t, "farm"), t.TempDir()
	id := issue(t, ca, pki.Agent, "fog-1")
	leave := func(names ...string) {
		for _, n := range names {
			if err := os.WriteFile(filepath.Join(dir, n), []byte("half a key"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func(when string, want ...string) {
		t.Helper()
		got, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range got {
			got[i] = filepath.Base(f)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s, there are %v; want %v", when, got, want)
		}
	}
	leave("ca.key.1.tmp", "fog-1.key.22.tmp", "fog-2.key.3.tmp", "fog-1.key.mine.tmp")
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	left("with an authority", "fog-1.key.22.tmp", "fog-1.key.mine.tmp", "fog-2.key.3.tmp")
	leave("ca.key.1.tmp")
	opened, err := pki.OpenCA(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	left("once it is opened", "fog-1.key.22.tmp", "fog-1.key.mine.tmp", "fog-2.key.3.tmp")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	left("with a certificate", "fog-1.key.mine.tmp", "fog-2.key.3.tmp")
	leave("fog-1.key.4.tmp")
	if err := id.Overwrite(dir); err != nil {
		t.Fatal(err)
	}
	left("with another one", "fog-1.key.mine.tmp", "fog-2.key.3.tmp")
}

// TestFilesThatCannotBeUsed leave what was there in use, and are named.
func TestFilesThatCannotBeUsed(t *testing.T) {
	ca := authority(t, "farm")
	id := issue(t, ca, pki.Agent, "fog-1")
	next := renew(t, ca, id)
	other := t.TempDir()
	if err := next.Save(other); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cert, key := read("fog-1.crt"), read("fog-1.key")
	elsewhere := t.TempDir()
	if err := issue(t, ca, pki.Agent, "fog-2").Save(elsewhere); err != nil {
		t.Fatal(err)
	}
	foreign, barn := t.TempDir(), t.TempDir()
	if err := errors.Join(authority(t, "farm").Save(foreign), authority(t, "barn").Save(barn)); err != nil {
		t.Fatal(err)
	}
	file := func(dir, name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, tc := range map[string]struct {
		spoil func(*place)
		want  string
	}{
		"half a certificate":     {func(p *place) { p.put("fog-1.crt", cert[:len(cert)/2], 0o644); p.put("fog-1.key", key, 0o600) }, "fog-1.crt: want a CERTIFICATE block"},
		"no certificate":         {func(p *place) { _ = os.Remove(p.file("fog-1.crt")) }, "fog-1.crt: no such file"},
		"only the certificate":   {func(p *place) { p.put("fog-1.crt", cert, 0o644) }, "fog-1.key is not the key of"},
		"a key for all":          {func(p *place) { p.put("fog-1.key", key, 0o644) }, "chmod 600"},
		"garbage":                {func(p *place) { p.put("ca.crt", []byte("garbage"), 0o644) }, "ca.crt: want a CERTIFICATE block"},
		"another authority":      {func(p *place) { p.put("ca.crt", file(foreign, "ca.crt"), 0o644) }, "was not issued by the CA of"},
		"a leaf as an authority": {func(p *place) { p.put("ca.crt", append(p.get("ca.crt"), file(elsewhere, "fog-2.crt")...), 0o644) }, "is not the certificate of a mesh CA: it holds that of CN=fog-2"},
		"a foreign authority":    {func(p *place) { p.put("ca.crt", append(p.get("ca.crt"), file(barn, "ca.crt")...), 0o644) }, "holds the authorities of mesh farm and of mesh barn"},
		"another node": {func(p *place) {
			p.put("fog-1.crt", file(elsewhere, "fog-2.crt"), 0o644)
			p.put("fog-1.key", file(elsewhere, "fog-2.key"), 0o600)
		}, "is of spiffe://farm/agent/fog/fog-2 now"},
	} {
		t.Run(name, func(t *testing.T) {
			p := settle(t, id)
			tc.spoil(p)
			p.Look()
			said := p.Node.Log()
			if !strings.Contains(said, tc.want) || !strings.Contains(said, "cannot be used") {
				t.Errorf("it says %s, want …%s…", said, tc.want)
			}
			if p.Look(); p.Node.Log() != said {
				t.Errorf("it says the same again: %s", p.Node.Log())
			}
			meet(t, p.Identity.ServerTLS(pki.Agent), id.ClientTLS(pki.Agent))
			// Once they are whole they are used.
			p.put("ca.crt", read("ca.crt"), 0o644)
			p.put("fog-1.crt", cert, 0o644)
			p.put("fog-1.key", key, 0o600)
			p.Look()
			if !p.Identity.Certificate().Equal(next.Certificate()) {
				t.Errorf("the good files are not used: %s", p.Node.Log())
			}
		})
	}
}

// TestReadersAlwaysFindAPair: whoever starts while a pair is replaced.
func TestReadersAlwaysFindAPair(t *testing.T) {
	ca, dir := authority(t, "farm"), t.TempDir()
	id := issue(t, ca, pki.Agent, "fog-1")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	at := func(n string) string { return filepath.Join(dir, n) }
	const times = 40
	done := make(chan error, 1)
	go func() {
		for range times {
			next, err := ca.Renew(id.Certificate(), 0, time.Now(), 0)
			if err == nil {
				err = next.Overwrite(dir)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	seen := map[string]bool{}
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		got, err := pki.LoadIdentity(at("ca.crt"), at("fog-1.crt"), at("fog-1.key"))
		if err != nil {
			t.Fatal(err)
		}
		seen[got.Certificate().SerialNumber.String()] = true
	}
	if len(seen) < 2 {
		t.Error("nothing was replaced while it was read")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("%d files are left: %v", len(entries), err)
	}
}

// TestWritersThatDieInBetween leave a pair.
func TestWritersThatDieInBetween(t *testing.T) {
	ca, a, b := authority(t, "farm"), t.TempDir(), t.TempDir()
	id := issue(t, ca, pki.Agent, "fog-1")
	next := renew(t, ca, id)
	if err := errors.Join(id.Save(a), next.Save(b)); err != nil {
		t.Fatal(err)
	}
	both := append(read(t, a, "fog-1.key"), read(t, b, "fog-1.key")...)
	if err := os.WriteFile(filepath.Join(a, "fog-1.key"), both, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []*pki.Identity{id, next} {
		got, err := pki.LoadIdentity(filepath.Join(a, "ca.crt"), filepath.Join(a, "fog-1.crt"), filepath.Join(a, "fog-1.key"))
		if err != nil || !got.Certificate().Equal(want.Certificate()) {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(a, "fog-1.crt"), read(t, b, "fog-1.crt"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWarningsBeforeTheEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		ca, err := pki.NewCA("farm", time.Now(), 9*day)
		if err != nil {
			t.Fatal(err)
		}
		id, err := ca.Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Edge, Name: "edge-1"}, nil, time.Now(), 8*day)
		if err != nil {
			t.Fatal(err)
		}
		if err := id.Save(dir); err != nil {
			t.Fatal(err)
		}
		at := func(n string) string { return filepath.Join(dir, n) }
		if id, err = pki.LoadIdentity(at("ca.crt"), at("edge-1.crt"), at("edge-1.key")); err != nil {
			t.Fatal(err)
		}
		var log logtest.Book
		f, err := pki.NewFollower(id, nil, log.Logger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		lines := func(parts ...string) (n int) {
			for line := range strings.Lines(log.String()) {
				all := true
				for _, p := range parts {
					all = all && strings.Contains(line, p)
				}
				if all {
					n++
				}
			}
			return n
		}
		<-time.After(23 * time.Hour) // of the bubble
		if lines("level=WARN", "edge-1.crt", "days_left=8", "weft ca renew edge-1") != 1 || lines("level=WARN", "ca.crt", "--authority") != 1 || lines("") != 2 {
			t.Errorf("on the first day it says\n%s", log.String())
		}
		<-time.After(2 * time.Hour) // of the bubble
		if lines("level=ERROR", "edge-1.crt", "days_left=7") != 1 || lines("level=WARN", "ca.crt", "days_left=8") != 1 || lines("") != 4 {
			t.Errorf("on the second day it says\n%s", log.String())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWhatCannotBeUsedIsSaidEachDay, as long as it cannot.
func TestWhatCannotBeUsedIsSaidEachDay(t *testing.T) {
	ca, dir := authority(t, "farm"), t.TempDir()
	if err := issue(t, ca, pki.Agent, "fog-1").Save(dir); err != nil {
		t.Fatal(err)
	}
	id, err := load(dir, "fog-1")
	if err != nil {
		t.Fatal(err)
	}
	whole := read(t, dir, "ca.crt")
	put := func(content []byte) {
		if err := os.WriteFile(filepath.Join(dir, "ca.crt"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Book
		f, err := pki.NewFollower(id, nil, log.Logger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		said := func(want int) {
			t.Helper()
			if n := strings.Count(log.String(), "cannot be used"); n != want {
				t.Errorf("said %d times, want %d:\n%s", n, want, log.String())
			}
		}
		<-time.After(time.Minute) // of the bubble
		put([]byte("garbage"))
		<-time.After(time.Minute)
		said(1)
		<-time.After(24 * time.Hour)
		said(2)
		put(whole)
		<-time.After(time.Minute)
		said(2)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyFilesAreFollowed(t *testing.T) {
	if _, err := pki.NewFollower(issue(t, authority(t, "farm"), pki.Agent, "edge-1"), nil, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("there is nothing to follow")
	}
}

func TestSecretsAreForTheirOwner(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o660: false, 0o601: false} {
		if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
		b, err := pki.ReadSecret(file)
		if ok && (err != nil || string(b) != "x") || !ok && (!errors.Is(err, pki.ErrExposed) || !strings.Contains(err.Error(), "chmod 600 "+file)) {
			t.Errorf("%04o: %q, %v", mode, b, err)
		}
		_ = os.Chmod(file, 0o600)
	}
}

func TestTheRegister(t *testing.T) {
	dir, away := t.TempDir(), t.TempDir()
	ca := authority(t, "farm")
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	before, a := issue(t, ca, pki.Agent, "old"), issue(t, ca, pki.Agent, "edge-1")
	b := renew(t, ca, a)
	if err := errors.Join(before.Save(dir), a.Save(away), pki.Record(dir, a), pki.Record(dir, b), b.Overwrite(dir)); err != nil {
		t.Fatal(err)
	}
	certs, unreadable, err := pki.Issued(dir)
	if err != nil || len(unreadable) != 0 || len(certs) != 3 || certs[2].Subject.CommonName != "old" {
		t.Fatalf("%d certificates, %v", len(certs), err)
	}
	if again, err := pki.LoadCA(dir); err != nil || !again.Issued(certs[0]) || again.Revoked(certs[0]) {
		t.Error(err)
	}
}
