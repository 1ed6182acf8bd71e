package journal

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/tiering"
)

// A full disk leaves the old journal as it was, and nothing half written.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("only root can mount a tiny file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	j := New(filepath.Join(dir, "assignments"), "farm", "fog-1")
	mustSave(t, j, some(), 7)
	var many []tiering.Assignment
	for range 100 {
		many = append(many, some()...)
	}
	if err := j.Save(many, 8); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("saved with %v", err)
	}
	if as, index, err := j.Load(); index != 7 || len(as) != 2 || err != nil {
		t.Errorf("loaded %v, %d, %v", as, index, err)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
	mustSave(t, j, nil, 9)
}
