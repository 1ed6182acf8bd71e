package pki_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
)

func TestRevokedCertificatesAreRefused(t *testing.T) {
	ca := authority(t, "farm")
	lost, kept := issue(t, ca, pki.Agent, "edge-1"), issue(t, ca, pki.Agent, "edge-2")
	fog := settle(t, issue(t, ca, pki.Agent, "fog-1"))
	server := fog.Identity.ServerTLS(pki.Agent)
	refused := func(want bool) {
		t.Helper()
		meet(t, server, kept.ClientTLS(pki.Agent))
		serr, cerr := handshake(t, server, lost.ClientTLS(pki.Agent))
		if got := serr != nil && cerr != nil; got != want || want && !errors.Is(serr, pki.ErrRevoked) {
			t.Fatalf("refused %t, want %t: %v, %v", got, want, serr, cerr)
		}
	}
	refused(false)
	if err := ca.Revoke(time.Now(), lost.Certificate()); err != nil {
		t.Fatal(err)
	}
	if err := ca.SaveRevoked(fog.Dir); err != nil {
		t.Fatal(err)
	}
	fog.Look()
	refused(true)
	// The one that it is refused by is refused by it, too.
	meet(t, kept.ServerTLS(pki.Agent), fog.Identity.ClientTLS(pki.Agent))
	if serr, cerr := handshake(t, lost.ServerTLS(pki.Agent), fog.Identity.ClientTLS(pki.Agent)); serr == nil || !errors.Is(cerr, pki.ErrRevoked) {
		t.Errorf("as a server: %v, %v", serr, cerr)
	}

	// A list that somebody else signed, and none, change nothing.
	forged := authority(t, "farm")
	if err := errors.Join(forged.Revoke(time.Now(), kept.Certificate()), forged.SaveRevoked(fog.Dir)); err != nil {
		t.Fatal(err)
	}
	fog.Look()
	refused(true)
	if err := os.Remove(fog.file("ca.crl")); err != nil {
		t.Fatal(err)
	}
	fog.Look()
	refused(true)
	for _, want := range []string{"ca.crl was not signed by an authority of ca.crt", "ca.crl is gone"} {
		if !strings.Contains(fog.Node.Log(), want) {
			t.Errorf("nothing about %s:\n%s", want, fog.Node.Log())
		}
	}

	// The authority that comes next takes over what was revoked.
	next, err := ca.Replace(time.Now(), year)
	if err != nil {
		t.Fatal(err)
	}
	fog.Take(renew(t, next, fog.Identity))
	thief := lost.ClientTLS(pki.Agent)
	thief.VerifyConnection = fog.Identity.ClientTLS(pki.Agent).VerifyConnection // it knows both authorities
	if serr, _ := handshake(t, server, thief); !errors.Is(serr, pki.ErrRevoked) {
		t.Errorf("under the new authority: %v", serr)
	}
	if err := next.Revoke(time.Now(), kept.Certificate()); err != nil || !next.Revoked(lost.Certificate()) || !next.Revoked(kept.Certificate()) {
		t.Errorf("the new authority revokes what the old one issued: %v", err)
	}
}

// TestOlderListsAreNotFollowed: what is revoked stays so, also if the authority
// has lost its list and begins a new one.
func TestOlderListsAreNotFollowed(t *testing.T) {
	ca, dir := authority(t, "farm"), t.TempDir()
	a, b, kept := issue(t, ca, pki.Agent, "edge-1"), issue(t, ca, pki.Agent, "edge-2"), issue(t, ca, pki.Agent, "edge-3")
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	fog := settle(t, issue(t, ca, pki.Agent, "fog-1"))
	revoke := func(ca *pki.CA, id *pki.Identity) []byte {
		t.Helper()
		to := t.TempDir()
		if err := errors.Join(ca.Revoke(time.Now(), id.Certificate()), ca.SaveRevoked(to)); err != nil {
			t.Fatal(err)
		}
		return read(t, to, "ca.crl")
	}
	one, two := revoke(ca, a), revoke(ca, b)
	lost, err := pki.LoadCA(dir) // as it was before
	if err != nil {
		t.Fatal(err)
	}
	older := [][]byte{one, revoke(lost, b), revoke(lost, kept), revoke(lost, fog.Identity)}
	fog.put("ca.crl", two, 0o644)
	fog.Look()
	for i, list := range older {
		fog.put("ca.crl", list, 0o644)
		fog.Look()
		for _, id := range []*pki.Identity{a, b} {
			if serr, _ := handshake(t, fog.Identity.ServerTLS(pki.Agent), id.ClientTLS(pki.Agent)); !errors.Is(serr, pki.ErrRevoked) {
				t.Errorf("after list %d, %s: %v", i, id.Subject, serr)
			}
		}
		meet(t, fog.Identity.ServerTLS(pki.Agent), kept.ClientTLS(pki.Agent))
	}
	if !strings.Contains(fog.Node.Log(), "ca.crl does not have all that is revoked: copy the authority's") {
		t.Errorf("it says %s", fog.Node.Log())
	}
	fog.put("ca.crl", revoke(ca, kept), 0o644)
	fog.Look()
	if serr, _ := handshake(t, fog.Identity.ServerTLS(pki.Agent), kept.ClientTLS(pki.Agent)); !errors.Is(serr, pki.ErrRevoked) {
		t.Errorf("after a newer list: %v", serr)
	}
}

// TestAnotherAuthorityBeginsItsOwnList: one that is made because the key of the
// one before is stolen owes nothing to it.
func TestAnotherAuthorityBeginsItsOwnList(t *testing.T) {
	ca := authority(t, "farm")
	fog := settle(t, issue(t, ca, pki.Agent, "fog-1"))
	for _, name := range []string{"edge-1", "edge-2"} {
		if err := errors.Join(ca.Revoke(time.Now(), issue(t, ca, pki.Agent, name).Certificate()), ca.SaveRevoked(fog.Dir)); err != nil {
			t.Fatal(err)
		}
	}
	fog.Look()
	next, dir := authority(t, "farm"), t.TempDir()
	id := issue(t, next, pki.Agent, "fog-1")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"ca.crt": 0o644, "ca.crl": 0o644, "fog-1.crt": 0o644, "fog-1.key": 0o600} {
		fog.put(name, read(t, dir, name), mode)
	}
	fog.Look()
	if !fog.Identity.Certificate().Equal(id.Certificate()) {
		t.Errorf("it says %s", fog.Node.Log())
	}
}

// TestListsWithoutANumber are correctly signed, and of no use.
func TestListsWithoutANumber(t *testing.T) {
	ca, dir := authority(t, "farm"), t.TempDir()
	if err := issue(t, ca, pki.Agent, "fog-1").Save(dir); err != nil {
		t.Fatal(err)
	}
	away := t.TempDir()
	if err := ca.Save(away); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(away, "ca.crt"), filepath.Join(away, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, away} {
		if err := os.WriteFile(filepath.Join(d, "ca.crl"), numberless(t, pair), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const want = "ca.crl: a list without a number"
	if _, err := load(dir, "fog-1"); !errors.Is(err, pki.ErrPEM) || !strings.Contains(err.Error(), want) {
		t.Errorf("a node: %v", err)
	}
	if _, err := pki.LoadCA(away); !errors.Is(err, pki.ErrPEM) || !strings.Contains(err.Error(), want) {
		t.Errorf("the authority: %v", err)
	}
}

// numberless is a list as another program may sign it, which Go's does not.
func numberless(t *testing.T, signer tls.Certificate) []byte {
	t.Helper()
	algorithm := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}                                                                                       // ECDSA with SHA-256
	tbs := pkix.TBSCertificateList{Version: 1, Signature: algorithm, Issuer: signer.Leaf.Subject.ToRDNSequence(), ThisUpdate: time.Now().UTC(), NextUpdate: time.Now().UTC().Add(time.Hour)} //nolint:staticcheck // x509.CreateRevocationList makes none without a number
	encode := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sum := sha256.Sum256(encode(tbs))
	signature, err := signer.PrivateKey.(crypto.Signer).Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	list := pkix.CertificateList{TBSCertList: tbs, SignatureAlgorithm: algorithm, SignatureValue: asn1.BitString{Bytes: signature, BitLength: len(signature) * 8}}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: encode(list)})
}

// TestListsOnlyGoForward, whoever writes them.
func TestListsOnlyGoForward(t *testing.T) {
	ca, dir := authority(t, "farm"), t.TempDir()
	before, lost := issue(t, ca, pki.Agent, "fog-1"), issue(t, ca, pki.Agent, "edge-1")
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	newer, err := pki.LoadCA(dir)
	if err == nil {
		err = errors.Join(newer.Revoke(time.Now(), lost.Certificate()), newer.SaveRevoked(dir), newer.SaveRevoked(dir))
	}
	if err != nil {
		t.Fatal(err)
	}
	list := read(t, dir, "ca.crl")
	if err := ca.SaveRevoked(dir); !errors.Is(err, pki.ErrOlder) {
		t.Errorf("an older list: %v", err)
	}
	if err := ca.Revoke(time.Now(), before.Certificate()); err != nil {
		t.Fatal(err)
	}
	if err := ca.SaveRevoked(dir); !errors.Is(err, pki.ErrOlder) {
		t.Errorf("another list of that number: %v", err)
	}
	if err := errors.Join(before.Save(dir), before.Overwrite(dir)); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(read(t, dir, "ca.crl"), list) {
		t.Error("the newer list is gone")
	}
	// What is there by another authority is of no use.
	if err := authority(t, "farm").SaveRevoked(dir); err != nil {
		t.Error(err)
	}
}

func TestANodeDoesNotStartWithARevokedCertificate(t *testing.T) {
	ca, dir := authority(t, "farm"), t.TempDir()
	id := issue(t, ca, pki.Agent, "edge-1")
	if err := errors.Join(id.Save(dir), ca.Revoke(time.Now(), id.Certificate()), ca.SaveRevoked(dir)); err != nil {
		t.Fatal(err)
	}
	at := func(n string) string { return filepath.Join(dir, n) }
	if _, err := pki.LoadIdentity(at("ca.crt"), at("edge-1.crt"), at("edge-1.key")); !errors.Is(err, pki.ErrRevoked) {
		t.Error(err)
	}
}

// TestTheListIsAlwaysThere: whoever lacks it could take what is revoked.
func TestTheListIsAlwaysThere(t *testing.T) {
	ca, dir := authority(t, "farm"), t.TempDir()
	if err := issue(t, ca, pki.Agent, "fog-1").Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.crl")); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir, "fog-1"); !errors.Is(err, pki.ErrNoList) || !strings.Contains(err.Error(), filepath.Join(dir, "ca.crl")+" is not there: it goes with every ca.crt") {
		t.Errorf("a node: %v", err)
	}
	if _, err := pki.ClientOnly(filepath.Join(dir, "ca.crt")); !errors.Is(err, pki.ErrNoList) {
		t.Errorf("who has a token: %v", err)
	}
}
