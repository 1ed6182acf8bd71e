package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

// fake is a coordinator that says what a test wants.
type fake struct {
	t      *testing.T
	mux    *http.ServeMux
	server *httptest.Server
	config string // of an operator
}

func startFake(t *testing.T) *fake {
	t.Helper()
	ca := pkitest.CA(t)
	f := &fake{t: t, mux: http.NewServeMux()}
	f.server = httptest.NewUnstartedServer(f.mux)
	f.server.TLS = pkitest.Issue(t, ca, pki.Coordinator, "c1").ServerTLS(pki.Operator)
	f.server.EnableHTTP2 = true
	f.server.Config.ErrorLog = quiet()
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	f.config = configure(t, pkitest.Issue(t, ca, pki.Operator, "ada"), f.server.Listener.Addr().String())
	return f
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func (f *fake) handle(pattern string, h http.HandlerFunc) { f.mux.HandleFunc(pattern, h) }

// answer makes the coordinator answer with v.
func (f *fake) answer(pattern string, v any) {
	f.handle(pattern, func(w http.ResponseWriter, _ *http.Request) { f.send(w, http.StatusOK, v) })
}

func (f *fake) send(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		f.t.Error(err)
	}
}

// fail makes the coordinator answer with an error.
func (f *fake) fail(pattern string, e api.Error) {
	f.handle(pattern, func(w http.ResponseWriter, _ *http.Request) { f.send(w, e.Status, e) })
}

// contextUntil returns a context that ends with the channel.
func contextUntil(t *testing.T, done <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
