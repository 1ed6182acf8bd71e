// Package machine measures the machine that an agent runs on: what it has and
// what of that is unused, over gopsutil.
package machine

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/weft-mesh/weft/tiering"
)

// Capacity is what the machine has in total: its cores, its memory, and the
// size of the file system that dir is on.
func Capacity(ctx context.Context, dir string) (tiering.Resources, error) {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return tiering.Resources{}, fmt.Errorf("measure memory: %w", err)
	}
	d, err := disk.UsageWithContext(ctx, dir)
	if err != nil {
		return tiering.Resources{}, fmt.Errorf("measure disk at %s: %w", dir, err)
	}
	return tiering.Resources{
		CPU:    int64(runtime.NumCPU()) * 1000,
		Memory: int64(m.Total),
		Disk:   int64(d.Total),
	}, nil
}

// Watch tells every interval what is unused, until ctx ends: of the capacity
// that the node offers, which may be less than what the machine has.
func Watch(ctx context.Context, dir string, capacity tiering.Resources, every time.Duration, tell func(free tiering.Resources)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	before, err := times(ctx)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := times(ctx)
		if err != nil {
			return err
		}
		free, err := room(ctx, dir)
		if err != nil {
			return err
		}
		free.CPU = int64(idle(before, now) * float64(runtime.NumCPU()) * 1000)
		before = now
		tell(free.Min(capacity))
	}
}

// times is what the processors have spent their time on since the machine
// started. gopsutil's own percentages are since anyone in the process last
// asked, which fails when several nodes share it.
func times(ctx context.Context) (cpu.TimesStat, error) {
	t, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return cpu.TimesStat{}, fmt.Errorf("measure CPU: %w", err)
	}
	if len(t) != 1 {
		return cpu.TimesStat{}, fmt.Errorf("measure CPU: %d totals", len(t))
	}
	return t[0], nil
}

// idle is the fraction (0–1) of the processors' time between a and b that
// nobody used; all of it when no time has passed.
func idle(a, b cpu.TimesStat) float64 {
	total := func(t cpu.TimesStat) float64 { // Linux counts guests within user
		return t.User + t.System + t.Idle + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal
	}
	spent := total(b) - total(a)
	if spent <= 0 {
		return 1
	}
	unused := (b.Idle + b.Iowait) - (a.Idle + a.Iowait)
	return min(max(unused/spent, 0), 1)
}

// Disk is how many bytes of the disk are unused on which the directory is.
func Disk(ctx context.Context, dir string) (int64, error) {
	d, err := disk.UsageWithContext(ctx, dir)
	if err != nil {
		return 0, fmt.Errorf("measure disk at %s: %w", dir, err)
	}
	return int64(d.Free), nil
}

// room is the memory and disk that are unused.
func room(ctx context.Context, dir string) (tiering.Resources, error) {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return tiering.Resources{}, fmt.Errorf("measure memory: %w", err)
	}
	d, err := disk.UsageWithContext(ctx, dir)
	if err != nil {
		return tiering.Resources{}, fmt.Errorf("measure disk at %s: %w", dir, err)
	}
	return tiering.Resources{Memory: int64(m.Available), Disk: int64(d.Free)}, nil
}
