package emulation

import (
	"context"
	"os/exec"

	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// nursery is the one thread that forks the nodes, each from inside its
// namespace. The kernel kills a node when the thread that forked it ends: so
// this one lives until all nodes are gone, and they do not outlive the process.
type nursery struct{ jobs chan func() }

func newNursery() *nursery { return &nursery{make(chan func())} }

// run forks until ctx ends. Whatever was forked dies with it.
func (n *nursery) run(ctx context.Context) error {
	return ns.Thread(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case fork := <-n.jobs:
				fork()
			}
		}
	})
}

// start starts cmd in a namespace and a cgroup: it is in both before its first
// instruction. The nursery runs; ctx bounds how long that takes to see.
func (n *nursery) start(ctx context.Context, cmd *exec.Cmd, namespace string, group *cgroup.Group) error {
	done := make(chan error, 1)
	fork := func() {
		// The thread stays there: it enters another namespace for the next.
		if err := ns.Enter(namespace); err != nil {
			done <- err
			return
		}
		done <- group.Start(cmd)
	}
	select {
	case n.jobs <- fork:
		return <-done
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
