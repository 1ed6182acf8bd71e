package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

// fuzzed is a server that any number of requests may be put to.
type fuzzed struct {
	server  *Server
	handler http.Handler
	as      map[pki.Role]*tls.ConnectionState
	secret  api.Secret
}

func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	ca := pkitest.CA(f)
	out := &fuzzed{as: map[pki.Role]*tls.ConnectionState{}, secret: api.NewSecret()}
	leader := &fake{ca: ca, machine: state.New(), submit: func() error { return nil }}
	for role, name := range map[pki.Role]string{pki.Agent: "edge-1", pki.Operator: "ada", pki.Coordinator: "c1"} {
		id := pkitest.Issue(f, ca, role, name)
		conf := id.ClientTLS(pki.Coordinator)
		out.as[role] = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{id.Certificate()}}
		if role != pki.Coordinator {
			continue
		}
		var err error
		out.server, err = New(Config{
			Mesh: "test", Node: name, Listen: "127.0.0.1:0", AuditDir: f.TempDir(), Catalogue: catalog.Builtin(),
			ServerTLS: id.ServerTLS(pki.Operator), ClientTLS: conf, Log: quiet(),
		}, leader, &gossip{})
		if err != nil {
			f.Fatal(err)
		}
	}
	leader.server = out.server
	f.Cleanup(func() { _ = out.server.listener.Close(); _ = out.server.audit.close() })
	for i, cmd := range []state.Command{
		&state.RegisterNode{Node: worker("edge-1", tiering.Edge, 2)},
		&state.PutToken{ID: out.secret.ID, Name: "ci", Scope: state.ScopeSubmit, Hash: out.secret.Hash()},
	} {
		entry, err := state.Encode(cmd)
		if err != nil {
			f.Fatal(err)
		}
		if r, err := leader.machine.Apply(uint64(i+1), entry); err != nil || r.Err != nil {
			f.Fatal(err, r.Err)
		}
	}
	out.server.rates = &rates{newBuckets(rate.Inf, 1), newBuckets(rate.Inf, 1), newBuckets(rate.Inf, 1)}
	out.handler = out.server.handler()
	return out
}

// do puts one request, and checks that the answer is one: no fault of the
// server, and a problem document if it is no success.
func (f *fuzzed) do(t *testing.T, as pki.Role, method, target, body string, header http.Header) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/", strings.NewReader(body))
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Skip("no target of a request")
	}
	r.URL, r.TLS, r.Header = u, f.as[as], header
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	if w.Code/100 == 2 || w.Code/100 == 3 {
		return w.Code
	}
	var e api.Error
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code == "" || e.Status != w.Code || e.Detail == "" || e.Code == api.CodeInternal {
		t.Errorf("%s %s: %d %s (%v)", method, target, w.Code, w.Body, err)
	}
	return w.Code
}

func FuzzReportBody(f *testing.F) {
	s := newFuzzed(f)
	f.Add(`{"node":"edge-1"}`)
	f.Add(`{"node":"edge-1","instances":[{"id":"people/detect@512#0","frames":{"captured":-1}}]}`)
	f.Add(`{"node":"edge-1"}{}`)
	f.Fuzz(func(t *testing.T, body string) {
		s.do(t, pki.Agent, "POST", "/v1/nodes/edge-1/report", body, http.Header{})
	})
}

func FuzzProfilesBody(f *testing.F) {
	s := newFuzzed(f)
	b, err := json.Marshal(api.Profiles{Profiles: []profile.Profile{yolo(416)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`{"profiles":[{"execute_p50":-1,"at":"9999-12-31T23:59:59-23:59"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		s.do(t, pki.Agent, "PUT", "/v1/nodes/edge-1/profiles", body, http.Header{})
	})
}

func FuzzDocumentBody(f *testing.F) {
	s := newFuzzed(f)
	f.Add(people)
	f.Add("a: &a [*a, *a]")
	f.Add("kind: Workflow\nmetadata: {name: \"\\x00\"}")
	f.Fuzz(func(t *testing.T, body string) {
		if a, b := s.do(t, pki.Operator, "POST", "/v1/plan", body, http.Header{}), s.do(t, pki.Operator, "POST", "/v1/workflows", body, http.Header{}); a/100 != b/100 {
			t.Errorf("planned with %d, submitted with %d", a, b)
		}
	})
}

func FuzzTokenBody(f *testing.F) {
	s := newFuzzed(f)
	f.Add(`{"name":"ci","scope":"read","lifetime_s":3600}`)
	f.Add(`{"name":"ci","scope":"read","lifetime_s":9223372036854775807}`)
	f.Fuzz(func(t *testing.T, body string) {
		s.do(t, pki.Operator, "POST", "/v1/tokens", body, http.Header{"Content-Type": {"application/json"}})
	})
}

func FuzzQuery(f *testing.F) {
	s := newFuzzed(f)
	f.Add("after=18446744073709551616", "1")
	f.Add("consistent=TRUE&after=-1", "x")
	f.Add("%zz", "\n")
	f.Fuzz(func(t *testing.T, query, last string) {
		values, _ := url.ParseQuery(query)
		known, err := strconv.ParseUint(values.Get("after"), 10, 64)
		for _, path := range []string{"/v1/nodes", "/v1/workflows", "/v1/nodes/edge-1/assignments", "/v1/mesh"} {
			if strings.HasSuffix(path, "assignments") && err == nil && known > 0 {
				continue // it would be held
			}
			s.do(t, pki.Operator, "GET", path+"?"+query, "", http.Header{"Last-Event-Id": {last}})
		}
	})
}

// FuzzCredentials shows any header to a server: only the one token passes, and
// nobody but a coordinator speaks for others.
func FuzzCredentials(f *testing.F) {
	s := newFuzzed(f)
	good := "Bearer " + s.secret.Reveal()
	f.Add(good, "")
	f.Add("bearer  "+s.secret.Reveal(), "token:"+s.secret.ID)
	f.Add("Basic YTpi", "spiffe://test/coordinator/c1")
	f.Fuzz(func(t *testing.T, authorization, claim string) {
		header := func() http.Header {
			h := http.Header{forwardedFor: {claim}}
			if authorization != "" {
				h.Set("Authorization", authorization)
			}
			return h
		}
		scheme, shown, _ := strings.Cut(authorization, " ")
		may := strings.EqualFold(scheme, "bearer") && strings.TrimSpace(shown) == s.secret.Reveal()
		if got := s.do(t, "", "DELETE", "/v1/workflows/people", "", header()); (got == http.StatusNoContent) != may || (!may && got != http.StatusUnauthorized) {
			t.Errorf("a stranger with %q and %q: %d", authorization, claim, got)
		}
		if got := s.do(t, "", "DELETE", "/v1/tokens/ci", "", header()); got/100 == 2 {
			t.Errorf("a stranger with %q and %q may what the token may not", authorization, claim)
		}
		h := http.Header{forwardedFor: {claim}}
		if got := s.do(t, pki.Agent, "DELETE", "/v1/workflows/people", "", h); got != http.StatusForbidden {
			t.Errorf("an agent that claims to be %q: %d", claim, got)
		}
		s.do(t, pki.Coordinator, "DELETE", "/v1/workflows/people", "", h)
	})
}
