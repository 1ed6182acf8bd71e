package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mesh is stand-ins for coordinators, and a client of them.
type mesh struct {
	*testing.T
	ca     *pki.CA
	client *Client

	mu    sync.Mutex
	addrs []string
	asked []string // by name
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	m := &mesh{T: t, ca: pkitest.CA(t)}
	m.client = NewClient(func() []string { m.mu.Lock(); defer m.mu.Unlock(); return m.addrs }, m.issue(pki.Operator, "ada").ClientTLS(pki.Coordinator))
	t.Cleanup(m.client.Close)
	return m
}

func (m *mesh) issue(role pki.Role, name string) *pki.Identity {
	return pkitest.Issue(m.T, m.ca, role, name)
}

// answers is what a stand-in does with a request.
type answers = func(http.ResponseWriter, *http.Request)

// add starts a stand-in that the client knows of.
func (m *mesh) add(name string, do answers) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.asked = append(m.asked, name)
		m.mu.Unlock()
		do(w, r)
	}))
	s.TLS = m.issue(pki.Coordinator, name).ServerTLS(pki.Operator)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	m.Cleanup(s.Close)
	m.know(s.Listener.Addr().String())
	return s
}

// know adds an address.
func (m *mesh) know(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addrs = append(m.addrs, addr)
}

// absent is an address that refuses connections.
func (m *mesh) absent() string {
	m.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// were returns who has been asked since the last call.
func (m *mesh) were() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := strings.Join(m.asked, " ")
	m.asked = nil
	return s
}

func well(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"mesh":"test"}`) }

func fails(status int, code Code, detail string) answers {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(&Error{Status: status, Code: code, Detail: detail})
	}
}

func cutOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

var (
	noLeader = fails(503, CodeNoLeader, "there is no leader")
	tooBusy  = fails(503, CodeNotAvailable, "this one holds enough")
)

// The kinds of requests. Only the last two must not be done twice.
func requests(c *Client) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"mesh":   func(ctx context.Context) error { _, err := c.Mesh(ctx); return err },
		"plan":   func(ctx context.Context) error { _, err := c.Plan(ctx, "p.yaml", []byte("x")); return err },
		"report": func(ctx context.Context) error { return c.Report(ctx, pipeline.Report{Node: "n"}) },
		"drain":  func(ctx context.Context) error { _, err := c.Drain(ctx, "n", true); return err },
		"submit": func(ctx context.Context) error { _, err := c.Submit(ctx, "p.yaml", []byte("x")); return err },
		"stop":   func(ctx context.Context) error { return c.Stop(ctx, "people") },
	}
}

var twice = []string{"mesh", "plan", "report", "drain"}

func TestClientAsksOneAfterTheOther(t *testing.T) {
	for _, c := range []struct {
		name  string
		first answers // nil: it is not there
		all   bool    // whether every kind of request goes on to the next
	}{
		{"not there", nil, true},
		{"without a leader", noLeader, true},
		{"busy", tooBusy, true},
		{"breaks off", cutOff, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t)
			for kind, do := range requests(m.client) {
				m.addrs = nil
				want := "b"
				if c.first == nil {
					m.know(m.absent())
				} else {
					m.add("a", c.first)
					want = "a b"
				}
				m.add("b", well)
				m.add("c", well)
				err := do(t.Context())
				got := m.were()
				if c.all || slices.Contains(twice, kind) {
					if err != nil || strings.ReplaceAll(got, "a a", "a") != want {
						t.Errorf("%s: %v; asked %q, want %q", kind, err, got, want)
					}
				} else if !errors.Is(err, ErrUncertain) || errors.Is(err, ErrUnreachable) || got != "a" ||
					!strings.HasPrefix(err.Error(), "no answer from "+m.addrs[0]+" (") || !strings.HasSuffix(err.Error(), "): it may or may not have been carried out") {
					t.Errorf("%s: %v; asked %q", kind, err, got)
				}
			}
		})
	}
}

func TestClientTakesAnErrorForAnAnswer(t *testing.T) {
	for _, known := range []Error{
		{Status: 400, Code: CodeInvalid}, {Status: 404, Code: CodeNotFound}, {Status: 409, Code: CodeRefused},
		{Status: 500, Code: CodeInternal},
	} {
		m := newMesh(t)
		m.add("a", fails(known.Status, known.Code, "so it is"))
		m.add("b", well)
		for kind, do := range requests(m.client) {
			err := do(t.Context())
			if !errors.Is(err, &known) || err.Error() != "so it is" || m.were() != "a" {
				t.Errorf("%s, %s: %v", known.Code, kind, err)
			}
			if errors.Is(err, ErrUncertain) || errors.Is(err, &Error{Code: CodeConflict}) {
				t.Errorf("%s is taken for another", known.Code)
			}
		}
	}
}

// TestUncertain: what may be done twice is asked for again, and nothing else is.
func TestUncertain(t *testing.T) {
	known := Error{Status: 503, Code: CodeUncertain}
	m := newMesh(t)
	m.add("a", fails(known.Status, known.Code, "so it is"))
	for kind, do := range requests(m.client) {
		if err := do(t.Context()); !errors.Is(err, &known) || !errors.Is(err, ErrUncertain) || err.Error() != "so it is" || m.were() != "a" {
			t.Errorf("%s with one coordinator: %v", kind, err)
		}
	}
	for kind := range requests(m.client) {
		m := newMesh(t)
		m.add("a", fails(known.Status, known.Code, "so it is"))
		m.add("b", well)
		err := requests(m.client)[kind](t.Context())
		if got := m.were(); slices.Contains(twice, kind) {
			if err != nil || got != "a b" {
				t.Errorf("%s: %v; asked %q", kind, err, got)
			}
		} else if !errors.Is(err, ErrUncertain) || got != "a" {
			t.Errorf("%s: %v; asked %q", kind, err, got)
		}
	}
}

func TestClientStaysWithWhoAnswered(t *testing.T) {
	m := newMesh(t)
	a := m.add("a", noLeader)
	b := m.add("b", well)
	m.add("c", well)
	ask := func(want string) {
		t.Helper()
		if _, err := m.client.Mesh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := m.were(); got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
	ask("a b")
	ask("b")
	a.Close()
	ask("b")
	b.Close()
	ask("c") // a and b refuse
	ask("c")
	m.mu.Lock()
	m.addrs = nil // c is no coordinator any more
	m.mu.Unlock()
	m.add("d", well)
	ask("d")
	// An error is an answer, too, but for one that has no leader.
	m.add("e", well)
	m.client.remember(m.addrs[1])
	ask("e")
}

func TestClientSaysWhyNobodyAnswers(t *testing.T) {
	t.Run("no address", func(t *testing.T) {
		m := newMesh(t)
		if _, err := m.client.Mesh(t.Context()); !errors.Is(err, ErrUnreachable) || err.Error() != "no coordinator answers: no address of one is known" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("each for its reason", func(t *testing.T) {
		m := newMesh(t)
		m.know(m.absent())
		m.add("a", noLeader)
		m.know("10.0.0.1")
		plain := httptest.NewServer(nil)
		t.Cleanup(plain.Close)
		m.know(plain.Listener.Addr().String())
		agent := m.add("b", well)
		agent.TLS.GetCertificate = m.issue(pki.Agent, "b").ServerTLS(pki.Operator).GetCertificate
		err := requests(m.client)["submit"](t.Context())
		if !errors.Is(err, ErrUnreachable) || !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, &Error{Code: CodeNoLeader}) {
			t.Errorf("%v", err)
		}
		parts := strings.Split(err.Error(), "; ")
		for i, want := range []string{
			"no coordinator answers: " + m.addrs[0] + ": connection refused",
			m.addrs[1] + ": there is no leader",
			"10.0.0.1: address 10.0.0.1: missing port in address",
			m.addrs[3] + ": tls: first record does not look like a TLS handshake",
			m.addrs[4] + ": it is no coordinator of this mesh (wrong role: spiffe://test/agent/edge/b may not act as [coordinator] here)",
		} {
			if i >= len(parts) || !strings.HasPrefix(parts[i], want) {
				t.Errorf("part %d of %q, want %q…", i, parts, want)
			}
		}
		for _, jargon := range []string{"https://", "Post", "dial tcp"} {
			if strings.Contains(err.Error(), jargon) {
				t.Errorf("%q in %s", jargon, err)
			}
		}
	})
	t.Run("all without a leader", func(t *testing.T) {
		m := newMesh(t)
		m.add("a", tooBusy)
		m.add("b", noLeader)
		if err := m.client.Stop(t.Context(), "people"); errors.Is(err, ErrUnreachable) || !errors.Is(err, &Error{Code: CodeNoLeader}) || err.Error() != "there is no leader" || m.were() != "a b" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("in time", func(t *testing.T) {
		m := newMesh(t)
		m.add("a", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		m.add("b", well)
		for kind, want := range map[string]string{
			"mesh":   "no coordinator answers: " + m.addrs[0] + ": no answer in time",
			"submit": "no answer from " + m.addrs[0] + " (no answer in time): it may or may not have been carried out",
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			err := requests(m.client)[kind](ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || err.Error() != want || m.were() != "a" {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.client.Mesh(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnreachable) || m.were() != "" {
			t.Errorf("got %v", err)
		}
	})
}

func TestExplain(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{&url.Error{Op: "Get", URL: "https://a/v1/mesh", Err: io.ErrUnexpectedEOF}, "unexpected EOF"},
		{dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), "no route to host"},
		{dial(os.ErrDeadlineExceeded), "no connection within 2s"},
		{dial(errors.New("lookup x: no such host")), "lookup x: no such host"},
		{fmt.Errorf("ask: %w", context.DeadlineExceeded), "no answer in time"},
		{context.Canceled, "cancelled"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "it is no coordinator of this mesh (x509: certificate signed by unknown authority)"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: expired certificate")}, "it does not accept this certificate (tls: expired certificate)"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: internal error")}, "it refuses the connection (tls: internal error)"},
		{&Error{Code: CodeNoLeader, Detail: "no leader"}, "no leader"},
	} {
		got := explain(c.err)
		if got.Error() != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
		if u, ok := errors.AsType[*url.Error](c.err); ok {
			c.err = u.Err
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%v is not in what explains it", c.err)
		}
	}
}

func TestClientSendsWhatItIsAskedTo(t *testing.T) {
	m := newMesh(t)
	var seen string
	m.add("a", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = fmt.Sprintf("%s %s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), b)
		if strings.HasSuffix(r.URL.Path, "/assignments") {
			_, _ = io.WriteString(w, `{"index":7,"assignments":[{"placement":{"id":"p/t#0","tier":"fog"}}]}`)
			return
		}
		_, _ = io.WriteString(w, `{}`)
	})
	ctx := t.Context()
	for want, do := range map[string]func() error{
		"GET /v1/workflows/a%2Fb%20c%25  ":                                                             func() error { _, err := m.client.Workflow(ctx, "a/b c%"); return err },
		"DELETE /v1/workflows/%3Fx=1%23y  ":                                                            func() error { return m.client.Stop(ctx, "?x=1#y") },
		"POST /v1/plan?file=a+%26b.yaml application/yaml kind: Workflow":                               func() error { _, err := m.client.Plan(ctx, "a &b.yaml", []byte("kind: Workflow")); return err },
		"POST /v1/workflows?file=- application/yaml x":                                                 func() error { _, err := m.client.Submit(ctx, "-", []byte("x")); return err },
		`POST /v1/nodes/n/report application/json {"node":"n","run":"r","sources":null,"stages":null}`: func() error { return m.client.Report(ctx, pipeline.Report{Node: "n", Run: "r"}) },
		`POST /v1/nodes/a%2Fb/drain application/json {"drain":true}`:                                   func() error { _, err := m.client.Drain(ctx, "a/b", true); return err },
		"GET /v1/nodes/n/assignments?after=3  ": func() error {
			as, index, err := m.client.Assignments(ctx, "n", 3)
			if len(as) != 1 || as[0].Placement.Tier != tiering.Fog || index != 7 {
				t.Errorf("assignments %+v at %d", as, index)
			}
			return err
		},
	} {
		if err := do(); err != nil || seen != want {
			t.Errorf("%q, want %q: %v", seen, want, err)
		}
	}
}

func TestClientReadsOddAnswers(t *testing.T) {
	for _, c := range []struct {
		name string
		do   answers
		want string
	}{
		{"a proxy's error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad gateway", 502) }, "answered 502 Bad Gateway: bad gateway"},
		{"an empty error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "answered 500 Internal Server Error"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/v1/nodes", 307) }, "answered 307 Temporary Redirect"},
		{"another JSON", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); _, _ = io.WriteString(w, `{}`) }, "answered 404 Not Found: {}"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }, "cannot be read: invalid character 'o'"},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, "cannot be read: EOF"},
	} {
		m := newMesh(t)
		m.add("a", c.do)
		m.add("b", well)
		if _, err := m.client.Mesh(t.Context()); err == nil || !strings.Contains(err.Error(), m.addrs[0]) || !strings.Contains(err.Error(), c.want) || m.were() != "a" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestClientReadsEvents(t *testing.T) {
	const one = `{"index":4,"at":"2026-03-01T12:00:00Z","type":"node-left","subject":"fog-1","message":"fog node fog-1 left"}`
	for _, c := range []struct {
		name, text string
		events     int
		want       string
	}{
		{"a stream that ends", ": hello\n\nid: 4\nevent: node-left\ndata: " + one + "\n\ndata: " + one + "\n\n", 2, ErrStreamEnded.Error()},
		{"no event", "data: {\n\n", 0, `event "{" of`},
		{"a line without end", "data: " + strings.Repeat("x", maxEventLine), 0, "token too long"},
	} {
		m := newMesh(t)
		m.know(m.absent())
		m.add("a", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RequestURI() != "/v1/events?after=3" {
				t.Errorf("asked for %s", r.URL)
			}
			_, _ = io.WriteString(w, c.text)
		})
		n := 0
		err := m.client.Events(t.Context(), 3, func(e Event) error {
			n++
			if e.Index != 4 || e.Subject != "fog-1" || e.At.IsZero() {
				t.Errorf("%+v", e)
			}
			return nil
		})
		if n != c.events || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d events, ended with %v", c.name, n, err)
		}
	}
	m := newMesh(t)
	m.add("a", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "data: "+one+"\n\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	if err := m.client.Events(t.Context(), 3, func(Event) error { return nil }); err == nil || errors.Is(err, ErrStreamEnded) || !strings.HasPrefix(err.Error(), "events of "+m.addrs[0]+": ") {
		t.Errorf("a stream that breaks ended with %v", err)
	}
}

// TestClientIsForMany: run with the race detector.
func TestClientIsForMany(t *testing.T) {
	m := newMesh(t)
	m.add("a", noLeader)
	m.add("b", well)
	m.add("c", tooBusy)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 8 {
				if _, err := m.client.Mesh(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
