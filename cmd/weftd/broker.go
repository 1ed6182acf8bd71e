package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt"
)

// errNoBroker reports that there is no MQTT broker to publish to.
var errNoBroker = errors.New("no MQTT broker is known: run one in the mesh (`mqtt.embedded`) or name one (`mqtt.broker`)")

// brokerLink is this node's MQTT link to whichever broker the mesh has: the
// one that was configured, or the one that a node gossips.
type brokerLink struct {
	node    string
	tls     *tls.Config
	recv    pipeline.Receiver
	find    func() string // URL of the broker; empty: none now
	log     *slog.Logger
	current atomic.Pointer[mqtt.Link]
}

var _ pipeline.Sender = (*brokerLink)(nil)

// lookEvery is how often a broker is looked for, and whether it has moved.
const lookEvery = time.Second

// Run keeps a link to the broker until ctx ends.
func (b *brokerLink) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if url := b.find(); url != "" {
			b.runTo(ctx, url)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// runTo runs a link to one broker until ctx ends or the broker is another.
func (b *brokerLink) runTo(ctx context.Context, url string) {
	link, err := mqtt.New(mqtt.Config{Broker: url, TLS: b.tlsFor(url), Node: b.node, Log: b.log}, b.recv)
	if err != nil {
		b.log.Error("cannot use the MQTT broker", "err", err)
		return
	}
	b.current.Store(link)
	defer b.current.Store(nil)
	own, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- link.Run(own) }()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				b.log.Error("MQTT link ended", "err", err)
			}
			return
		case <-tick.C:
			// Gossip that forgets the broker for a moment is no reason to part.
			if now := b.find(); now != "" && now != url {
				stop()
			}
		}
	}
}

func (b *brokerLink) tlsFor(url string) *tls.Config {
	if strings.HasPrefix(url, "tls://") {
		return b.tls
	}
	return nil
}

// Send implements [pipeline.Sender].
func (b *brokerLink) Send(ctx context.Context, addr, instance string, f *pipeline.Frame) error {
	l := b.current.Load()
	if l == nil {
		return fmt.Errorf("%w: %w", pipeline.ErrUnreachable, errNoBroker)
	}
	return l.Send(ctx, addr, instance, f)
}

func (b *brokerLink) detections(f *pipeline.Frame) error {
	if l := b.current.Load(); l != nil {
		return l.PublishDetections(f)
	}
	return errNoBroker
}

// picture publishes annotated frames where the task asks for it.
func (b *brokerLink) picture(settings map[string]string) func(*pipeline.Frame) error {
	if settings["publish"] != "true" {
		return func(*pipeline.Frame) error { return nil }
	}
	return func(f *pipeline.Frame) error {
		if l := b.current.Load(); l != nil {
			return l.PublishPicture(f)
		}
		return errNoBroker
	}
}

// subscribe serves mqtt: sources.
func (b *brokerLink) subscribe(ctx context.Context, topic string, handle func([]byte)) error {
	url := b.find()
	if url == "" {
		return errNoBroker
	}
	return mqtt.Subscribe(ctx, mqtt.SubscribeConfig{Broker: url, TLS: b.tlsFor(url), Topic: topic, Log: b.log}, handle)
}
