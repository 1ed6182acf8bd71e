// Package pkitest has a certificate revoked while it is in use, as on a machine
// whose files somebody replaces. Only tests import it.
package pkitest

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
)

// Node is an identity that follows its files.
type Node struct {
	*pki.Identity
	t    testing.TB
	dir  string
	look chan os.Signal
	log  book
}

// Follow writes an identity to files of its own, and follows them until the end
// of the test.
func Follow(t testing.TB, id *pki.Identity) *Node {
	t.Helper()
	n := &Node{t: t, dir: t.TempDir(), look: make(chan os.Signal)}
	if err := id.Save(n.dir); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(n.dir, name) }
	var err error
	if n.Identity, err = pki.LoadIdentity(at(pki.CACertFile), at(id.Subject.Name+".crt"), at(id.Subject.Name+".key")); err != nil {
		t.Fatal(err)
	}
	f, err := pki.NewFollower(n.Identity, n.look, slog.New(slog.NewTextHandler(&n.log, nil)))
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
	n.hangup()
	return n
}

// Revoke has the authority revoke certificates, and the node know of it.
func (n *Node) Revoke(ca *pki.CA, certs ...*x509.Certificate) {
	n.t.Helper()
	if err := errors.Join(ca.Revoke(time.Now(), certs...), ca.SaveRevoked(n.dir)); err != nil {
		n.t.Fatal(err)
	}
	n.hangup()
}

// Take replaces the node's certificate and authorities.
func (n *Node) Take(id *pki.Identity) {
	n.t.Helper()
	if err := id.Overwrite(n.dir); err != nil {
		n.t.Fatal(err)
	}
	n.hangup()
}

// Log is what following the files has said.
func (n *Node) Log() string { return n.log.String() }

// hangup makes the node look, and returns when it has.
func (n *Node) hangup() {
	n.look <- syscall.SIGHUP
	n.look <- syscall.SIGHUP // taken when the look before is over
}

// book is a log to read while it is written.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
