package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A root that does not pass controllers on, as in a container, is named.
func TestExplain(t *testing.T) {
	v := v2{mount: t.TempDir()}
	for _, x := range []struct{ passes, want string }{
		{"io pids\n", `does not pass controller "cpu" on`},
		{"cpu io\n", `does not pass controller "memory" on`},
		{"cpu io memory\n", "file does not exist"},
	} {
		if err := os.WriteFile(filepath.Join(v.mount, "cgroup.subtree_control"), []byte(x.passes), 0o600); err != nil {
			t.Fatal(err)
		}
		err := v.explain(fs.ErrNotExist)
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("with %q passed on: %v, want %s", x.passes, err, x.want)
		}
	}
}
