package pki_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/upgradetest"
	"github.com/weft-mesh/weft/tiering"
)

// version1 is a copy of a directory that the first version made: an authority
// without a list of what is revoked, and certificates without tiers.
func version1(t *testing.T) string {
	t.Helper()
	dir, from := t.TempDir(), filepath.Join("testdata", "v1")
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.WriteFile(filepath.Join(dir, e.Name()), upgradetest.Read(t, filepath.Join(from, e.Name())), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(dir, name string) (*pki.Identity, error) {
	at := func(n string) string { return filepath.Join(dir, n) }
	return pki.LoadIdentity(at("ca.crt"), at(name+".crt"), at(name+".key"))
}

// TestTheTierOfANodeWithoutOne is its configuration's, also in the certificate
// that comes next.
func TestTheTierOfANodeWithoutOne(t *testing.T) {
	dir := version1(t)
	ca, err := pki.LoadCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := load(dir, "fog-1")
	if err != nil {
		t.Fatal(err)
	}
	fog := settle(t, id)
	fog.Identity.Subject.Tier = tiering.Fog // as weftd does
	of := func(tier tiering.Tier) *pki.Identity {
		next, err := ca.Renew(id.Certificate(), tier, time.Now(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	if fog.Take(of(tiering.Cloud)); !fog.Identity.Certificate().Equal(id.Certificate()) || !strings.Contains(fog.Node.Log(), "is of spiffe://farm/agent/cloud/fog-1 now") {
		t.Errorf("of another tier: %s", fog.Node.Log())
	}
	next := of(tiering.Fog)
	if fog.Take(next); !fog.Identity.Certificate().Equal(next.Certificate()) {
		t.Errorf("of its tier: %s", fog.Node.Log())
	}
	fog.put("fog-1.crt", read(t, dir, "fog-1.crt"), 0o644)
	fog.put("fog-1.key", read(t, dir, "fog-1.key"), 0o600)
	if fog.Look(); !fog.Identity.Certificate().Equal(next.Certificate()) {
		t.Errorf("without one again: %s", fog.Node.Log())
	}
}

// TestFilesOfVersion1 are used as they are, until the authority has a list.
func TestFilesOfVersion1(t *testing.T) {
	dir := version1(t)
	for name, subject := range map[string]string{
		"fog-1": "spiffe://farm/agent/fog-1", "cloud-1": "spiffe://farm/coordinator/cloud-1", "ada": "spiffe://farm/operator/ada",
	} {
		if id, err := load(dir, name); err != nil || id.Subject.String() != subject {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pki.ClientOnly(filepath.Join(dir, "ca.crt")); err != nil {
		t.Error(err)
	}
	if _, err := pki.LoadCA(dir); err != nil {
		t.Error(err)
	}
	fog, err := load(dir, "fog-1")
	if err != nil {
		t.Fatal(err)
	}

	ca, err := pki.OpenCA(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Close(); err != nil {
		t.Fatal(err)
	}
	list := read(t, dir, "ca.crl")
	if ca, err = pki.OpenCA(dir, time.Now()); err != nil || string(read(t, dir, "ca.crl")) != string(list) {
		t.Errorf("the list is written again: %v", err)
	}
	if _, err := ca.Renew(fog.Certificate(), 0, time.Now(), 0); !errors.Is(err, pki.ErrName) {
		t.Errorf("without a tier: %v", err)
	}
	id, err := ca.Renew(fog.Certificate(), tiering.Fog, time.Now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(id.Overwrite(dir), ca.Revoke(time.Now(), fog.Certificate()), ca.SaveRevoked(dir)); err != nil {
		t.Fatal(err)
	}
	if hosts := id.Certificate().DNSNames; !slices.Contains(hosts, "fog-1.local:7949") {
		t.Errorf("its hosts are %v", hosts)
	}
	if again, err := load(dir, "fog-1"); err != nil || again.Subject.Tier != tiering.Fog {
		t.Error(err)
	}
	// The next authority is one that has a list.
	next, err := ca.Replace(time.Now(), year)
	if err == nil {
		err = next.Overwrite(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir, "ada"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.crl")); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir, "ada"); !errors.Is(err, pki.ErrNoList) {
		t.Errorf("without its list: %v", err)
	}
}
