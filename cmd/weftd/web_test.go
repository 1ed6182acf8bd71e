package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline/gallery"
	"github.com/weft-mesh/weft/tiering"
)

// A web site whose name resolves to a loopback address reads no pictures from
// there. Elsewhere it is the certificates that count.
func TestOtherSitesDoNotReadWhatIsOnLoopback(t *testing.T) {
	id, err := newCA(t).Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Fog, Name: "fog-1"}, nil, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	pictures, err := gallery.New(gallery.Config{Dir: t.TempDir(), Retain: 1, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer pictures.Close()
	for listen, hosts := range map[string]map[string]int{
		"127.0.0.1:0": {
			"":          http.StatusOK, // the address itself
			"localhost": http.StatusOK, "LOCALHOST:7950": http.StatusOK, "127.0.0.1": http.StatusOK, "127.9.9.9:80": http.StatusOK, "[::1]:7950": http.StatusOK, "[::1]": http.StatusOK,
			"evil.example": http.StatusForbidden, "evil.example:7950": http.StatusForbidden, "localhost.evil.example": http.StatusForbidden,
			"127.0.0.1.evil.example": http.StatusForbidden, "192.0.2.1:7950": http.StatusForbidden, "0.0.0.0": http.StatusForbidden,
		},
		"0.0.0.0:0": {"fog-1.example": http.StatusOK},
	} {
		w, err := newWeb(listen, id, pictures, []prometheus.Collector{prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"})}, nothing{}, log)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.run(ctx) }()
		_, port, err := net.SplitHostPort(w.addr())
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{TLSClientConfig: id.ClientTLS(pki.Agent)}
		for host, want := range hosts {
			for _, path := range []string{"/v1/pictures/people", "/v1/streams", "/metrics", "/healthz"} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.scheme+"://127.0.0.1:"+port+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = host
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("%s, asked for as %q: status %d, want %d", path, host, resp.StatusCode, want)
				}
			}
		}
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
