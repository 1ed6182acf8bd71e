package emulation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

const (
	downLimit = teardownLimit + 30*time.Second // that a holder has to take its testbed down
	killLimit = 10 * time.Second               // that a killed process has to be gone
)

// Down takes a testbed down from outside: it asks its holder to, kills it if
// it does not, and removes whatever is left. Where there is nothing, it does
// nothing.
func (p Place) Down(ctx context.Context, name string) error {
	p = p.withDefaults()
	if err := needsRoot("down"); err != nil {
		return err
	}
	lock, err := p.wrest(ctx, name)
	if err != nil {
		return fmt.Errorf("take testbed %s down: %w", name, err)
	}
	if err := p.sweep(ctx, name); err != nil {
		return errors.Join(fmt.Errorf("take testbed %s down: %w", name, err), unlock(lock))
	}
	return errors.Join(p.forget(name), unlock(lock))
}

// DownAll takes every testbed of this machine down, with namespaces and
// cgroups of which there is no record. It goes on where one fails.
func (p Place) DownAll(ctx context.Context) error {
	p = p.withDefaults()
	if err := needsRoot("down --all"); err != nil {
		return err
	}
	names, err := p.traces()
	errs := []error{err}
	for _, n := range names {
		errs = append(errs, p.Down(ctx, n))
	}
	return errors.Join(errs...)
}

// needsRoot says how a command of weft testbed is to be called.
func needsRoot(command string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: you are not root: use `sudo weft testbed %s`", ErrMissing, command)
	}
	return nil
}

// wrest gets the lock of a testbed from its holder.
func (p Place) wrest(ctx context.Context, name string) (*os.File, error) {
	// A holder that does not live any more has no lock, and one whose record
	// is not there yet, or not any more, will have let go or written it soon.
	for _, attempt := range []struct {
		signal syscall.Signal
		limit  time.Duration
	}{{0, 0}, {syscall.SIGTERM, downLimit}, {syscall.SIGKILL, killLimit}} {
		if s, err := p.load(name); attempt.signal != 0 && err == nil && s.Alive {
			if s.Holder.PID == os.Getpid() {
				return nil, fmt.Errorf("%w: this process has it", ErrHeld)
			}
			if err := syscall.Kill(s.Holder.PID, attempt.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return nil, fmt.Errorf("stop its holder, process %d: %w", s.Holder.PID, err)
			}
		}
		lock, err := p.await(ctx, name, attempt.limit)
		if !errors.Is(err, ErrHeld) {
			return lock, err
		}
	}
	return nil, fmt.Errorf("its holder does not let go: %w", ErrHeld)
}

// await waits for the lock.
func (p Place) await(ctx context.Context, name string, limit time.Duration) (lock *os.File, err error) {
	late := time.Now().Add(limit)
	err = poll(ctx, func() (bool, error) {
		lock, err = p.lock(name)
		if errors.Is(err, ErrHeld) && time.Now().Before(late) {
			return false, nil
		}
		return true, err
	})
	return lock, err
}

// sweep kills and removes everything of a testbed that can be found, whoever
// made it, but its record. The caller has the lock.
func (p Place) sweep(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, killLimit, fmt.Errorf("they live on after %s", killLimit))
	defer cancel()
	group := p.cgroupOf(name)
	errs := []error{cgroup.Kill(ctx, group)}
	spaces, err := ns.List(p.namespace(name, ""))
	errs = append(errs, err)
	if err := killIn(ctx, spaces); err != nil {
		errs = append(errs, err)
	}
	for _, s := range spaces {
		errs = append(errs, ns.Delete(s))
	}
	errs = append(errs, p.unmountDisks(name), cgroup.Remove(group), cgroup.RemoveEmpty(p.Cgroup))
	return errors.Join(errs...)
}

// killIn kills the processes that were put into the namespaces by other means
// than ours, as with ip-netns(8), and waits until they are gone.
func killIn(ctx context.Context, spaces []string) error {
	var files []fs.FileInfo
	for _, s := range spaces {
		f, err := os.Stat(ns.Path(s))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil
	}
	return poll(ctx, func() (bool, error) {
		inside, err := processesIn(files)
		for _, pid := range inside {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return false, fmt.Errorf("kill process %d in a namespace of the testbed: %w", pid, err)
			}
		}
		return len(inside) == 0, err
	})
}

func processesIn(spaces []fs.FileInfo) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		is, err := os.Stat(filepath.Join("/proc", e.Name(), "ns", "net"))
		if err != nil {
			continue // it has ended
		}
		for _, s := range spaces {
			if os.SameFile(s, is) {
				out = append(out, pid)
			}
		}
	}
	return out, nil
}
