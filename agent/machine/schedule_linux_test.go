package machine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestScheduled(t *testing.T) {
	dir := t.TempDir()
	put := func(thread, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, thread), 0o755); err != nil {
			t.Fatal(err)
		}
		if text == "" {
			return
		}
		if err := os.WriteFile(filepath.Join(dir, thread, "schedstat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, ok := scheduled(dir); ok {
		t.Error("nothing is there")
	}
	put("1", "1000 50 3\n")
	put("2", "200 7 1\n")
	put("3", "") // has just ended
	if ran, waited, ok := scheduled(dir); ran != 1200 || waited != 57 || !ok {
		t.Errorf("%v, %v, %v", ran, waited, ok)
	}
	put("4", "0\n")
	if _, _, ok := scheduled(dir); ok {
		t.Error("garbled, and taken")
	}
	if _, _, ok := scheduled(filepath.Join(dir, "none")); ok {
		t.Error("no such folder")
	}
	// This process's own do not shrink.
	ran, _, ok := (*Process)(nil).Scheduled()
	if now, _, still := (*Process)(nil).Scheduled(); ok && (!still || now < ran) {
		t.Errorf("%v, then %v", ran, now)
	}
}
