package server

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

// TestRights asks everything as everyone. What is allowed may still fail for
// another reason.
func TestRights(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.submit = func() error { return coordinator.ErrNotFound }
	who := map[string]*testCaller{
		"agent of the node": f.caller(pki.Agent, "edge-1"), "agent of another": f.caller(pki.Agent, "fog-1"),
		"coordinator": f.caller(pki.Coordinator, "c1"), "operator": f.caller(pki.Operator, "ada"),
	}
	// What an agent may do; the others may do everything.
	agents := map[string][]string{
		"GET /v1/mesh":                     {"agent of the node", "agent of another"},
		"GET /v1/openapi.yaml":             {"agent of the node", "agent of another"},
		"GET /v1/workflow.schema.json":     {"agent of the node", "agent of another"},
		"GET /v1/blobs/{digest}":           {"agent of the node", "agent of another"},
		"GET /v1/nodes/{node}/assignments": {"agent of the node"},
		"POST /v1/nodes/{node}/report":     {"agent of the node"},
		"PUT /v1/nodes/{node}/profiles":    {"agent of the node"},
	}
	for _, rt := range f.server.routes() {
		if rt.path == "/v1/events" {
			continue // its answer has no end; see TestEventsAreForOperators
		}
		for name, c := range who {
			allowed := c == who["coordinator"] || c == who["operator"]
			for _, a := range agents[rt.method+" "+rt.path] {
				allowed = allowed || a == name
			}
			path := example(rt.path)
			a := c.send(mistaken(c.request(rt.method, path, "")))
			if got := a.status != http.StatusForbidden; got != allowed {
				t.Errorf("%s %s by %s: status %d %s", rt.method, path, name, a.status, a.body)
			}
			if !allowed && a.problem(t).Code != api.CodeForbidden {
				t.Errorf("%s %s by %s: %s", rt.method, path, name, a.body)
			}
		}
	}
	if e := who["agent of another"].do("GET", "/v1/nodes/edge-1/assignments", "").problem(t); e.Detail != "spiffe://test/agent/fog/fog-1 may not speak for node edge-1" {
		t.Errorf("detail %q", e.Detail)
	}
	if e := who["agent of another"].do("POST", "/v1/workflows", people).problem(t); e.Detail != "spiffe://test/agent/fog/fog-1 may not do this: use an operator's certificate" {
		t.Errorf("detail %q", e.Detail)
	}
}

// example is a path of that form.
func example(path string) string {
	return strings.NewReplacer("{node}", "edge-1", "{workflow}", "people", "{token}", "ci", "{digest}", "sha256:"+strings.Repeat("0", 64)).Replace(path)
}

// TestTiersMustAgree: a node cannot gossip itself into another tier.
func TestTiersMustAgree(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.run()
	as := func(role pki.Role, tier tiering.Tier) *testCaller {
		id, err := f.ca.Issue(pki.Subject{Role: role, Tier: tier, Name: "edge-1"}, nil, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return newCaller(t, id, f.server)
	}
	report := reportOf(t, "edge-1")
	for name, c := range map[string]*testCaller{"agent": as(pki.Agent, tiering.Fog), "coordinator": as(pki.Coordinator, tiering.Cloud)} {
		for _, a := range []answer{c.do("GET", "/v1/nodes/edge-1/assignments", ""), c.do("POST", "/v1/nodes/edge-1/report", report, "Content-Type", "application/json")} {
			if e := a.problem(t); e.Code != api.CodeForbidden || !strings.HasPrefix(e.Detail, "node edge-1 gossips tier edge, and its certificate says ") {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	right := as(pki.Agent, tiering.Edge)
	for _, a := range []answer{right.do("GET", "/v1/nodes/edge-1/assignments", ""), right.do("POST", "/v1/nodes/edge-1/report", report, "Content-Type", "application/json")} {
		if a.status/100 != 2 {
			t.Errorf("with the right tier: %d %s", a.status, a.body)
		}
	}
	// One from before tiers in certificates, as it comes through another coordinator.
	if a := f.caller(pki.Coordinator, "c2").do("GET", "/v1/nodes/edge-1/assignments", "", forwardedFor, "spiffe://test/agent/edge-1"); a.status != 200 {
		t.Errorf("without a tier: %d %s", a.status, a.body)
	}
	if e := f.caller(pki.Coordinator, "c2").do("GET", "/v1/nodes/edge-1/assignments", "", forwardedFor, "spiffe://test/agent/cloud/edge-1").problem(t); e.Code != api.CodeForbidden {
		t.Errorf("through another coordinator: %+v", e)
	}
}

func TestEventsAreForOperators(t *testing.T) {
	f := newFake(t)
	if e := f.caller(pki.Agent, "edge-1").do("GET", "/v1/events", "").problem(t); e.Code != api.CodeForbidden {
		t.Errorf("%+v", e)
	}
}

// TestStrangersAreRefusedInTheHandshake: nothing that they send is read. Those
// without any certificate may have a token; see TestTokens.
func TestStrangersAreRefusedInTheHandshake(t *testing.T) {
	f := newFake(t)
	f.run()
	other, err := pki.NewCA("test", time.Now(), time.Hour) // of the same name
	if err != nil {
		t.Fatal(err)
	}
	ada := pkitest.Issue(t, f.ca, pki.Operator, "ada")
	// A stranger that would trust this server.
	forged := ada.ClientTLS(pki.Coordinator)
	forged.GetClientCertificate = pkitest.Issue(t, other, pki.Operator, "ada").ClientTLS(pki.Coordinator).GetClientCertificate
	old := ada.ClientTLS(pki.Coordinator)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, c := range map[string]struct {
		conf *tls.Config
		want string // in part
	}{
		"of another CA":      {pkitest.Issue(t, other, pki.Operator, "ada").ClientTLS(pki.Coordinator), "it is no coordinator of this mesh (x509: certificate signed by unknown authority"},
		"forged":             {forged, "accept this certificate"},
		"old TLS":            {old, "it refuses the connection (tls: protocol version not supported)"},
		"looks for an agent": {ada.ClientTLS(pki.Operator), "it is no coordinator of this mesh (wrong role: spiffe://test/coordinator/cloud/c1 may not act as [operator] here)"},
	} {
		client := api.NewClient(func() []string { return []string{f.server.Addr()} }, c.conf)
		_, err := client.Mesh(t.Context())
		client.Close()
		if !errors.Is(err, api.ErrUnreachable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
}

// TestForwardedNamesAreTakenFromCoordinatorsOnly: a coordinator may lend its
// voice to others, and nobody may lend itself another's.
func TestForwardedNamesAreTakenFromCoordinatorsOnly(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	const ada, edge, odd = "spiffe://test/operator/ada", "spiffe://test/agent/edge-1", "spiffe://test/king/ada"
	for _, c := range []struct {
		by     *testCaller
		say    string
		path   string
		status int
	}{
		{f.caller(pki.Agent, "edge-1"), ada, "/v1/workflows", 403},
		{f.caller(pki.Agent, "fog-1"), edge, "/v1/nodes/edge-1/assignments", 403},
		{f.caller(pki.Operator, "ada"), edge, "/v1/workflows", 200},
		{f.caller(pki.Coordinator, "c2"), ada, "/v1/workflows", 200},
		{f.caller(pki.Coordinator, "c2"), edge, "/v1/workflows", 403},
		{f.caller(pki.Coordinator, "c2"), edge, "/v1/nodes/edge-1/assignments", 200},
		{f.caller(pki.Coordinator, "c2"), odd, "/v1/nodes/edge-1/assignments", 400},
	} {
		if a := c.by.do("GET", c.path, "", forwardedFor, c.say); a.status != c.status {
			t.Errorf("GET %s with %s: status %d, want %d: %s", c.path, c.say, a.status, c.status, a.body)
		}
	}
}

func TestNewWantsClientCertificates(t *testing.T) {
	m := newFake(t)
	cfg := (&mesh{T: t, ca: m.ca}).config("c1")
	cfg.ServerTLS.ClientAuth = tls.VerifyClientCertIfGiven
	if _, err := New(cfg, m, &gossip{}); err == nil || !strings.Contains(err.Error(), "require client certificates") {
		t.Errorf("got %v", err)
	}
	cfg.ServerTLS = nil
	if _, err := New(cfg, m, &gossip{}); err == nil {
		t.Error("no error without TLS")
	}
}
