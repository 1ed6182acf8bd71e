package state

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

func measured(model string, resolution int, mean time.Duration, seconds int) profile.Profile {
	return profile.Profile{
		Model: model, Resolution: resolution, Platform: profile.Platform{Backend: profile.CPU, Processor: "Cortex-A72", Cores: 4},
		ExecuteP50: mean, ExecuteP95: 2 * mean, ExecuteMean: mean, Load: time.Second, Memory: 90 << 20,
		Energy: profile.Energy{JoulesPerFrame: 0.75, Source: profile.RAPL}, Frames: 50, At: at(seconds),
	}
}

func TestPutProfiles(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("fog-1", tiering.Fog, 4), node("fog-2", tiering.Fog, 4))
	low, high := measured("yolo", 416, 80*time.Millisecond, 30), measured("yolo", 512, 120*time.Millisecond, 30)
	before := f.Snapshot()
	put := func(node string, ps ...profile.Profile) error {
		r := f.do(&PutProfiles{Node: node, Profiles: ps, At: at(31)})
		if len(r.Events) > 0 {
			t.Errorf("events %v", r.Events)
		}
		return r.Err
	}
	if err := put("fog-1", high, low); err != nil {
		t.Fatal(err)
	}
	if got := f.Snapshot().ProfilesOf("fog-1"); !reflect.DeepEqual(got, []profile.Profile{low, high}) {
		t.Errorf("%+v", got)
	}
	if f.Snapshot().Revision() != before.Revision() {
		t.Error("agents hear of it")
	}
	slower := measured("yolo", 512, 200*time.Millisecond, 60)
	if err := errors.Join(put("fog-1", slower), put("fog-2", low)); err != nil {
		t.Fatal(err)
	}
	all := f.Snapshot().Profiles()
	if len(all) != 2 || !reflect.DeepEqual(all[0].Profiles, []profile.Profile{low, slower}) || all[1].Node != "fog-2" || len(before.Profiles()) != 0 {
		t.Errorf("%+v", all)
	}
	// One that returns has them, one that is forgotten has not.
	for _, cmd := range []Command{
		&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(70)}, &SetNodeStatus{Node: "fog-1", Status: tiering.NodeAlive, At: at(71)},
		&SetNodeStatus{Node: "fog-2", Status: tiering.NodeFailed, At: at(72)}, &ForgetNode{Node: "fog-2", At: at(73)},
	} {
		if r := f.do(cmd); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	s := f.Snapshot()
	if len(s.ProfilesOf("fog-1")) != 2 || s.ProfilesOf("fog-2") != nil {
		t.Errorf("%+v", s.Profiles())
	}
}

func TestPutProfilesRefused(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("fog-1", tiering.Fog, 4))
	good, bad := measured("yolo", 416, time.Millisecond, 1), measured("yolo", 512, time.Millisecond, 1)
	bad.Energy.JoulesPerFrame = math.NaN()
	for what, tc := range map[string]struct {
		do *PutProfiles
		is error
	}{
		"no such node":  {&PutProfiles{Node: "fog-9", Profiles: []profile.Profile{good}}, ErrNotFound},
		"none":          {&PutProfiles{Node: "fog-1"}, ErrInvalid},
		"too many":      {&PutProfiles{Node: "fog-1", Profiles: make([]profile.Profile, profile.MaxEach+1)}, ErrInvalid},
		"one is absurd": {&PutProfiles{Node: "fog-1", Profiles: []profile.Profile{good, bad}}, profile.ErrInvalid},
	} {
		if r := f.do(tc.do); !errors.Is(r.Err, tc.is) {
			t.Errorf("%s: %v", what, r.Err)
		}
	}
	if all := f.Snapshot().Profiles(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}
