package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt"
	"github.com/weft-mesh/weft/tiering"
)

// errNoBroker reports that there is no MQTT broker to publish to.
var errNoBroker = errors.New("no MQTT broker is known: run one in the mesh (`mqtt.embedded`) or name one (`mqtt.broker`)")

// externalBroker is an MQTT broker that is not the mesh's own.
type externalBroker struct {
	URL       string         // empty: the mesh's own, if there is one
	Plaintext bool           // as the configuration says by name
	CA        *x509.CertPool // that its certificate is of; nil: the mesh's
}

// tls are the settings for the broker, given those for the mesh's own: nil for
// plain text. The certificate of the mesh is presented to either.
func (b externalBroker) tls(mesh *tls.Config) *tls.Config {
	if b.Plaintext {
		return nil
	}
	if b.CA == nil {
		return mesh
	}
	// It is verified as any server is: by the host of the URL, instead of the
	// mesh's name for an agent.
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: b.CA, GetClientCertificate: mesh.GetClientCertificate}
}

// peers are those of which the broker is one: with authorities of its own it is
// none of the mesh's.
func (b externalBroker) peers(mesh *pki.Peers) *pki.Peers {
	if b.Plaintext || b.CA != nil {
		return nil
	}
	return mesh
}

// systemCA names the authorities that the operating system trusts.
const systemCA = "system"

// brokerCA reads the authorities that an external broker's certificate may be of.
func brokerCA(at func(string) string, name string) (*x509.CertPool, error) {
	switch name {
	case "":
		return nil, nil
	case systemCA:
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("mqtt.ca: %w", err)
		}
		return pool, nil
	}
	pem, err := os.ReadFile(at(name))
	if err != nil {
		return nil, fmt.Errorf("mqtt.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("mqtt.ca: %s holds no certificate: want PEM, or `%s` for what the operating system trusts", at(name), systemCA)
	}
	return pool, nil
}

// meshBroker is the broker that frames go through now.
type meshBroker struct {
	url  string
	node string // that it runs on, of that tier; empty: it is the one of the configuration
	tier tiering.Tier
}

// tls narrows the settings for brokers down to this one: what gossip says of an
// address is anybody's word who has its key, and a certificate is not.
func (b meshBroker) tls(conf *tls.Config) *tls.Config {
	if b.node == "" || conf == nil {
		return conf
	}
	return pki.To(conf, b.node, b.tier)
}

// findBroker returns the configured broker, or that of the live node which has
// one; of several the first by name, so that all nodes agree. At the edge none
// counts, since machines there can be carried away.
func findBroker(configured string, members []tiering.Member) (meshBroker, bool) {
	if configured != "" {
		return meshBroker{url: configured}, true
	}
	var best meshBroker
	for _, m := range members {
		n := &m.Node
		if m.Status == tiering.NodeAlive && n.Addresses.MQTT != "" && n.Tier != tiering.Edge && (best.node == "" || n.ID < best.node) {
			best = meshBroker{n.Addresses.MQTT, n.ID, n.Tier}
		}
	}
	return best, best.node != ""
}

// brokerLink is this node's MQTT link to whichever broker the mesh has: the
// one that was configured, or the one that a node gossips.
type brokerLink struct {
	node    string
	tls     *tls.Config // nil: plain text, which the configuration asks for by name
	peers   *pki.Peers  // nil: the broker is none of the mesh's
	recv    pipeline.Receiver
	find    func() (meshBroker, bool) // false: there is none now
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
		if to, ok := b.find(); ok {
			b.runTo(ctx, to)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// runTo runs a link to one broker until ctx ends or the broker is another.
func (b *brokerLink) runTo(ctx context.Context, to meshBroker) {
	link, err := mqtt.New(mqtt.Config{Broker: to.url, TLS: to.tls(b.tls), Peers: b.peers, Plaintext: b.tls == nil, Node: b.node, Log: b.log}, b.recv)
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
			if now, ok := b.find(); ok && now != to {
				stop()
			}
		}
	}
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
	from, ok := b.find()
	if !ok {
		return errNoBroker
	}
	return mqtt.Subscribe(ctx, mqtt.SubscribeConfig{Broker: from.url, TLS: from.tls(b.tls), Peers: b.peers, Plaintext: b.tls == nil, Topic: topic, Log: b.log}, handle)
}
