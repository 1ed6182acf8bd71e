package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

// stranger sends requests without a certificate.
func stranger(t *testing.T, ca *pki.CA, s *Server) *testCaller {
	t.Helper()
	dir := t.TempDir()
	if err := pkitest.Issue(t, ca, pki.Operator, "any").Save(dir); err != nil {
		t.Fatal(err)
	}
	conf, err := pki.ClientOnly(filepath.Join(dir, pki.CACertFile))
	if err != nil {
		t.Fatal(err)
	}
	return newCallerWith(t, conf, s)
}

// token adds a token to the fake's state and returns the header that shows it.
func (f *fake) token(name string, scope state.Scope, expires time.Time) []string {
	f.Helper()
	s := api.NewSecret()
	f.apply(&state.PutToken{ID: s.ID, Name: name, Scope: scope, Hash: s.Hash(), Expires: expires})
	return []string{"Authorization", "Bearer " + s.Reveal()}
}

// TestScopes asks everything with every scope. What is allowed may still fail
// for another reason.
func TestScopes(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.submit = func() error { return coordinator.ErrNotFound }
	f.run()
	c := stranger(t, f.ca, f.server)
	// Written out rather than taken from the table, which is what is tested.
	allowed := map[string]string{
		"GET /v1/mesh": "read submit admin", "GET /v1/nodes": "read submit admin", "GET /v1/models": "read submit admin", "GET /v1/blobs/{digest}": "read submit admin",
		"POST /v1/plan": "read submit admin", "GET /v1/workflows": "read submit admin", "GET /v1/workflows/{workflow}": "read submit admin",
		"GET /v1/workflows/{workflow}/quality": "read submit admin", "GET /v1/profiles": "read submit admin",
		"GET /v1/openapi.yaml": "read submit admin", "GET /v1/workflow.schema.json": "read submit admin",
		"POST /v1/workflows": "submit admin", "DELETE /v1/workflows/{workflow}": "submit admin",
		"GET /v1/tokens": "admin", "POST /v1/tokens": "admin", "DELETE /v1/tokens/{token}": "admin",
		"POST /v1/nodes/{node}/drain": "admin", "GET /v1/gossip-keys": "admin", "POST /v1/gossip-keys": "admin",
		"GET /v1/events":                   "read submit admin",
		"GET /v1/nodes/{node}/assignments": "", "POST /v1/nodes/{node}/report": "", "PUT /v1/nodes/{node}/profiles": "", // no token is a node
	}
	for _, scope := range state.Scopes() {
		header := f.token("t-"+string(scope), scope, time.Time{})
		for _, rt := range f.server.routes() {
			want, known := allowed[rt.method+" "+rt.path]
			if !known {
				t.Errorf("%s %s: this test does not say who may", rt.method, rt.path)
			}
			path := example(rt.path)
			if rt.path == "/v1/events" {
				path += "?after=x" // its answer would have no end
			}
			a := c.send(mistaken(c.request(rt.method, path, "", header...)))
			if may := strings.Contains(want, string(scope)); may != (a.status != http.StatusForbidden) {
				t.Errorf("%s %s with scope %s: status %d %s", rt.method, rt.path, scope, a.status, a.body)
			}
		}
	}
	header := f.token("small", state.ScopeRead, time.Time{})
	e := c.do("DELETE", "/v1/workflows/people", "", header...).problem(t)
	if !strings.HasSuffix(e.Detail, "has the scope read, and this needs submit: `weft token create NAME --scope submit` makes a token that may") ||
		!strings.HasPrefix(e.Detail, "token:small:") {
		t.Errorf("detail %q", e.Detail)
	}
	// A token that claims to be a node, or to speak for somebody, is itself.
	header = append(header, forwardedFor, "spiffe://test/agent/edge-1")
	if e := c.do("POST", "/v1/nodes/edge-1/report", reportOf(t, "edge-1"), append(header, "Content-Type", "application/json")...).problem(t); e.Code != api.CodeForbidden {
		t.Errorf("%+v", e)
	}
}

// TestTokensThatAreNotTaken: each says why, and what to do.
func TestTokensThatAreNotTaken(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.run()
	c, ada := stranger(t, f.ca, f.server), f.caller(pki.Operator, "ada")
	good := f.token("good", state.ScopeAdmin, time.Time{})
	old := f.token("old", state.ScopeAdmin, time.Now().Add(-time.Second))
	gone := f.token("gone", state.ScopeAdmin, time.Time{})
	f.apply(&state.DeleteToken{Name: "gone"})
	// The ID of a good one with another secret.
	secret, id := api.NewSecret().Reveal(), good[1][len("Bearer weft_"):][:16]
	forged := "Bearer weft_" + id + secret[len("weft_")+16:]
	for name, x := range map[string]struct {
		by     *testCaller
		header []string
		status int
		detail string
	}{
		"good":        {c, good, 200, ""},
		"nothing":     {c, nil, 401, "neither a certificate nor a token: send `Authorization: Bearer TOKEN`"},
		"claims only": {c, []string{forwardedFor, "token:" + id}, 401, "neither a certificate"},
		"expired":     {c, old, 401, "expired on "},
		"revoked":     {c, gone, 401, "is not valid here: it was revoked, or it is of another mesh; `weft token create` makes one"},
		"forged":      {c, []string{"Authorization", forged}, 401, "is not valid here"},
		"no token":    {c, []string{"Authorization", "Bearer hunter2"}, 401, "header Authorization: not a token: it looks like weft_ID_SECRET"},
		"password":    {c, []string{"Authorization", "Basic YWRhOnB3"}, 401, "header Authorization: use `Bearer TOKEN`, once"},
		"both":        {ada, good, 400, "a certificate and a token: show one of the two"},
	} {
		a := x.by.do("GET", "/v1/mesh", "", x.header...)
		if a.status != x.status {
			t.Errorf("%s: status %d %s, want %d", name, a.status, a.body, x.status)
			continue
		}
		if x.status == 200 {
			continue
		}
		e := a.problem(t)
		if !strings.Contains(e.Detail, x.detail) || (x.status == 401) != (e.Code == api.CodeUnauthorized) ||
			(x.status == 401) != (a.header.Get("WWW-Authenticate") != "") || strings.Contains(string(a.body), secret[30:]) {
			t.Errorf("%s: %+v %v", name, e, a.header)
		}
	}
}

// TestStreamsEndWithTheirTokens: one that is revoked is told nothing more, not
// even of that, and one that expires ends its stream.
func TestStreamsEndWithTheirTokens(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.run()
	c := stranger(t, f.ca, f.server)
	spy, good := f.token("spy", state.ScopeRead, time.Time{}), f.token("good", state.ScopeRead, time.Now().Add(time.Hour))
	short := f.token("short", state.ScopeRead, time.Now().Add(2*time.Second))
	now := fmt.Sprint("/v1/events?after=", f.index)
	revoked, on, expires := c.listen(t.Context(), now, spy...), c.listen(t.Context(), now, good...), c.listen(t.Context(), now, short...)
	if m := receive(t, "the end of a token that expires", expires); m != (message{}) {
		t.Errorf("it is told %+v", m)
	}
	f.apply(&state.DeleteToken{Name: "spy"})
	if m := receive(t, "the end of a token that was revoked", revoked); m != (message{}) {
		t.Errorf("it is told %+v", m)
	}
	if m := receive(t, "the next event", on); m.event != string(state.TokenRevoked) {
		t.Errorf("%+v", m)
	}
	f.stop()
}

// TestTokens takes a token through its life on a real mesh, by way of a
// coordinator that does not lead.
func TestTokens(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "c1", "c2", "c3")
	follower := m.follower()
	ada, c := m.caller(pki.Operator, "ada", follower), stranger(t, m.ca, follower.server)
	asJSON := func(scope string, lifetime int) (string, []string) {
		return fmt.Sprintf(`{"name":"ci","scope":%q,"lifetime_s":%d}`, scope, lifetime), []string{"Content-Type", "application/json"}
	}
	body, kind := asJSON("submit", 3600)
	var a answer
	wait(t, "a token is made", func() bool {
		if a = ada.do("POST", "/v1/tokens", body, kind...); a.status == http.StatusServiceUnavailable || a.status == http.StatusConflict {
			ada.do("DELETE", "/v1/tokens/ci", "") // an answer may have been lost
			return false
		}
		return true
	})
	if a.status != http.StatusCreated {
		t.Fatalf("create: %d %s", a.status, a.body)
	}
	made := decode[api.NewToken](t, a)
	if _, err := api.ParseSecret(made.Secret); err != nil || made.Token.Expires == nil || made.Token.Expires.Sub(made.Token.Created) != time.Hour {
		t.Errorf("made %+v, %v", made.Token, err)
	}
	for _, n := range m.nodes {
		wait(t, n.name+" knows the token", func() bool { _, ok := n.coord.Snapshot().Token(made.Token.ID); return ok })
		for _, tok := range n.coord.Snapshot().Tokens() {
			if strings.Contains(made.Secret, fmt.Sprintf("%x", tok.Hash)) {
				t.Error("the secret is in the state")
			}
		}
	}
	if e := ada.settled("POST", "/v1/tokens", body, kind...).problem(t); e.Code != api.CodeConflict || !strings.Contains(e.Detail, "there is a token ci: revoke it first") {
		t.Errorf("%+v", e)
	}
	for _, wrong := range []string{`{"name":"UP","scope":"read","lifetime_s":0}`, `{"name":"x","scope":"root","lifetime_s":0}`, `{"name":"x","scope":"read","lifetime_s":-1}`, `{"name":"x","scope":"read","ttl":1}`} {
		req := ada.request("POST", "/v1/tokens", wrong, kind...)
		if a := ada.send(mistaken(req)); a.status != http.StatusBadRequest && a.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", wrong, a.status, a.body)
		}
	}
	if list := decode[[]api.Token](t, ada.settled("GET", "/v1/tokens?consistent=true", "")); len(list) != 1 || list[0].Name != "ci" || list[0].Scope != state.ScopeSubmit || list[0].CreatedBy != "spiffe://test/operator/ada" {
		t.Errorf("tokens %+v", list)
	}

	// The client of the token's bearer, which the follower forwards for.
	bearer := []string{"Authorization", "Bearer " + made.Secret}
	if a := c.settled("POST", "/v1/workflows", people, bearer...); a.status != http.StatusCreated {
		t.Errorf("submit: %d %s", a.status, a.body)
	}
	if e := c.settled("POST", "/v1/tokens", body, append(kind, bearer...)...).problem(t); e.Code != api.CodeForbidden {
		t.Errorf("%+v", e)
	}
	if a := ada.settled("DELETE", "/v1/tokens/ci", ""); a.status != http.StatusNoContent && a.status != http.StatusNotFound { // asked again
		t.Errorf("revoke: %d %s", a.status, a.body)
	}
	wait(t, "the follower hears of it", func() bool { return c.do("GET", "/v1/workflows", "", bearer...).status == http.StatusUnauthorized })
	if e := ada.settled("DELETE", "/v1/tokens/ci", "").problem(t); e.Code != api.CodeNotFound {
		t.Errorf("%+v", e)
	}
}

// TestTheLeaderJudgesTokensAnew: a coordinator that has not heard of a
// revocation forwards, and the leader refuses.
func TestTheLeaderJudgesTokensAnew(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.token("ci", state.ScopeSubmit, time.Time{})
	f.token("old", state.ScopeAdmin, time.Now().Add(-time.Second))
	f.token("gone", state.ScopeAdmin, time.Time{})
	ids := map[string]string{}
	for _, tok := range f.Snapshot().Tokens() {
		ids[tok.Name] = tok.ID
	}
	f.apply(&state.DeleteToken{Name: "gone"})
	other := f.caller(pki.Coordinator, "c2")
	for name, want := range map[string]int{"ci": 204, "old": 401, "gone": 401} {
		if a := other.do("DELETE", "/v1/workflows/people", "", forwardedFor, tokenClaim+ids[name]); a.status != want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := other.do("GET", "/v1/tokens", "", forwardedFor, tokenClaim+ids["ci"]); a.status != http.StatusForbidden {
		t.Errorf("%d %s", a.status, a.body)
	}
	// An operator has no such voice.
	if a := f.caller(pki.Operator, "ada").do("GET", "/v1/tokens", "", forwardedFor, tokenClaim+ids["gone"]); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestSecretsStayWhereTheyAre: the leader is told the ID of a token only.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	heard := make(chan http.Header, 1)
	leader := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard <- r.Header.Clone()
		w.WriteHeader(http.StatusNoContent)
	}))
	leader.TLS = pkitest.Issue(t, f.ca, pki.Coordinator, "c2").ServerTLS(pki.Coordinator)
	leader.EnableHTTP2 = true
	leader.StartTLS()
	t.Cleanup(leader.Close)
	bearer := f.token("ci", state.ScopeSubmit, time.Time{})
	f.server.control = follow{f, "c2", leader.Listener.Addr().String()}
	f.run()
	c := stranger(t, f.ca, f.server)
	if a := c.do("DELETE", "/v1/workflows/people", "", bearer...); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	got := receive(t, "the request", heard)
	id := f.Snapshot().Tokens()[0].ID
	if claim := got[forwardedFor]; len(claim) != 1 || claim[0] != tokenClaim+id {
		t.Errorf("told %q", claim)
	}
	if strings.Contains(fmt.Sprint(got), bearer[1][30:]) {
		t.Errorf("the secret went on: %v", got)
	}
}

// TestConsistentReads asks a leader that cannot make sure that it leads.
func TestConsistentReads(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ada := f.caller(pki.Operator, "ada")
	f.submit = func() error { return fmt.Errorf("%w: unsure", coordinator.ErrNoLeader) }
	for _, path := range []string{"/v1/nodes", "/v1/workflows", "/v1/tokens"} {
		if a := ada.do("GET", path, ""); a.status != http.StatusOK {
			t.Errorf("%s: %d", path, a.status)
		}
		if e := ada.do("GET", path+"?consistent=true", "").problem(t); e.Code != api.CodeNoLeader {
			t.Errorf("%s: %+v", path, e)
		}
		if e := ada.send(mistaken(ada.request("GET", path+"?consistent=yes", ""))).problem(t); e.Code != api.CodeInvalid {
			t.Errorf("%s: %+v", path, e)
		}
	}
	f.submit = func() error { return nil }
	if a := ada.do("GET", "/v1/nodes?consistent=true", ""); a.status != http.StatusOK {
		t.Errorf("%d", a.status)
	}
}

// TestTheClientShowsAToken, and not its certificate's absence.
func TestTheClientShowsAToken(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	bearer := f.token("ci", state.ScopeRead, time.Time{})
	secret, err := api.ParseSecret(strings.TrimPrefix(bearer[1], "Bearer "))
	if err != nil {
		t.Fatal(err)
	}
	f.run()
	dir := t.TempDir()
	if err := pkitest.Issue(t, f.ca, pki.Operator, "any").Save(dir); err != nil {
		t.Fatal(err)
	}
	conf, err := pki.ClientOnly(filepath.Join(dir, pki.CACertFile))
	if err != nil {
		t.Fatal(err)
	}
	c := api.NewTokenClient(func() []string { return []string{f.server.Addr()} }, conf, secret)
	t.Cleanup(c.Close)
	if _, err := c.Nodes(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Stop(t.Context(), "people"); !errors.Is(err, &api.Error{Code: api.CodeForbidden}) {
		t.Errorf("stop: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := errors.New("seen")
	if err := c.Events(ctx, 0, func(api.Event) error { return seen }); !errors.Is(err, seen) {
		t.Errorf("events: %v", err)
	}
}
