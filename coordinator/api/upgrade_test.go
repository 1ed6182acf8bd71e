package api

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/upgradetest"
	"github.com/weft-mesh/weft/pipeline"
)

// What coordinators of the first release answer their agents is read by one
// of today.
func TestAssignmentsOfVersion1AreRead(t *testing.T) {
	golden := upgradetest.Read(t, "testdata/v1/assignments.json")
	m := newMesh(t)
	m.add("a", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(golden) })
	as, index, err := m.client.Assignments(t.Context(), "edge-1", 0)
	if err != nil {
		t.Fatal(err)
	}
	upgradetest.Holds(t, "assignments", Assignments{Index: index, Assignments: as}, golden)
}

// An answer may have more in it, anywhere: agents are not upgraded at the
// same moment as coordinators.
func TestAdditionsToAnAnswerAreSkipped(t *testing.T) {
	golden := upgradetest.Read(t, "testdata/v1/assignments.json")
	m := newMesh(t)
	m.add("a", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(golden) })
	was, _, err := m.client.Assignments(t.Context(), "edge-1", 0)
	if err != nil {
		t.Fatal(err)
	}
	more := newMesh(t)
	more.add("a", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(upgradetest.WithMore(t, golden, "settings"))
	})
	as, index, err := more.client.Assignments(t.Context(), "edge-1", 0)
	if err != nil || index != 1<<63+7 || !reflect.DeepEqual(as, was) {
		t.Errorf("got %+v, %d, %v", as, index, err)
	}
}

// Reports of the first release are read by today's code.
func TestReportOfVersion1IsRead(t *testing.T) {
	golden := upgradetest.Read(t, "testdata/v1/report.json")
	var r pipeline.Report
	if err := json.Unmarshal(golden, &r); err != nil {
		t.Fatal(err)
	}
	source, stage := r.Sources[0], r.Stages[0]
	for _, h := range []struct {
		name  string
		got   *pipeline.Histogram
		count int64
		max   time.Duration
	}{
		{"capture", source.Capture, 3, 5 * time.Millisecond}, {"latency", source.Latency, 2, 200 * time.Millisecond},
		{"queue", stage.Queue, 1, time.Millisecond}, {"transfer", stage.Transfer, 2, 3 * time.Millisecond},
		{"reduce", stage.Reduce, 1, 4 * time.Millisecond}, {"execute", stage.Execute, 3, 70 * time.Millisecond},
	} {
		if most := h.got.Quantile(1); h.got.Count() != h.count || (most-h.max).Abs() > h.max/50 {
			t.Errorf("%s: %d durations up to %v, want %d up to %v", h.name, h.got.Count(), most, h.count, h.max)
		}
	}
	upgradetest.Holds(t, "report", r, golden)
}

// What an agent of today sends is where the first release's coordinators
// look for it.
func TestRequestsAreThoseOfVersion1(t *testing.T) {
	m := newMesh(t)
	var got []string
	var body []byte
	m.add("a", func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.Path+" after="+r.URL.Query().Get("after")+" "+r.Header.Get("Content-Type"))
		if r.Method == http.MethodPost {
			body, _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, `{"index":1,"assignments":[]}`)
	})
	if _, _, err := m.client.Assignments(t.Context(), "edge-1", 12); err != nil {
		t.Fatal(err)
	}
	var r pipeline.Report
	golden := upgradetest.Read(t, "testdata/v1/report.json")
	if err := json.Unmarshal(golden, &r); err != nil {
		t.Fatal(err)
	}
	if err := m.client.Report(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := []string{"GET /v1/nodes/edge-1/assignments after=12 ", "POST /v1/nodes/edge-1/report after= application/json"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	upgradetest.Holds(t, "report", json.RawMessage(body), golden)
}
