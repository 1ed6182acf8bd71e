package machine

import (
	"testing"

	"github.com/shirou/gopsutil/v4/cpu"
)

func TestIdle(t *testing.T) {
	start := cpu.TimesStat{User: 100, System: 50, Idle: 1000, Iowait: 10, Guest: 70}
	for name, c := range map[string]struct {
		end  cpu.TimesStat
		want float64
	}{
		"no time has passed":     {start, 1},
		"half of it":             {cpu.TimesStat{User: 104, System: 51, Idle: 1005, Iowait: 10, Guest: 70}, 0.5},
		"waiting is idle":        {cpu.TimesStat{User: 101, System: 50, Idle: 1000, Iowait: 13, Guest: 70}, 0.75},
		"guests count once":      {cpu.TimesStat{User: 105, System: 50, Idle: 1005, Iowait: 10, Guest: 75}, 0.5},
		"none":                   {cpu.TimesStat{User: 110, System: 50, Idle: 1000, Iowait: 10, Guest: 70}, 0},
		"counters that go back":  {cpu.TimesStat{User: 110, System: 50, Idle: 999, Iowait: 10, Guest: 70}, 0},
		"everything was at rest": {cpu.TimesStat{User: 100, System: 50, Idle: 1010, Iowait: 10, Guest: 70}, 1},
	} {
		if got := idle(start, c.end); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
