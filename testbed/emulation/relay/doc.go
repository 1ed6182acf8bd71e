// Package relay emulates links in user space, for kernels without netem. The
// namespace of every node has one TUN device; one [Relay] holds them all. It
// reads the IP packets that a node sends, finds the link by sender and
// destination address, and writes each packet to the other node's device when
// the link would have delivered it.
//
// # What a link does
//
// A direction of a link is a transmitter with a FIFO queue, and a delay line
// behind it. In order, a packet
//
//   - is lost with probability Loss (independently, as netem's "loss random":
//     before the queue, so it takes none of the rate);
//   - waits for the transmitter, unless Queue packets wait already: then it is
//     dropped. The packet in transmission does not count as waiting;
//   - is in transmission for its size over Rate. The size is the IP packet's,
//     header included; there is no link layer;
//   - is under way for a time drawn uniformly from Delay ± Jitter, or longer
//     where it would overtake the one before: packets keep their order.
//
// A change of a link holds for the packets whose transmission has not begun;
// the others keep their time. A cut drops at once whatever waits or is under
// way, so after [Relay.Set] returns nothing more arrives until it passes again.
//
// # How time is kept
//
// Go's timers are too coarse for this, so the pump is one goroutine on a
// thread of its own that waits in ppoll(2) with nanosecond timeouts, at
// real-time priority where it may have it. It sleeps whenever nothing is due.
//
// The package is called by testbed/emulation alone. All but the arithmetic
// needs Linux, /dev/net/tun and CAP_NET_ADMIN.
package relay
