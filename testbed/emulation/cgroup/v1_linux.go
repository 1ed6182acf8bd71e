package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// v1 are the hierarchies of cgroups v1, wherever they are mounted.
type v1 struct{}

// used are the controllers that the emulation needs.
func used() []cgroup1.Name { return []cgroup1.Name{cgroup1.Cpu, cgroup1.Cpuacct, cgroup1.Memory} }

// mounted returns those of the used controllers that this machine has.
func mounted() (map[cgroup1.Name]cgroup1.Subsystem, error) {
	all, err := cgroup1.Default()
	if err != nil {
		return nil, fmt.Errorf("find the hierarchies of cgroups v1: %w", err)
	}
	out := map[cgroup1.Name]cgroup1.Subsystem{}
	for _, s := range all {
		out[s.Name()] = s
	}
	return out, nil
}

func hierarchy() ([]cgroup1.Subsystem, error) {
	have, err := mounted()
	if err != nil {
		return nil, err
	}
	var out []cgroup1.Subsystem
	for _, n := range used() {
		s, ok := have[n]
		if !ok {
			return nil, fmt.Errorf("%w: controller %s is not mounted", ErrMissing, n)
		}
		out = append(out, s)
	}
	return out, nil
}

func (v1) missing() error {
	have, err := mounted()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	var errs []error
	for _, n := range used() {
		s, ok := have[n]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%w: the kernel has no controller %q: boot with %s", ErrMissing, n, bootOption(string(n))))
		case n == cgroup1.Cpu:
			if _, err := os.Stat(filepath.Join(dirOf(s, "/"), "cpu.cfs_quota_us")); err != nil {
				errs = append(errs, fmt.Errorf("%w: the kernel has no CPU quotas: it needs CONFIG_CFS_BANDWIDTH", ErrMissing))
			}
		}
	}
	return errors.Join(errs...)
}

// bootOption is how a controller is turned on. Raspberry Pi OS ships with the
// memory controller off.
func bootOption(controller string) string {
	if controller == "memory" {
		return "cgroup_enable=memory (on a Raspberry Pi add it to cmdline.txt)"
	}
	return "it enabled, or mount it below /sys/fs/cgroup"
}

func dirOf(s cgroup1.Subsystem, path string) string {
	return s.(interface{ Path(string) string }).Path(path)
}

func (v1) dirs(path string) ([]string, error) {
	h, err := hierarchy()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range h {
		out = append(out, dirOf(s, path))
	}
	return out, nil
}

func (v1) create(path string) (control, error) {
	c, err := cgroup1.New(cgroup1.StaticPath("/"+path), &specs.LinuxResources{}, cgroup1.WithHierarchy(hierarchy))
	if err != nil {
		return nil, err
	}
	return newGroup1(c, path)
}

func (v1) load(path string) (control, error) {
	c, err := cgroup1.Load(cgroup1.StaticPath("/"+path), cgroup1.WithHierarchy(hierarchy))
	if err != nil {
		return nil, err
	}
	return newGroup1(c, path)
}

// group1 is a cgroup of the same path in each hierarchy.
type group1 struct {
	cgroup1.Cgroup
	cpuacct, memory string // directories
}

func newGroup1(c cgroup1.Cgroup, path string) (control, error) {
	have, err := mounted()
	if err != nil {
		return nil, err
	}
	return &group1{c, dirOf(have[cgroup1.Cpuacct], path), dirOf(have[cgroup1.Memory], path)}, nil
}

func (g *group1) setCPU(quota int64, period uint64) error {
	return g.Update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Period: &period}})
}

func (g *group1) setMemory(bytes int64) error {
	m := &specs.LinuxMemory{Limit: &bytes}
	// The file is there if the kernel accounts for swap.
	if _, err := os.Stat(filepath.Join(g.memory, "memory.memsw.limit_in_bytes")); err == nil {
		m.Swap = &bytes // memory and swap together
	}
	return g.Update(&specs.LinuxResources{Memory: m})
}

func (g *group1) usage() (Usage, error) {
	cpu, err1 := readUint(g.cpuacct, "cpuacct.usage")
	mem, err2 := readUint(g.memory, "memory.usage_in_bytes")
	idle, err3 := readKey(g.memory, "memory.stat", "total_inactive_file")
	kills, err4 := readKey(g.memory, "memory.oom_control", "oom_kill")
	return Usage{CPU: time.Duration(cpu), Memory: max(int64(mem)-int64(idle), 0), OOMKills: kills}, errors.Join(err1, err2, err3, err4)
}

// start runs the new process into the stop that ptrace(2) makes at the end of
// execve, moves it, and lets it go: v1 cannot start a process elsewhere than
// where its parent is. Only the thread that started it may let it go.
func (g *group1) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	err := awaitExec(pid)
	if err == nil {
		err = g.move(pid)
	}
	if err == nil {
		err = unix.PtraceDetach(pid)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("start %s in its cgroup: %w", cmd.Path, err)
	}
	return nil
}

// How often a process is moved that the kernel does not let in yet, and how far
// apart.
const moves, moveEvery = 50, 10 * time.Millisecond

// move puts a process that stands still into the group. The kernel takes none
// that runs at real-time priority into a group without a real-time budget
// (EINVAL), and whoever starts processes may have it: this one is to be
// ordinary. What it inherits, or is lent by a lock, may take a moment to pass.
func (g *group1) move(pid int) error {
	var err error
	for range moves {
		if err = unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0); err != nil {
			return fmt.Errorf("give process %d ordinary priority: %w", pid, err)
		}
		if err = g.AddProc(uint64(pid)); !errors.Is(err, unix.EINVAL) {
			return err
		}
		<-time.After(moveEvery)
	}
	return err
}

// awaitExec waits for the stop after execve.
func awaitExec(pid int) error {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return err
		case ws.Stopped() && ws.StopSignal() == syscall.SIGTRAP:
			return nil
		case ws.Stopped(): // by a signal from outside, before it runs: deliver it, go on waiting
			if err := unix.PtraceCont(pid, int(ws.StopSignal())); err != nil {
				return err
			}
		default:
			return fmt.Errorf("it ended before it ran: wait status %#x", uint32(ws))
		}
	}
}
