package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

func TestRates(t *testing.T) {
	r := newRates()
	now := time.Now()
	for i := range callerBurst {
		if wait := r.caller("ada", now); wait != 0 {
			t.Fatalf("request %d has to wait %v", i, wait)
		}
	}
	wait := r.caller("ada", now)
	if wait <= 0 || wait > time.Second/callerRate {
		t.Errorf("one too many waits %v", wait)
	}
	if again := r.caller("ada", now); again != wait {
		t.Errorf("a refused request counts: %v, then %v", wait, again)
	}
	if wait := r.caller("ada", now.Add(wait)); wait != 0 {
		t.Errorf("after the wait there is another, %v", wait)
	}
	// Others, and strangers of that name, have their own.
	if r.caller("bob", now) != 0 || r.stranger("ada", now) != 0 {
		t.Error("callers take from each other")
	}
	// The table is bounded, and strangers do not push callers out.
	for i := range 3 * maxRates {
		r.stranger(fmt.Sprint("10.0.0.", i), now)
	}
	if n := r.strangers.each.Len(); n != maxRates {
		t.Errorf("%d strangers are kept", n)
	}
	if r.caller("ada", now) == 0 {
		t.Error("ada was forgotten")
	}
}

// TestOneCallerDoesNotTakeFromOthers: 200 nodes behind one address report and
// ask while a stranger and an operator there do nothing but ask.
func TestOneCallerDoesNotTakeFromOthers(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	// Slow enough for any machine to be faster.
	f.server.rates = &rates{newBuckets(1, 20), newBuckets(1, 20), newBuckets(1, 20)}
	handler := f.server.handler()
	do := func(r *http.Request) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	// Each has one address, that of httptest.
	flood := func(r *http.Request) *httptest.ResponseRecorder {
		for range 200 {
			if w := do(r.Clone(r.Context())); w.Code == http.StatusTooManyRequests {
				return w
			}
		}
		t.Fatal("nobody stops it")
		return nil
	}
	anonymous := f.as(pki.Operator, "eve", "GET", "/v1/mesh", "")
	anonymous.TLS.PeerCertificates = nil
	for name, r := range map[string]*http.Request{"stranger": anonymous, "operator": f.as(pki.Operator, "eve", "GET", "/v1/mesh", "")} {
		w := flood(r)
		e := (answer{w.Code, w.Header(), w.Body.Bytes()}).problem(t)
		after, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if e.Code != api.CodeTooMany || err != nil || after < 1 || after > 2 {
			t.Errorf("%s: %+v, Retry-After %q", name, e, w.Header().Get("Retry-After"))
		}
	}
	// Those who are refused are refused as well, by address.
	wrong := f.as(pki.Operator, "eve", "GET", "/v1/mesh", "")
	wrong.TLS.PeerCertificates = nil
	wrong.Header.Set("Authorization", "Bearer "+api.NewSecret().Reveal())
	flood(wrong)

	report := reportOf(t, "edge-1")
	for i := range 200 {
		name := fmt.Sprint("node-", i)
		f.apply(&state.RegisterNode{Node: worker(name, tiering.Edge, 1)})
		r := f.as(pki.Agent, name, "POST", "/v1/nodes/"+name+"/report", "x")
		for range 3 {
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(report, "edge-1", name)))
			if w := do(again); w.Code != http.StatusNoContent {
				t.Fatalf("report of %s: %d %s", name, w.Code, w.Body)
			}
		}
		r.Method, r.URL.Path, r.Body, r.ContentLength = "GET", "/v1/nodes/"+name+"/assignments", http.NoBody, 0
		if w := do(r); w.Code != http.StatusOK {
			t.Fatalf("assignments of %s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestConnectionsAreBounded: those of strangers give way, the oldest first, and
// those of callers stay, as many as there may be; the others are served too.
func TestConnectionsAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBoundedListener(l, limits{conns: 5, connsEach: 3, strangers: 6, strangersEach: 4}, quiet())
	accepted := make(chan net.Conn, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := b.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	type pair struct {
		near net.Conn
		far  *boundedConn
	}
	from := func(ip string) pair {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return pair{c, receive(t, "a connection", accepted).(*boundedConn)}
	}
	many := func(n int, ip string) (out []pair) {
		for range n {
			out = append(out, from(ip))
		}
		return out
	}
	callers := many(4, "127.0.0.2")
	for range 2 { // twice counts once
		for _, c := range callers {
			c.far.keep()
		}
	}
	if b.count != 3 || b.by["127.0.0.2"] != 3 {
		t.Errorf("%d callers are counted: %v", b.count, b.by)
	}
	strangers := many(4, "127.0.0.2")
	hungUp(t, callers[3].near) // one too many, of callers and of strangers
	hungUp(t, append(strangers, many(1, "127.0.0.2")...)[0].near)
	others := many(3, "127.0.0.3")
	hungUp(t, strangers[1].near) // all in all
	for range 2 {
		_ = callers[0].far.Close()
	}
	strangers[0].far.keep() // too late
	strangers[2].far.keep()
	for _, c := range others {
		c.far.keep()
	}
	if b.count != 5 || b.by["127.0.0.2"] != 3 || b.by["127.0.0.3"] != 2 {
		t.Errorf("%d callers are counted: %v", b.count, b.by)
	}
	for _, c := range slices.Concat(callers, strangers, others) {
		_ = c.far.Close()
	}
	if b.count != 0 || len(b.by) != 0 {
		t.Errorf("%d are counted: %v", b.count, b.by)
	}
}

// TestStrangersShutNobodyOut: over TLS, machines hold idle connections; one that
// is new is served all the same, also if it shares their address, and those of
// callers stay open.
func TestStrangersShutNobodyOut(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	bearer := f.token("ci", state.ScopeRead, time.Time{})
	f.run()
	dialled := map[string]int{}
	var mu sync.Mutex
	counting := func(who string, c *testCaller) *testCaller {
		tr := api.NewTransport(c.tls, nil, func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			dialled[who]++
			mu.Unlock()
			return new(net.Dialer).DialContext(ctx, network, addr)
		})
		t.Cleanup(tr.CloseIdleConnections)
		return &testCaller{t, &http.Client{Transport: &documented{t, contract(), tr}}, c.base, c.tls}
	}
	ada, ci := counting("ada", f.caller(pki.Operator, "ada")), counting("ci", stranger(t, f.ca, f.server))
	served := func(c *testCaller, header ...string) {
		t.Helper()
		if a := c.do("GET", "/v1/mesh", "", header...); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	served(ada)
	served(ci, bearer...)
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		for range maxConnsEach / 2 {
			c, err := d.Dial("tcp", f.server.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
	}
	served(f.caller(pki.Agent, "edge-1"))
	served(ada)
	served(ci, bearer...)
	if dialled["ada"] != 1 || dialled["ci"] != 1 {
		t.Errorf("connections were lost: dialled %v", dialled)
	}
}
