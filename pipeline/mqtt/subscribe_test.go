package mqtt

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
)

func TestSubscribe(t *testing.T) {
	ca := pkitest.CA(t)
	b, stopBroker := startBroker(t, broker.Config{TLS: identity(t, ca, "fog-1").ServerTLS(pki.Agent, pki.Operator)})
	url, creds := "tls://"+b.Addr(), identity(t, ca, "edge-1").ClientTLS(pki.Agent)
	var book logtest.Book
	conf := SubscribeConfig{Broker: url, TLS: creds, Topic: "cams/+/jpeg", MaxPayload: 1000, Log: book.Logger()}
	got, ended := make(chan string, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	subscribe := func() {
		go func() { ended <- Subscribe(ctx, conf, func(p []byte) { got <- string(p) }) }()
	}
	camera := client(t, url, pkitest.Issue(t, ca, pki.Operator, "cam").ClientTLS(pki.Agent))
	publish := func(payload []byte) { done(t, camera.Publish("cams/gate/jpeg", 0, false, payload)) }
	subscribed := func() {
		eventually(t, "a payload to arrive", func() bool {
			publish([]byte("first"))
			return len(got) > 0
		})
	}

	subscribe()
	subscribed()
	publish(bytes.Repeat([]byte{1}, 1001))
	publish(bytes.Repeat([]byte{1}, 200_000))
	publish([]byte("last"))
	for p := range got {
		if p == "last" {
			break
		}
		if p != "first" {
			t.Fatalf("got %d bytes, at most 1000 were asked for", len(p))
		}
	}
	eventually(t, "the log to tell of the large one", func() bool { return book.Count("too large") == 1 })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("subscribe ended with %v, want nil", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	subscribe()
	subscribed()
	stopBroker()
	if err := <-ended; !errors.Is(err, pipeline.ErrUnreachable) || !strings.Contains(err.Error(), url) {
		t.Errorf("subscribe ended with %v when the broker did, want ErrUnreachable naming %s", err, url)
	}
	subscribe()
	if err := <-ended; !errors.Is(err, pipeline.ErrUnreachable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("subscribe without a broker: %v, want ErrUnreachable", err)
	}
}

// A handler that is slow gets the newest payloads.
func TestSubscribeSlowHandler(t *testing.T) {
	url := "tcp://" + startMosquitto(t) // the embedded broker retains nothing
	camera := client(t, url, nil)
	done(t, camera.Publish("cams/gate", 1, true, "retained")) // comes with the subscription, once
	var book logtest.Book
	conf := SubscribeConfig{Broker: url, Plaintext: true, Topic: "cams/gate", Queue: 2, Log: book.Logger()}
	got, release := make(chan string), make(chan struct{})
	run(t, func(ctx context.Context) error {
		return Subscribe(ctx, conf, func(p []byte) {
			got <- string(p)
			<-release
		})
	})
	if p := <-got; p != "retained" {
		t.Fatalf("got %q, want what was retained", p)
	}
	for _, p := range []string{"1", "2", "3"} { // while the handler is busy
		done(t, camera.Publish("cams/gate", 0, false, p))
	}
	eventually(t, "the log to say that 1 is dropped", func() bool { return book.Count("dropping the oldest") == 1 })
	close(release)
	if first, second := <-got, <-got; first != "2" || second != "3" {
		t.Errorf("then got %s and %s, want 2 and 3", first, second)
	}
}

func TestSubscribeRefuses(t *testing.T) {
	good := SubscribeConfig{Broker: "tcp://127.0.0.1", Plaintext: true, Topic: "cams/gate", Log: slog.New(slog.DiscardHandler)}
	for _, c := range []struct {
		name  string
		spoil func(*SubscribeConfig)
		want  string
	}{
		{"no topic", func(c *SubscribeConfig) { c.Topic = "" }, "topic is empty"},
		{"bad topic", func(c *SubscribeConfig) { c.Topic = "cams/#/jpeg" }, "# must be the whole of the last level"},
		{"no broker", func(c *SubscribeConfig) { c.Broker = "" }, "want tls://HOST:PORT"},
		{"negative", func(c *SubscribeConfig) { c.MaxPayload = -1 }, "must not be negative"},
	} {
		bad := good
		c.spoil(&bad)
		if err := Subscribe(t.Context(), bad, nil); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
