package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

// smallDisk is a file system of so many bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("cannot mount a small disk: %v (needs root)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill takes all the room that is left and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	_ = f.Close()
	return func() {
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	}
}

// A disk that is full from the start, and one that fills up under load: the
// coordinator waits for room and goes on, and nothing that it took is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 40<<20)
	g := newGossip(coordinatorNode("c1"), worker("edge-1", tiering.Edge, 1), worker("fog-1", tiering.Fog, 2))
	cfg := tlsConfig(t, pkitest.CA(t), "c1")
	log := &logtest.Book{}
	cfg.DataDir, cfg.Log, cfg.Timing.Retry = dir, log.Logger(), waitABit
	told := make(chan string, 1000)
	cfg.OnFault = func(why error) { told <- Summary(why) }
	free := fill(t, dir)
	c, err := New(cfg, g.view(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, c)
	wait(t, "the coordinator to say that the disk is full", func() bool {
		s := log.String()
		return strings.Contains(s, "disk full") && strings.Contains(s, dir) && strings.Contains(s, makeRoom)
	})
	if err := c.Fault(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("while the disk is full, the fault is %v", err)
	}
	free()
	wait(t, "the nodes", func() bool { n, _ := c.Snapshot().Node("fog-1"); return c.IsLeader() && n.Alive() })

	if err := c.Fault(); err != nil {
		t.Errorf("it leads, and the fault is %v", err)
	}
	for last := ""; ; {
		now := <-told
		if now == "" && last == ErrDiskFull.Error() {
			break
		}
		if last = now; now != ErrDiskFull.Error() {
			t.Fatalf("told %q", now)
		}
	}

	free = fill(t, dir)
	document := strings.Repeat("x", maxDocument-100)
	taken := 0
	for range 40 {
		if _, err = c.Submit(context.Background(), small(fmt.Sprintf("w%02d", taken)), document); err != nil {
			break
		}
		taken++
	}
	if err == nil {
		t.Fatal("40 MiB went onto a full disk")
	}
	t.Logf("after %d workflows: %v", taken, err)
	wait(t, "the coordinator to stop Raft", func() bool { return strings.Count(log.String(), "out of service") > 1 })
	if got := len(c.Snapshot().Workflows()); got < taken {
		t.Fatalf("%d workflows were taken, %d can be read while the disk is full", taken, got)
	}
	free()
	wait(t, "the coordinator to lead again", func() bool {
		_, err := c.Submit(context.Background(), small("last"), "")
		return err == nil
	})
	for i := range taken {
		if _, ok := c.Snapshot().Workflow(fmt.Sprintf("w%02d", i)); !ok {
			t.Errorf("w%02d is lost", i)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if c, err = New(cfg, g.view(), nil); err != nil {
		t.Fatal(err)
	}
	stop = start(t, c)
	wait(t, "everything after a restart", func() bool {
		_, ok := c.Snapshot().Workflow("last")
		return ok && len(c.Snapshot().Workflows()) > taken
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
