package emulation

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// TestRealWeftd has three real nodes find each other, lose one and get it
// back, and asks the coordinator through the emulated network.
func TestRealWeftd(t *testing.T) {
	b := newBench(t)
	weftd := build(t)
	cfg := b.config("real")
	cfg.Weftd = weftd
	b.run(cfg, func(ctx context.Context, tb *Testbed) {
		id, addrs := tb.Operator()
		c := api.NewClientVia(tb.Dial("edge-1"), func() []string { return addrs }, id.ClientTLS(pki.Coordinator))
		defer c.Close()
		expect := func(what string, want map[string]tiering.NodeStatus) {
			t.Helper()
			eventually(t, what, func() bool {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				nodes, err := c.Nodes(ctx)
				if err != nil || len(nodes) != len(want) {
					return false
				}
				for _, n := range nodes {
					if n.Status != want[n.ID] {
						return false
					}
					if n.Capacity.CPU != 1500 || n.Capacity.Memory != 512<<20 {
						t.Errorf("%s offers %+v", n.ID, n.Capacity)
					}
				}
				return true
			})
		}
		up, down := tiering.NodeAlive, tiering.NodeFailed
		expect("all are alive", map[string]tiering.NodeStatus{"edge-1": up, "fog-1": up, "cloud-1": up})
		if err := tb.Limit(true); err != nil {
			t.Error(err)
		}
		for _, step := range []struct {
			testbed.Action
			fog tiering.NodeStatus
		}{{testbed.Kill, down}, {testbed.Start, up}} {
			if err := tb.Apply(ctx, testbed.Event{Action: step.Action, Node: "fog-1"}); err != nil {
				t.Fatal(err)
			}
			expect("fog-1 is known to be "+string(step.fog), map[string]tiering.NodeStatus{"edge-1": up, "fog-1": step.fog, "cloud-1": up})
		}
		s, err := b.place.Find("real")
		if err != nil {
			t.Fatal(err)
		}
		weft := filepath.Join(filepath.Dir(weftd), "weft")
		var out strings.Builder
		if code, err := Exec(ctx, s, "fog-1", []string{weft, "nodes"}, nil, &out, &out); err != nil || code != 0 || !strings.Contains(out.String(), "cloud-1") {
			t.Errorf("weft nodes on fog-1: exit code %d, %v: %s", code, err, out.String())
		}
	})
}

// build makes weftd and weft of these sources, beside each other, and with the
// race detector if this test has it: then what they are made of is there.
func build(t *testing.T) (weftd string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-buildvcs=false", "-o", dir + "/"}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	cmd := exec.Command(filepath.Join("scripts", "go"), append(args, "./cmd/weftd", "./cmd/weft")...)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build weftd and weft: %v\n%s", err, out)
	}
	return filepath.Join(dir, "weftd")
}
