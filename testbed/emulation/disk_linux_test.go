package emulation

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDisk fills one node's disk: it is full for that node only, and free
// again afterwards.
func TestDisk(t *testing.T) {
	b := newBench(t)
	cfg := b.config("disks")
	cfg.Dir = filepath.Join(t.TempDir(), "a space and a\ttab")
	cfg.DataDisk = 1 << 20
	b.run(cfg, func(_ context.Context, tb *Testbed) {
		write := func(node string) error {
			return os.WriteFile(filepath.Join(cfg.Dir, "nodes", node, dataDir, "some"), []byte("thing"), 0o600)
		}
		for range 2 { // it can be done again
			if err := tb.Fill("edge-1"); err != nil {
				t.Fatal(err)
			}
			if err := write("edge-1"); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("writing to a full disk: %v", err)
			}
			if err := write("fog-1"); err != nil {
				t.Errorf("another node's disk: %v", err)
			}
			if err := errors.Join(tb.Free("edge-1"), write("edge-1")); err != nil {
				t.Errorf("after it was freed: %v", err)
			}
			if err := os.Remove(filepath.Join(cfg.Dir, "nodes", "edge-1", dataDir, "some")); err != nil {
				t.Error(err)
			}
		}
		if err := tb.Fill("edge-9"); !errors.Is(err, ErrNode) {
			t.Errorf("a node that is not there: %v", err)
		}
	})
}

func TestNoDiskToFill(t *testing.T) {
	b := newBench(t)
	b.run(b.config("none"), func(_ context.Context, tb *Testbed) {
		if err := tb.Fill("edge-1"); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "no disk of its own") {
			t.Errorf("filling this machine's disk: %v", err)
		}
		if err := tb.Free("edge-1"); err != nil {
			t.Errorf("freeing what is not filled: %v", err)
		}
	})
	cfg := b.config("less")
	cfg.DataDisk = -1
	if _, err := New(cfg, small()); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "a disk of -1 bytes") {
		t.Errorf("a disk of negative size: %v", err)
	}
}

// TestDownAllFindsDisks has nothing but the disk of a testbed left.
func TestDownAllFindsDisks(t *testing.T) {
	b := newBench(t)
	at := t.TempDir()
	if err := unix.Mount(b.place.namespace("lost", "edge-1"), at, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	if err := b.place.DownAll(t.Context()); err != nil {
		t.Error(err)
	}
	b.mustBeGone()
}

func TestClock(t *testing.T) {
	b := newBench(t)
	b.run(b.config("clocks"), func(_ context.Context, tb *Testbed) {
		path := ""
		for _, n := range tb.named["fog-1"].environment(1) {
			if v, ok := strings.CutPrefix(n, clockEnv+"="); ok {
				path = v
			}
		}
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []time.Duration{time.Hour, -time.Hour, 0} {
			if err := tb.SetClock("fog-1", off); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(binary.NativeEndian.AppendUint64(nil, uint64(off/time.Second))) {
				t.Errorf("off by %s: the file has %v, %v", off, got, err)
			}
			if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it is another file than the one that weftd has mapped: %v", err)
			}
		}
		if err := tb.SetClock("fog-9", 0); !errors.Is(err, ErrNode) {
			t.Errorf("a node that is not there: %v", err)
		}
	})
}
