package pki_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
)

const year = 365 * 24 * time.Hour

func authority(t *testing.T, mesh string) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA(mesh, time.Now(), year)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *pki.CA, role pki.Role, name string) *pki.Identity {
	t.Helper()
	id, err := ca.Issue(role, name, []string{"127.0.0.1", "host.example"}, time.Now(), year)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// handshake returns the server's and the client's error of one connection
// over which the client sends one byte.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		if err := c.(*tls.Conn).Handshake(); err != nil {
			done <- err
			return
		}
		_, err = c.Write([]byte{1})
		done <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
		_ = c.Close()
	}
	return <-done, err
}

func TestRolesAreEnforcedBothWays(t *testing.T) {
	ca, other := authority(t, "farm"), authority(t, "farm")
	agent, coord, op := issue(t, ca, pki.Agent, "edge-1"), issue(t, ca, pki.Coordinator, "coord-1"), issue(t, ca, pki.Operator, "ada")
	stranger := issue(t, other, pki.Agent, "edge-1")
	expired, err := ca.Issue(pki.Agent, "old", nil, time.Now().Add(-2*year), year)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name           string
		server, client *tls.Config
		ok             bool
	}{
		{"agent to agent", agent.ServerTLS(pki.Agent), agent.ClientTLS(pki.Agent), true},
		{"coordinator acts as agent", agent.ServerTLS(pki.Agent), coord.ClientTLS(pki.Agent), true},
		{"agent dials coordinator as agent", coord.ServerTLS(pki.Agent), agent.ClientTLS(pki.Agent), true},
		{"agent is no coordinator", coord.ServerTLS(pki.Coordinator), agent.ClientTLS(pki.Coordinator), false},
		{"agent does not serve as coordinator", agent.ServerTLS(pki.Coordinator), coord.ClientTLS(pki.Coordinator), false},
		{"operator at the API", coord.ServerTLS(pki.Operator, pki.Agent), op.ClientTLS(pki.Coordinator), true},
		{"operator moves no frames", agent.ServerTLS(pki.Agent), op.ClientTLS(pki.Agent), false},
		{"another CA", agent.ServerTLS(pki.Agent), stranger.ClientTLS(pki.Agent), false},
		{"expired", agent.ServerTLS(pki.Agent), expired.ClientTLS(pki.Agent), false},
		{"no certificate", agent.ServerTLS(pki.Agent), &tls.Config{RootCAs: agent.ClientTLS(pki.Agent).RootCAs, ServerName: "agent.farm.weft"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			serr, cerr := handshake(t, tc.server, tc.client)
			if ok := serr == nil && cerr == nil; ok != tc.ok {
				t.Errorf("server: %v, client: %v; want ok = %v", serr, cerr, tc.ok)
			}
		})
	}
}

func TestPlainClientsVerifyHosts(t *testing.T) {
	id := issue(t, authority(t, "farm"), pki.Coordinator, "coord-1")
	c := id.ClientTLS(pki.Agent)
	c.ServerName = "host.example"
	if serr, cerr := handshake(t, id.ServerTLS(pki.Coordinator), c); serr != nil || cerr != nil {
		t.Error(serr, cerr)
	}
	c.ServerName = "elsewhere.example"
	if _, cerr := handshake(t, id.ServerTLS(pki.Coordinator), c); cerr == nil {
		t.Error("a host that the certificate does not name was accepted")
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir := t.TempDir()
	ca := authority(t, "farm")
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := ca.Save(dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("second save: %v; an authority must never be overwritten", err)
	}
	again, err := pki.LoadCA(dir)
	if err != nil || again.Mesh != "farm" {
		t.Fatal(again, err)
	}
	id := issue(t, again, pki.Agent, "edge-1")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"ca.key", "edge-1.key"} {
		if fi, err := os.Stat(filepath.Join(dir, f)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v; want mode 0600", f, fi.Mode(), err)
		}
	}
	file := func(n string) string { return filepath.Join(dir, n) }
	back, err := pki.LoadIdentity(file("ca.crt"), file("edge-1.crt"), file("edge-1.key"))
	if err != nil || back.Subject != id.Subject {
		t.Fatal(back, err)
	}
	if serr, cerr := handshake(t, back.ServerTLS(pki.Agent), id.ClientTLS(pki.Agent)); serr != nil || cerr != nil {
		t.Error(serr, cerr)
	}
	if _, err := pki.LoadIdentity(file("ca.crt"), file("edge-1.crt"), file("ca.key")); err == nil || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("mismatched key: %v", err)
	}
	if err := os.WriteFile(file("bad.crt"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.LoadIdentity(file("bad.crt"), file("edge-1.crt"), file("edge-1.key")); !errors.Is(err, pki.ErrPEM) {
		t.Errorf("garbage: %v", err)
	}
	stranger := issue(t, authority(t, "farm"), pki.Agent, "edge-2")
	if err := stranger.Save(dir); err == nil {
		t.Error("an identity of another CA was saved beside this one's certificate")
	}
}

func TestNamesAreChecked(t *testing.T) {
	if _, err := pki.NewCA("Farm/1", time.Now(), year); !errors.Is(err, pki.ErrName) {
		t.Error(err)
	}
	ca := authority(t, "farm")
	for _, tc := range []struct{ role, name string }{{"agent", ""}, {"agent", "a/b"}, {"root", "a"}, {"agent", strings.Repeat("a", 64)}} {
		if _, err := ca.Issue(pki.Role(tc.role), tc.name, nil, time.Now(), year); !errors.Is(err, pki.ErrName) {
			t.Errorf("%v: %v", tc, err)
		}
	}
}

func TestPeer(t *testing.T) {
	if _, ok := pki.Peer(nil); ok {
		t.Error("no connection has no peer")
	}
	ca := authority(t, "farm")
	agent := issue(t, ca, pki.Agent, "edge-1")
	a, b := net.Pipe()
	server, client := tls.Server(a, agent.ServerTLS(pki.Agent)), tls.Client(b, agent.ClientTLS(pki.Agent))
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cs := server.ConnectionState()
	if s, ok := pki.Peer(&cs); !ok || s != agent.Subject {
		t.Error(s, ok)
	}
}
