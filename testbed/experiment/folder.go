package experiment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// ErrForeign reports a folder that holds something else than a result.
var ErrForeign = errors.New("not a result folder")

// The names in a result folder. The marker says that it is one, and is there
// from the start.
const (
	markerFile   = ".weft-result"
	scenarioFile = "scenario.yaml"
	costsYAML    = "costs.yaml"
	costsJSON    = "costs.json"
	summaryFile  = "summary.json"
	reportFile   = "report.md"
	plotsFolder  = "plots"
	temporary    = ".new" // ending of a file that is not whole yet
)

const markerText = "A result folder of weft; the next run into it replaces its results.\n"

// runFolder is what the folder of a run is called.
var runFolder = regexp.MustCompile(`^(emulated|simulated)-[0-9]+$`)

// claim makes dir an empty result folder: it creates it, or takes an empty one,
// or removes the results of an earlier run. Other files in a result folder
// stay.
func claim(dir string) error {
	if dir == "" {
		return errors.New("no result folder was given; name one")
	}
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return fmt.Errorf("make the result folder: %w", err)
		}
	case err != nil:
		return fmt.Errorf("result folder: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%s: %w but a file; name another folder", dir, ErrForeign)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("result folder: %w", err)
	}
	marked := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == markerFile })
	if len(entries) > 0 && !marked {
		more := ""
		if len(entries) > 1 {
			more = fmt.Sprintf(" and %d more", len(entries)-1)
		}
		return fmt.Errorf("%s: %w: it holds %s%s; name another folder, or empty this one", dir, ErrForeign, entries[0].Name(), more)
	}
	var errs []error
	for _, e := range entries {
		if ours(e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the results of the run before: %w", err)
	}
	return writeFile(filepath.Join(dir, markerFile), []byte(markerText))
}

// ours reports whether a run writes, and may replace, what has this name.
func ours(name string) bool {
	switch name {
	case scenarioFile, costsYAML, costsJSON, summaryFile, reportFile, plotsFolder:
		return true
	}
	return runFolder.MatchString(name) || filepath.Ext(name) == temporary && ours(name[:len(name)-len(temporary)])
}

// writeFile writes a file whole or not at all.
func writeFile(path string, data []byte) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(path+temporary))
		}
	}()
	f, err := os.Create(path + temporary)
	if err != nil {
		return err
	}
	n, err := f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("%s: %w after %d of %d bytes; it is left out", path, cause(err), n, len(data))
	}
	return os.Rename(path+temporary, path)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// cause is the error without the path that package os puts before it.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
