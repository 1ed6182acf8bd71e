package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup2"
	"pgregory.net/rapid"
)

// asChild has the test binary act as a process to limit.
const asChild = "WEFT_CGROUP_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(asChild) {
	case "":
		os.Exit(m.Run())
	case "where": // the first thing it does is to say where it is
		b, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			panic(err)
		}
		_, _ = os.Stdout.Write(b)
	case "spin":
		for i := 0; ; i++ {
			runtime.KeepAlive(i)
		}
	case "eat":
		var kept [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
			runtime.KeepAlive(kept)
		}
	case "wait":
		select {}
	}
}

func child(what string, args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = []string{asChild + "=" + what, "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0"}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

func needsCgroups(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making cgroups needs root")
	}
	if err := Missing(); err != nil {
		t.Skip(err)
	}
}

// group makes one for the test, which is empty and gone after it.
func group(t *testing.T) *Group {
	t.Helper()
	needsCgroups(t)
	top := fmt.Sprintf("weft-test-cgroup-%d", os.Getpid())
	g, err := Create(filepath.Join(top, "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(Kill(ctx, top), Remove(top)); err != nil {
			t.Error(err)
		}
	})
	return g
}

// start starts cmd in the group; the thread that did stays for the test.
func start(t *testing.T, g *Group, cmd *exec.Cmd) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	if err := g.Start(cmd); err != nil {
		t.Fatal(err)
	}
}

func TestProcessIsInItsGroupBeforeItRuns(t *testing.T) {
	g := group(t)
	cmd := child("where")
	var out strings.Builder
	cmd.Stdout = &out
	start(t, g, cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	in := 0
	for line := range strings.Lines(out.String()) {
		if strings.HasSuffix(strings.TrimSpace(line), "/"+g.Path()) {
			in++
		}
	}
	if want := map[string]int{"v1": 3, "v2": 1}[Version()]; in != want {
		t.Errorf("the process found itself in\n%swant %d hierarchies in which it is in %s", out.String(), want, g.Path())
	}
}

func TestUnifiedHierarchyStartsProcessesInTheGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making cgroups needs root")
	}
	mount := "/sys/fs/cgroup"
	if cgroups.Mode() == cgroups.Hybrid {
		mount = "/sys/fs/cgroup/unified" // has no controllers, and starting needs none
	} else if cgroups.Mode() != cgroups.Unified {
		t.Skip("this machine has no cgroups v2")
	}
	name := fmt.Sprintf("weft-test-v2-%d", os.Getpid())
	dir := filepath.Join(mount, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeTree(dir); err != nil {
			t.Error(err)
		}
	})
	c, err := v2{mount}.load(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := child("where")
	var out strings.Builder
	cmd.Stdout = &out
	start(t, &Group{name, c}, cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := "0::/" + name + "\n"; !strings.Contains(out.String(), want) {
		t.Errorf("the process found itself in\n%swant %s", out.String(), want)
	}
}

// TestUnifiedSettings checks what is written, where the kernel has no v2
// controllers to try it on.
func TestUnifiedSettings(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"cpu.max", "memory.max", "memory.swap.max"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := cgroup2.Load("/", cgroup2.WithMountpoint(dir))
	if err != nil {
		t.Fatal(err)
	}
	g := &Group{"g", &group2{m, dir}}
	expect := func(file, want string) {
		t.Helper()
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", file, b, err, want)
		}
		if err := os.Truncate(filepath.Join(dir, file), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(g.SetCPU(0.1), g.SetMemory(1<<20)); err != nil {
		t.Fatal(err)
	}
	expect("cpu.max", "1000 10000")
	expect("memory.max", "1048576")
	expect("memory.swap.max", "0")
	if err := g.SetCPU(0); err != nil {
		t.Fatal(err)
	}
	expect("cpu.max", "max 5000")

	for file, text := range map[string]string{
		"cpu.stat": "usage_usec 1500000\nuser_usec 1\n", "memory.current": "5000\n",
		"memory.stat": "anon 1\ninactive_file 2000\n", "memory.events": "low 0\noom 3\noom_kill 2\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if u, err := g.Usage(); err != nil || u != (Usage{CPU: 1500 * time.Millisecond, Memory: 3000, OOMKills: 2}) {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func TestUnifiedNamesWhatTheKernelLacks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte("cpuset cpu io pids\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := v2{dir}.missing()
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), `"memory": boot with cgroup_enable=memory`) || strings.Contains(err.Error(), `"cpu"`) {
		t.Errorf("without the memory controller: %v", err)
	}
}

func TestBandwidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cores := rapid.Float64Range(MinCores, 256).Draw(t, "cores")
		quota, period, err := bandwidth(cores)
		if err != nil {
			t.Fatal(err)
		}
		if quota < 1000 || period < 5000 || period > 1_000_000 {
			t.Fatalf("%g cores: quota %d µs, period %d µs: the kernel takes 1 ms at least, in at most 1 s", cores, quota, period)
		}
		if got := float64(quota) / float64(period); math.Abs(got/cores-1) > 1e-3 {
			t.Fatalf("%g cores: %d of %d µs is %g", cores, quota, period, got)
		}
		if period > 5000 && quota > 1001 {
			t.Fatalf("%g cores: period %d µs is longer than it must be for quota %d µs", cores, period, quota)
		}
	})
	if _, _, err := bandwidth(MinCores / 2); err == nil {
		t.Error("a quota below what the kernel can keep is accepted")
	}
}

// TestQuotaHolds compares with the quota what a child uses that would use more.
// Other load on this machine can only make it less, so only more is an error;
// and it must be so much less than a core that it cannot be chance.
func TestQuotaHolds(t *testing.T) {
	g := group(t)
	const quota = 0.1
	if err := g.SetCPU(quota); err != nil {
		t.Fatal(err)
	}
	cmd := child("spin")
	start(t, g, cmd)
	begun := time.Now()
	first, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	<-timer.C
	last, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	got := (last.CPU - first.CPU).Seconds() / time.Since(begun).Seconds()
	t.Logf("a quota of %g cores, used %.4f", quota, got)
	if got > quota*1.25 {
		t.Errorf("used %.3f cores of %g", got, quota)
	}
	if got <= 0 {
		t.Error("used nothing")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestMemoryLimitKillsAndCounts(t *testing.T) {
	g := group(t)
	if err := g.SetMemory(32 << 20); err != nil {
		t.Fatal(err)
	}
	cmd := child("eat")
	start(t, g, cmd)
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ate more than its memory and ended with %v, want SIGKILL", err)
	}
	u, err := g.Usage()
	if err != nil || u.OOMKills == 0 || u.Memory > 32<<20 {
		t.Errorf("usage %+v, %v, want a kill and at most 32 MiB", u, err)
	}
}

func TestKillAndRemove(t *testing.T) {
	g := group(t)
	top := strings.Split(g.Path(), "/")[0]
	cmd := child("wait")
	start(t, g, cmd)
	if pids, err := Processes(top); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("processes %v, %v, want %d", pids, err, cmd.Process.Pid)
	}
	if names, err := List(top); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("below %s: %v, %v, want a", top, names, err)
	}
	if err := Remove(top); err == nil {
		t.Error("a group with a process was removed")
	}
	if err := RemoveEmpty(top); err != nil {
		t.Errorf("a group with others below it: %v, want it left alone", err)
	}
	if _, err := Load(g.Path()); err != nil {
		t.Errorf("it is gone: %v", err)
	}
	if err := Kill(t.Context(), top); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	for range 2 { // the second time there is nothing
		if err := errors.Join(Kill(t.Context(), top), Remove(top)); err != nil {
			t.Error(err)
		}
	}
	if _, err := Load(g.Path()); err == nil {
		t.Error("a removed group can be loaded")
	}
	if names, err := List(top); err != nil || len(names) > 0 {
		t.Errorf("below what is gone: %v, %v", names, err)
	}
}

func TestCommandThatIsNotThere(t *testing.T) {
	g := group(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.Start(exec.Command(filepath.Join(t.TempDir(), "nothing"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("started: %v, want that it does not exist", err)
	}
}
