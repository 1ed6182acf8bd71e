package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/upgradetest"
	"github.com/weft-mesh/weft/pipeline"
)

// v1Assignments is how an agent of the first release reads an answer, down to
// every name that it knows. It is not to be changed.
type v1Assignments struct {
	Index       uint64 `json:"index"`
	Assignments []struct {
		Placement struct {
			ID        string      `json:"id"`
			Workflow  string      `json:"workflow"`
			Task      string      `json:"task"`
			Source    bool        `json:"source"`
			Instance  int         `json:"instance"`
			Node      string      `json:"node"`
			Tier      string      `json:"tier"`
			Category  string      `json:"category"`
			Requested v1Resources `json:"requested"`
			Reserved  v1Resources `json:"reserved"`
			Reason    string      `json:"reason"`
		} `json:"placement"`
		Source *struct {
			Name       string  `json:"name"`
			URI        string  `json:"uri"`
			Node       string  `json:"node"`
			FPS        float64 `json:"fps"`
			Resolution int     `json:"resolution"`
		} `json:"source"`
		Task *struct {
			Name      string `json:"name"`
			Group     string `json:"group"`
			Type      string `json:"type"`
			Operation string `json:"operation"`
			Model     *struct {
				Name       string `json:"name"`
				Family     string `json:"family"`
				Resolution int    `json:"resolution"`
				Fit        string `json:"fit"`
			} `json:"model"`
			Backend struct {
				Name     string `json:"name"`
				Required bool   `json:"required"`
			} `json:"backend"`
			Request  v1Resources       `json:"request"`
			Platform string            `json:"platform"`
			Store    bool              `json:"store"`
			Replicas int               `json:"replicas"`
			Settings map[string]string `json:"settings"`
		} `json:"task"`
		Objectives struct {
			MinAccuracy float64       `json:"min_accuracy"`
			Deadline    time.Duration `json:"deadline"`
		} `json:"objectives"`
		Groups []string `json:"groups"`
		Next   []struct {
			Instance string `json:"instance"`
			Group    string `json:"group"`
			Node     string `json:"node"`
			Tier     string `json:"tier"`
			Address  string `json:"address"`
			Link     struct {
				From      string `json:"from"`
				To        string `json:"to"`
				Transport string `json:"transport"`
				Encoding  string `json:"encoding"`
				Quality   int    `json:"quality"`
			} `json:"link"`
			Accepts struct {
				Type       string `json:"type"`
				Format     string `json:"format"`
				Resolution int    `json:"resolution"`
			} `json:"accepts"`
			Fit string `json:"fit"`
		} `json:"next"`
	} `json:"assignments"`
}

type v1Resources struct {
	CPU    int64 `json:"cpu_m"`
	Memory int64 `json:"memory"`
	Disk   int64 `json:"disk"`
}

// cars is a workflow that uses all that the first release has.
const cars = `apiVersion: weft/v1
kind: Workflow
metadata: {name: people}
spec:
  objectives: {minAccuracy: 0.1, deadline: 1500ms}
  sources: [{name: cam, uri: "rtsp://viewer:secret@camera/live", node: edge-1, fps: 12.5, resolution: 512}]
  tasks:
    - {name: resize, type: preprocess, resources: {cpu: 100m, memory: 64MiB}}
    - {name: detect, type: shallow-model, models: [{name: hog-people, resolutions: [512]}], resources: {cpu: 1, memory: 512MiB}}
    - {name: draw, type: postprocess, store: true, settings: {retain: 10}, resources: {cpu: 500m, memory: 128MiB}}
  links:
    - {from: cam, to: resize}
    - {from: resize, to: detect, encoding: jpeg, quality: 77}
    - {from: detect, to: draw}
`

// An agent of the first release is played against today's server: it asks
// what to run and reports, with the requests and bodies that it sends, and
// finds in the answer all that it looks for.
func TestAgentOfVersion1(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "c1")
	ada := m.operator(m.only())
	if _, err := ada.Submit(t.Context(), "people.yaml", []byte(cars)); err != nil {
		t.Fatal(err)
	}
	agent := func(node string) func(method, path, body string) answer {
		tr := api.NewTransport(m.issue(pki.Agent, node).ClientTLS(pki.Coordinator), nil, nil)
		t.Cleanup(tr.CloseIdleConnections)
		return func(method, path, body string) answer {
			req, err := http.NewRequestWithContext(t.Context(), method, "https://"+m.only().server.Addr()+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			resp, err := (&http.Client{Transport: tr}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return answer{resp.StatusCode, resp.Header, b}
		}
	}
	ask := func(node, after string) (v v1Assignments) {
		a := agent(node)("GET", "/v1/nodes/"+node+"/assignments?after="+after, "")
		if a.status != http.StatusOK {
			t.Fatalf("%s asks: %d %s", node, a.status, a.body)
		}
		if err := json.NewDecoder(bytes.NewReader(a.body)).Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}

	edge := ask("edge-1", "0")
	if edge.Index == 0 || len(edge.Assignments) != 2 {
		t.Fatalf("edge-1 is told %+v", edge)
	}
	cam, resize := edge.Assignments[0], edge.Assignments[1]
	if p := cam.Placement; p.ID != "people/cam#0" || p.Workflow != "people" || p.Task != "cam" || !p.Source || p.Node != "edge-1" || p.Tier != "edge" || p.Reason == "" {
		t.Errorf("placement of the source: %+v", p)
	}
	if s := cam.Source; s == nil || cam.Task != nil || s.Name != "cam" || s.URI != "rtsp://viewer:secret@camera/live" || s.Node != "edge-1" || s.FPS != 12.5 || s.Resolution != 512 {
		t.Errorf("source: %+v", s)
	}
	if o := cam.Objectives; o.MinAccuracy != 0.1 || o.Deadline != 1500*time.Millisecond {
		t.Errorf("objectives: %+v", o)
	}
	if len(cam.Groups) != 1 || cam.Groups[0] != "resize" || len(cam.Next) != 1 {
		t.Fatalf("the source's frames go to %v, %+v", cam.Groups, cam.Next)
	}
	if len(resize.Next) != 1 || resize.Next[0].Group != "detect" {
		t.Fatalf("resized frames go to %+v", resize.Next)
	}
	o := resize.Next[0]
	if o.Instance != "people/detect@512#0" || o.Node != "fog-1" || o.Tier != "fog" || o.Address != "fog-1:7947" || o.Fit == "" ||
		o.Accepts.Type != "image" || o.Accepts.Resolution != 512 ||
		o.Link.From != "resize" || o.Link.To != "detect" || o.Link.Transport != "quic" || o.Link.Encoding != "jpeg" || o.Link.Quality != 77 {
		t.Errorf("offer: %+v", o)
	}
	for _, a := range ask("fog-1", "0").Assignments {
		p, k := a.Placement, a.Task
		if a.Source != nil || k == nil || p.Category == "" || p.Reserved.CPU == 0 || p.Requested.Memory == 0 || k.Name != p.Task || k.Type == "" || k.Request.CPU == 0 || k.Replicas != 1 {
			t.Errorf("fog-1 is told %+v, task %+v", a, k)
			continue
		}
		switch k.Operation {
		case "detect":
			if k.Group != "detect" || k.Model == nil || k.Model.Name != "hog-people" || k.Model.Family == "" || k.Model.Resolution != 512 || k.Model.Fit == "" {
				t.Errorf("detection: %+v, model %+v", k, k.Model)
			}
		case "draw":
			if !k.Store || k.Settings["retain"] != "10" {
				t.Errorf("drawing: %+v", k)
			}
		default:
			t.Errorf("operation %q", k.Operation)
		}
	}

	// A question for news is answered when there is some, at an index that is
	// higher.
	news := make(chan v1Assignments, 1)
	go func() { news <- ask("edge-1", "1") }()
	if v := receive(t, "an answer", news); v.Index != edge.Index {
		t.Errorf("asked for what is newer than 1, got %d, the newest is %d", v.Index, edge.Index)
	}

	// A report as it was recorded, and one with what is not known yet.
	golden := upgradetest.Read(t, "../testdata/v1/report.json")
	for _, body := range [][]byte{golden, upgradetest.WithMore(t, golden, "dropped", "detections")} {
		if a := agent("edge-1")("POST", "/v1/nodes/edge-1/report", string(body)); a.status != http.StatusNoContent {
			t.Fatalf("the report is answered with %d %s", a.status, a.body)
		}
		s, err := ada.Workflow(t.Context(), "people")
		if err != nil {
			t.Fatal(err)
		}
		f := s.Frames
		if f.Captured != 20 || f.Delivered != 12 || f.InFlight != 3 || f.Dropped[pipeline.ReasonQueueFull] != 4 || f.Dropped[pipeline.ReasonDeadline] != 1 || s.Detections["person"] != 9 {
			t.Errorf("the leader has counted %+v, %v", f, s.Detections)
		}
	}
}
