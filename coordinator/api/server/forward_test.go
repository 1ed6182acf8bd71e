package server

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline"
)

// TestAnyCoordinatorAnswers asks a follower for what only the leader can do.
func TestAnyCoordinatorAnswers(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "c1", "c2", "c3")
	follower, leader := m.follower(), m.leader()
	ada, fog, edge := m.caller(pki.Operator, "ada", follower), m.caller(pki.Agent, "fog-1", follower), m.caller(pki.Agent, "edge-1", follower)

	wait(t, "it says who leads", func() bool {
		a := decode[api.Mesh](t, ada.do("GET", "/v1/mesh", ""))
		return a.Node == follower.name && m.nodes[a.Leader] != nil && a.LeaderAddress == m.nodes[a.Leader].server.Addr() && len(a.Coordinators) == 3
	})
	if a := ada.settled("POST", "/v1/plan", people); a.status != http.StatusOK {
		t.Errorf("plan: %d %s", a.status, a.body)
	}
	if a := ada.settled("POST", "/v1/workflows", people); a.status != http.StatusCreated || !decode[api.Planned](t, a).Changes {
		t.Fatalf("submit: %d %s", a.status, a.body)
	}
	wait(t, "a leader that was reported to", func() bool { // a new one knows of no reports
		if a := fog.settled("POST", "/v1/nodes/fog-1/report", reportOf(t, "fog-1"), "Content-Type", "application/json"); a.status != http.StatusNoContent {
			t.Fatalf("report: %d %s", a.status, a.body)
		}
		return decode[api.WorkflowStatus](t, ada.settled("GET", "/v1/workflows/people", "")).Detections["person"] == 5
	})
	// The leader's errors come back as they are, with one of each header.
	a := ada.settled("DELETE", "/v1/workflows/nobody", "")
	if e := a.problem(t); e.Code != api.CodeNotFound || len(a.header["Cache-Control"]) != 1 {
		t.Errorf("%+v %v", e, a.header)
	}
	// Bodies that are too large end at the follower.
	if e := ada.settled("POST", "/v1/workflows", people+"#"+strings.Repeat("x", maxDocument)).problem(t); e.Code != api.CodeTooLarge {
		t.Errorf("%+v", e)
	}
	// Whoever asks the follower has no more rights than at the leader, whatever
	// name the request claims.
	for _, claim := range [][]string{nil, {forwardedFor, "spiffe://test/operator/ada"}, {forwardedFor, "spiffe://test/coordinator/c1"}} {
		if e := edge.settled("POST", "/v1/workflows", people, claim...).problem(t); e.Code != api.CodeForbidden {
			t.Errorf("submit by an agent: %+v", e)
		}
		if e := edge.settled("POST", "/v1/nodes/fog-1/report", reportOf(t, "fog-1"), append([]string{"Content-Type", "application/json"}, claim...)...).problem(t); e.Code != api.CodeForbidden {
			t.Errorf("report for another: %+v", e)
		}
	}
	// The leader hears who asked: an agent that reports for itself and claims to
	// be another is itself.
	a = edge.settled("POST", "/v1/nodes/edge-1/report", reportOf(t, "edge-1"), "Content-Type", "application/json", forwardedFor, "spiffe://test/agent/fog-1")
	if a.status != http.StatusNoContent {
		t.Errorf("report: %d %s", a.status, a.body)
	}

	// Every coordinator comes to know, and the rest goes on without the leader.
	c := m.operator(leader, follower)
	if _, err := c.Mesh(t.Context()); err != nil { // the leader is who answered last
		t.Fatal(err)
	}
	m.halt(leader)
	m.leader()
	wait(t, "a write through another coordinator", func() bool {
		err := c.Stop(t.Context(), "people")
		if err != nil && code(err) != api.CodeNoLeader && !errors.Is(err, api.ErrUnreachable) {
			t.Fatalf("stop: %v", err)
		}
		return err == nil
	})
	if ws, err := c.Workflows(t.Context()); err != nil || len(ws) != 1 {
		t.Errorf("workflows: %+v %v", ws, err)
	}
}

func TestWithoutALeader(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "c1", "c2", "c3")
	var gone []*node
	for range 2 { // followers, which do not hand over what they do not have
		n := m.follower()
		gone = append(gone, n)
		m.halt(n)
	}
	last := m.only()
	wait(t, "it notices that it is alone", func() bool { _, _, ok := last.coord.Leader(); return !ok && !last.coord.IsLeader() })
	ada := m.caller(pki.Operator, "ada", last)
	e := ada.do("POST", "/v1/workflows", people).problem(t)
	if e.Code != api.CodeNoLeader || e.Detail != "there is no leader at the moment: an election is under way, or a majority of the coordinators is missing" {
		t.Errorf("%+v", e)
	}
	// Reads are answered still.
	if a := ada.do("GET", "/v1/workflows", ""); a.status != http.StatusOK {
		t.Errorf("workflows: %d %s", a.status, a.body)
	}
	if a := decode[api.Mesh](t, ada.do("GET", "/v1/mesh", "")); a.Leader != "" || a.LeaderAddress != "" {
		t.Errorf("mesh: %+v", a)
	}
	// The client asks the others, too, and tells of all.
	_, err := m.operator(append(gone, last)...).Submit(t.Context(), "p.yaml", []byte(people))
	if !errors.Is(err, api.ErrUnreachable) || code(err) != api.CodeNoLeader || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "there is no leader at the moment") {
		t.Errorf("submit: %v", err)
	}
	if _, err := m.operator(last).Submit(t.Context(), "p.yaml", []byte(people)); errors.Is(err, api.ErrUnreachable) || code(err) != api.CodeNoLeader {
		t.Errorf("submit: %v", err)
	}
}

// follow is a fake that believes another address to be the leader's.
type follow struct {
	*fake
	node, addr string
}

func (f follow) IsLeader() bool                 { return false }
func (f follow) Leader() (string, string, bool) { return f.node, f.addr, f.node != "" }

func TestWhenTheLeaderIsNotThere(t *testing.T) {
	f := newFake(t)
	ada, other := f.caller(pki.Operator, "ada"), f.caller(pki.Coordinator, "c2")
	gone := httptest.NewServer(nil)
	addr := gone.Listener.Addr().String()
	gone.Close()
	for _, c := range []struct {
		name   string
		leader follow
		by     *testCaller
		detail string
	}{
		{"nobody listens", follow{f, "c2", addr}, ada, "the leader c2 does not answer ("},
		{"no address yet", follow{f, "c2", ""}, ada, "c2 has only just become the leader"},
		{"this one, in a moment", follow{f, "c1", addr}, ada, "c1 has only just become the leader"},
		{"forwarded already", follow{f, "c2", addr}, other, "c1 does not lead any more"},
	} {
		f.server.control = c.leader
		e := c.by.do("POST", "/v1/workflows", people, forwardedFor, "spiffe://test/operator/ada").problem(t)
		if e.Code != api.CodeNoLeader || !strings.HasPrefix(e.Detail, c.detail) {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
}

// A coordinator without a leader may know no node at all: that it does not know
// one says nothing, and another coordinator may.
func TestUnknownWithoutALeader(t *testing.T) {
	f := newFake(t)
	ada := f.caller(pki.Operator, "ada")
	ask := func() *api.Error { return ada.do("GET", "/v1/nodes/nobody/assignments", "").problem(t) }
	if e := ask(); e.Code != api.CodeNotFound {
		t.Errorf("with a leader: %+v", e)
	}
	f.server.control = follow{f, "", ""}
	if e := ask(); e.Code != api.CodeNoLeader || !strings.Contains(e.Detail, "not known to this coordinator") {
		t.Errorf("without: %+v", e)
	}
}

// TestTheLeaderHearsWhoAsked, whoever the caller claims to be.
func TestTheLeaderHearsWhoAsked(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	heard := make(chan []string, 1)
	var open atomic.Int32
	leader := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard <- append(r.Header[forwardedFor], r.Method+" "+r.URL.RequestURI())
		w.WriteHeader(http.StatusNoContent)
	}))
	leader.TLS = pkitest.Issue(t, f.ca, pki.Coordinator, "c2").ServerTLS(pki.Coordinator)
	leader.EnableHTTP2 = true
	leader.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	leader.StartTLS()
	t.Cleanup(leader.Close)
	f.server.control = follow{f, "c2", leader.Listener.Addr().String()}
	ada := f.caller(pki.Operator, "ada")
	for _, claim := range [][]string{nil, {forwardedFor, "spiffe://test/coordinator/c1"}} {
		if a := ada.do("DELETE", "/v1/workflows/a%2Fb", "", claim...); a.status != http.StatusNoContent {
			t.Errorf("%d %s", a.status, a.body)
		}
		if got := receive(t, "the request", heard); !slices.Equal(got, []string{"spiffe://test/operator/ada", "DELETE /v1/workflows/a%2Fb"}) {
			t.Errorf("heard %q", got)
		}
	}
	if open.Load() == 0 {
		t.Error("the connection is not kept for the next request")
	}
	f.stop()
	wait(t, "no connection is left behind", func() bool { return open.Load() == 0 })
}

// TestWhenTheLeaderBreaksOff: what the leader had already begun is not said to
// be undone.
func TestWhenTheLeaderBreaksOff(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var asked atomic.Int32
	var silent atomic.Bool
	leader := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if silent.Load() {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}))
	leader.TLS = pkitest.Issue(t, f.ca, pki.Coordinator, "c2").ServerTLS(pki.Coordinator)
	leader.EnableHTTP2 = true
	leader.StartTLS()
	t.Cleanup(leader.Close)
	f.server.control = follow{f, "c2", leader.Listener.Addr().String()}
	ada := f.caller(pki.Operator, "ada")
	for _, c := range []struct {
		method, path, body string
		code               api.Code
		detail             string
	}{
		{"POST", "/v1/workflows", people, api.CodeUncertain, "the leader c2 gave no answer ("},
		{"DELETE", "/v1/workflows/people", "", api.CodeUncertain, "it may or may not have been carried out; look before you ask again"},
		{"POST", "/v1/plan", people, api.CodeNoLeader, "the leader c2 does not answer ("},
		{"GET", "/v1/workflows/people", "", api.CodeNoLeader, "the leader c2 does not answer ("},
		{"POST", "/v1/nodes/fog-1/report", reportOf(t, "fog-1"), api.CodeNoLeader, "the leader c2 does not answer ("},
	} {
		asked.Store(0)
		header := []string{"Content-Type", "application/yaml"}
		if strings.HasSuffix(c.path, "report") {
			header[1] = "application/json"
		}
		e := ada.do(c.method, c.path, c.body, header...).problem(t)
		if e.Code != c.code || !strings.Contains(e.Detail, c.detail) || asked.Load() == 0 {
			t.Errorf("%s %s: %+v, asked %d times", c.method, c.path, e, asked.Load())
		}
	}
	silent.Store(true)
	f.server.limits.forward = 300 * time.Millisecond
	for path, want := range map[string]api.Code{"/v1/workflows": api.CodeUncertain, "/v1/plan": api.CodeNoLeader} {
		if e := ada.do("POST", path, people).problem(t); e.Code != want || !strings.Contains(e.Detail, "deadline exceeded") {
			t.Errorf("%s: %+v", path, e)
		}
	}
	silent.Store(false)
	// The client takes the hint and asks nobody else.
	asked.Store(0)
	c := api.NewClient(func() []string { return []string{f.server.Addr(), f.server.Addr()} }, pkitest.Issue(t, f.ca, pki.Operator, "ada").ClientTLS(pki.Coordinator))
	t.Cleanup(c.Close)
	if _, err := c.Submit(t.Context(), "p.yaml", []byte(people)); !errors.Is(err, api.ErrUncertain) || asked.Load() != 1 {
		t.Errorf("submit: %v, asked %d times", err, asked.Load())
	}
	asked.Store(0)
	if err := c.Report(t.Context(), pipeline.Report{Node: "fog-1"}); code(err) != api.CodeNoLeader || asked.Load() < 2 {
		t.Errorf("report: %v, asked %d times", err, asked.Load())
	}
}
