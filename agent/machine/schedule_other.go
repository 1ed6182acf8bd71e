//go:build !linux

package machine

import "time"

// Scheduled is not known here.
func (*Process) Scheduled() (ran, waited time.Duration, ok bool) { return 0, 0, false }
