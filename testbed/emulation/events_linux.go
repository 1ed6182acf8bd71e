package emulation

import (
	"context"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/testbed"
)

// Apply carries out an event of the timeline, and returns when it is done:
// after a stop that can take seconds. More or fewer sources, and drains, are
// the coordinators' business. The error is ErrState where the event contradicts how things are.
func (t *Testbed) Apply(ctx context.Context, e testbed.Event) error {
	switch e.Action {
	case testbed.Partition, testbed.Heal, testbed.Change, testbed.Restore:
		return t.rewire(e)
	case testbed.Sources, testbed.Drain, testbed.Undrain:
		return nil
	}
	n, err := t.node(e.Node)
	if err != nil {
		return err
	}
	switch e.Action {
	case testbed.Kill:
		return t.kill(ctx, n)
	case testbed.Stop:
		return t.stop(ctx, n)
	case testbed.Start:
		if err := t.start(ctx, n); err != nil {
			return err
		}
		t.limitBooted(context.WithoutCancel(ctx), n)
		return nil
	case testbed.Pause:
		return t.hold(n, true)
	case testbed.Resume:
		return t.hold(n, false)
	}
	return fmt.Errorf("the emulation knows no action %q", e.Action)
}

// node returns a node of a running testbed.
func (t *Testbed) node(name string) (*node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, ok := t.named[name]; ok {
		return n, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrNode, name)
}

// direction is a link from one node to another.
type direction struct{ from, to string }

// path is what a direction is set to.
type path struct {
	testbed.Link
	pass bool
}

// rewire changes the topology and then the directions that it makes different.
func (t *Testbed) rewire(e testbed.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.net == nil {
		return fmt.Errorf("%w: the testbed is down", ErrState)
	}
	if err := t.topology.Apply(e); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	_, err := t.wire(nil)
	return err
}

// wire sets every direction that is not what the topology says, and counts
// them. The caller has the mutex.
func (t *Testbed) wire(progress func(done, total int)) (changed int, err error) {
	pairs := t.topology.Pairs()
	var errs []error
	for i, p := range pairs {
		link, pass := t.topology.Link(p.A, p.B)
		want := path{link, pass}
		for _, d := range []direction{{p.A, p.B}, {p.B, p.A}} {
			if now, set := t.paths[d]; set && now == want {
				continue
			}
			if err := t.net.Set(d.from, d.to, link, pass); err != nil {
				errs = append(errs, fmt.Errorf("link from %s to %s: %w", d.from, d.to, err))
				continue
			}
			t.paths[d] = want
			changed++
		}
		if progress != nil {
			progress(i+1, len(pairs))
		}
	}
	if len(errs) > maxErrors {
		errs = append(errs[:maxErrors], fmt.Errorf("and %d links more", len(errs)-maxErrors))
	}
	return changed, errors.Join(errs...)
}

// maxErrors of one kind are enough to read.
const maxErrors = 4

// Limit sets the CPU quota of every node, or lifts it. A node that is started
// afterwards boots without, and then has what was set.
func (t *Testbed) Limit(on bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limited = on
	var errs []error
	for _, n := range t.nodes {
		errs = append(errs, n.group.SetCPU(t.quota(n, on)))
	}
	return errors.Join(errs...)
}

// limitBooted sets the quota of a node that was started just now once it has
// booted, and waits for nothing.
func (t *Testbed) limitBooted(ctx context.Context, n *node) {
	t.mu.Lock()
	p := n.proc
	t.mu.Unlock()
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	t.reapers.Go(func() {
		defer cancel()
		go func() { // ends with ctx
			select {
			case <-p.done:
				cancel()
			case <-ctx.Done():
			}
		}()
		// Whatever came of it, from now on the node is what it was.
		_ = t.listens(ctx, n)
		t.mu.Lock()
		defer t.mu.Unlock()
		if n.proc != p {
			return
		}
		if err := n.group.SetCPU(t.quota(n, t.limited)); err != nil {
			t.cfg.Log.Warn("a node has no CPU quota", "node", n.spec.Name, "err", err)
		}
	})
}

// quota is a node's in cores; 0: none.
func (t *Testbed) quota(n *node, on bool) float64 {
	if !on {
		return 0
	}
	return t.s.Quota(n.spec, t.cfg.CPUScale)
}
