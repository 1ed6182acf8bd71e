package coordinator

import (
	"errors"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

func TestPutProfiles(t *testing.T) {
	cl := newCluster(t, "c1", "c2", "c3")
	cl.gossip.set(worker("fog-1", tiering.Fog, 4), tiering.NodeAlive)
	cl.alive("fog-1")
	p := profile.Profile{
		Model: "yolo", Resolution: 416, Platform: profile.Platform{Backend: profile.CPU, Cores: 4},
		ExecuteP50: time.Millisecond, ExecuteP95: time.Millisecond, ExecuteMean: time.Millisecond, Load: time.Second,
		Energy: profile.Energy{Source: profile.Modelled}, Frames: 1, At: time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC),
	}
	put := func(node string, p profile.Profile) error {
		return cl.lead(func(c *Coordinator) error { return c.PutProfiles(t.Context(), node, []profile.Profile{p}) })
	}
	if err := put("fog-1", p); err != nil {
		t.Fatal(err)
	}
	cl.everywhere("the profile", func(s *state.Snapshot) bool { return len(s.ProfilesOf("fog-1")) == 1 })
	modified := func() uint64 { return cl.leader().Snapshot().Profiles()[0].ModifyIndex }
	before := modified()
	if err := put("fog-1", p); err != nil || modified() != before {
		t.Errorf("the same again: %v, written at %d and %d", err, before, modified())
	}
	p.ExecuteP95 = 2 * time.Millisecond
	if err := put("fog-1", p); err != nil || modified() == before {
		t.Errorf("another: %v, written at %d and %d", err, before, modified())
	}
	if err := put("fog-9", p); !errors.Is(err, ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	p.Frames = 0
	if err := put("fog-1", p); !errors.Is(err, profile.ErrInvalid) {
		t.Errorf("an absurd one: %v", err)
	}
}
