//go:build !linux

package pipeline

import "time"

var began = time.Now()

// threadTime is real time where threads have no clock of their own.
func threadTime() time.Duration { return time.Since(began) }
