package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// detector is the instance of people's analysis.
const detector = "people/detect@512#0"

// reportOf is a report of fog-1, which runs the detector.
func reportOf(t *testing.T, node string) string {
	t.Helper()
	h := pipeline.NewHistogram()
	h.Record(40 * time.Millisecond)
	b, err := json.Marshal(pipeline.Report{
		Node: node, Run: "r1",
		Sources: []pipeline.SourceReport{},
		Stages: []pipeline.StageReport{{
			Instance: detector, Epoch: 1, Workflow: "people", Task: "detect@512", Status: pipeline.StatusRunning, Backend: "cpu",
			Received: 9, Processed: 8, Dropped: map[pipeline.Reason]uint64{pipeline.ReasonDeadline: 1},
			Queue: h, Transfer: h, Reduce: h, Execute: h, Detections: map[string]uint64{"person": 5},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEveryOperation asks everything there is of a real coordinator; the
// caller holds each answer against the document.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "c1")
	n := m.nodes["c1"]
	ada, fog, edge := m.caller(pki.Operator, "ada", n), m.caller(pki.Agent, "fog-1", n), m.caller(pki.Agent, "edge-1", n)
	want := func(a answer, status int) answer {
		t.Helper()
		if a.status != status {
			t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
		}
		return a
	}

	mesh := decode[api.Mesh](t, want(ada.do("GET", "/v1/mesh", ""), 200))
	if mesh.Mesh != "test" || mesh.Node != "c1" || mesh.Leader != "c1" || mesh.LeaderAddress != n.server.Addr() ||
		mesh.Index == 0 || fmt.Sprint(mesh.Coordinators) != "[c1]" {
		t.Errorf("mesh: %+v", mesh)
	}
	if models := decode[[]api.Model](t, want(ada.do("GET", "/v1/models", ""), 200)); len(models) < 2 || models[0].Name != "hog-people" || fmt.Sprint(models[0].Nodes) != "[edge-1 fog-1]" {
		t.Errorf("models: %+v", models)
	}

	// Plan, submit, submit again.
	p := decode[api.Planned](t, want(ada.do("POST", "/v1/plan?file=p.yaml", people), 200))
	if !p.Changes || len(p.Plan.Place) != 3 || p.Nodes["fog-1"] != "fog" || len(p.Tasks) != 2 || len(p.Links) != 2 {
		t.Errorf("planned: %+v", p)
	}
	if list := decode[[]api.Workflow](t, want(ada.do("GET", "/v1/workflows", ""), 200)); len(list) != 0 {
		t.Errorf("a plan left %+v", list)
	}
	if p = decode[api.Planned](t, want(ada.do("POST", "/v1/workflows", people), 201)); !p.Changes {
		t.Errorf("submitted: %+v", p)
	}
	if p = decode[api.Planned](t, want(ada.do("POST", "/v1/workflows", people), 201)); p.Changes || len(p.Plan.Keep) != 3 {
		t.Errorf("submitted again: %+v", p)
	}
	list := decode[[]api.Workflow](t, want(ada.do("GET", "/v1/workflows", ""), 200))
	if len(list) != 1 || list[0].Status != "running" || list[0].Version != 1 || list[0].Sources != 1 || list[0].Tasks != 2 || list[0].Instances != 3 {
		t.Errorf("workflows: %+v", list)
	}
	nodes := decode[[]api.Node](t, want(ada.do("GET", "/v1/nodes", ""), 200))
	if len(nodes) != 3 || nodes[1].ID != "edge-1" || nodes[1].RoundTripMS == nil || *nodes[1].RoundTripMS != 1.5 || nodes[2].RoundTripMS != nil ||
		nodes[2].Reserved.CPU < 1000 || nodes[2].Free.CPU != 4000 || len(nodes[2].Placements) == 0 {
		t.Errorf("nodes: %+v", nodes)
	}

	// An agent's part.
	as := decode[api.Assignments](t, want(fog.do("GET", "/v1/nodes/fog-1/assignments?after=0", ""), 200))
	if len(as.Assignments) == 0 || as.Index == 0 {
		t.Errorf("assignments: %+v", as)
	}
	want(fog.do("POST", "/v1/nodes/fog-1/report", reportOf(t, "fog-1"), "Content-Type", "application/json"), 204)
	status := decode[api.WorkflowStatus](t, want(ada.do("GET", "/v1/workflows/people", ""), 200))
	if status.Workflow != "people" || status.Detections["person"] != 5 || status.Stages[1].Processed != 8 ||
		status.Stages[1].ExecuteMS.P50 < 39 || status.Stages[1].Dropped[pipeline.ReasonDeadline] != 1 {
		t.Errorf("status: %+v", status)
	}

	// A drain: the detector has nowhere to go, the camera is attached.
	drained := decode[api.Node](t, want(ada.do("POST", "/v1/nodes/fog-1/drain", `{"drain": true}`, "Content-Type", "application/json"), 200))
	if drained.ID != "fog-1" || !drained.Draining || len(drained.Left) == 0 || drained.Free.CPU != 4000 {
		t.Errorf("draining: %+v", drained)
	}
	wait(t, "it is said why the detector stays", func() bool {
		nodes := decode[[]api.Node](t, want(ada.do("GET", "/v1/nodes", ""), 200))
		return strings.Contains(fmt.Sprintf("%+v", nodes[2].Left), "no fog node that is not draining could run it")
	})
	if list := decode[[]api.Workflow](t, want(ada.do("GET", "/v1/workflows", ""), 200)); list[0].Status != "running" || !strings.Contains(list[0].Reason, "stays on fog-1") {
		t.Errorf("workflows: %+v", list)
	}
	drained = decode[api.Node](t, want(ada.do("POST", "/v1/nodes/edge-1/drain", `{"drain": true}`, "Content-Type", "application/json"), 200))
	if i := slices.IndexFunc(drained.Left, func(l api.Left) bool { return l.Placement == "people/gate#0" }); i < 0 || !drained.Left[i].Attached {
		t.Errorf("left: %+v", drained.Left)
	}
	for _, node := range []string{"fog-1", "edge-1"} {
		drained = decode[api.Node](t, want(ada.do("POST", "/v1/nodes/"+node+"/drain", `{"drain": false}`, "Content-Type", "application/json"), 200))
		if drained.Draining || len(drained.Left) > 0 {
			t.Errorf("no longer draining: %+v", drained)
		}
	}

	// Documents.
	if a := want(ada.do("GET", "/v1/openapi.yaml", ""), 200); string(a.body) != string(api.Document()) {
		t.Errorf("another document: %.80s", a.body)
	}
	want(fog.do("GET", "/v1/workflow.schema.json", ""), 200)

	// Passwords are for those who open the camera.
	const shown, masked = "rtsp://viewer:secret@camera/live", "rtsp://viewer:xxxxx@camera/live"
	for _, c := range []struct {
		path string
		by   *testCaller
		uri  string
	}{
		{"/v1/nodes/edge-1/assignments", edge, shown},
		{"/v1/nodes/edge-1/assignments", m.caller(pki.Coordinator, "c1", n), shown},
		{"/v1/nodes/edge-1/assignments", ada, masked},
		{"/v1/plan", ada, masked},
		{"/v1/workflows", ada, masked},
	} {
		method, body := "GET", ""
		if c.uri == masked && !strings.Contains(c.path, "nodes") {
			method, body = "POST", people
		}
		if a := c.by.do(method, c.path, body); !strings.Contains(string(a.body), c.uri) || c.uri == masked && strings.Contains(string(a.body), "secret") {
			t.Errorf("%s %s: no %s in %s", method, c.path, c.uri, a.body)
		}
	}
	for _, path := range []string{"/v1/workflows", "/v1/workflows/people", "/v1/nodes"} {
		if a := ada.do("GET", path, ""); strings.Contains(string(a.body), "secret") {
			t.Errorf("GET %s shows a password: %s", path, a.body)
		}
	}

	want(ada.do("DELETE", "/v1/workflows/people", ""), 204)
	want(ada.do("DELETE", "/v1/workflows/people", ""), 204)
	if status = decode[api.WorkflowStatus](t, want(ada.do("GET", "/v1/workflows/people", ""), 200)); status.Status != "stopped" {
		t.Errorf("status: %+v", status)
	}
}

// TestWhatIsWrong asks for what is refused.
func TestWhatIsWrong(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "c1")
	n := m.nodes["c1"]
	ada, fog := m.caller(pki.Operator, "ada", n), m.caller(pki.Agent, "fog-1", n)
	big := strings.Replace(people, "cpu: 1,", "cpu: 64,", 1)
	for _, c := range []struct {
		name, method, path, body string
		by                       *testCaller
		status                   int
		code                     api.Code
		detail                   string
	}{
		{"unknown path", "GET", "/v2/mesh", "", ada, 404, api.CodeNotFound, "GET /v2/mesh is not part of the API: see /v1/openapi.yaml"},
		{"root", "GET", "/", "", ada, 404, api.CodeNotFound, "see /v1/openapi.yaml"},
		{"other method", "PUT", "/v1/workflows", "x", ada, 405, api.CodeMethod, "the path takes GET, POST"},
		{"other method of a name", "POST", "/v1/workflows/people", "x", ada, 405, api.CodeMethod, "the path takes DELETE, GET"},
		{"unknown workflow", "GET", "/v1/workflows/nobody", "", ada, 404, api.CodeNotFound, `"nobody"`},
		{"odd name", "GET", "/v1/workflows/a%2Fb%20c", "", ada, 404, api.CodeNotFound, `"a/b c"`},
		{"stop of an unknown workflow", "DELETE", "/v1/workflows/nobody", "", ada, 404, api.CodeNotFound, `"nobody"`},
		{"assignments of an unknown node", "GET", "/v1/nodes/nobody/assignments", "", ada, 404, api.CodeNotFound, "has it joined the gossip?"},
		{"index", "GET", "/v1/nodes/fog-1/assignments?after=-1", "", fog, 400, api.CodeInvalid, `after: "-1" is not an index`},
		{"index of events", "GET", "/v1/events?after=1x", "", ada, 400, api.CodeInvalid, `after: "1x" is not an index`},
		{"malformed JSON", "POST", "/v1/nodes/fog-1/report", `{"node": "fog-1", `, fog, 400, api.CodeInvalid, "the body cannot be read: unexpected EOF"},
		{"JSON of another kind", "POST", "/v1/nodes/fog-1/report", `{"node": 7}`, fog, 400, api.CodeInvalid, "cannot unmarshal number"},
		{"histogram", "POST", "/v1/nodes/fog-1/report", `{"node":"fog-1","sources":[{"latency":"HISTFAAAAA=="}]}`, fog, 400, api.CodeInvalid, "decode histogram"},
		{"empty report", "POST", "/v1/nodes/fog-1/report", "", fog, 400, api.CodeInvalid, "the body is empty"},
		{"report for another", "POST", "/v1/nodes/fog-1/report", reportOf(t, "edge-1"), fog, 400, api.CodeInvalid, `a report of node "edge-1" sent for node "fog-1"`},
		{"report of an unknown node", "POST", "/v1/nodes/nobody/report", reportOf(t, "nobody"), ada, 404, api.CodeNotFound, `"nobody"`},
		{"report of many instances", "POST", "/v1/nodes/fog-1/report", `{"node":"fog-1","stages":[` + strings.Repeat(`{},`, 2000) + `{}]}`, fog, 400, api.CodeInvalid, "at most 1024"},
		{"drain of an unknown node", "POST", "/v1/nodes/nobody/drain", `{"drain":true}`, ada, 404, api.CodeNotFound, `"nobody"`},
		{"drain by an agent", "POST", "/v1/nodes/fog-1/drain", `{"drain":true}`, fog, 403, api.CodeForbidden, "use an operator's certificate"},
		{"drain or not", "POST", "/v1/nodes/fog-1/drain", `{}`, ada, 400, api.CodeInvalid, `send {"drain": true} or {"drain": false}`},
		{"drain and more", "POST", "/v1/nodes/fog-1/drain", `{"drain":true,"force":true}`, ada, 400, api.CodeInvalid, `unknown field "force"`},
		{"drain of nothing", "POST", "/v1/nodes/fog-1/drain", ``, ada, 400, api.CodeInvalid, "the body is empty"},
		{"report too large", "POST", "/v1/nodes/fog-1/report", `{"node":"` + strings.Repeat("x", maxReport) + `"}`, fog, 413, api.CodeTooLarge, "the body is too large: at most 4 MiB"},
		{"document too large", "POST", "/v1/workflows", people + "#" + strings.Repeat("x", maxDocument), ada, 413, api.CodeTooLarge, "the body is too large: at most 1 MiB"},
		{"plan too large", "POST", "/v1/plan", people + "#" + strings.Repeat("x", maxDocument), ada, 413, api.CodeTooLarge, "at most 1 MiB"},
		{"body without use", "GET", "/v1/mesh", "x", ada, 200, "", ""},
		{"no document", "POST", "/v1/plan", "", ada, 422, api.CodeDocument, "workflow.yaml:1:1"},
		{"refused", "POST", "/v1/workflows", big, ada, 409, api.CodeRefused, "fog is short of"},
		{"plan refused", "POST", "/v1/plan", big, ada, 409, api.CodeRefused, "fog is short of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := c.by.request(c.method, c.path, c.body)
			if strings.HasSuffix(c.path, "/report") || strings.HasSuffix(c.path, "/drain") {
				req.Header.Set("Content-Type", "application/json")
			}
			a := c.by.send(mistaken(req))
			if a.status != c.status {
				t.Fatalf("status %d, want %d: %s", a.status, c.status, a.body)
			}
			if c.status/100 == 2 {
				return
			}
			e := a.problem(t)
			if e.Code != c.code || !strings.Contains(e.Detail, c.detail) {
				t.Errorf("%s: %s; want %s: …%s…", e.Code, e.Detail, c.code, c.detail)
			}
			if c.code == api.CodeMethod && a.header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
	if list := decode[[]api.Workflow](t, ada.do("GET", "/v1/workflows", "")); len(list) != 0 {
		t.Errorf("something was left: %+v", list)
	}

	t.Run("mistakes in a document have places", func(t *testing.T) {
		text := strings.Replace(people, "type: preprocess", "type: shallow", 1)
		e := ada.do("POST", "/v1/plan?file=cams/p.yaml", text).problem(t)
		if e.Status != 422 || e.Code != api.CodeDocument || len(e.Problems) != 1 {
			t.Fatalf("%+v", e)
		}
		if p := e.Problems[0]; p.File != "cams/p.yaml" || p.Line != 7 || p.Column != 28 || p.Field != "spec.tasks[0].type" || !strings.Contains(p.Message, "preprocess") {
			t.Errorf("problem %+v", p)
		}
		if !strings.HasPrefix(e.Detail, "cams/p.yaml:7:28: spec.tasks[0].type: ") {
			t.Errorf("detail %q", e.Detail)
		}
	})
	t.Run("a refusal says what is short", func(t *testing.T) {
		e := ada.do("POST", "/v1/plan", big).problem(t)
		var fog *tiering.Shortage
		for i := range e.Shortages {
			if e.Shortages[i].Tier == tiering.Fog {
				fog = &e.Shortages[i]
			}
		}
		if fog == nil || fog.Resource != "cores" || fog.Needed != 64000 || fog.Missing != fog.Needed-fog.Free || fog.Free == 0 {
			t.Errorf("shortages %+v", e.Shortages)
		}
	})
}

// TestCodes maps errors of the coordinator to answers that the document knows.
func TestCodes(t *testing.T) {
	f := newFake(t)
	ada := f.caller(pki.Operator, "ada")
	for _, c := range []struct {
		err    error
		status int
		code   api.Code
		detail string
	}{
		{fmt.Errorf("%w: 5 plans", coordinator.ErrConflict), 409, api.CodeConflict, "5 plans"},
		{fmt.Errorf("%w: workflow", coordinator.ErrInvalid), 400, api.CodeInvalid, "workflow"},
		{coordinator.ErrNoLeader, 503, api.CodeNoLeader, "no leader"},
		{fmt.Errorf("%w: lost", coordinator.ErrNotLeader), 503, api.CodeUncertain, "c1 lost the leadership meanwhile: it may or may not have been carried out"},
		{errors.New("disk full"), 500, api.CodeInternal, "disk full"},
	} {
		f.submit = func() error { return c.err }
		e := ada.do("POST", "/v1/workflows", people).problem(t)
		if e.Status != c.status || e.Code != c.code || !strings.Contains(e.Detail, c.detail) {
			t.Errorf("%v: %+v", c.err, e)
		}
		// Twice is once, but the caller is told all the same.
		if c.code == api.CodeUncertain {
			drain := ada.do("POST", "/v1/nodes/edge-1/drain", `{"drain":true}`, "Content-Type", "application/json").problem(t)
			if drain.Code != c.code || drain.Detail != e.Detail {
				t.Errorf("drain: %+v", drain)
			}
		}
		// A plan changes nothing, so nothing is uncertain.
		want := c.code
		if want == api.CodeUncertain {
			want = api.CodeNoLeader
		}
		if e := ada.do("POST", "/v1/plan", people).problem(t); e.Code != want {
			t.Errorf("plan: %v: %+v", c.err, e)
		}
	}
}

func TestBrowsersAreNotSentHereByOtherSites(t *testing.T) {
	f := newFake(t)
	f.submit = func() error { t.Error("submitted"); return nil }
	ada := f.caller(pki.Operator, "ada")
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		if e := ada.do("POST", "/v1/workflows", people, header...).problem(t); e.Code != api.CodeForbidden {
			t.Errorf("%v: %+v", header, e)
		}
	}
}

// TestFaultsAreLogged, but not that a caller has gone.
func TestFaultsAreLogged(t *testing.T) {
	f := newFake(t)
	var log bytes.Buffer
	f.server.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	f.submit = func() error { return errors.New("disk full") }
	r := f.as(pki.Operator, "ada", "POST", "/v1/plan", people)
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	f.server.handler().ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
	f.server.handler().ServeHTTP(httptest.NewRecorder(), f.as(pki.Operator, "ada", "POST", "/v1/plan", people))
	if s := log.String(); !strings.Contains(s, "disk full") || !strings.Contains(s, "path=/v1/plan") {
		t.Errorf("logged %q", s)
	}
}
