package emulation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// Exec runs a command on a node, in its namespace and within its limits, and
// returns its exit code: 128 and the signal's number where a signal ended it,
// as shells do. WEFT_CONFIG names the operator's configuration, for the weft
// command. The end of ctx, or of this process, kills the command.
func Exec(ctx context.Context, s *State, node string, argv []string, stdin io.Reader, stdout, stderr io.Writer) (code int, err error) {
	n, ok := s.Node(node)
	if !ok {
		var names []string
		for _, n := range s.Nodes {
			names = append(names, n.Name)
		}
		return 0, fmt.Errorf("%w: %q: testbed %s has %s", ErrNode, node, s.Name, few(names))
	}
	if !s.Alive {
		return 0, fmt.Errorf("%w: testbed %s has crashed: remove what is left with `weft testbed down %s`", ErrState, s.Name, s.Name)
	}
	if len(argv) == 0 {
		return 0, fmt.Errorf("%w: no command to run on node %s", ErrConfig, node)
	}
	if err := needsRoot("exec …"); err != nil {
		return 0, err
	}
	group, err := cgroup.Load(n.Cgroup)
	if err != nil {
		return 0, fmt.Errorf("node %s: %w", node, err)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.WaitDelay = pipeLimit
	cmd.Env = append(slices.Clone(os.Environ()), "WEFT_CONFIG="+filepath.Join(s.Dir, "weft.yaml"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The thread that forks waits, for the command dies with it.
	err = ns.Do(n.Namespace, func() error {
		if err := group.Start(cmd); err != nil {
			return err
		}
		return cmd.Wait()
	})
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("run %s on node %s: %w", argv[0], node, err)
	}
	return 0, nil
}
