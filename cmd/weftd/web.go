package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/models/fetch"
	"github.com/weft-mesh/weft/pipeline/gallery"
)

// web serves what a node shows to people and to Prometheus: metrics, health,
// pictures and streams. On a loopback address it speaks plain HTTP, so that a
// browser on the machine can look; on any other it asks for certificates.
type web struct {
	listener net.Listener
	server   *http.Server
	scheme   string
}

func newWeb(listen string, id *pki.Identity, pictures *gallery.Gallery, metrics []prometheus.Collector, models blobs, log *slog.Logger) (*web, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("HTTP on %s: %w (is another weftd running? set `listen.http` to a free address)", listen, err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(append(metrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))...)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("/", pictures.Handler())
	w := &web{listener: l, scheme: "http", server: &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	if a, ok := l.Addr().(*net.TCPAddr); ok && a.IP.IsLoopback() {
		w.server.Handler = onlyLocal(mux)
	} else {
		w.scheme = "https"
		mux.Handle("GET "+fetch.BlobPath+"{digest}", handOut(models))
		w.listener = id.Peers().Listener(l, id.ServerTLS(pki.Agent, pki.Coordinator, pki.Operator))
	}
	return w, nil
}

// onlyLocal refuses requests for another host than this machine. A site that
// somebody on the machine looks at can have its name resolve to a loopback
// address (DNS rebinding); to the browser our pictures would be its own.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := (&url.URL{Host: r.Host}).Hostname()
		if ip := net.ParseIP(host); !strings.EqualFold(host, "localhost") && !ip.IsLoopback() {
			http.Error(w, fmt.Sprintf("%q is not this machine: ask for localhost, or let weftd listen (`listen.http`) where others reach it, with certificates", r.Host), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (w *web) addr() string { return w.listener.Addr().String() }

// run serves until ctx ends. Streams never end by themselves, so they are cut.
func (w *web) run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- w.server.Serve(w.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("HTTP: %w", err)
	case <-ctx.Done():
	}
	_ = w.server.Close()
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("HTTP: %w", err)
	}
	return nil
}
