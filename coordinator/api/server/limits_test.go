package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

// impatient is a fake whose server waits for nobody.
func impatient(t *testing.T) *fake {
	f := newFake(t)
	f.server.limits = limits{
		header: 2 * time.Second, body: 200 * time.Millisecond, answer: 200 * time.Millisecond,
		forward: 200 * time.Millisecond, idle: time.Second, conns: maxConns, connsEach: maxConnsEach,
		strangers: maxStrangers, strangersEach: maxStrangersEach,
	}
	return f
}

// dial makes a connection that speaks HTTP/1.1, of which the test writes each
// byte.
func (f *fake) dial(role pki.Role, name string) net.Conn {
	f.Helper()
	f.run()
	conf := pkitest.Issue(f.T, f.ca, role, name).ClientTLS(pki.Coordinator)
	conf.NextProtos = []string{"http/1.1"}
	return f.open(conf)
}

func (f *fake) open(conf *tls.Config) net.Conn {
	f.Helper()
	var c *tls.Conn
	wait(f.T, "a connection", func() (ok bool) { // a busy machine may be too slow for an impatient server
		var err error
		c, err = tls.Dial("tcp", f.server.Addr(), conf)
		return err == nil
	})
	f.Cleanup(func() { _ = c.Close() })
	return c
}

// hungUp waits until the server has closed the connection.
func hungUp(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Error("the server does not close the connection")
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func TestSlowCallersAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	f := impatient(t)
	t.Run("handshake", func(t *testing.T) {
		f.run()
		c, err := net.Dial("tcp", f.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		hungUp(t, c)
	})
	t.Run("header", func(t *testing.T) {
		c := f.dial(pki.Operator, "ada")
		if _, err := io.WriteString(c, "GET /v1/mesh HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
		hungUp(t, c)
	})
	t.Run("next request", func(t *testing.T) {
		c := f.dial(pki.Operator, "ada")
		if _, err := io.WriteString(c, "GET /v1/mesh HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		hungUp(t, c)
	})
	for _, path := range []string{"/v1/plan", "/v1/workflows", "/v1/nodes/edge-1/report"} {
		t.Run("body of "+path, func(t *testing.T) {
			c := f.dial(pki.Operator, "ada")
			if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", path); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if e := (answer{resp.StatusCode, resp.Header, b}).problem(t); e.Code != api.CodeInvalid || e.Detail != "the body did not arrive in time" {
				t.Errorf("%+v", e)
			}
			hungUp(t, c)
		})
	}
	t.Run("body that nobody wants", func(t *testing.T) {
		c := f.dial(pki.Operator, "ada")
		if _, err := io.WriteString(c, "GET /v1/mesh HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		hungUp(t, c)
	})
	t.Run("body over HTTP/2", func(t *testing.T) {
		never, hold := io.Pipe()
		defer hold.Close()
		ada := f.caller(pki.Operator, "ada")
		req := ada.request("POST", "/v1/plan", "x")
		req.Body, req.ContentLength, req.GetBody = never, 100, nil
		if e := ada.send(mistaken(req)).problem(t); e.Code != api.CodeInvalid || e.Detail != "the body did not arrive in time" {
			t.Errorf("%+v", e)
		}
	})
}

// flood fills the stream of events with more than any buffer between two
// machines takes.
func (f *fake) flood() {
	w := &tiering.Workflow{Name: "people"}
	p := &tiering.Plan{Workflow: "people"}
	for i := range 24 {
		name := fmt.Sprint("gate", i)
		w.Sources = append(w.Sources, tiering.Source{Name: name, URI: "videotest:"})
		p.Place = append(p.Place, tiering.Placement{
			ID: tiering.SlotID("people", name, 0), Workflow: "people", Task: name, Source: true,
			Node: "edge-1", Tier: tiering.Edge, Reason: strings.Repeat("because ", 1<<16),
		})
	}
	f.apply(&state.SubmitWorkflow{Workflow: w, Plan: p})
}

func TestACallerThatTakesNothingIsLeft(t *testing.T) {
	t.Parallel()
	f := impatient(t)
	f.flood()
	c := f.dial(pki.Operator, "ada")
	if _, err := io.WriteString(c, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	if _, err := io.ReadFull(c, one); err != nil { // it has begun
		t.Fatal(err)
	}
	wait(t, "the server gives up", func() bool { return f.holding() == 0 })
}

// TestHeldRequestsOutliveTheLimits: they are for the parts of a request.
func TestHeldRequestsOutliveTheLimits(t *testing.T) {
	t.Parallel()
	f := impatient(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	agent, ada := f.caller(pki.Agent, "edge-1"), f.caller(pki.Operator, "ada")
	events := ada.listen(ctx, "/v1/events")
	receive(t, "the first event", events)
	polled := agent.later(agent.request("GET", fmt.Sprintf("%s?after=%d", assignments, f.index), ""))
	wait(t, "two requests are held", func() bool { return f.holding() == 2 })
	// Another that takes longer than any limit stands for the time.
	slow := f.dial(pki.Operator, "eve")
	if _, err := io.WriteString(slow, "POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	hungUp(t, slow)
	f.apply(&state.SetNodeStatus{Node: "edge-1", Status: tiering.NodeLeft})
	if m := receive(t, "the next event", events); m.event != string(state.NodeLeft) {
		t.Errorf("%+v", m)
	}
	if a := receive(t, "the assignments", polled); a.status != http.StatusOK || decode[api.Assignments](t, a).Index != f.index {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	long := strings.Repeat("x", 2*maxHeader)
	c := f.dial(pki.Operator, "ada")
	if _, err := fmt.Fprintf(c, "GET /v1/mesh HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", long); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
	ada := f.caller(pki.Operator, "ada")
	req := ada.request("GET", "/v1/mesh", "", "X-Long", long)
	if a, err := ada.try(mistaken(req)); err == nil && a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("HTTP/2: status %d", a.status)
	}
	// Both still work.
	if a := ada.do("GET", "/v1/mesh", ""); a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
}

func TestPortTaken(t *testing.T) {
	f := newFake(t)
	cfg := (&mesh{T: t, ca: f.ca}).config("c2")
	cfg.Listen = f.server.Addr()
	_, err := New(cfg, f, &gossip{})
	want := "API on " + f.server.Addr() + ": listen tcp " + f.server.Addr() + ": bind: address already in use (is another weftd running? set `listen.api` to a free address)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRunReleasesTheAddress(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
	l, err := net.Listen("tcp", f.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

func TestRunTellsWhenItCannotGoOn(t *testing.T) {
	f := newFake(t)
	ended := make(chan error, 1)
	go func() { ended <- f.server.Run(t.Context()) }()
	_ = f.server.listener.Close()
	if err := receive(t, "the end", ended); err == nil || !strings.HasPrefix(err.Error(), "API: ") {
		t.Errorf("ended with %v", err)
	}
}
