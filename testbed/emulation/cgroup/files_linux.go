package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// readUint reads a file that holds one number.
func readUint(dir, file string) (uint64, error) {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Join(dir, file), err)
	}
	return v, nil
}

// readKey reads the number of one key of a file of "KEY NUMBER" lines; 0 where
// the kernel does not have it.
func readKey(dir, file, key string) (uint64, error) {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == key {
			v, err := strconv.ParseUint(f[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %s: %w", filepath.Join(dir, file), key, err)
			}
			return v, nil
		}
	}
	return 0, nil
}

// processes lists those of some directories and of all below them, each once.
func processes(dirs []string) ([]int, error) {
	var out []int
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if gone(err) {
				return nil
			}
			if err != nil || d.IsDir() || d.Name() != "cgroup.procs" {
				return err
			}
			b, err := os.ReadFile(p)
			if gone(err) {
				return nil
			}
			if err != nil {
				return err
			}
			for _, f := range strings.Fields(string(b)) {
				pid, err := strconv.Atoi(f)
				if err != nil {
					return fmt.Errorf("%s: %w", p, err)
				}
				// 0 is a process of another PID namespace.
				if pid > 0 {
					out = append(out, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("processes of cgroup: %w", err)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// gone reports whether a cgroup was removed under our hands.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}
