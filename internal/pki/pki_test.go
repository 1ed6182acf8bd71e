package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
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
	s := pki.Subject{Role: role, Name: name}
	if role.Machine() {
		s.Tier = tiering.Fog
	}
	id, err := ca.Issue(s, []string{"127.0.0.1", "host.example"}, time.Now(), year)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// certify makes a certificate that Issue does not: with the key of the
// authority in dir, as another program could.
func certify(t *testing.T, ca *pki.CA, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	dir := t.TempDir()
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, pki.CACertFile), filepath.Join(dir, pki.CAKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := *issue(t, ca, pki.Agent, "edge-1").Certificate()
	change(&tmpl)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, pair.Leaf, key.Public(), pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, pair.Certificate[0]}, PrivateKey: key}
}

// shows is what a client that trusts id's mesh shows another certificate with.
func shows(id *pki.Identity, cert tls.Certificate) *tls.Config {
	c := id.ClientTLS(pki.Agent)
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	return c
}

func named(uris ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.URIs = nil
		for _, s := range uris {
			u, err := url.Parse(s)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, u)
		}
	}
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
	at := func(issued time.Time) *pki.Identity {
		id, err := ca.Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Edge, Name: "edge-1"}, nil, issued, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	expired, early := at(time.Now().Add(-48*time.Hour)), at(time.Now().Add(25*time.Hour))
	server, none := agent.ServerTLS(pki.Agent), agent.ClientTLS(pki.Agent)
	none.GetClientCertificate = nil
	edgeCoordinator := certify(t, ca, named("spiffe://farm/coordinator/edge/edge-1"))
	asCoordinator := coord.ServerTLS(pki.Coordinator)
	asCoordinator.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &edgeCoordinator, nil }
	old := certify(t, ca, named("spiffe://farm/agent/edge-1"))
	asOld := agent.ServerTLS(pki.Agent)
	asOld.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &old, nil }
	asked := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	for _, tc := range []struct {
		name           string
		server, client *tls.Config
		want           string // of the error of the side that verifies; empty: none
	}{
		{"agent to agent", server, agent.ClientTLS(pki.Agent), ""},
		{"coordinator acts as agent", server, coord.ClientTLS(pki.Agent), ""},
		{"agent dials coordinator as agent", coord.ServerTLS(pki.Agent), agent.ClientTLS(pki.Agent), ""},
		{"slow clock", server, at(time.Now().Add(4 * time.Minute)).ClientTLS(pki.Agent), ""},
		{"a certificate from before tiers", server, shows(agent, certify(t, ca, named("spiffe://farm/agent/edge-1"))), ""},
		{"a coordinator's from before tiers", coord.ServerTLS(pki.Coordinator), shows(coord, certify(t, ca, named("spiffe://farm/coordinator/c"))), ""},
		{"operator at the API", coord.ServerTLS(pki.Operator, pki.Agent), op.ClientTLS(pki.Coordinator), ""},

		{"the node that is meant", server, pki.To(coord.ClientTLS(pki.Agent), "edge-1", tiering.Fog), ""},
		{"that node from before tiers", asOld, pki.To(coord.ClientTLS(pki.Agent), "edge-1", tiering.Fog), ""},

		{"another node than is meant", server, pki.To(coord.ClientTLS(pki.Agent), "edge-2", tiering.Fog), "not the node that is meant: it is spiffe://farm/agent/fog/edge-1, and meant is edge-2 at tier fog"},
		{"at another tier than is meant", server, pki.To(coord.ClientTLS(pki.Agent), "edge-1", tiering.Cloud), "not the node that is meant"},
		{"another node from before tiers", asOld, pki.To(coord.ClientTLS(pki.Agent), "edge-2", tiering.Fog), "not the node that is meant"},
		{"the name of another CA", stranger.ServerTLS(pki.Agent), pki.To(coord.ClientTLS(pki.Agent), "edge-1", tiering.Fog), "unknown authority"},
		{"agent is no coordinator", coord.ServerTLS(pki.Coordinator), agent.ClientTLS(pki.Coordinator), "wrong role"},
		{"agent does not serve as coordinator", agent.ServerTLS(pki.Coordinator), coord.ClientTLS(pki.Coordinator), "wrong role"},
		{"no coordinator at the edge", coord.ServerTLS(pki.Coordinator), shows(coord, edgeCoordinator), "wrong role"},
		{"nor does it serve as one", asCoordinator, coord.ClientTLS(pki.Coordinator), "wrong role"},
		{"operator moves no frames", server, op.ClientTLS(pki.Agent), "wrong role"},
		{"another CA of the same name", server, stranger.ClientTLS(pki.Agent), "unknown authority"},
		{"another CA's client", server, shows(agent, certify(t, other, named("spiffe://farm/agent/fog/a"))), "unknown authority"},
		{"another mesh in the name", server, shows(agent, certify(t, ca, named("spiffe://barn/agent/fog/a"))), "of another mesh"},
		{"no name", server, shows(agent, certify(t, ca, named())), "has no spiffe://"},
		{"an unknown role", server, shows(agent, certify(t, ca, named("spiffe://farm/king/a"))), `role "king"`},
		{"an unknown tier", server, shows(agent, certify(t, ca, named("spiffe://farm/agent/sky/a"))), "spiffe://MESH/ROLE/TIER/NAME"},
		{"an operator with a tier", coord.ServerTLS(pki.Operator), shows(op, certify(t, ca, named("spiffe://farm/operator/fog/a"))), "an operator has no tier"},
		{"an authority itself", server, shows(agent, certify(t, ca, func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageDigitalSignature
		})), "an authority's certificate"},
		{"not for clients", server, shows(agent, certify(t, ca, asked)), "incompatible key usage"},
		{"expired", server, expired.ClientTLS(pki.Agent), "expired"},
		{"not valid yet", server, early.ClientTLS(pki.Agent), "is before"},
		{"a server that has expired", expired.ServerTLS(pki.Agent), agent.ClientTLS(pki.Agent), "expired"},
		{"no certificate", server, none, "didn't provide a certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			serr, cerr := handshake(t, tc.server, tc.client)
			if tc.want == "" {
				if serr != nil || cerr != nil {
					t.Errorf("server: %v, client: %v", serr, cerr)
				}
				return
			}
			if serr == nil || cerr == nil {
				t.Fatalf("accepted; server: %v, client: %v", serr, cerr)
			}
			if !strings.Contains(serr.Error()+cerr.Error(), tc.want) {
				t.Errorf("server: %v, client: %v; want …%s…", serr, cerr, tc.want)
			}
		})
	}
}

// TestIntermediatesDoNotCount: what a peer sends along vouches for nothing.
func TestIntermediatesDoNotCount(t *testing.T) {
	ca := authority(t, "farm")
	agent := issue(t, ca, pki.Agent, "edge-1")
	middle := certify(t, ca, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.URIs = true, true, x509.KeyUsageCertSign, nil
	})
	parent, err := x509.ParseCertificate(middle.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	leaf := *agent.Certificate()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &leaf, parent, key.Public(), middle.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	forged := tls.Certificate{Certificate: [][]byte{der, middle.Certificate[0]}, PrivateKey: key}
	if serr, cerr := handshake(t, agent.ServerTLS(pki.Agent), shows(agent, forged)); serr == nil || cerr == nil {
		t.Errorf("an agent made itself an authority: %v, %v", serr, cerr)
	}
}

func TestPlainClientsVerifyHosts(t *testing.T) {
	ca := authority(t, "farm")
	id := issue(t, ca, pki.Coordinator, "coord-1")
	c := &tls.Config{RootCAs: x509.NewCertPool(), GetClientCertificate: id.ClientTLS(pki.Agent).GetClientCertificate}
	c.RootCAs.AddCert(ca.Certificates()[0])
	for name, ok := range map[string]bool{"host.example": true, "coordinator.farm.weft": true, "agent.farm.weft": true, "elsewhere.example": false} {
		c.ServerName = name
		if serr, cerr := handshake(t, id.ServerTLS(pki.Coordinator), c); (serr == nil && cerr == nil) != ok {
			t.Errorf("%s: %v, %v", name, serr, cerr)
		}
	}
}

func TestGuards(t *testing.T) {
	id := issue(t, authority(t, "farm"), pki.Agent, "edge-1")
	server, client := id.ServerTLS(pki.Agent), id.ClientTLS(pki.Agent)
	if !pki.AsksForCertificates(server) || !pki.VerifiesServer(client) {
		t.Error("this package's own settings are refused")
	}
	server.VerifyConnection, client.VerifyConnection = nil, nil
	for name, bad := range map[string]bool{
		"server without verification": pki.AsksForCertificates(server), "client without verification": pki.VerifiesServer(client),
		"no server": pki.AsksForCertificates(nil), "no client": pki.VerifiesServer(nil),
		"certificates at will": pki.AsksForCertificates(&tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, VerifyConnection: id.ServerTLS().VerifyConnection}),
	} {
		if bad {
			t.Errorf("%s: accepted", name)
		}
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
		if _, err := ca.Issue(pki.Subject{Role: pki.Role(tc.role), Tier: tiering.Fog, Name: tc.name}, nil, time.Now(), year); !errors.Is(err, pki.ErrName) {
			t.Errorf("%v: %v", tc, err)
		}
	}
	for _, host := range []string{"fog-1.local:7949", "https://fog-1/", " fog-1", "", "a..b", "coordinator.farm.weft", "[::1]"} {
		if _, err := ca.Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Fog, Name: "a"}, []string{host}, time.Now(), year); !errors.Is(err, pki.ErrName) || !strings.Contains(err.Error(), strconv.Quote(host)) {
			t.Errorf("host %q: %v", host, err)
		}
	}
	for _, host := range []string{"fog-1", "Fog-1.local", "192.0.2.1", "::1", "10.example"} {
		if _, err := ca.Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Fog, Name: "a"}, []string{host}, time.Now(), year); err != nil {
			t.Errorf("host %q: %v", host, err)
		}
	}
	for want, s := range map[string]pki.Subject{
		`agent "a" needs its tier: edge, fog or cloud`:          {Role: pki.Agent, Name: "a"},
		`"a" is at the edge, where no node coordinates: make a`: {Role: pki.Coordinator, Tier: tiering.Edge, Name: "a"},
		"an operator has no tier":                               {Role: pki.Operator, Tier: tiering.Fog, Name: "a"},
	} {
		if _, err := ca.Issue(s, nil, time.Now(), year); !errors.Is(err, pki.ErrName) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want …%s…", err, want)
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
