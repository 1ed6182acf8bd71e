package relay

import "time"

// Pair names one direction of a link.
type Pair struct{ From, To string }

// Counters are those of one direction since the relay was made. Every packet
// that a node sent to the other is in one of them.
type Counters struct {
	Packets, Bytes uint64 // delivered; bytes of IP, headers included
	Late           uint64 // of Packets: delivered more than LateAfter after they were due
	UnderWay       uint64 // waiting for the rate, or in the delay line
	DroppedQueue   uint64 // too many waited for the rate
	DroppedLoss    uint64 // by the link's loss
	DroppedCut     uint64 // the link did not pass, or was cut with the packet on its way
	DroppedMemory  uint64 // the relay held as many packets as Config.Packets allows
	DroppedDevice  uint64 // the receiver's device did not take it: it is down
}

// LateAfter is how late a packet may be without being counted as late. Some
// are on a busy machine; many mean that it was too busy for the links asked.
const LateAfter = time.Millisecond

// Refused counts packets that belong to no link.
type Refused struct {
	NotIPv4   uint64
	Malformed uint64 // shorter or longer than their header says
	Multicast uint64 // and broadcast
	Unknown   uint64 // to an address of no node, or of a node to which no link was set
}

// line is one direction of a link with its place in the relay.
type line struct {
	shaper
	to       int // file descriptor of the receiver's device
	counters Counters

	key   time.Duration // in the schedule: when the first packet arrives
	place int           // in the schedule; -1: not in it
}

// offer counts a packet that is offered now, and reports whether the line has
// kept it.
func (l *line) offer(now time.Duration, size int, p *packet) bool {
	switch l.admit(now, size, p) {
	case lost:
		l.counters.DroppedLoss++
	case queueFull:
		l.counters.DroppedQueue++
	case cut:
		l.counters.DroppedCut++
	default:
		return true
	}
	return false
}

// drop empties the line because it is cut, and gives the packets back.
func (l *line) drop(to *pool) {
	for l.line.len() > 0 {
		to.put(l.next().packet)
		l.counters.DroppedCut++
	}
	l.reset()
}
