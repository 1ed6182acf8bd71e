package machine_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/weft-mesh/weft/agent/machine"
	"github.com/weft-mesh/weft/tiering"
)

func TestCapacityIsThisMachine(t *testing.T) {
	c, err := machine.Capacity(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if c.CPU != int64(runtime.NumCPU())*1000 || c.Memory < 64<<20 || c.Disk < 1<<20 {
		t.Errorf("%+v", c)
	}
	if _, err := machine.Capacity(t.Context(), "/nowhere/at/all"); err == nil {
		t.Error("the disk of a directory that does not exist was measured")
	}
}

func TestFreeIsWithinWhatIsOffered(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	offered := tiering.Resources{CPU: 500, Memory: 64 << 20, Disk: 1 << 20}
	told := 0
	err := machine.Watch(ctx, t.TempDir(), offered, 10*time.Millisecond, func(free tiering.Resources) {
		if free.CPU < 0 || !free.Fits(offered) || free.Memory == 0 {
			t.Errorf("free: %+v", free)
		}
		if told++; told == 3 {
			cancel()
		}
	})
	if err != nil || told < 3 {
		t.Errorf("told %d times, %v", told, err)
	}
}
