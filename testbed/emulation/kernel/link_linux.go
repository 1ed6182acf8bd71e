package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/testbed"
)

// Set makes the direction between two nodes that of a link, at any time:
// connections hold, packets that wait for the rate leave as they would have,
// later ones follow them. Where pass is false no packet arrives any more until
// the next Set, not even those under way; the other direction is not affected.
func (n *Network) Set(from, to string, l testbed.Link, pass bool) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("link from %s to %s: %w", from, to, err)
		}
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	a, b := n.named[from], n.named[to]
	switch {
	case a == nil:
		return fmt.Errorf("%w: %s", ErrUnknown, from)
	case b == nil:
		return fmt.Errorf("%w: %s", ErrUnknown, to)
	case a == b:
		return errors.New("a node reaches itself over its loopback device, which is not shaped")
	}
	if err := check(l, n.netem); err != nil {
		return err
	}
	d := direction{a.id, b.id}
	t := n.joined[d]
	if t == nil {
		return n.join(d, a, b, l, pass)
	}
	if t.passes != pass {
		if err := n.settle(t, a, b); err != nil {
			return err
		}
	}
	if err := n.shape(b.port, a.id, l, pass); err != nil {
		return err
	}
	t.passes = pass
	return nil
}

// join makes the class of a direction that has none. Its filter comes last, so
// that no packet meets a class that is not shaped yet.
func (n *Network) join(d direction, a, b *node, l testbed.Link, pass bool) error {
	err := n.tc.put(unix.RTM_NEWTCLASS, b.port, root, class(a.id), "htb", htbOptions(unlimited))
	if err != nil {
		return err
	}
	if err := n.shape(b.port, a.id, l, pass); err != nil {
		return err
	}
	if err := n.tc.direct(b.port, a.addr, a.id); err != nil {
		return err
	}
	n.joined[d] = &tally{passes: pass}
	return nil
}

// settle puts down what was counted, before a link is cut or healed.
func (n *Network) settle(t *tally, a, b *node) error {
	seen, err := n.look(b)
	if err != nil {
		return err
	}
	s := seen[a.id]
	if t.past, err = n.count(t, s, a, b); err != nil {
		return err
	}
	t.refused = s.refused
	if t.passes {
		t.past.Cut += s.under // the kernel drops them with the qdisc
	}
	return nil
}
