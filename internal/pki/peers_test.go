package pki_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

// wire is a connection between two identities, each of which has it in its
// peers.
type wire struct{ server, client *tls.Conn }

func connect(t *testing.T, server, client *pki.Identity) (*wire, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{
		server: server.Peers().Server(far, server.ServerTLS(pki.Agent)),
		client: client.Peers().Client(raw, client.ClientTLS(pki.Agent)),
	}
	t.Cleanup(w.close)
	done := make(chan error, 1)
	go func() {
		err := w.server.Handshake()
		if err == nil {
			_, err = w.server.Write([]byte{1})
		}
		done <- err
	}()
	_, err = io.ReadFull(w.client, make([]byte, 1))
	return w, errors.Join(err, <-done)
}

func dial(t *testing.T, server, client *pki.Identity) *wire {
	t.Helper()
	w, err := connect(t, server, client)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *wire) close() { _, _ = w.server.Close(), w.client.Close() }

// works reports whether a byte gets through each way.
func (w *wire) works() bool {
	for _, ends := range [][2]*tls.Conn{{w.server, w.client}, {w.client, w.server}} {
		if _, err := ends[0].Write([]byte{1}); err != nil {
			return false
		}
		if _, err := io.ReadFull(ends[1], make([]byte, 1)); err != nil {
			return false
		}
	}
	return true
}

func TestOpenConnectionsOfTheRevoked(t *testing.T) {
	ca := authority(t, "farm")
	self := pkitest.Follow(t, issue(t, ca, pki.Agent, "fog-1"))
	thief, honest := issue(t, ca, pki.Agent, "edge-1"), issue(t, ca, pki.Agent, "edge-2")
	for name, stays := range map[string]*wire{
		"accepted from another": dial(t, self.Identity, honest),
		"dialled to another":    dial(t, honest, self.Identity),
	} {
		defer func() {
			if !stays.works() {
				t.Errorf("the connection %s is closed, too", name)
			}
		}()
	}
	accepted, dialled := dial(t, self.Identity, thief), dial(t, thief, self.Identity)
	closed := dial(t, self.Identity, thief)
	closed.close()
	if n := self.Peers().Len(); n != 4 {
		t.Fatalf("%d connections are known, want the 4 that are open", n)
	}
	if !accepted.works() || !dialled.works() {
		t.Fatal("the connections do not work to begin with")
	}

	self.Revoke(ca, thief.Certificate())
	if accepted.works() || dialled.works() {
		t.Error("the revoked peer goes on")
	}
	if n := self.Peers().Len(); n != 2 {
		t.Errorf("%d connections are known, want 2", n)
	}
	const line = "closed the connections to a peer"
	said := self.Log()
	if strings.Count(said, line) != 1 {
		t.Fatalf("want one line on it, it says\n%s", said)
	}
	_, said, _ = strings.Cut(said, line)
	for _, part := range []string{"peer=edge-1 ", "serial=" + thief.Certificate().SerialNumber.Text(16), "connections=2", pki.ErrRevoked.Error()} {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q:\n%s", part, said)
		}
	}
	if _, err := connect(t, self.Identity, thief); !errors.Is(err, pki.ErrRevoked) {
		t.Errorf("a new connection: %v", err)
	}
}

func TestOpenConnectionsOfARetiredAuthority(t *testing.T) {
	ca := authority(t, "farm")
	self := pkitest.Follow(t, issue(t, ca, pki.Agent, "fog-1"))
	late, early := issue(t, ca, pki.Agent, "edge-1"), issue(t, ca, pki.Agent, "edge-2")
	next, err := ca.Replace(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	old := dial(t, self.Identity, late)
	self.Take(renew(t, next, self.Identity))
	renewed := dial(t, self.Identity, renew(t, next, early))
	if !old.works() || !renewed.works() {
		t.Fatal("both authorities are trusted")
	}
	next.Retire()
	self.Take(renew(t, next, self.Identity))
	if old.works() {
		t.Error("the authority is retired, and a connection with its certificate goes on")
	}
	if !renewed.works() {
		t.Error("a connection with a certificate of the new authority is closed")
	}
}

// TestRevokedMeanwhile: between the handshake and Add the trust was lost.
func TestRevokedMeanwhile(t *testing.T) {
	ca := authority(t, "farm")
	self, thief := pkitest.Follow(t, issue(t, ca, pki.Agent, "fog-1")), issue(t, ca, pki.Agent, "edge-1")
	w := dial(t, self.Identity, thief)
	cs := w.server.ConnectionState()
	self.Revoke(ca, thief.Certificate())
	if err := self.Peers().Add("it", cs, func() { t.Error("ended, although it was never taken") }); !errors.Is(err, pki.ErrRevoked) {
		t.Errorf("%v, want %v", err, pki.ErrRevoked)
	}
	if n := self.Peers().Len(); n != 0 {
		t.Errorf("%d connections are known", n)
	}
}

// TestExpiredMeanwhile: a certificate that ends does not end what is open, even
// when another is revoked.
func TestExpiredMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.NewCA("farm", time.Now(), 100*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		named := func(name string, valid time.Duration) *pki.Identity {
			id, err := ca.Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Fog, Name: name}, nil, time.Now(), valid)
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		self, short, thief := pkitest.Follow(t, named("fog-1", 90*time.Hour)), named("edge-1", time.Hour), named("edge-2", 90*time.Hour)
		ended := map[string]bool{}
		for _, id := range []*pki.Identity{short, thief} {
			var cs tls.ConnectionState
			cs.PeerCertificates = append(cs.PeerCertificates, id.Certificate())
			if err := self.Peers().Add(id, cs, func() { ended[id.Subject.Name] = true }); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(2 * time.Hour) // of the bubble
		self.Revoke(ca, thief.Certificate())
		if ended["edge-1"] || !ended["edge-2"] {
			t.Errorf("ended: %v, want edge-2 only", ended)
		}
	})
}

func TestOpenConnectionsOfAnHTTPServer(t *testing.T) {
	for protocol, version := range map[string]string{"http/1.1": "HTTP/1.1", "h2": "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			ca := authority(t, "farm")
			self, thief := pkitest.Follow(t, issue(t, ca, pki.Coordinator, "fog-1")), issue(t, ca, pki.Agent, "edge-1")
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			begun := make(chan string, 1)
			s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/held" {
					begun <- r.Proto
					<-r.Context().Done()
				}
			})}
			s.TLSConfig = pki.OptionalClient(self.ServerTLS(pki.Agent))
			s.TLSConfig.NextProtos = []string{protocol}
			done := make(chan error, 1)
			go func() { done <- s.Serve(self.Peers().Listener(l, s.TLSConfig)) }()
			defer func() { _ = s.Close(); <-done }()
			url := "https://" + l.Addr().String()
			client := func(conf *tls.Config) *http.Client {
				tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: protocol == "h2"}
				t.Cleanup(tr.CloseIdleConnections)
				return &http.Client{Transport: tr, Timeout: time.Minute}
			}
			stranger := thief.ClientTLS(pki.Coordinator)
			stranger.GetClientCertificate = nil // a token's bearer
			for _, conf := range []*tls.Config{thief.ClientTLS(pki.Coordinator), stranger} {
				resp, err := client(conf).Get(url)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
			}
			held := make(chan error, 1)
			go func() {
				resp, err := client(thief.ClientTLS(pki.Coordinator)).Get(url + "/held")
				if err == nil {
					err = resp.Body.Close()
				}
				held <- err
			}()
			if got := <-begun; got != version {
				t.Fatalf("it speaks %s", got)
			}
			if n := self.Peers().Len(); n != 2 {
				t.Errorf("%d connections are known, want those 2 that showed a certificate", n)
			}
			self.Revoke(ca, thief.Certificate())
			if err := <-held; err == nil {
				t.Error("a request of the revoked peer was answered")
			}
			if n := self.Peers().Len(); n != 0 {
				t.Errorf("%d connections are known", n)
			}
		})
	}
}
