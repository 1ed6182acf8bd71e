package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Whoever runs at real-time priority starts ordinary processes in groups.
func TestStartFromARealTimeThread(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making cgroups and raising priorities need root")
	}
	g, err := Create(fmt.Sprintf("weft-test-realtime-%d/a", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(fmt.Sprintf("weft-test-realtime-%d", os.Getpid())); err != nil {
			t.Error(err)
		}
	})
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its priority
		raised := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
		if err := unix.SchedSetAttr(0, &raised, 0); err != nil {
			done <- err
			return
		}
		cmd := exec.Command("true")
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		if err := g.Start(cmd); err != nil {
			done <- err
			return
		}
		done <- cmd.Wait()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
