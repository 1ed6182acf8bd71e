package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/models/profile"
)

// profiles are of two nodes, of which one has a GPU.
func profiles() []api.NodeProfile {
	p := profile.Profile{
		Model: "yolov4-tiny", Resolution: 416, Platform: profile.Platform{Backend: profile.CUDA, Processor: "NVIDIA H100 80GB HBM3", Cores: 16},
		ExecuteP50: 3100 * time.Microsecond, ExecuteP95: 3640 * time.Microsecond, ExecuteMean: 3200 * time.Microsecond,
		Load: 1543 * time.Millisecond, Memory: 812 << 20, Energy: profile.Energy{JoulesPerFrame: 0.4231, Source: profile.NVIDIA},
		Frames: 30, At: time.Now().UTC().Add(-3 * time.Hour).Truncate(time.Second),
	}
	q := p
	q.Platform = profile.Platform{Backend: profile.CPU, Processor: "Cortex-A72", Cores: 4}
	q.ExecuteP50, q.ExecuteP95, q.ExecuteMean, q.Live = 241*time.Millisecond, 1390*time.Millisecond, 312*time.Millisecond, true
	q.Energy, q.Memory = profile.Energy{JoulesPerFrame: 12.25, Source: profile.Modelled}, 0
	r := q
	r.Resolution, r.Platform.Processor, r.Live, r.Memory, r.Energy.Source = 512, "", false, 96<<20, profile.RAPL
	return []api.NodeProfile{{Node: "cloud-1", Profile: p}, {Node: "fog-1", Profile: q}, {Node: "fog-1", Profile: r}}
}

func TestModelsProfiles(t *testing.T) {
	f := startFake(t)
	want := profiles()
	f.answer("GET /v1/profiles", want)
	got := decode[[]api.NodeProfile](t, weft(t, f.config, "models", "profiles", "-o", "json").want(t, exitOK, ""))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	f = startFake(t)
	f.answer("GET /v1/profiles", []api.NodeProfile{})
	if c := weft(t, f.config, "models", "profiles").want(t, exitOK, ""); c.out != "nothing has been measured yet: nodes measure the models of workflows that are submitted\n" {
		t.Errorf("%q", c.out)
	}
}
