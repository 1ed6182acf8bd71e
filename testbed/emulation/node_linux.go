package emulation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
)

const (
	// stopLimit is how long a weftd that is told to stop may take.
	stopLimit = 15 * time.Second
	// pipeLimit is how long a weftd's output is waited for after its end, in
	// case something that it started holds the pipe.
	pipeLimit = time.Second
)

// node is one emulated machine. What may change is guarded by the testbed's
// mutex.
type node struct {
	spec  testbed.Node
	group *cgroup.Group
	log   *journal
	state NodeState
	proc  *process // nil: none runs
	kills uint64   // by the kernel for want of memory, before this process
}

// process is a running weftd.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it is reaped
	// wanted is set when the timeline ends it: then its end is no news.
	wanted bool
}

// command is what a node runs.
func (t *Testbed) command(n *node) *exec.Cmd {
	cmd := exec.Command(t.cfg.Weftd, "--config", filepath.Join(n.state.Dir, "weftd.yaml"))
	cmd.Dir, cmd.Env = n.state.Dir, n.environment(t.cfg.CPUScale)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	cmd.WaitDelay = pipeLimit
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // Ctrl-C is for this process alone
	}
	return cmd
}

func (n *node) environment(scale float64) []string {
	return []string{
		"GOMAXPROCS=" + strconv.Itoa(min(testbed.Processors(n.spec.Cores, scale), runtime.NumCPU())),
		"OPENCV_FOR_THREADS_NUM=1",
		clockEnv + "=" + n.clock(),
	}
}

// start starts a node's weftd, unlimited in CPU.
func (t *Testbed) start(ctx context.Context, n *node) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.proc != nil {
		return fmt.Errorf("%w: %s runs already", ErrState, n.spec.Name)
	}
	if t.closing {
		return fmt.Errorf("%w: the testbed is being taken down", ErrState)
	}
	if err := n.group.SetCPU(0); err != nil {
		return err
	}
	usage, err := n.group.Usage()
	if err != nil {
		return err
	}
	n.log.forget()
	cmd := t.command(n)
	if err := t.nursery.start(ctx, cmd, n.state.Namespace, n.group); err != nil {
		return fmt.Errorf("start node %s: %w", n.spec.Name, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	n.proc, n.kills = p, usage.OOMKills
	n.state.PID, n.state.Up, n.state.Paused, n.state.Exit, n.state.Log = cmd.Process.Pid, true, false, "", nil
	t.reapers.Go(func() { t.reap(n, p) })
	t.note()
	return nil
}

// reap waits for a weftd's end and takes note of it.
func (t *Testbed) reap(n *node, p *process) {
	err := p.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	why := "exit status 0"
	if err != nil {
		why = err.Error()
	}
	if u, err := n.group.Usage(); err == nil && u.OOMKills > n.kills {
		why = fmt.Sprintf("killed by the kernel: it needed more than the node's %d MiB of memory", n.spec.Memory>>20)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n.proc = nil
	n.state.PID, n.state.Up, n.state.Paused = 0, false, false
	if !p.wanted {
		n.state.Exit, n.state.Log = why, n.log.last()
		t.cfg.Log.Warn("a weftd ended by itself", "node", n.spec.Name, "why", why, "log", filepath.Join(n.state.Dir, "weftd.log"))
	}
	t.note()
	close(p.done) // who waits for it finds it noted
}

// running returns a node's process.
func (n *node) running() (*process, error) {
	if n.proc == nil {
		why := ""
		if n.state.Exit != "" {
			why = ": its weftd ended by itself: " + n.state.Exit
		}
		return nil, fmt.Errorf("%w: %s does not run%s", ErrState, n.spec.Name, why)
	}
	return n.proc, nil
}

// kill ends a node's weftd without a word, and returns when it is gone.
func (t *Testbed) kill(ctx context.Context, n *node) error {
	t.mu.Lock()
	p, err := n.running()
	if err != nil {
		t.mu.Unlock()
		return err
	}
	err = p.cmd.Process.Signal(syscall.SIGKILL)
	p.wanted = err == nil // else it has ended by itself
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("kill node %s: %w", n.spec.Name, err)
	}
	return p.wait(ctx)
}

// stop tells a node's weftd to stop, kills it if it takes too long, and
// returns when it is gone.
func (t *Testbed) stop(ctx context.Context, n *node) error {
	t.mu.Lock()
	p, err := n.running()
	if err != nil {
		t.mu.Unlock()
		return err
	}
	err = p.cmd.Process.Signal(syscall.SIGTERM)
	p.wanted = err == nil             // else it has ended by itself
	if err == nil && n.state.Paused { // a process that stands still does not see it
		n.state.Paused = false
		err = p.cmd.Process.Signal(syscall.SIGCONT)
		t.note()
	}
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("stop node %s: %w", n.spec.Name, err)
	}
	late := time.NewTimer(stopLimit)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
	}
	t.cfg.Log.Warn("a weftd did not stop when told to, it is killed", "node", n.spec.Name, "after", stopLimit)
	// ErrProcessDone: it has just stopped.
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill node %s: %w", n.spec.Name, err)
	}
	return p.wait(ctx)
}

func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hold lets a node's weftd stand still, or go on.
func (t *Testbed) hold(n *node, still bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := n.running()
	if err != nil {
		return err
	}
	sig, what := syscall.SIGCONT, "is not paused"
	if still {
		sig, what = syscall.SIGSTOP, "is paused already"
	}
	if n.state.Paused == still {
		return fmt.Errorf("%w: %s %s", ErrState, n.spec.Name, what)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("pause or resume node %s: %w", n.spec.Name, err)
	}
	n.state.Paused = still
	t.note()
	return nil
}
