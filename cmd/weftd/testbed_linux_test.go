package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
	"github.com/weft-mesh/weft/testbed/experiment"
	"github.com/weft-mesh/weft/testbed/experiment/live"
	"github.com/weft-mesh/weft/testbed/sim"
	"github.com/weft-mesh/weft/tiering"
)

// continuum is small: the fog dies and comes back, and a link gets slow.
const continuum = `apiVersion: weft/v1
kind: Scenario
metadata: {name: small-test}
spec:
  nodes:
    - {name: edge, count: 2, tier: edge, cores: 1, memory: 1GiB}
    - {name: fog-1, tier: fog, cores: 2, memory: 2GiB}
    - {name: cloud-1, tier: cloud, cores: 4, memory: 4GiB, coordinator: true, broker: true}
  network:
    tiers:
      - {between: [edge, edge], delay: 1ms}
      - {between: [edge, fog], delay: 4ms, rate: 30Mbit}
      - {between: [fog, cloud], delay: 5ms, rate: 100Mbit}
  workflow: people.yaml
  sources: [{name: cam, count: 2, uri: "videotest:", on: edge, fps: 2, resolution: 512}]
  measure: {warmup: 2s, duration: 22s, every: 500ms}
  timeline:
    - {at: 1s, link: {between: [edge, fog], rate: 3Mbit}, for: 2s}
    - {at: 4s, kill: fog-1, for: 5s}
`

// The small continuum on emulated machines and links, with real processes, and
// the same in virtual time.
func TestEmulatedContinuum(t *testing.T) {
	doc := strings.Replace(people("videotest:", 2, "[512]"), "{deadline: 2s}", "{deadline: 5s}", 1)
	s, err := testbed.Parse("small.yaml", []byte(continuum), func(string) ([]byte, error) { return []byte(doc), nil })
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name := fmt.Sprintf("weftd-test-%d", os.Getpid())
	var out []testbed.Recording
	cfg := emulation.Config{
		Name: name, Dir: filepath.Join(dir, "bed"), Weftd: daemonScript(t), CPUScale: 1, Version: "test",
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	bed, err := emulation.New(cfg, s)
	if errors.Is(err, emulation.ErrMissing) {
		t.Skipf("the emulated continuum is not tested: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	err = bed.Run(t.Context(), func(ctx context.Context) error {
		c := &live.Config{Scenario: s, Client: inside(t, bed), Ground: bed, Log: cfg.Log}
		if err := live.AwaitNodes(ctx, c); err != nil {
			return err
		}
		costs, err := live.Calibrate(ctx, c)
		if err != nil {
			return err
		}
		if err := bed.Limit(true); err != nil {
			return err
		}
		rec, err := live.Run(ctx, c)
		if rec != nil {
			rec.Run, rec.Shaping, rec.Costs = 1, bed.Shaping(), costs
			out = append(out, *rec)
		}
		return err
	})
	if err != nil {
		for _, n := range bed.Nodes() {
			t.Logf("%s: up %t %s\n%s", n.Name, n.Up, n.Exit, strings.Join(n.Log, "\n"))
		}
		t.Fatal(err)
	}
	if left, err := ns.List("weft-" + name); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	simulated, err := sim.Run(t.Context(), sim.Config{Scenario: s, Costs: out[0].Costs, Seed: 1, CPUScale: 1})
	if err != nil {
		t.Fatal(err)
	}
	simulated.Run = 1
	out = append(out, *simulated)
	for _, rec := range out {
		t.Run(string(rec.Method), func(t *testing.T) { mustSurvive(t, &rec) })
	}
	results := filepath.Join(dir, "results")
	if err := experiment.Write(results, &experiment.Result{
		Scenario: s, ScenarioFile: "small.yaml", ScenarioText: []byte(continuum), Version: "test", Recordings: out, CPUScale: 1,
		Machine: experiment.DescribeMachine(t.Context()),
	}); err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(filepath.Join(results, "report.md"))
	if err != nil || !strings.Contains(string(report), "kill fog-1") {
		t.Errorf("the report does not tell of the fog's death: %v", err)
	}
}

// mustSurvive checks what has to come of the continuum, however it was run:
// detection leaves the fog when that dies, and frames flow on.
func mustSurvive(t *testing.T, rec *testbed.Recording) {
	for _, x := range rec.Samples {
		if !x.Frames.Balanced() {
			t.Fatalf("at %s: captured %d ≠ delivered %d + dropped %v + in flight %d", x.At, x.Frames.Captured, x.Frames.Delivered, x.Frames.Dropped, x.Frames.InFlight)
		}
	}
	var events []string
	for _, m := range rec.Marks {
		if m.Error != "" {
			t.Errorf("%s: %s", m.Message, m.Error)
		}
		if m.Kind == testbed.Timeline {
			events = append(events, m.Type)
		}
	}
	if want := []string{"link", "restore", "kill", "start"}; !slices.Equal(events, want) {
		t.Errorf("events %v, want %v", events, want)
	}
	for _, want := range []state.EventType{state.NodeFailed, state.TaskMoved, state.NodeReturned} {
		if !slices.ContainsFunc(rec.Marks, func(m testbed.Mark) bool { return m.Kind == testbed.Decision && m.Type == string(want) }) {
			t.Errorf("no decision %s among %d marks", want, len(rec.Marks))
		}
	}
	var before, after uint64
	for _, x := range rec.Samples {
		if x.At < 4*time.Second {
			before = x.Frames.Delivered
		}
		after = x.Frames.Delivered
	}
	// On a busy machine the first frame may come after the fog has died.
	if before == 0 && rec.Method == testbed.Simulated || after <= before {
		t.Errorf("%d frames delivered before the fog died, %d in the end", before, after)
	}
	if i := slices.IndexFunc(rec.Totals.Placements, func(p tiering.Placement) bool { return p.Task == "detect@512" }); i < 0 || rec.Totals.Placements[i].Node != "cloud-1" {
		t.Errorf("placements in the end: %+v", rec.Totals.Placements)
	}
	if rec.Totals.Frames.Lost() == 0 {
		t.Error("a node was killed, and no frame is said to be lost")
	}
}

// daemonScript is a program that runs this test's binary as weftd: a testbed's
// nodes get no environment of ours.
func daemonScript(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "weftd")
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asDaemon, self)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// inside is a client that speaks to the coordinator from its own node.
func inside(t *testing.T, bed *emulation.Testbed) *api.Client {
	id, addresses := bed.Operator()
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		return bed.Dial("cloud-1")(ctx, network, address)
	}
	c := api.NewClientVia(dial, func() []string { return addresses }, id.ClientTLS(pki.Coordinator))
	t.Cleanup(c.Close)
	return c
}
