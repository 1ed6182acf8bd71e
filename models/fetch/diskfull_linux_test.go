package fetch

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/store"
)

// A disk that is full is said so, and gets its room back.
func TestFetchDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("only root can mount a tiny file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	data := content(1, 300_000)
	o, s := serve(t, data), store.New(filepath.Join(dir, "models"), catalog.Builtin(), nil)
	_, err := fetcher(t).Fetch(t.Context(), s, fileOf(data), []Source{o.source(), o.source()})
	if !errors.Is(err, store.ErrDiskFull) || !strings.Contains(err.Error(), "has no room for d/net.weights") || o.requests() != 1 {
		t.Errorf("%v after %d requests", err, o.requests())
	}
	if got := files(t, s); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}
