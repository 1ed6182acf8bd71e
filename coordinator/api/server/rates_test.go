package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

func TestNetworks(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7", "[::ffff:192.0.2.7]:80": "192.0.2.7", "pipe": "pipe",
		"[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "[fe80::1%eth0]:5": "fe80::/64",
	} {
		if got := network(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
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

// TestIdleConnectionsAreBounded: one address that holds all that it gets does
// not keep others out, and gets more when it lets some go.
func TestIdleConnectionsAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBoundedListener(l, 6, 4, quiet())
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
	from := func(ip string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var held []net.Conn
	for range 4 {
		from("127.0.0.2")
		held = append(held, receive(t, "a connection", accepted))
	}
	hungUp(t, from("127.0.0.2"))
	for range 2 {
		from("127.0.0.3")
		held = append(held, receive(t, "another's connection", accepted))
	}
	hungUp(t, from("127.0.0.4")) // all in all
	for range 2 {                // twice counts once
		_ = held[0].Close()
	}
	from("127.0.0.2")
	held = append(held, receive(t, "a connection in place of one", accepted))
	hungUp(t, from("127.0.0.2"))
	for _, c := range held {
		_ = c.Close()
	}
	if b.count != 0 || len(b.by) != 0 {
		t.Errorf("%d are counted: %v", b.count, b.by)
	}
}

// TestManyIdleConnections: over TLS, a machine holds idle connections in every
// stage; another is served all the same, and they are ended.
func TestManyIdleConnections(t *testing.T) {
	t.Parallel()
	f := impatient(t)
	f.server.limits.connsEach = 50
	var mu sync.Mutex
	var idle []net.Conn
	hold := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		idle = append(idle, c)
	}
	f.run()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	for range 100 {
		c, err := d.Dial("tcp", f.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		hold(c)
	}
	if a := f.caller(pki.Operator, "ada").do("GET", "/v1/mesh", ""); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, c := range idle {
		hungUp(t, c)
		_ = c.Close()
	}
}
