package experiment

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/testbed"
)

// smallDisk mounts a file system of so many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("root is missing: a disk that fills is a small tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a tmpfs can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A disk that fills while a run goes on: the error names the table and what is
// in it, whole rows stay, and Finish writes what it can once there is room.
func TestDiskFillsWhileItRuns(t *testing.T) {
	dir := smallDisk(t, "128k")
	r := synthResult(1, 0)
	rec, err := Create(filepath.Join(dir, "out"), r.ScenarioText)
	if err != nil {
		t.Fatal(err)
	}
	run, err := rec.Begin(testbed.Emulated, 1)
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for i := 0; err == nil && i < 1e5; i++ {
		s := r.Recordings[0].Samples[i%len(r.Recordings[0].Samples)]
		if err = run.Sample(s); err == nil {
			written++
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d samples: %v", written, err)
	}
	for _, want := range []string{filepath.Join(dir, "out", "emulated-1"), ".csv: no space left on device after ", " rows (", "which are kept"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	for _, name := range []string{"series.csv", "stages.csv", "nodes.csv"} {
		data := read(t, dir, "out", "emulated-1", name)
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil || len(rows)-1 < written || !bytes.HasSuffix(data, []byte("\n")) {
			t.Errorf("%s: %d rows of %d, %v", name, len(rows)-1, written, err)
		}
	}

	// Nothing of the rest has room, and each says so.
	err = rec.finish(r, nil)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("finish on a full disk: %v", err)
	}
	for _, name := range []string{"summary.json", "report.md"} {
		if !strings.Contains(err.Error(), filepath.Join(dir, "out", name)) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	left, globErr := filepath.Glob(filepath.Join(dir, "out", "*"+temporary))
	if globErr != nil || len(left) > 0 {
		t.Errorf("half files are left: %v, %v", left, globErr)
	}

	// With some room, what fits is written: the summary is, a plot is not.
	if err := os.Remove(filepath.Join(dir, "out", "emulated-1", "nodes.csv")); err != nil {
		t.Fatal(err)
	}
	if err := rec.finish(r, plots(r)[:1]); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("finish on a disk for a part of it: %v", err)
	}
	if _, err := Read(filepath.Join(dir, "out")); err != nil {
		t.Error(err)
	}
}
