// Package pkitest issues certificates, and has them revoked while they are in
// use, as on a machine whose files somebody replaces. Only tests import it.
package pkitest

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/internal/pki"
)

// Node is an identity that follows its files.
type Node struct {
	*pki.Identity
	Dir  string // where its files are
	t    testing.TB
	look chan os.Signal
	log  logtest.Book
}

// Follow writes an identity to files of its own, and follows them until the end
// of the test.
func Follow(t testing.TB, id *pki.Identity) *Node {
	t.Helper()
	n := &Node{Dir: t.TempDir(), t: t, look: make(chan os.Signal)}
	if err := id.Save(n.Dir); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(n.Dir, name) }
	var err error
	if n.Identity, err = pki.LoadIdentity(at(pki.CACertFile), at(id.Subject.Name+".crt"), at(id.Subject.Name+".key")); err != nil {
		t.Fatal(err)
	}
	f, err := pki.NewFollower(n.Identity, n.look, n.log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	n.Look()
	return n
}

// Revoke has the authority revoke certificates, and the node know of it.
func (n *Node) Revoke(ca *pki.CA, certs ...*x509.Certificate) {
	n.t.Helper()
	if err := errors.Join(ca.Revoke(time.Now(), certs...), ca.SaveRevoked(n.Dir)); err != nil {
		n.t.Fatal(err)
	}
	n.Look()
}

// Take replaces the node's certificate and authorities.
func (n *Node) Take(id *pki.Identity) {
	n.t.Helper()
	if err := id.Overwrite(n.Dir); err != nil {
		n.t.Fatal(err)
	}
	n.Look()
}

// Log is what following the files has said.
func (n *Node) Log() string { return n.log.String() }

// Look makes the node look at its files, and returns when it has.
func (n *Node) Look() {
	n.look <- syscall.SIGHUP
	n.look <- syscall.SIGHUP // taken when the look before is over
}
