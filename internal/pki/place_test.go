package pki_test

import (
	"bytes"
	"context"
	"crypto/tls"
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

// place is a machine's directory with a node's files, followed.
type place struct {
	*testing.T
	dir  string
	id   *pki.Identity
	look chan os.Signal
	log  book
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

func settle(t *testing.T, id *pki.Identity) *place {
	t.Helper()
	p := &place{T: t, dir: t.TempDir(), look: make(chan os.Signal)}
	if err := id.Save(p.dir); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.id, err = pki.LoadIdentity(p.file("ca.crt"), p.file(id.Subject.Name+".crt"), p.file(id.Subject.Name+".key")); err != nil {
		t.Fatal(err)
	}
	f, err := pki.NewFollower(p.id, p.look, slog.New(slog.NewTextHandler(&p.log, nil)))
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
	p.hangup()
	return p
}

func (p *place) file(name string) string { return filepath.Join(p.dir, name) }

// hangup makes the node look, and returns when it has.
func (p *place) hangup() {
	p.look <- syscall.SIGHUP
	p.look <- syscall.SIGHUP // taken when the look before is over
}

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

func (p *place) take(id *pki.Identity) {
	p.Helper()
	if err := id.Overwrite(p.dir); err != nil {
		p.Fatal(err)
	}
	p.hangup()
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
