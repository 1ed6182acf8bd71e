package emulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

func (p Place) dir(name string) string   { return filepath.Join(p.Run, name) }
func (p Place) state(name string) string { return filepath.Join(p.Run, name, "state.json") }

func (p Place) cgroupOf(name string) string       { return filepath.Join(p.Cgroup, name) }
func (p Place) nodeCgroup(name, nd string) string { return filepath.Join(p.Cgroup, name, nd) }

// lock makes sure that one process has a testbed of this name. It ends with
// the file or the process. The error is ErrHeld where another has it.
func (p Place) lock(name string) (*os.File, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(p.dir(name), "lock")
	for {
		if err := os.MkdirAll(p.dir(name), 0o755); err != nil {
			return nil, fmt.Errorf("record of testbed %s: %w", name, err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // whoever had it took the directory away
		}
		if err != nil {
			return nil, fmt.Errorf("record of testbed %s: %w", name, err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			if errors.Is(err, syscall.EWOULDBLOCK) {
				err = fmt.Errorf("%w: %s%s: choose another name, or stop it with `weft testbed down %s`", ErrHeld, name, p.heldBy(name), name)
			}
			return nil, errors.Join(err, f.Close())
		}
		// What was locked may have been removed in between, and made anew by
		// another who locked that.
		mine, err1 := f.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, now) {
			return f, nil
		}
		if err := unlock(f); err != nil {
			return nil, err
		}
	}
}

// unlock lets go of a testbed. To close the file is not enough: a child that is
// being forked just now has it too, until its execve.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

func (p Place) heldBy(name string) string {
	s, err := p.load(name)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" is held by process %d since %s", s.Holder.PID, s.Began.Format(time.TimeOnly))
}

// forget removes the record, the lock last. The caller has the lock.
func (p Place) forget(name string) error {
	errs := []error{os.RemoveAll(p.state(name)), os.RemoveAll(p.state(name) + ".new"), os.RemoveAll(filepath.Join(p.dir(name), "lock"))}
	// Who waits for the lock may have made the directory anew by now.
	if err := os.Remove(p.dir(name)); !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// save writes the record so that no reader sees half of it.
func (p Place) save(s *State) (err error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("record of testbed %s: %w", s.Name, err)
	}
	tmp := p.state(s.Name) + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("record of testbed %s: %w", s.Name, err)
	}
	if err := os.Rename(tmp, p.state(s.Name)); err != nil {
		return fmt.Errorf("record of testbed %s: %w", s.Name, err)
	}
	return nil
}

func (p Place) load(name string) (*State, error) {
	b, err := os.ReadFile(p.state(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("record of testbed %s: %w", name, err)
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("record of testbed %s: %s: %w", name, p.state(name), err)
	}
	if s.Format != stateFormat {
		return nil, fmt.Errorf("record of testbed %s has format %d, this weft knows %d: use the weft that made it (%s)", name, s.Format, stateFormat, s.Version)
	}
	s.Alive = s.Holder.alive()
	return &s, nil
}

// List returns the records of all testbeds, by name. One that cannot be read
// is in the error.
func (p Place) List() ([]State, error) {
	p = p.withDefaults()
	entries, err := os.ReadDir(p.Run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list testbeds: %w", err)
	}
	var out []State
	var errs []error
	for _, e := range entries {
		s, err := p.load(e.Name())
		switch {
		case err == nil:
			out = append(out, *s)
		case !errors.Is(err, ErrNotFound): // it comes up or goes down just now
			errs = append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

// Find returns the record of one testbed; the error is ErrNotFound where there
// is none.
func (p Place) Find(name string) (*State, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	return p.withDefaults().load(name)
}

// leftovers names what is there of a testbed.
func (p Place) leftovers(name string) (spaces, groups []string, err error) {
	spaces, err1 := ns.List(p.namespace(name, ""))
	nodes, err2 := cgroup.List(p.cgroupOf(name))
	for _, n := range nodes {
		groups = append(groups, p.nodeCgroup(name, n))
	}
	return spaces, groups, errors.Join(err1, err2)
}

// traces are the names of all testbeds of which there is anything.
func (p Place) traces() ([]string, error) {
	var names []string
	entries, err := os.ReadDir(p.Run)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list testbeds: %w", err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	spaces, err := ns.List(p.Prefix)
	if err != nil {
		return nil, err
	}
	for _, s := range spaces {
		// Without a dot it is not ours.
		if name, _, ok := strings.Cut(strings.TrimPrefix(s, p.Prefix), "."); ok {
			names = append(names, name)
		}
	}
	groups, err := cgroup.List(p.Cgroup)
	if err != nil {
		return nil, err
	}
	names = append(names, groups...)
	mounted, err := disks(p.Prefix)
	if err != nil {
		return nil, err
	}
	for _, d := range mounted {
		if name, _, ok := strings.Cut(strings.TrimPrefix(d.device, p.Prefix), "."); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return validName(n) != nil }), nil
}

// self is this process as a holder.
func self() (Holder, error) {
	started, err := startOf(os.Getpid())
	return Holder{os.Getpid(), started}, err
}

func (h Holder) alive() bool {
	started, err := startOf(h.PID)
	return err == nil && started == h.Started
}

// startOf is when a process started (proc_pid_stat(5), field 22). One that has
// ended, with all its threads, and only waits for its parent to notice is an
// error.
func startOf(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// Field 2 is the program's name in brackets, which may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields)+2)
	}
	if state, threads := fields[0], fields[17]; state == "X" || state == "Z" && (threads == "0" || threads == "1") {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// poll calls done every few milliseconds until it returns true or an error, or
// ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
