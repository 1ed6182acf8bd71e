package pipeline

import (
	"context"
	"runtime"
	"time"
)

// LeastSpeed is the least fraction of a core that an emulated one may have: below it a
// frame's work takes a minute.
const LeastSpeed = 0.001

// paced does work as a core would that has a fraction of this one's speed: what takes
// d of processor time here takes d/speed. Only the time of the thread that it is called
// on counts. It returns early when ctx ends.
func paced(ctx context.Context, speed float64, work func() error) error {
	if speed <= 0 || speed >= 1 {
		return work()
	}
	runtime.LockOSThread()
	start, before := time.Now(), threadTime()
	err := work()
	used := threadTime() - before
	runtime.UnlockOSThread()
	rest := time.NewTimer(time.Until(start.Add(time.Duration(float64(used) / speed))))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
	return err
}
