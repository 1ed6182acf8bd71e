package machine_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/weft-mesh/weft/agent/machine"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/models/profile/bench"
)

// sysfs writes a tree as powercap has it: two processors, their memory, and what
// is a part of something else.
func sysfs(t *testing.T, energy map[string]uint64) string {
	t.Helper()
	dir := t.TempDir()
	for zone, name := range map[string]string{
		"intel-rapl": "", "intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:1": "package-1",
		"intel-rapl:2": "psys", "intel-rapl-mmio:0": "package-0", "dtpm": "",
	} {
		if err := os.MkdirAll(filepath.Join(dir, zone), 0o755); err != nil {
			t.Fatal(err)
		}
		if name == "" {
			continue
		}
		count(t, dir, zone, "name", name)
		count(t, dir, zone, "max_energy_range_uj", "262143328850")
		count(t, dir, zone, "energy_uj", fmt.Sprint(energy[zone]))
	}
	return dir
}

func count(t *testing.T, dir, zone, file, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, zone, file), []byte(value+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRAPL(t *testing.T) {
	used := bench.Use{CPU: 2 * time.Second, Elapsed: time.Second}
	start := map[string]uint64{
		"intel-rapl:0": 1_000_000, "intel-rapl:0:0": 500_000, "intel-rapl:0:1": 7, "intel-rapl:1": 262143328850 - 250_000, "intel-rapl:2": 9, "intel-rapl-mmio:0": 1,
	}
	for what, tc := range map[string]struct {
		meanwhile func(dir string)
		joules    float64
		source    profile.EnergySource
	}{
		// 5 J and 0.5 J of memory, and 1 J of the other, whose counter began again.
		"two processors": {func(dir string) {
			count(t, dir, "intel-rapl:0", "energy_uj", "6000000")
			count(t, dir, "intel-rapl:0:0", "energy_uj", "5000000")
			count(t, dir, "intel-rapl:0:1", "energy_uj", "500007")
			count(t, dir, "intel-rapl:1", "energy_uj", "750000")
			count(t, dir, "intel-rapl:2", "energy_uj", "90000000")
		}, 6.5, profile.RAPL},
		"it stands still": {func(string) {}, 12, profile.Modelled},
		"one is gone": {func(dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "intel-rapl:1")); err != nil {
				t.Fatal(err)
			}
		}, 12, profile.Modelled},
		"no number": {func(dir string) { count(t, dir, "intel-rapl:0", "energy_uj", "much") }, 12, profile.Modelled},
		"beyond its range": {func(dir string) {
			count(t, dir, "intel-rapl:0", "energy_uj", "262143328851")
		}, 12, profile.Modelled},
	} {
		dir := sysfs(t, start)
		p := &machine.Power{Powercap: os.DirFS(dir), Processor: "Intel(R) Xeon(R) Gold"}
		end := p.Energy(t.Context(), profile.CPU)
		tc.meanwhile(dir)
		if joules, source := end(used); math.Abs(joules-tc.joules) > 1e-9 || source != tc.source {
			t.Errorf("%s: %g J by %s, want %g by %s", what, joules, source, tc.joules, tc.source)
		}
	}
	none := &machine.Power{Powercap: fstest.MapFS{}}
	if joules, source := none.Energy(t.Context(), profile.CPU)(used); joules != 12 || source != profile.Modelled {
		t.Errorf("without RAPL: %g J by %s", joules, source)
	}
	nowhere := &machine.Power{Powercap: os.DirFS("/nowhere/at/all")}
	if _, source := nowhere.Energy(t.Context(), profile.CPU)(used); source != profile.Modelled {
		t.Errorf("without the folder: by %s", source)
	}
}

// script stands for nvidia-smi.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nvidia-smi")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestNvidiaSMI(t *testing.T) {
	used := bench.Use{CPU: time.Second, Elapsed: 2 * time.Second}
	done := filepath.Join(t.TempDir(), "done")
	const loops = "*--query-gpu=power.draw*--loop-ms=*"
	p := &machine.Power{NvidiaSMI: script(t, `case "$*" in `+loops+`) ;; *) exit 3;; esac
echo 100.00; echo "[N/A]"; echo 50.00; : > `+done+`; exec sleep 600
`)}
	end := p.Energy(t.Context(), profile.CUDA)
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, err := os.Stat(done); err != nil; _, err = os.Stat(done) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it was not started")
		}
	}
	if joules, source := end(used); joules != 150 || source != profile.NVIDIA {
		t.Errorf("%g J by %s", joules, source)
	}
	for what, command := range map[string]string{
		"no such command":  "/nowhere/nvidia-smi",
		"it fails":         script(t, "echo 'No devices were found'; exit 6\n"),
		"it does not know": script(t, "echo '[N/A]'; echo nan; echo -1\n"),
	} {
		p.NvidiaSMI = command
		if joules, source := p.Energy(t.Context(), profile.CUDA)(used); joules != 300 || source != profile.Modelled {
			t.Errorf("%s: %g J by %s", what, joules, source)
		}
	}
	if got := machine.GPU(t.Context(), script(t, "echo NVIDIA H100 80GB HBM3\n")); got != "NVIDIA H100 80GB HBM3" {
		t.Errorf("the GPU is %q", got)
	}
	if got := machine.GPU(t.Context(), "/nowhere/nvidia-smi"); got != "" {
		t.Errorf("the GPU is %q", got)
	}
}

func TestModelled(t *testing.T) {
	used := bench.Use{CPU: 2 * time.Second, Elapsed: time.Second}
	for processor, want := range map[string]float64{
		"": 12, "Cortex-A72": 2.4, "AMD EPYC 7763 64-Core Processor": 9, "Intel(R) Core(TM) i7-1165G7": 18, "Intel(R) Xeon(R) Platinum": 12,
	} {
		if got := machine.Modelled(processor, profile.CPU, used); got != want {
			t.Errorf("%q: %g J, want %g", processor, got, want)
		}
	}
}

// This process grows, and works.
func TestProcess(t *testing.T) {
	self, err := machine.Self()
	if err != nil {
		t.Fatal(err)
	}
	memory, err := self.Memory()
	if err != nil || memory < 1<<20 {
		t.Fatalf("%d bytes, %v", memory, err)
	}
	ballast := make([]byte, 64<<20)
	for i := 0; i < len(ballast); i += 512 {
		ballast[i] = byte(i)
	}
	if now, err := self.Memory(); err != nil || now < memory+48<<20 {
		t.Errorf("grew from %d to %d, %v", memory, now, err)
	}
	cpu, err := self.CPU()
	if err != nil {
		t.Fatal(err)
	}
	deadline, n := time.Now().Add(time.Minute), 0
	for now := cpu; now == cpu; now, err = self.CPU() {
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no time passes: %v", err)
		}
		n += strings.Count(string(ballast[:1<<20]), "x")
	}
	_ = n
	if _, err := self.CPU(); err != nil {
		t.Error(err)
	}
	_ = machine.Processor(context.Background()) // may be unknown
}
