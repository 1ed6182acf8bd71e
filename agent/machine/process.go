package machine

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/process"
)

// Process is what this process uses of the machine.
type Process struct{ of *process.Process }

// Self is this process.
func Self() (*Process, error) {
	p, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("look at this process: %w", err)
	}
	return &Process{p}, nil
}

// Memory is what of the process is resident, in bytes: on Linux as
// /proc/self/statm has it, files that are mapped included.
func (p *Process) Memory() (int64, error) {
	m, err := p.of.MemoryInfo()
	if err != nil {
		return 0, fmt.Errorf("measure the memory of this process: %w", err)
	}
	return int64(m.RSS), nil
}

// CPU is the processor time that the process has had, of all its threads; on
// Linux to a hundredth of a second.
func (p *Process) CPU() (time.Duration, error) {
	t, err := p.of.Times()
	if err != nil {
		return 0, fmt.Errorf("measure the processor time of this process: %w", err)
	}
	return time.Duration((t.User + t.System) * float64(time.Second)), nil
}

// Processor is what the machine calls its processor; empty: nothing.
func Processor(ctx context.Context) string {
	all, err := cpu.InfoWithContext(ctx)
	if err != nil || len(all) == 0 {
		return ""
	}
	return all[0].ModelName
}
