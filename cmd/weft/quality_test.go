package main

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/adaptation/quality"
	"github.com/weft-mesh/weft/coordinator/api"
)

// decided is how a leader would answer about three cameras of which two are
// admitted, on a detector that serves one and a half at its best.
func decided(t *testing.T) api.QualityStatus {
	t.Helper()
	at := func(resolution int, service time.Duration, f1 float64) quality.Option {
		station := "detect@512"
		if resolution == 416 {
			station = "detect@416"
		}
		return quality.Option{
			Quality: quality.Quality{Model: "street", Resolution: resolution, Every: 1}, Accuracy: f1,
			Path: quality.Path{{Task: station, Execution: quality.Visit{Station: station, Service: service, Delay: 5 * time.Millisecond}}},
		}
	}
	view := quality.View{
		Workflow: "streets",
		Stations: []quality.Station{{Name: "detect@512", Servers: 1}, {Name: "detect@416", Servers: 1}},
		Classes: []quality.Class{{
			Name: "street@512 at 5/s", FPS: 5, Own: quality.Quality{Model: "street", Resolution: 512, Every: 1},
			Options: []quality.Option{at(512, 125*time.Millisecond, 0.9), at(416, 110*time.Millisecond, 0.85)},
			Sources: []quality.Source{{Name: "east"}, {Name: "north"}, {Name: "south"}},
		}},
	}
	params := quality.DefaultParams()
	params.MinAccuracy = 0.87 // more than 416 has: the third camera is held
	d, err := quality.Decide(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), view, params, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Sources) != 2 || len(d.Refused) != 1 {
		t.Fatalf("%d admitted, %d refused", len(d.Sources), len(d.Refused))
	}
	s := api.QualityStatus{Workflow: "streets", Decision: &d, Error: 0.12, Predictions: 34, F1: 0.874}
	for i, a := range d.Sources {
		x := api.SourceQuality{Source: a.Source, Quality: a.Quality, Estimated: float64(a.Latency) / 1e6, Accuracy: a.Accuracy, Why: a.Why}
		if i == 0 {
			x.Measured = 181.4
		} else {
			x.Estimated = float64(math.MaxInt64) / 1e6 // saturated
		}
		s.Sources = append(s.Sources, x)
	}
	for _, r := range d.Refused {
		s.Sources = append(s.Sources, api.SourceQuality{Source: r.Source, Held: r.Why, Why: r.Why})
	}
	return s
}

func TestQuality(t *testing.T) {
	f := startFake(t)
	f.answer("GET /v1/workflows", []api.Workflow{{Name: "dock", Status: "running"}, {Name: "old", Status: "stopped"}, {Name: "streets", Status: "running"}})
	f.answer("GET /v1/workflows/streets/quality", decided(t))
	f.answer("GET /v1/workflows/dock/quality", api.QualityStatus{Workflow: "dock", Idle: "not adapted: its document says so", Sources: []api.SourceQuality{}})
	f.fail("GET /v1/workflows/none/quality", api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Detail: `not found: workflow "none"`})

	golden(t, "quality.txt", weft(t, f.config, "quality").want(t, exitOK, "").out)
	golden(t, "quality-explain.txt", weft(t, f.config, "quality", "explain", "streets").want(t, exitOK, "").out)
	if out := weft(t, f.config, "quality", "explain", "dock").want(t, exitOK, "").out; !strings.Contains(out, "its document says so") {
		t.Errorf("what is not adapted: %s", out)
	}
	var got []api.QualityStatus
	if err := json.Unmarshal([]byte(weft(t, f.config, "quality", "streets", "-o", "json").want(t, exitOK, "").out), &got); err != nil || len(got) != 1 || len(got[0].Sources) != 3 || got[0].Decision == nil {
		t.Errorf("as JSON: %+v, %v", got, err)
	}
	weft(t, f.config, "quality", "none").want(t, exitFailure, "none")
	weft(t, f.config, "quality", "explain").want(t, exitUsage, "WORKFLOW")
}
