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
	// The first call starts gopsutil's measurement of the cores' load.
	if _, err := cpu.PercentWithContext(ctx, 0, false); err != nil {
		return fmt.Errorf("measure CPU: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		free, err := free(ctx, dir)
		if err != nil {
			return err
		}
		tell(free.Min(capacity))
	}
}

func free(ctx context.Context, dir string) (tiering.Resources, error) {
	busy, err := cpu.PercentWithContext(ctx, 0, false)
	if err != nil || len(busy) != 1 {
		return tiering.Resources{}, fmt.Errorf("measure CPU: %w", err)
	}
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return tiering.Resources{}, fmt.Errorf("measure memory: %w", err)
	}
	d, err := disk.UsageWithContext(ctx, dir)
	if err != nil {
		return tiering.Resources{}, fmt.Errorf("measure disk at %s: %w", dir, err)
	}
	idle := (100 - busy[0]) / 100 * float64(runtime.NumCPU()) * 1000
	return tiering.Resources{CPU: int64(idle), Memory: int64(m.Available), Disk: int64(d.Free)}, nil
}
