package pki

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatCannotBeWrittenLeavesNothing: half a file would be in the way of the
// next try. The name is too long for the file that is written first.
func TestWhatCannotBeWrittenLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("a", 250))
	if err := writeNew(path, 0o600, []byte("x")); err == nil {
		t.Fatal("it was written; the test needs another fault")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v are left: %v", entries, err)
	}
	path = filepath.Join(dir, "a")
	if err := errors.Join(writeNew(path, 0o640, []byte("x")), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, 0o600, []byte("y")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("one that is there: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}
