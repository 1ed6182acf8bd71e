package chaos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// ErrFolder reports a directory that is not chaos's to write to.
var ErrFolder = errors.New("not a directory for the results of chaos")

// roundsDir has the records.
const roundsDir = "rounds"

// Clear makes the directory of a run, or removes from it what an earlier run
// left. The error is ErrFolder where something else is in it.
func Clear(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	folders, files := []string{roundsDir, "logs"}, []string{"report.md", "summary.json", "soak.csv"}
	for _, plot := range plotNames() {
		files = append(files, plot+".svg", plot+".png")
	}
	for _, e := range entries {
		ours := files
		if e.IsDir() {
			ours = folders
		}
		if !slices.Contains(ours, e.Name()) {
			return fmt.Errorf("%w: %s holds %s, which no such run left: choose another", ErrFolder, dir, e.Name())
		}
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove the results of an earlier run: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, roundsDir), 0o755); err != nil {
		return fmt.Errorf("directory of the rounds: %w", err)
	}
	return nil
}
