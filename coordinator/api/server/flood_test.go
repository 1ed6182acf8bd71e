package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
)

// zeros is a body without an end that counts what is taken of it.
type zeros struct{ taken atomic.Int64 }

func (z *zeros) Read(p []byte) (int, error) {
	clear(p)
	z.taken.Add(int64(len(p)))
	return len(p), nil
}

// buffers bounds what may be on its way between two sockets and in HTTP/2's
// windows besides what a server has read.
const buffers = 16 << 20

// TestABodyOfAGigabyte is refused over TLS by everything that takes a body:
// before it is read if it says how large it is, and else after what the
// operation takes.
func TestABodyOfAGigabyte(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	bearer := f.token("ci", state.ScopeSubmit, time.Time{})
	f.run()
	ada, edge, c := f.caller(pki.Operator, "ada"), f.caller(pki.Agent, "edge-1"), stranger(t, f.ca, f.server)
	for _, x := range []struct {
		by     *testCaller
		path   string
		header []string
	}{
		{ada, "/v1/plan", nil}, {ada, "/v1/workflows", nil}, {ada, "/v1/tokens", nil},
		{edge, "/v1/nodes/edge-1/report", nil}, {c, "/v1/workflows", bearer},
	} {
		for _, length := range []int64{1 << 30, -1} {
			z := &zeros{}
			var body io.Reader = z
			if strings.HasSuffix(x.path, "report") || strings.HasSuffix(x.path, "tokens") {
				body = io.MultiReader(strings.NewReader(`{"name":"`), z) // JSON that goes on and on
			}
			req := x.by.request("POST", x.path, "x", x.header...)
			req.Body, req.ContentLength, req.GetBody = io.NopCloser(io.LimitReader(body, 1<<30)), length, nil
			a, err := x.by.try(mistaken(req))
			if err != nil {
				t.Errorf("%s with length %d: %v", x.path, length, err)
				continue
			}
			if e := a.problem(t); e.Code != api.CodeTooLarge || !strings.HasPrefix(e.Detail, "the body is too large: at most ") {
				// A zero byte is no JSON, which may be found first.
				if e.Code != api.CodeInvalid || length > 0 {
					t.Errorf("%s with length %d: %+v", x.path, length, e)
				}
			}
			if n := z.taken.Load(); n > maxReport+buffers {
				t.Errorf("%s with length %d: %d bytes were taken", x.path, length, n)
			}
		}
	}
	// Over HTTP/1.1 nothing of it is read if it says how large it is.
	conn := f.dial(pki.Operator, "ada")
	if _, err := fmt.Fprintf(conn, "POST /v1/workflows HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 1<<30); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("status %d, closes %v", resp.StatusCode, resp.Close)
	}
}

// TestAStrangersBodyIsNotRead: who it is comes first.
func TestAStrangersBodyIsNotRead(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.run()
	c := stranger(t, f.ca, f.server)
	z := &zeros{}
	req := c.request("POST", "/v1/workflows", "x")
	req.Body, req.ContentLength, req.GetBody = io.NopCloser(io.LimitReader(z, 1<<30)), -1, nil
	if a, err := c.try(mistaken(req)); err != nil || a.status != http.StatusUnauthorized {
		t.Errorf("%+v %v", a, err)
	}
	if n := z.taken.Load(); n > buffers {
		t.Errorf("%d bytes were taken", n)
	}
}

// TestSlowBodiesOfOneCaller: it may have some under way, and neither keeps
// others from reporting nor itself for ever.
func TestSlowBodiesOfOneCaller(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.server.limits.body = 3 * time.Second
	edge, fog := f.caller(pki.Agent, "edge-1"), f.caller(pki.Agent, "fog-1")
	f.apply(&state.RegisterNode{Node: worker("fog-1", 2, 2)})
	report := func(c *testCaller, name string) answer {
		return c.do("POST", "/v1/nodes/"+name+"/report", reportOf(t, name), "Content-Type", "application/json")
	}
	for _, a := range []answer{report(edge, "edge-1"), report(fog, "fog-1")} { // they are connected
		if a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	var slow []<-chan answer
	for range maxBodiesEach {
		never, hold := io.Pipe()
		defer hold.Close()
		req := edge.request("POST", "/v1/nodes/edge-1/report", "x", "Content-Type", "application/json")
		req.Body, req.ContentLength, req.GetBody = never, 100, nil
		slow = append(slow, edge.later(mistaken(req)))
	}
	wait(t, "the bodies are under way", func() bool {
		f.server.bodies.mu.Lock()
		defer f.server.bodies.mu.Unlock()
		return f.server.bodies.each["spiffe://test/agent/edge/edge-1"] == maxBodiesEach
	})
	if e := report(edge, "edge-1").problem(t); e.Code != api.CodeTooMany {
		t.Errorf("one too many: %+v", e)
	}
	if a := report(fog, "fog-1"); a.status != http.StatusNoContent {
		t.Errorf("another: %d %s", a.status, a.body)
	}
	for _, s := range slow {
		if e := receive(t, "a slow body is given up", s).problem(t); e.Detail != "the body did not arrive in time" {
			t.Errorf("%+v", e)
		}
	}
	if a := report(edge, "edge-1"); a.status != http.StatusNoContent {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// TestSlowStrangers: without a certificate they are not waited for either.
func TestSlowStrangers(t *testing.T) {
	t.Parallel()
	f := impatient(t)
	for name, text := range map[string]string{
		"nothing": "", "header": "GET /v1/mesh HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"body": "POST /v1/workflows HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			conn := f.dialWith(stranger(t, f.ca, f.server))
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			hungUp(t, conn)
		})
	}
}

// dialWith makes a connection with the TLS settings of a caller.
func (f *fake) dialWith(c *testCaller) net.Conn {
	f.Helper()
	f.run()
	conf := c.tls.Clone()
	conf.NextProtos = []string{"http/1.1"}
	return f.open(conf)
}
