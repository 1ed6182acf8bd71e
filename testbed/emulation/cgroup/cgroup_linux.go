package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3"
)

// ErrMissing reports that this machine cannot limit processes.
var ErrMissing = errors.New("no usable cgroups")

// Group is one cgroup; on v1, one in each of the hierarchies that are used.
type Group struct {
	path string // below the hierarchies' roots: "a/b"
	control
}

// control is what differs between v1 and v2.
type control interface {
	setCPU(quota int64, period uint64) error // µs; quota -1: unlimited
	setMemory(bytes int64) error
	usage() (Usage, error)
	start(cmd *exec.Cmd) error
}

// hierarchies knows how cgroups are laid out on this machine.
type hierarchies interface {
	missing() error
	create(path string) (control, error)
	load(path string) (control, error)
	dirs(path string) ([]string, error) // in each hierarchy
}

// Usage is what the processes of a group used.
type Usage struct {
	CPU      time.Duration // of cores, since the group was made
	Memory   int64         // bytes now, less file pages that are not in use (the "working set")
	OOMKills uint64        // processes that were killed for want of memory
}

// Version is "v1" or "v2", for reports.
func Version() string {
	if cgroups.Mode() == cgroups.Unified {
		return "v2"
	}
	return "v1"
}

func machine() hierarchies {
	if cgroups.Mode() == cgroups.Unified {
		return v2{mount: "/sys/fs/cgroup"}
	}
	return v1{}
}

// Missing says what this machine lacks, with the remedy; nil: nothing.
func Missing() error {
	if cgroups.Mode() == cgroups.Unavailable {
		return fmt.Errorf("%w: /sys/fs/cgroup is not mounted: mount it (`mount -t cgroup2 none /sys/fs/cgroup`), "+
			"or run the container with the machine's cgroups", ErrMissing)
	}
	return machine().missing()
}

// Create makes a group, with those above it; a group that is there is taken
// over. path is relative: "a/b".
func Create(path string) (*Group, error) {
	var err error
	// Remove may take away an empty parent in between.
	for range 3 {
		var c control
		if c, err = machine().create(path); err == nil {
			return &Group{path, c}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, fmt.Errorf("make cgroup %s: %w", path, err)
}

// Load returns a group that exists.
func Load(path string) (*Group, error) {
	c, err := machine().load(path)
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", path, err)
	}
	return &Group{path, c}, nil
}

// Path is what the group was made with.
func (g *Group) Path() string { return g.path }

// The bounds of CFS bandwidth control, and the period that doc.go argues for.
const (
	minQuota  = time.Millisecond
	minPeriod = 5 * time.Millisecond
	maxPeriod = time.Second
)

// MinCores is the smallest quota that the kernel can keep.
const MinCores = float64(minQuota) / float64(maxPeriod)

// SetCPU limits the group to so many cores; 0: to none.
func (g *Group) SetCPU(cores float64) error {
	quota, period, err := bandwidth(cores)
	if err == nil {
		err = g.setCPU(quota, period)
	}
	if err != nil {
		return fmt.Errorf("limit cgroup %s to %g cores: %w", g.path, cores, err)
	}
	return nil
}

// bandwidth is the quota and period for so many cores, in µs.
func bandwidth(cores float64) (quota int64, period uint64, err error) {
	if cores == 0 {
		return -1, uint64(minPeriod.Microseconds()), nil
	}
	if cores < MinCores {
		return 0, 0, fmt.Errorf("the kernel's smallest quota is %g cores", MinCores)
	}
	p := min(max(time.Duration(float64(minQuota)/cores), minPeriod), maxPeriod).Round(time.Microsecond)
	q := max(time.Duration(cores*float64(p)).Round(time.Microsecond), minQuota)
	return q.Microseconds(), uint64(p.Microseconds()), nil
}

// SetMemory limits the group's memory; it cannot swap instead. Processes that
// need more are killed by the kernel, see [Usage].
func (g *Group) SetMemory(bytes int64) error {
	if err := g.setMemory(bytes); err != nil {
		return fmt.Errorf("limit cgroup %s to %d bytes: %w", g.path, bytes, err)
	}
	return nil
}

// Usage reads what the group used.
func (g *Group) Usage() (Usage, error) {
	u, err := g.usage()
	if err != nil {
		return Usage{}, fmt.Errorf("usage of cgroup %s: %w", g.path, err)
	}
	return u, nil
}

// Start starts cmd in the group: it is in it before its first instruction.
// The caller's goroutine must be locked to its thread.
func (g *Group) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	return g.start(cmd)
}

// Processes lists what runs in the group and in those below it. A group that
// is not there has none.
func Processes(path string) ([]int, error) {
	dirs, err := machine().dirs(path)
	if err != nil {
		return nil, err
	}
	return processes(dirs)
}

// Kill kills every process in the group and below it but this one, and
// returns when they are gone.
func Kill(ctx context.Context, path string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		pids, err := Processes(path)
		if err != nil {
			return err
		}
		alive := 0
		for _, p := range pids {
			if p == os.Getpid() {
				continue
			}
			if err := syscall.Kill(p, syscall.SIGKILL); err == nil {
				alive++
			} else if !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d of cgroup %s: %w", p, path, err)
			}
		}
		if alive == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes of cgroup %s do not die: %w", alive, path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Remove removes the group and those below it, which must be empty of
// processes. One that is not there is no error.
func Remove(path string) error {
	dirs, err := machine().dirs(path)
	errs := []error{err}
	for _, d := range dirs {
		errs = append(errs, removeTree(d))
	}
	return errors.Join(errs...)
}

// RemoveEmpty removes the group unless there is one below it.
func RemoveEmpty(path string) error {
	dirs, err := machine().dirs(path)
	errs := []error{err}
	for _, d := range dirs {
		err := syscall.Rmdir(d)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.ENOTEMPTY) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", d, err))
		}
	}
	return errors.Join(errs...)
}

// List names the groups directly below one, in any hierarchy.
func List(path string) ([]string, error) {
	dirs, err := machine().dirs(path)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, d := range dirs {
		names, err := children(d)
		if err != nil {
			return nil, err
		}
		out = append(out, names...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func children(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list cgroups: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// removeTree removes a directory of a cgroup filesystem. Its files go with it
// and cannot be removed one by one.
func removeTree(dir string) error {
	below, err := children(dir)
	if err != nil {
		return err
	}
	for _, c := range below {
		if err := removeTree(filepath.Join(dir, c)); err != nil {
			return err
		}
	}
	// What has died may be on its way out for a moment.
	tick := time.NewTicker(busyLimit / 20)
	defer tick.Stop()
	for range 20 {
		if err = syscall.Rmdir(dir); !errors.Is(err, syscall.EBUSY) {
			break
		}
		<-tick.C
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cgroup %s: %w", dir, err)
	}
	return nil
}

// busyLimit is how long a group may be busy with processes that have ended.
const busyLimit = 200 * time.Millisecond
