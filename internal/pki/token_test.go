package pki_test

import (
	"crypto/tls"
	"errors"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/internal/pki"
)

func TestOptionalClient(t *testing.T) {
	ca, other := authority(t, "farm"), authority(t, "farm")
	coord := issue(t, ca, pki.Coordinator, "c1")
	dir := t.TempDir()
	if err := coord.Save(dir); err != nil {
		t.Fatal(err)
	}
	none, err := pki.ClientOnly(filepath.Join(dir, pki.CACertFile))
	if err != nil {
		t.Fatal(err)
	}
	forged := issue(t, ca, pki.Operator, "ada").ClientTLS(pki.Coordinator)
	forged.GetClientCertificate = issue(t, other, pki.Operator, "ada").ClientTLS(pki.Coordinator).GetClientCertificate
	server := pki.OptionalClient(coord.ServerTLS(pki.Operator))
	for _, tc := range []struct {
		name   string
		client *tls.Config
		ok     bool
	}{
		{"none", none, true},
		{"operator", issue(t, ca, pki.Operator, "ada").ClientTLS(pki.Coordinator), true},
		{"wrong role", issue(t, ca, pki.Agent, "edge-1").ClientTLS(pki.Coordinator), false},
		{"forged", forged, false},
	} {
		if serr, cerr := handshake(t, server, tc.client); (serr == nil && cerr == nil) != tc.ok {
			t.Errorf("%s: server %v, client %v", tc.name, serr, cerr)
		}
	}
	unverified := coord.ServerTLS(pki.Operator)
	unverified.VerifyConnection = nil
	if serr, cerr := handshake(t, pki.OptionalClient(unverified), forged); serr == nil && cerr == nil {
		t.Error("settings that verify nothing take every certificate")
	}
	// The settings that it was made from are as they were.
	if serr, _ := handshake(t, coord.ServerTLS(pki.Operator), none); serr == nil {
		t.Error("a client without a certificate was taken")
	}
	// It checks whom it speaks to.
	if _, cerr := handshake(t, pki.OptionalClient(issue(t, ca, pki.Agent, "fog-1").ServerTLS(pki.Operator)), none); cerr == nil {
		t.Error("an agent was taken for a coordinator")
	}
	if _, cerr := handshake(t, pki.OptionalClient(issue(t, other, pki.Coordinator, "c1").ServerTLS(pki.Operator)), none); cerr == nil {
		t.Error("a coordinator of another mesh was taken")
	}
	if _, err := pki.ClientOnly(filepath.Join(dir, "c1.crt")); !errors.Is(err, pki.ErrPEM) {
		t.Errorf("not a CA's: %v", err)
	}
}
