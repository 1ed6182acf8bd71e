package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
	"github.com/weft-mesh/weft/tiering"
)

// An external broker is verified by its own authority and host name, if one is
// named, and by the mesh's if not; the mesh's certificate is presented to both.
func TestExternalBroker(t *testing.T) {
	mesh, err := newCA(t).Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Edge, Name: "edge-1"}, nil, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := pki.NewCA("theirs", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server, err := theirs.Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Fog, Name: "broker"}, []string{"127.0.0.1"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := server.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := mesh.Save(filepath.Join(dir, "mesh")); err != nil {
		t.Fatal(err)
	}
	conf := server.ServerTLS(pki.Agent)
	conf.VerifyConnection, conf.ClientAuth = nil, tls.RequireAndVerifyClientCert // clients of the mesh, not of theirs
	if conf.ClientCAs, err = brokerCA(filepath.Clean, filepath.Join(dir, "mesh", "ca.crt")); err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Config{Listen: "127.0.0.1:0", TLS: conf, Allow: mqtt.Allowed, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	ca, err := brokerCA(func(p string) string { return filepath.Join(dir, p) }, "ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	system, err := brokerCA(filepath.Clean, systemCA)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		how  externalBroker
		good bool
	}{
		{"its authority", externalBroker{CA: ca}, true},
		{"the mesh's authority", externalBroker{}, false},
		{"the system's authorities", externalBroker{CA: system}, false},
	} {
		conf := c.how.tls(mesh.ClientTLS(pki.Agent))
		conn, err := tls.Dial("tcp", b.Addr(), conf)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			var unknown *tls.CertificateVerificationError
			if !errors.As(err, &unknown) {
				t.Errorf("%s: %v, want that the certificate cannot be verified", c.name, err)
			}
			continue
		}
		_ = conn.Close()
		link, err := mqtt.New(mqtt.Config{Broker: "tls://" + b.Addr(), TLS: conf, Node: "edge-1", Log: slog.New(slog.DiscardHandler)}, pipeline.NewSwitchboard())
		if err != nil {
			t.Fatal(err)
		}
		own, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- link.Run(own) }()
		eventually(t, 20*time.Second, "the link to be connected", func() bool { return link.Stats().Connected })
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if conf := (externalBroker{Plaintext: true}).tls(mesh.ClientTLS(pki.Agent)); conf != nil {
		t.Error("TLS settings for plain text")
	}
	if _, err := brokerCA(filepath.Clean, filepath.Join(dir, "none.crt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Whoever has the gossip key can say that the broker is anywhere. A stolen edge
// machine does not become the broker by it, under no name and at no tier.
func TestNobodyBecomesTheBroker(t *testing.T) {
	ca := newCA(t)
	as := func(tier tiering.Tier, name string) *pki.Identity {
		id, err := ca.Issue(pki.Subject{Role: pki.Agent, Tier: tier, Name: name}, nil, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	defer func() { cancel(); parts.Wait() }()
	run := func(part func(context.Context) error) {
		parts.Go(func() {
			if err := part(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	serve := func(id *pki.Identity) string {
		b, err := broker.New(broker.Config{Listen: "127.0.0.1:0", TLS: id.ServerTLS(pki.Agent, pki.Operator), Allow: mqtt.Allowed, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		run(b.Run)
		return "tls://" + b.Addr()
	}
	honest, stolen := serve(as(tiering.Fog, "fog-1")), serve(as(tiering.Edge, "edge-1"))
	says := func(name string, tier tiering.Tier, url string) tiering.Member {
		return tiering.Member{Status: tiering.NodeAlive, Node: tiering.Node{ID: name, Tier: tier, Addresses: tiering.Addresses{MQTT: url}}}
	}
	fog1 := says("fog-1", tiering.Fog, honest)
	const none = "\x00"
	for what, c := range map[string]struct {
		members []tiering.Member
		refused string // empty: the honest broker is used
	}{
		"it says what it is":             {[]tiering.Member{fog1, says("edge-1", tiering.Edge, stolen)}, ""},
		"there is no other":              {[]tiering.Member{says("edge-1", tiering.Edge, stolen)}, none},
		"it says that it is at the fog":  {[]tiering.Member{fog1, says("edge-1", tiering.Fog, stolen)}, "it is spiffe://farm/agent/edge/edge-1, and meant is edge-1 at tier fog"},
		"it says that fog-1 is there":    {[]tiering.Member{says("fog-1", tiering.Fog, stolen)}, "it is spiffe://farm/agent/edge/edge-1, and meant is fog-1 at tier fog"},
		"it says that a fog-0 is there":  {[]tiering.Member{fog1, says("fog-0", tiering.Fog, stolen)}, "and meant is fog-0 at tier fog"},
		"it says that it is plain there": {[]tiering.Member{says("fog-1", tiering.Fog, "tcp"+strings.TrimPrefix(stolen, "tls"))}, none},
	} {
		t.Run(what, func(t *testing.T) {
			b := &brokerLink{
				node: "cloud-1", tls: as(tiering.Cloud, "cloud-1").ClientTLS(pki.Agent), recv: pipeline.NewSwitchboard(), log: slog.New(slog.DiscardHandler),
				find: func() (meshBroker, bool) { return findBroker("", c.members) },
			}
			run(b.Run)
			subscribed := make(chan error, 1)
			own, stop := context.WithCancel(ctx)
			defer stop()
			go func() { subscribed <- b.subscribe(own, "cameras/gate", func([]byte) {}) }()
			if c.refused == "" {
				eventually(t, 20*time.Second, "the link to be connected", func() bool { l := b.current.Load(); return l != nil && l.Stats().Connected })
				stop()
				if err := <-subscribed; err != nil {
					t.Error(err)
				}
				return
			}
			time.AfterFunc(20*time.Second, stop) // which ends a subscription without an error
			if err := <-subscribed; err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(c.refused, none)) {
				t.Errorf("a source that subscribes is told %v, want %q", err, c.refused)
			}
			send := func() error {
				return b.Send(t.Context(), "fog-1", "detect", &pipeline.Frame{Captured: time.Now(), Deadline: time.Now().Add(time.Minute)})
			}
			if c.refused == none {
				if err := send(); !errors.Is(err, errNoBroker) {
					t.Errorf("frames are refused with %v, want that there is no broker", err)
				}
				return
			}
			eventually(t, 20*time.Second, "frames to be refused with the reason", func() bool {
				err := send()
				return errors.Is(err, pipeline.ErrUnreachable) && strings.Contains(err.Error(), c.refused)
			})
			if n := b.current.Load().Stats().Sessions; n != 0 {
				t.Errorf("%d sessions with the stolen machine", n)
			}
		})
	}
}
