package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Scheduled is how long the threads of this process that are still there have
// run, and how long they have waited for a processor. ok is false where the
// kernel does not say.
func (*Process) Scheduled() (ran, waited time.Duration, ok bool) {
	return scheduled("/proc/self/task")
}

func scheduled(tasks string) (ran, waited time.Duration, ok bool) {
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return 0, 0, false
	}
	for _, t := range threads {
		b, err := os.ReadFile(filepath.Join(tasks, t.Name(), "schedstat"))
		if err != nil {
			continue // it has ended, or nobody keeps count
		}
		var r, w, slices int64
		if n, _ := fmt.Sscan(string(b), &r, &w, &slices); n != 3 {
			return 0, 0, false
		}
		ran, waited, ok = ran+time.Duration(r), waited+time.Duration(w), true
	}
	return ran, waited, ok
}
