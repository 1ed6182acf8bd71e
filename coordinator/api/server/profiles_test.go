package server

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

func yolo(resolution int) profile.Profile {
	return profile.Profile{
		Model: "yolo", Resolution: resolution, Platform: profile.Platform{Backend: profile.CPU, Processor: "Cortex-A72", Cores: 4},
		ExecuteP50: 80 * time.Millisecond, ExecuteP95: 90 * time.Millisecond, ExecuteMean: 82 * time.Millisecond, Load: time.Second, Memory: 90 << 20,
		Energy: profile.Energy{JoulesPerFrame: 0.5, Source: profile.Modelled}, Frames: 50, At: time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC),
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ada, edge := f.caller(pki.Operator, "ada"), f.caller(pki.Agent, "edge-1")
	if a := ada.do("GET", "/v1/profiles", ""); a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != "[]" {
		t.Errorf("none: %d %s", a.status, a.body)
	}
	f.apply(&state.RegisterNode{Node: worker("fog-1", tiering.Fog, 2)})
	f.apply(&state.PutProfiles{Node: "fog-1", Profiles: []profile.Profile{yolo(512), yolo(416)}})
	f.apply(&state.PutProfiles{Node: "edge-1", Profiles: []profile.Profile{yolo(416)}})
	var got []api.NodeProfile
	if err := json.Unmarshal(ada.do("GET", "/v1/profiles?consistent=true", "").body, &got); err != nil {
		t.Fatal(err)
	}
	if want := []api.NodeProfile{{Node: "edge-1", Profile: yolo(416)}, {Node: "fog-1", Profile: yolo(416)}, {Node: "fog-1", Profile: yolo(512)}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	// Its own it hears with what it is to run.
	var as api.Assignments
	if err := json.Unmarshal(edge.do("GET", "/v1/nodes/edge-1/assignments", "").body, &as); err != nil || !reflect.DeepEqual(as.Profiles, []profile.Profile{yolo(416)}) {
		t.Errorf("%+v, %v", as, err)
	}

	body := func(ps ...profile.Profile) string {
		b, err := json.Marshal(api.Profiles{Profiles: ps})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	put := func(body string) answer {
		return edge.do("PUT", "/v1/nodes/edge-1/profiles", body, "Content-Type", "application/json")
	}
	if a := put(body(yolo(512))); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	bad := yolo(512)
	bad.Frames = 0
	for what, tc := range map[string]struct {
		body, detail string
		code         api.Code
	}{
		"none":      {body(), "0 profiles: send 1 to 64", api.CodeInvalid},
		"absurd":    {body(yolo(416), bad), "profiles[1]: invalid profile: frames is 0", api.CodeInvalid},
		"too many":  {body(make([]profile.Profile, 65)...), "65 profiles: send 1 to 64", api.CodeInvalid},
		"empty":     {"", "the body is empty", api.CodeInvalid},
		"garbled":   {`{"profiles": 7}`, "cannot unmarshal number", api.CodeInvalid},
		"too large": {`{"profiles": "` + strings.Repeat("x", maxProfiles) + `"}`, "the body is too large: at most 64 KiB", api.CodeTooLarge},
	} {
		r := mistaken(edge.request("PUT", "/v1/nodes/edge-1/profiles", tc.body))
		r.Header.Set("Content-Type", "application/json")
		if e := edge.send(r).problem(t); e.Code != tc.code || !strings.Contains(e.Detail, tc.detail) {
			t.Errorf("%s: %+v", what, e)
		}
	}
}
