package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"
)

// overloadFor is how long TestOverload presses; `make overload` sets it to a
// minute.
func overloadFor(t *testing.T) time.Duration {
	v := os.Getenv("WEFT_OVERLOAD")
	if v == "" {
		return 12 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("WEFT_OVERLOAD: %v", err)
	}
	return d
}

// resident is the memory that this process occupies, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("cannot measure memory: %v", err)
	}
	_, rest, ok := bytes.Cut(b, []byte("VmRSS:"))
	var kb int
	if _, err := fmt.Sscan(string(rest), &kb); !ok || err != nil {
		t.Fatalf("VmRSS: %v", err)
	}
	return kb << 10
}

// TestOverload presses a source at far more than detection can serve: memory
// must stay flat, what is delivered must be on time, and every frame must be
// accounted for all along.
func TestOverload(t *testing.T) {
	media := t.TempDir()
	writeClip(t, filepath.Join(media, "clip.avi"), 60, 30)
	m := startDev(t, devOptions{media: media})
	submit(t, m.Client, people("video:clip.avi?loop=true", 30, "[1024]"))
	eventually(t, time.Minute, "frames are delivered", func() bool { return status(t, m.Client, "people").Frames.Delivered >= 5 })

	length := overloadFor(t)
	start := time.Now()
	var early int
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(start) < length {
		<-tick.C
		mustBalance(t, status(t, m.Client, "people").Frames)
		if early == 0 && time.Since(start) > length/3 {
			early = resident(t)
		}
	}
	late := resident(t)
	s := status(t, m.Client, "people")
	deadline := 2 * time.Second // of people()
	worst := s.Latency.Quantile(1)
	t.Logf("%v: captured %d, delivered %d, dropped %v, in flight %d; latency p50 %.0f p99 %.0f worst %v; memory %d MiB after a third, %d MiB at the end",
		length, s.Frames.Captured, s.Frames.Delivered, s.Frames.Dropped, s.Frames.InFlight, s.LatencyMS.P50, s.LatencyMS.P99, worst, early>>20, late>>20)

	if s.Frames.Lost() < s.Frames.Delivered/2 {
		t.Errorf("dropped %d of %d: this was no overload", s.Frames.Lost(), s.Frames.Captured)
	}
	// The histogram has two significant digits.
	if worst > deadline+deadline/50 {
		t.Errorf("a frame was delivered after %v, the deadline is %v", worst, deadline)
	}
	if allowed := early + early/5 + 48<<20; late > allowed {
		t.Errorf("memory grew from %d to %d MiB", early>>20, late>>20)
	}
	if s.Frames.InFlight > 100 {
		t.Errorf("%d frames in flight", s.Frames.InFlight)
	}
}
