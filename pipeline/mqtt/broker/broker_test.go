package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// start runs a broker until the test ends, or until stop.
func start(t *testing.T, conf Config) (b *Broker, stop func()) {
	t.Helper()
	conf.Listen = "127.0.0.1:0"
	conf.Plaintext = conf.TLS == nil
	if conf.TLS != nil {
		conf.Allow = mqtt.Allowed
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	b, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Error("run does not end")
		}
	})
	t.Cleanup(stop)
	return b, stop
}

func client(t *testing.T, b *Broker, id string) paho.Client {
	t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + b.Addr()).SetClientID(id).SetAutoReconnect(false))
	done(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(250) })
	return c
}

func done(t *testing.T, tok paho.Token) {
	t.Helper()
	if !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("paho: %v", tok.Error())
	}
}

// rawSubscriber subscribes and then reads nothing any more.
func rawSubscriber(t *testing.T, b *Broker, topic string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.CleanSession = "MQTT", 4, true
	connect.ClientIdentifier, connect.Keepalive = "slow", 60
	subscribe := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	subscribe.MessageID, subscribe.Topics, subscribe.Qoss = 1, []string{topic}, []byte{0}
	for _, p := range []packets.ControlPacket{connect, subscribe} {
		if err := p.Write(c); err != nil {
			t.Fatal(err)
		}
		if _, err := packets.ReadPacket(c); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestNewRefuses(t *testing.T) {
	id := pkitest.Issue(t, pkitest.CA(t), pki.Agent, "fog-1")
	mutual, oneWay := id.ServerTLS(pki.Agent), id.ServerTLS(pki.Agent)
	oneWay.ClientAuth = tls.NoClientCert
	for _, c := range []struct {
		name string
		conf Config
		want string
	}{
		{"no security asked for", Config{}, "neither certificates nor plain text"},
		{"two", Config{TLS: mutual, Plaintext: true}, "choose one"},
		{"clients without certificates", Config{TLS: oneWay}, "without a certificate"},
		{"no access list", Config{TLS: mutual}, "what a certificate's holder may do"},
		{"an access list of nobody", Config{Plaintext: true, Allow: mqtt.Allowed}, "in plain text nobody can be told apart"},
		{"users without TLS", Config{Plaintext: true, Users: household{}}, "everybody may do everything"},
		{"an address for nobody", Config{TLS: mutual, Allow: mqtt.Allowed, PlainListen: "127.0.0.1:0"}, "no users for it"},
		{"negative", Config{Plaintext: true, Stall: -1}, "must not be negative"},
		{"packet size", Config{Plaintext: true, MaxPacket: 1 << 30}, "want 1 to 268435456"},
		{"pending", Config{Plaintext: true, Pending: -1}, "want 1 to 65535"},
	} {
		c.conf.Listen, c.conf.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
		if _, err := New(c.conf); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAddressTaken(t *testing.T) {
	conf := Config{Listen: "127.0.0.1:0", Plaintext: true, Log: slog.New(slog.DiscardHandler)}
	first, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	conf.Listen = first.Addr()
	if _, err := New(conf); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), first.Addr()) {
		t.Errorf("%v, want the address and that it is in use", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := New(conf)
	if err != nil {
		t.Fatalf("after close: %v", err)
	}
	_ = second.Close()
}

// A subscriber that does not read loses messages, which are counted; others
// lose none, and the broker neither stalls nor waits for it to stop.
func TestSlowSubscriber(t *testing.T) {
	b, stop := start(t, Config{Pending: 8, Stall: time.Hour})
	rawSubscriber(t, b, "frames")
	good, publisher := client(t, b, "good"), client(t, b, "publisher")
	got := make(chan byte, 1)
	done(t, good.Subscribe("frames", 0, func(_ paho.Client, m paho.Message) { got <- m.Payload()[0] }))
	const n = 60 // of 1 MiB: more than the kernel takes for the slow one
	for i := range byte(n) {
		done(t, publisher.Publish("frames", 0, false, bytes.Repeat([]byte{i}, 1<<20)))
		if p := <-got; p != i {
			t.Fatalf("the good subscriber got message %d, want %d", p, i)
		}
	}
	s := b.Stats()
	if s.Clients != 3 || s.Received != n || s.Dropped == 0 || s.Dropped > n-8 {
		t.Errorf("%+v, want 3 clients, %d received and some dropped", s, n)
	}
	stop()
}

// A packet over the limit costs its sender the connection.
func TestMaxPacket(t *testing.T) {
	b, _ := start(t, Config{MaxPacket: 1000})
	lost := make(chan error, 1)
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + b.Addr()).SetAutoReconnect(false).
		SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err }))
	done(t, c.Connect())
	done(t, c.Publish("frames", 1, false, make([]byte, 900)))
	c.Publish("frames", 0, false, make([]byte, 1001))
	<-lost
}

// Connections that never introduce themselves do not keep a broker from
// stopping, nor others from connecting.
func TestSilentConnections(t *testing.T) {
	b, stop := start(t, Config{})
	for range 20 {
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "them to be accepted", func() bool {
		b.main.mu.Lock()
		defer b.main.mu.Unlock()
		return len(b.main.conns) == 20
	})
	client(t, b, "good")
	stop()
}

// Who is turned away is told in the log, and mochi's chatter is not.
func TestLog(t *testing.T) {
	id := pkitest.Issue(t, pkitest.CA(t), pki.Agent, "fog-1")
	var book logtest.Book
	b, stop := start(t, Config{TLS: id.ServerTLS(pki.Agent), Log: book.Logger()})
	c, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log to tell of the handshake", func() bool { return strings.Contains(book.String(), "TLS handshake failed") })
	stop()
	said := book.String()
	if strings.Count(said, "\n") != 1 || !strings.Contains(said, c.LocalAddr().String()) {
		t.Errorf("log:\n%swant one line naming %s", said, c.LocalAddr())
	}
}

func TestQuieter(t *testing.T) {
	var book logtest.Book
	log := slog.New(newQuieter(slog.NewTextHandler(&book, &slog.HandlerOptions{Level: slog.LevelDebug}))).With("hook", "h")
	log.Debug("failed publishing packet", "packet", "payload")
	log.Info("attached listener")
	log.Warn("client store quota reached")
	said := book.String()
	if strings.Contains(said, "payload") || !strings.Contains(said, `level=DEBUG msg="mqtt broker: attached listener" hook=h`) ||
		!strings.Contains(said, `level=WARN msg="mqtt broker: client store quota reached" hook=h`) {
		t.Errorf("log:\n%s", said)
	}
	if l := slog.New(newQuieter(slog.NewTextHandler(&book, nil))); l.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("information is enabled where debugging is not")
	}
}
