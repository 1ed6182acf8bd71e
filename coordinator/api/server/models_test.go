package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/tiering"
)

// shelf is a node's models: the built-in catalogue and one file.
type shelf struct {
	data []byte
	own  *catalog.Catalog // nil: none
}

func (s *shelf) digest() string {
	sum := sha256.Sum256(s.data)
	return hex.EncodeToString(sum[:])
}

func (s *shelf) Catalogue() *catalog.Catalog {
	if s.own != nil {
		return s.own
	}
	return catalog.Builtin()
}

type blob struct{ *bytes.Reader }

func (blob) Close() error { return nil }

func (s *shelf) Blob(digest string) (io.ReadSeekCloser, int64, error) {
	if digest != s.digest() {
		return nil, 0, store.ErrMissing
	}
	return blob{bytes.NewReader(s.data)}, int64(len(s.data)), nil
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := &shelf{data: bytes.Repeat([]byte("weights "), 100_000)}
	f.server.cfg.Library = s
	c := f.caller(pki.Agent, "edge-1")
	path := "/v1/blobs/sha256:" + s.digest()
	a := c.do("GET", path, "")
	if a.status != http.StatusOK || string(a.body) != string(s.data) || a.header.Get("ETag") != `"sha256:`+s.digest()+`"` {
		t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.header)
	}
	for _, x := range []struct {
		ifRange string
		status  int
		body    string
	}{
		{"", http.StatusPartialContent, string(s.data[799_990:])},
		{`"sha256:` + s.digest() + `"`, http.StatusPartialContent, string(s.data[799_990:])},
		{`"another"`, http.StatusOK, string(s.data)},
	} {
		headers := []string{"Range", "bytes=799990-"}
		if x.ifRange != "" {
			headers = append(headers, "If-Range", x.ifRange)
		}
		if a := c.do("GET", path, "", headers...); a.status != x.status || string(a.body) != x.body {
			t.Errorf("if %q: %d, %d bytes", x.ifRange, a.status, len(a.body))
		}
	}
	for path, code := range map[string]api.Code{
		"/v1/blobs/sha256:" + strings.Repeat("0", 64):             api.CodeNotFound,
		"/v1/blobs/sha256:" + strings.ToUpper(s.digest()):         api.CodeInvalid,
		"/v1/blobs/sha1:" + s.digest():                            api.CodeInvalid,
		"/v1/blobs/sha256:..%2f..%2fetc%2fpasswd":                 api.CodeInvalid,
		"/v1/blobs/sha256:" + s.digest()[:63] + "%00":             api.CodeInvalid,
		"/v1/blobs/sha256:" + s.digest() + strings.Repeat("a", 9): api.CodeInvalid,
	} {
		if e := c.send(mistaken(c.request("GET", path, ""))).problem(t); e.Code != code {
			t.Errorf("%s: %+v", path, e)
		}
	}
	// A few at a time.
	var release []func()
	for range maxBlobsEach {
		r, err := f.server.blobs.take("spiffe://test/agent/edge/edge-1")
		if err != nil {
			t.Fatal(err)
		}
		release = append(release, r)
	}
	if a := c.do("GET", path, ""); a.status != http.StatusTooManyRequests {
		t.Errorf("one more: %d", a.status)
	}
	for _, r := range release {
		r()
	}
	if a := c.do("GET", path, ""); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A workflow waits for models of which this coordinator knows too little to have
// nodes get them: its status says so, of what runs and of what is to run next.
func TestModelsThatNodesAreNotToldOf(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	own, err := catalog.Load("own.yaml", []byte("apiVersion: weft/v1\nkind: Catalogue\nmodels:\n  - {name: odd, format: onnx, files: [{role: model, name: odd.onnx}], resolutions: [416], fit: stretch, classes: people}\n"))
	if err != nil {
		t.Fatal(err)
	}
	f.server.cfg.Library = &shelf{own: own}
	submit := func(model string, awaits bool) {
		t.Helper()
		w := &tiering.Workflow{
			Name: "cars", Sources: []tiering.Source{{Name: "gate", Node: "edge-1", Resolution: 416}},
			Tasks: []tiering.Task{{Name: "detect@416", Group: "detect", Type: tiering.DeepModel, Operation: "detect", Model: &tiering.Model{Name: model, Family: model, Resolution: 416}}},
		}
		plan := &tiering.Plan{Workflow: "cars", Awaits: awaits, Unplaced: []tiering.Unplaced{{Name: "detect@416", Reason: "waits"}}}
		if !awaits {
			plan.Place = []tiering.Placement{{ID: tiering.SlotID("cars", "gate", 0), Workflow: "cars", Task: "gate", Source: true, Node: "edge-1", Tier: tiering.Edge}}
		}
		f.apply(&state.SubmitWorkflow{Workflow: w, Plan: plan, At: time.Now()})
	}
	said := func() (stage, next string) {
		t.Helper()
		s := api.WorkflowStatus{Workflow: "cars", Stages: []api.StageStatus{{Task: "detect@416", Message: "waits"}}}
		if w, _ := f.Snapshot().Workflow("cars"); w.Next != nil {
			s.Next = &api.NextVersion{Version: w.Next.Version, Reason: w.Next.Reason}
		}
		f.server.explain(&s)
		if s.Next != nil {
			next = s.Next.Reason
		}
		return s.Stages[0].Message, next
	}
	submit("odd", false)
	if stage, _ := said(); stage != "waits; coordinator c1 knows no digest of odd.onnx, so nodes do not get it; have the file there once, with `weft models pull odd`" {
		t.Error(stage)
	}
	submit("lost", true)
	if _, next := said(); next != "detect@416: waits; coordinator c1 has no model lost in its catalogue, so nodes do not get it; add it there with `weft models add`" {
		t.Error(next)
	}
	if as := f.server.wanted(f.Snapshot(), "edge-1"); len(as) != 0 {
		t.Errorf("edge-1 is told of %+v", as)
	}
	f.apply(&state.StopWorkflow{Name: "cars", At: time.Now()})
	if stage, next := said(); stage != "waits" || next != "" {
		t.Errorf("stopped: %q, %q", stage, next)
	}
}

// Nodes are told of models that workflows name, and the list says who still
// lacks them.
func TestModelsThatNodesAreToHave(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.server.cfg.Library = &shelf{}
	f.run()
	w := &tiering.Workflow{
		Name: "cars", Sources: []tiering.Source{{Name: "gate", Node: "edge-1", Resolution: 416}},
		Tasks: []tiering.Task{{Name: "detect@416", Group: "detect", Type: tiering.DeepModel, Operation: "detect", Model: &tiering.Model{Name: "yolox-nano", Family: "yolox", Resolution: 416}}},
	}
	f.apply(&state.RegisterNode{Node: worker("fog-9", tiering.Fog, 4), At: time.Now()})
	f.apply(&state.SubmitWorkflow{Workflow: w, Plan: &tiering.Plan{Workflow: "cars", Unplaced: []tiering.Unplaced{{Name: "detect@416", Reason: "waits"}}}, At: time.Now()})
	as := decode[api.Assignments](t, f.caller(pki.Agent, "fog-9").do("GET", "/v1/nodes/fog-9/assignments", ""))
	want, _ := catalog.Builtin().Lookup("yolox-nano")
	if len(as.Models) != 1 || as.Models[0].Name != "yolox-nano" || as.Models[0].Files[0].SHA256 != want.Files[0].SHA256 {
		t.Errorf("it is told of %+v", as.Models)
	}
	for _, m := range decode[[]api.Model](t, f.caller(pki.Operator, "ada").do("GET", "/v1/models", "")) {
		if m.Name == "yolox-nano" != slices.Contains(m.Awaited, "fog-9") {
			t.Errorf("%s is awaited on %v", m.Name, m.Awaited)
		}
	}
}
