package chaos

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"
)

// waitedForCPU is how long, since the machine started, at least one of its tasks
// waited for a CPU (Linux's pressure stall information); 0 where it is not told.
func waitedForCPU() time.Duration {
	f, err := os.Open("/proc/pressure/cpu")
	if err != nil {
		return 0
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		var total int64
		if _, after, ok := strings.Cut(in.Text(), "some "); ok {
			if _, after, ok = strings.Cut(after, "total="); ok {
				if _, err := fmt.Sscan(after, &total); err == nil {
					return time.Duration(total) * time.Microsecond
				}
			}
		}
	}
	return 0
}
