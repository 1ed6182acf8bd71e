package experiment

import (
	"context"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/weft-mesh/weft/testbed"
)

// Result is everything that a result folder is made of.
type Result struct {
	Scenario     *testbed.Scenario
	ScenarioFile string // as the user named it
	ScenarioText []byte
	Version      string  // of weft
	Machine      Machine // that the experiment ran on
	CPUScale     float64 // that was in force; 0: the scenario's
	Recordings   []testbed.Recording
	Command      string // that runs it again; empty: not known
}

// scale is the CPU scale that was in force.
func (r *Result) scale() float64 {
	switch {
	case r.CPUScale > 0:
		return r.CPUScale
	case r.Scenario.CPUScale > 0:
		return r.Scenario.CPUScale
	}
	return 1
}

// of returns the recordings of one method, in order of their runs.
func (r *Result) of(m testbed.Method) []*testbed.Recording {
	var out []*testbed.Recording
	for i := range r.Recordings {
		if r.Recordings[i].Method == m {
			out = append(out, &r.Recordings[i])
		}
	}
	sortBy(out, func(r *testbed.Recording) int { return r.Run })
	return out
}

// Machine is the computer that an experiment ran on. What could not be found
// out is empty.
type Machine struct {
	CPU    string `json:"cpu"`    // model
	Cores  int    `json:"cores"`  // logical
	Memory uint64 `json:"memory"` // bytes
	OS     string `json:"os"`     // "debian 12.7"
	Kernel string `json:"kernel"`
	Arch   string `json:"arch"`
	Go     string `json:"go"` // version that weft was built with
}

// DescribeMachine describes the computer that it runs on, as far as it can.
func DescribeMachine(ctx context.Context) Machine {
	m := Machine{Cores: runtime.NumCPU(), Arch: runtime.GOARCH, OS: runtime.GOOS, Go: runtime.Version()}
	if infos, err := cpu.InfoWithContext(ctx); err == nil && len(infos) > 0 {
		m.CPU = strings.Join(strings.Fields(infos[0].ModelName), " ")
	}
	if v, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		m.Memory = v.Total
	}
	if platform, _, version, err := host.PlatformInformationWithContext(ctx); err == nil && platform != "" {
		m.OS = strings.TrimSpace(platform + " " + version)
	}
	if kernel, err := host.KernelVersionWithContext(ctx); err == nil {
		m.Kernel = kernel
	}
	return m
}
