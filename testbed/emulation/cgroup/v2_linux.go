package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3/cgroup2"
)

// v2 is the unified hierarchy. A group below its root is out of systemd's way:
// systemd leaves alone what it has not made, and the kernel does not let it
// turn off a controller that such a group has passed on to its children.
type v2 struct{ mount string }

func (v v2) missing() error {
	b, err := os.ReadFile(filepath.Join(v.mount, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	var errs []error
	for _, c := range []string{"cpu", "memory"} {
		if !slices.Contains(strings.Fields(string(b)), c) {
			errs = append(errs, fmt.Errorf("%w: the kernel has no controller %q: boot with %s", ErrMissing, c, bootOption(c)))
		}
	}
	return errors.Join(errs...)
}

func (v v2) dirs(path string) ([]string, error) {
	return []string{filepath.Join(v.mount, path)}, nil
}

func (v v2) create(path string) (control, error) {
	m, err := cgroup2.NewManager(v.mount, "/"+path, &cgroup2.Resources{CPU: &cgroup2.CPU{}, Memory: &cgroup2.Memory{}})
	if err != nil {
		return nil, v.explain(err)
	}
	return &group2{m, filepath.Join(v.mount, path)}, nil
}

// explain words why a group could not be made. In a container with cgroups of
// its own, the root holds the container's processes, and the kernel lets no
// group that holds some pass controllers on; the error that comes back is only
// that a file is missing further down.
func (v v2) explain(err error) error {
	b, readErr := os.ReadFile(filepath.Join(v.mount, "cgroup.subtree_control"))
	if readErr != nil {
		return err
	}
	for _, c := range []string{"cpu", "memory"} {
		if !slices.Contains(strings.Fields(string(b)), c) {
			return fmt.Errorf("%w: %s does not pass controller %q on: in a container, use the machine's cgroups (--cgroupns=host): %w", ErrMissing, v.mount, c, err)
		}
	}
	return err
}

func (v v2) load(path string) (control, error) {
	dir := filepath.Join(v.mount, path)
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	m, err := cgroup2.Load("/"+path, cgroup2.WithMountpoint(v.mount))
	if err != nil {
		return nil, err
	}
	return &group2{m, dir}, nil
}

// group2 is a cgroup of the unified hierarchy.
type group2 struct {
	*cgroup2.Manager
	dir string
}

func (g *group2) setCPU(quota int64, period uint64) error {
	limit := cgroup2.NewCPUMax(&quota, &period)
	if quota < 0 {
		limit = cgroup2.NewCPUMax(nil, &period)
	}
	return g.Update(&cgroup2.Resources{CPU: &cgroup2.CPU{Max: limit}})
}

func (g *group2) setMemory(bytes int64) error {
	m := &cgroup2.Memory{Max: &bytes}
	// The file is there if the kernel can swap.
	if _, err := os.Stat(filepath.Join(g.dir, "memory.swap.max")); err == nil {
		m.Swap = new(int64)
	}
	return g.Update(&cgroup2.Resources{Memory: m})
}

func (g *group2) usage() (Usage, error) {
	s, err := g.StatFiltered(cgroup2.StatCPU | cgroup2.StatMemory | cgroup2.StatMemoryEvents)
	if err != nil {
		return Usage{}, err
	}
	m := s.GetMemory()
	return Usage{
		CPU:      time.Duration(s.GetCPU().GetUsageUsec()) * time.Microsecond,
		Memory:   max(int64(m.GetUsage())-int64(m.GetInactiveFile()), 0),
		OOMKills: s.GetMemoryEvents().GetOomKill(),
	}, nil
}

// start has clone3(2) make the process where it belongs.
func (g *group2) start(cmd *exec.Cmd) error {
	dir, err := os.Open(g.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return cmd.Start()
}
