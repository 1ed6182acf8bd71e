package machine

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lowest is the priority that leaves the processors to everybody else.
const lowest = 19

// GiveWay has the calling thread, and those that it starts from now on, run when
// nobody else wants to, and has the process be the first to go when memory runs
// out. The caller has locked its thread.
func GiveWay() error {
	err := unix.Setpriority(unix.PRIO_PROCESS, 0, lowest) // of the thread, on Linux
	if err != nil {
		err = fmt.Errorf("lower the priority: %w", err)
	}
	return errors.Join(err, os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0))
}
