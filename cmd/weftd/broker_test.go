package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
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
