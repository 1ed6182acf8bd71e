// Package kernel emulates the links of a testbed in the Linux kernel: it joins
// network namespaces through a bridge and shapes every direction between every
// two of them on its own. Only testbed/emulation imports it; it needs root, and
// Linux. It talks netlink (vishvananda/netlink) and runs no ip(8) or tc(8),
// whose output is nevertheless the way to look at what it made:
//
//	ip netns exec HUB tc -s qdisc show dev p2
//
// # What a packet passes
//
//	node's namespace   hub's namespace
//	weft0 ──────────── p1 ── bridge ── p2 ── HTB ─┬─ class 1:1  netem ── netem ──── weft0 of node 2
//	(node 1)                                      │             delay    rate
//	                                              │             jitter   queue
//	                                              │             loss
//	                                              └─ class 1:3  … from node 3
//
// All shaping of a direction is on the port of its receiver, in the class of
// its sender, which a hashed u32 filter finds by the source address. In the
// hub, because a sender that sees its own interface drop a packet is told so
// (TCP then slows down without having lost anything, and UDP's Write blocks on
// a full socket buffer): at the end of a path of several hops that is not what
// happens. HTB is there to hold the classes; they have no limit of their own.
// What is not IPv4 from a node, ARP for instance, matches no class and is not
// shaped.
//
// # Delay, then rate
//
// netem has a rate of its own, but only one limit, on packets delayed and
// packets waiting together: for a Queue that counts those that wait, the limit
// would have to know how many are under way, which depends on their size.
// Hence two of them. A queue behind a constant delay drops and delays exactly
// the packets that one before it would, only later, so the order costs nothing,
// and the kernel lets none but the inner qdisc of two come last: the outer one
// delays, the inner one serialises. What is lost is lost before the rate, so
// losses do not use up the rate; the difference is a fraction Loss of it.
//
// netem's rate is a virtual clock: packet n leaves at max(its arrival, the
// departure of n-1) + size/rate. A timer that fires late therefore costs no
// throughput, and the first packet of a burst is serialised like all others. A
// token bucket (tbf) has neither: its bucket has to be large enough for the
// timer's lateness, and what fits in it passes at once.
//
// A netem without a rate reorders packets when there is jitter, since each
// leaves at its own time. With one, none may leave before its predecessor: the
// outer netem has a rate of 8 Tbit/s. Packets keep their order, and those that
// would have overtaken come close behind.
//
// Rate counts IP packets: netem is told to leave out Ethernet's 14 bytes. An
// interface's segmentation offload would pass up to 64 kB as one packet, to be
// delayed, queued and lost as one; nodes' interfaces allow one segment only.
//
// # Without netem
//
// A kernel without netem can still shape links that have a rate and a queue
// only: the rate is then the HTB class's, with a bucket of 1 ms, and the queue
// a pfifo. Senders then do see the queue, as described above. [Supported] names
// what is missing; [Network.Set] refuses what cannot be done, with
// [ErrUnsupported].
//
// Kernels before December 2024 (6.13, 6.12.6 and 6.1.121 have the correction)
// forget the packets in a qdisc inside netem, so that a link stands still until
// the next packet comes. Supported looks for that too.
//
// # Size
//
// Nodes know each other's hardware addresses from the start: there is no ARP
// between them, which for 200 nodes would be more neighbours than the kernel
// keeps (net.ipv4.neigh.default.gc_thresh3, 1024 for all namespaces together),
// and the bridge floods nothing but broadcasts. It has room for 1023 ports.
//
// Setting up 14 nodes takes 0.08 s, 50 nodes 0.5 s and 200 nodes about 16 s on
// two cores, without netem (BenchmarkMesh). Most of that is new HTB classes,
// which cost the more, the more of them the machine has: 70 µs each at first,
// 380 µs after 35,000. The kernel's log gets a line, "htb: netem qdisc 4: is
// non-work-conserving?", for each link that is used; it is right, and harmless.
package kernel
