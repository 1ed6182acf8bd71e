package pki_test

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

// place is a machine's directory with a node's files, followed.
type place struct {
	*testing.T
	*pkitest.Node
}

func settle(t *testing.T, id *pki.Identity) *place {
	t.Helper()
	return &place{t, pkitest.Follow(t, id)}
}

func (p *place) file(name string) string { return filepath.Join(p.Dir, name) }

func (p *place) put(name string, content []byte, mode os.FileMode) {
	p.Helper()
	if err := errors.Join(os.WriteFile(p.file(name), content, mode), os.Chmod(p.file(name), mode)); err != nil {
		p.Fatal(err)
	}
}

func (p *place) get(name string) []byte {
	p.Helper()
	b, err := os.ReadFile(p.file(name))
	if err != nil {
		p.Fatal(err)
	}
	return b
}

func renew(t *testing.T, ca *pki.CA, old *pki.Identity) *pki.Identity {
	t.Helper()
	id, err := ca.Renew(old.Certificate(), 0, time.Now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func meet(t *testing.T, server, client *tls.Config) {
	t.Helper()
	if serr, cerr := handshake(t, server, client); serr != nil || cerr != nil {
		t.Fatalf("server: %v, client: %v", serr, cerr)
	}
}
