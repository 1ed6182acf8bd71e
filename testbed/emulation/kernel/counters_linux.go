package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Pair names one direction of a link.
type Pair struct{ From, To string }

// Counters are what became of the packets of one direction since its first Set.
// The kernel counts in 32 bits.
type Counters struct {
	Packets, Bytes uint64 // delivered; bytes of IP, headers included
	UnderWay       uint64 // waiting for the rate, or delayed
	Queue          uint64 // dropped: too many waited for the rate
	Loss           uint64 // dropped: by the link's loss
	Cut            uint64 // dropped: the link did not pass, or was cut with the packet under way
}

// Counters are those of all directions that were ever set.
func (n *Network) Counters() (map[Pair]Counters, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	out := make(map[Pair]Counters, len(n.joined))
	for _, to := range n.nodes {
		seen, err := n.look(to)
		if err != nil {
			return nil, err
		}
		for _, from := range n.nodes {
			t := n.joined[direction{from.id, to.id}]
			if t == nil {
				continue
			}
			c, err := n.count(t, seen[from.id], from, to)
			if err != nil {
				return nil, err
			}
			out[Pair{from.name, to.name}] = c
		}
	}
	return out, nil
}

// tally is what a direction has come to. Qdiscs and their counters go when a
// link is cut and when it is healed; those of its class stay.
type tally struct {
	passes  bool
	past    Counters // dropped before the last cut or healing
	refused uint64   // by the class until then
}

// sight is what a class shows of a direction.
type sight struct {
	packets, bytes uint64 // that left it
	refused        uint64 // what the qdisc in it did not take
	under          uint64 // packets in it
}

// look reads the classes of a port, by the senders' IDs.
func (n *Network) look(to *node) (map[uint16]sight, error) {
	port := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: to.port}}
	classes, err := n.link.ClassList(port, root)
	if err != nil {
		return nil, fmt.Errorf("counters of links to %s: %w", to.name, err)
	}
	out := make(map[uint16]sight, len(classes))
	for _, c := range classes {
		_, id := netlink.MajorMinor(c.Attrs().Handle)
		s := c.Attrs().Statistics
		out[id] = sight{
			packets: uint64(s.Basic.Packets),
			bytes:   s.Basic.Bytes - ether*uint64(s.Basic.Packets),
			refused: uint64(s.Queue.Drops),
			under:   uint64(s.Queue.Qlen),
		}
	}
	return out, nil
}

// count adds up a direction's counters.
func (n *Network) count(t *tally, s sight, from, to *node) (Counters, error) {
	c := t.past
	c.Packets, c.Bytes, c.UnderWay = s.packets, s.bytes, s.under
	refused := s.refused - t.refused
	switch {
	case !t.passes:
		c.Cut += refused
	case n.netem:
		c.Loss += refused
		// The queue for the rate is further in.
		dropped, err := n.tc.drops(to.port, outer(from.id)|1, inner(from.id))
		if err != nil {
			return Counters{}, fmt.Errorf("counters of the link from %s to %s: %w", from.name, to.name, err)
		}
		c.Queue += dropped
	default:
		c.Queue += refused
	}
	return c, nil
}
