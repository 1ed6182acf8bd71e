package broker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline/mqtt"
)

// household are users with their passwords, who publish to and read the topics
// under their name.
type household map[string]string

func (h household) Login(name string, password []byte) bool {
	want, known := h[name]
	return known && want == string(password)
}

func (h household) Allowed(name, topic string, _ bool) bool {
	return strings.HasPrefix(topic, name+"/")
}

// open has both kinds of address, and Users.
func open(t *testing.T, conf Config) *mesh {
	t.Helper()
	conf.PlainListen = "127.0.0.1:0"
	if conf.Users == nil {
		conf.Users = household{"gate": "correct horse", "yard": "battery staple"}
	}
	return startMesh(t, conf)
}

// guestOptions are of a client that logs in, over TLS or in plain text.
func (m *mesh) guestOptions(t *testing.T, secure bool, name, password string) *paho.ClientOptions {
	t.Helper()
	o := paho.NewClientOptions().SetProtocolVersion(4).SetClientID("camera").SetAutoReconnect(false).
		SetConnectTimeout(patience).SetUsername(name).SetPassword(password)
	if !secure {
		return o.AddBroker("tcp://" + m.PlainAddr())
	}
	conf := m.creds(t, pki.Agent, "edge-1")
	conf.GetClientCertificate = nil
	return o.AddBroker("tls://" + m.Addr()).SetTLSConfig(conf)
}

func (m *mesh) login(t *testing.T, o *paho.ClientOptions) (paho.Client, error) {
	t.Helper()
	c := paho.NewClient(o)
	tok := c.Connect()
	if !tok.WaitTimeout(patience) {
		t.Fatal("no answer")
	}
	if tok.Error() == nil {
		t.Cleanup(func() { c.Disconnect(250) })
	}
	return c, tok.Error()
}

func TestUsersLogIn(t *testing.T) {
	m := open(t, Config{})
	node := m.join(t, pki.Agent, "fog-1", nil)
	seen := inbox(t, node, "gate/#")
	for _, secure := range []bool{true, false} {
		lost := make(chan error, 1)
		gate, err := m.login(t, m.guestOptions(t, secure, "gate", "correct horse").SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err }))
		if err != nil {
			t.Fatalf("secure %v: %v", secure, err)
		}
		own := inbox(t, gate, "gate/orders")
		picture := strings.Repeat("x", 1<<20) // far more than a CONNECT may be
		done(t, gate.Publish("gate/picture", 1, false, picture))
		if got := <-seen; got != "gate/picture "+picture {
			t.Errorf("secure %v: a node gets %.40q", secure, got)
		}
		done(t, gate.Publish("gate/orders", 1, false, "turn"))
		if got := <-own; got != "gate/orders turn" {
			t.Errorf("secure %v: it gets %q", secure, got)
		}
		<-seen
		tok := gate.Subscribe("yard/picture", 0, nil)
		done(t, tok)
		if code := tok.(*paho.SubscribeToken).Result()["yard/picture"]; code != 0x80 {
			t.Errorf("secure %v: it subscribes to another's topic: %#x", secure, code)
		}
		gate.Publish("weft/v1/detections/a/b", 1, false, "{}")
		if err := <-lost; err == nil {
			t.Error("it publishes for the mesh")
		}
	}
}

// TestWrongPasswords: whatever is wrong, and in either version, the answer is
// one and the same.
func TestWrongPasswords(t *testing.T) {
	var log logtest.Book
	m := open(t, Config{Log: log.Logger()})
	answers := map[string]bool{}
	for _, secure := range []bool{true, false} {
		for _, c := range [][2]string{{"gate", "battery staple"}, {"nobody", "correct horse"}, {"gate", "secret"}} {
			_, err := m.login(t, m.guestOptions(t, secure, c[0], c[1]))
			if err == nil {
				t.Errorf("%v is let in", c)
				continue
			}
			answers[err.Error()] = true
		}
	}
	if len(answers) != 1 {
		t.Errorf("answers that can be told apart: %v", answers)
	}
	for what, connect := range map[string]packets.ConnectParams{
		"no name":     {},
		"no password": {UsernameFlag: true, Username: []byte("gate")},
		"wrong":       {UsernameFlag: true, Username: []byte("gate"), PasswordFlag: true, Password: []byte("x")},
	} {
		if code := m.plain5(t, connect); code != packets.ErrBadUsernameOrPassword.Code {
			t.Errorf("%s: %#x", what, code)
		}
	}
	if n := m.Stats().Clients; n != 0 {
		t.Errorf("%d clients", n)
	}
	m.stop()
	if said := log.String(); strings.Contains(said, "secret") || strings.Contains(said, "gate") || !strings.Contains(said, "wrong name or password") {
		t.Errorf("the log says\n%s", said)
	}
}

// plain5 connects with MQTT 5 in plain text and returns the answer's code.
func (m *mesh) plain5(t *testing.T, connect packets.ConnectParams) byte {
	t.Helper()
	conn, err := net.Dial("tcp", m.PlainAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	connect.ProtocolName, connect.Clean, connect.ClientIdentifier = []byte("MQTT"), true, "c"
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: 5, Connect: connect}
	var b bytes.Buffer
	if err := pk.ConnectEncode(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	return answer[3]
}

// TestWhoNeedsACertificate: a password opens nothing where users are not asked
// for, and a certificate is still looked at where they are.
func TestWhoNeedsACertificate(t *testing.T) {
	m := open(t, Config{})
	stranger := m.guestOptions(t, true, "gate", "correct horse")
	conf := m.creds(t, pki.Agent, "edge-1")
	conf.GetClientCertificate = pkitest.Issue(t, pkitest.CA(t), pki.Agent, "edge-1").ClientTLS(pki.Agent).GetClientCertificate
	if _, err := m.login(t, stranger.SetTLSConfig(conf)); err == nil {
		t.Error("a certificate of another authority is no matter")
	}
	strict := startMesh(t, Config{})
	none := strict.creds(t, pki.Agent, "edge-1")
	none.GetClientCertificate = nil
	o := paho.NewClientOptions().AddBroker("tls://" + strict.Addr()).SetTLSConfig(none).SetUsername("gate").SetPassword("correct horse")
	if _, err := strict.login(t, o.SetProtocolVersion(4).SetConnectRetry(false)); err == nil || strict.PlainAddr() != "" {
		t.Errorf("without users: %v, plain text at %q", err, strict.PlainAddr())
	}
	// Agents, whose frames are not for everybody on the way, have no plain text.
	if _, err := m.login(t, m.guestOptions(t, false, "", "")); err == nil {
		t.Error("nobody is let in")
	}
}

// TestUsersHaveTheirOwnSessions: a user takes over neither another's session
// nor a node's.
func TestUsersHaveTheirOwnSessions(t *testing.T) {
	m := open(t, Config{})
	lost := make(chan error, 3)
	m.join(t, pki.Agent, "gate", lost)
	for _, c := range [][2]string{{"gate", "correct horse"}, {"yard", "battery staple"}} {
		o := m.guestOptions(t, false, c[0], c[1]).SetClientID("gate").SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err })
		if _, err := m.login(t, o); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all three to be there", func() bool { return m.Stats().Clients == 3 })
	select {
	case err := <-lost:
		t.Errorf("one was pushed out: %v", err)
	default:
	}
}

// TestConnectionsOfAUser bounds them as those of a certificate.
func TestConnectionsOfAUser(t *testing.T) {
	m := open(t, Config{PerOwner: 2})
	for i := range 3 {
		_, err := m.login(t, m.guestOptions(t, false, "gate", "correct horse").SetClientID(string(rune('a'+i))))
		if (err == nil) != (i < 2) {
			t.Errorf("connection %d: %v", i+1, err)
		}
	}
	if _, err := m.login(t, m.guestOptions(t, false, "yard", "battery staple")); err != nil {
		t.Errorf("another user: %v", err)
	}
}

// TestFirstPackets: who is not known yet makes the broker hold nothing, nor wait.
func TestFirstPackets(t *testing.T) {
	m := open(t, Config{})
	for what, begin := range map[string][]byte{
		"16 MB of CONNECT":   {packets.Connect << 4, 0x80, 0x80, 0x80, 0x08, 0},
		"endless length":     {packets.Connect << 4, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a PUBLISH":          {packets.Publish << 4, 10, 0, 1, 'a', 0},
		"TLS in plain text":  {0x16, 3, 1, 0, 200, 1},
		"HTTP in plain text": []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		conn, err := net.Dial("tcp", m.PlainAddr())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Write(begin)
		var timeout net.Error
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: %v, want the end", what, err)
		}
		_ = conn.Close()
	}
}

// slow are users whose passwords take until the test says.
type slow struct {
	household
	now, most atomic.Int64
	free      chan struct{}
}

func (s *slow) Login(name string, password []byte) bool {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for {
		most := s.most.Load()
		if n <= most || s.most.CompareAndSwap(most, n) {
			break
		}
	}
	<-s.free
	return s.household.Login(name, password)
}

func TestPasswordsCheckedAtOnce(t *testing.T) {
	s := &slow{household: household{"gate": "correct horse"}, free: make(chan struct{})}
	m := open(t, Config{Users: s})
	most := int64(cap(m.gate.logins.places))
	var wg sync.WaitGroup
	for range most + 3 {
		wg.Go(func() {
			if _, err := m.login(t, m.guestOptions(t, false, "gate", "correct horse").SetClientID("")); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "as many to be checked as may be", func() bool { return s.now.Load() == most })
	// Who has a certificate does not wait for them.
	done(t, m.join(t, pki.Agent, "fog-1", nil).Publish("weft/v1/detections/a/b", 1, false, "{}"))
	close(s.free)
	wg.Wait()
	if s.most.Load() > most {
		t.Errorf("%d at once, want %d at most", s.most.Load(), most)
	}
}

func TestLoginsOfANetwork(t *testing.T) {
	l, now := newLogins(), time.Now()
	for range 100 { // those that succeed are free
		if !l.begin("a", now) {
			t.Fatal("refused although nothing was wrong")
		}
		l.succeeded("a", now)
	}
	for i := range maxFailed {
		if !l.begin("a", now) {
			t.Fatalf("refused after %d", i)
		}
	}
	if l.begin("a", now) || !l.begin("b", now) {
		t.Error("the limit is another one, or holds for others")
	}
	now = now.Add(failEvery - time.Millisecond)
	if l.begin("a", now) {
		t.Error("too soon")
	}
	now = now.Add(2 * time.Millisecond)
	if !l.begin("a", now) || l.begin("a", now) {
		t.Error("one more after a while, and only one")
	}
	if now = now.Add(time.Hour); !l.begin("a", now) {
		t.Error("never forgiven")
	}
}

func TestWaitingForALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogins()
		for range cap(l.places) {
			l.places <- struct{}{}
		}
		start := time.Now()
		if ok, checked := l.check(t.Context(), func() bool { return true }); ok || checked || time.Since(start) != loginPatience {
			t.Errorf("%v, %v after %s", ok, checked, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if ok, checked := l.check(ctx, func() bool { return true }); ok || checked {
			t.Error("checked although the broker stops")
		}
		<-l.places
		if ok, checked := l.check(t.Context(), func() bool { return true }); !ok || !checked || len(l.places) != cap(l.places)-1 {
			t.Error("not checked, or the place is kept")
		}
	})
}

// TestTooManyWrongPasswords: a network that guesses is not listened to, and who
// has a certificate is.
func TestTooManyWrongPasswords(t *testing.T) {
	m := open(t, Config{Users: household{"gate": "correct horse"}})
	wrong := packets.ConnectParams{UsernameFlag: true, Username: []byte("gate"), PasswordFlag: true, Password: []byte("x")}
	refused := false
	for range maxFailed + 5 { // a few are forgiven meanwhile
		code := m.plain5(t, wrong)
		refused = refused || code == packets.ErrServerUnavailable.Code
	}
	if !refused {
		t.Error("as many guesses as one likes")
	}
	m.join(t, pki.Agent, "fog-1", nil)
}

var _ = []Users{household{}, (*mqtt.Users)(nil)}
