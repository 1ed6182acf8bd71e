package kernel

import (
	"fmt"
	"math"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/testbed"
)

// The kernel's limits.
const (
	maxDelay  = 4 * time.Minute // 32 bits of 64 ns
	maxJitter = 2 * time.Second // 31 bits of 1 ns
)

const (
	// unlimited is a rate that is never felt: 8 Tbit/s, in bytes a second.
	unlimited = uint64(1e12)
	// underway is how many packets may be delayed at a time. It is there to
	// bound memory, and never reached by a link that is not flooded.
	underway = uint32(1 << 18)
	// bucket is what an HTB class with a rate may send at once, as time at that
	// rate: more than a timer is late, less than matters to a frame.
	bucket = time.Millisecond
)

// check says what the kernel cannot do of a link.
func check(l testbed.Link, netem bool) error {
	switch {
	case l.Delay < 0 || l.Delay > maxDelay:
		return fmt.Errorf("delay %s is not between 0 and %s", l.Delay, maxDelay)
	case l.Jitter < 0 || l.Jitter > maxJitter:
		return fmt.Errorf("jitter %s is not between 0 and %s", l.Jitter, maxJitter)
	case l.Rate < 0:
		return fmt.Errorf("rate %d bit/s is negative", l.Rate)
	case !(l.Loss >= 0 && l.Loss <= 1):
		return fmt.Errorf("loss %g is not a fraction between 0 and 1", l.Loss)
	case l.Queue < 0 || l.Queue >= math.MaxInt32:
		return fmt.Errorf("queue of %d packets", l.Queue)
	case !netem && (l.Delay > 0 || l.Jitter > 0 || l.Loss > 0):
		return fmt.Errorf("%w: delay, jitter and loss need netem, which it lacks (module sch_netem)", ErrUnsupported)
	}
	return nil
}

// shape sets what becomes of the packets of class id on a port, in place where
// it is there already, so that packets under way stay so. A cut replaces all of
// it, and they are lost.
func (n *Network) shape(dev int, id uint16, l testbed.Link, pass bool) error {
	switch {
	case !pass:
		return n.tc.put(unix.RTM_NEWQDISC, dev, class(id), sink(id), "blackhole", nil)
	case n.netem:
		return n.shapeNetem(dev, id, l)
	}
	return n.shapeHTB(dev, id, l)
}

func (n *Network) shapeNetem(dev int, id uint16, l testbed.Link) error {
	delay := nl.TcNetemQopt{
		Latency: ticks(l.Delay), Jitter: ticks(l.Jitter), Loss: share(l.Loss), Limit: underway,
	}
	rate, limit := uint64(0), underway
	if l.Rate > 0 {
		// The packet that is being sent is in the queue as well.
		rate, limit = octets(l.Rate), uint32(l.Queue)+1
	}
	err := n.tc.put(unix.RTM_NEWQDISC, dev, class(id), outer(id), "netem", netemOptions(delay, unlimited))
	if err != nil {
		return err
	}
	queue := nl.TcNetemQopt{Limit: limit}
	return n.tc.put(unix.RTM_NEWQDISC, dev, outer(id)|1, inner(id), "netem", netemOptions(queue, rate))
}

// netemOptions are those of a netem. A rate of 0 takes back one that was.
func netemOptions(q nl.TcNetemQopt, rate uint64) *nl.RtAttr {
	options := nl.NewRtAttr(nl.TCA_OPTIONS, q.Serialize())
	r := nl.TcNetemRate{Rate: uint32(min(rate, math.MaxUint32)), PacketOverhead: -ether}
	options.AddRtAttr(nl.TCA_NETEM_RATE, r.Serialize())
	if rate > math.MaxUint32 {
		options.AddRtAttr(nl.TCA_NETEM_RATE64, nl.Uint64Attr(rate))
	}
	return options
}

// shapeHTB is for kernels without netem.
func (n *Network) shapeHTB(dev int, id uint16, l testbed.Link) error {
	rate, limit := unlimited, underway
	if l.Rate > 0 {
		// HTB can only add to packets' lengths. The rate is right for full ones.
		rate, limit = octets(l.Rate)*(mtu+ether)/mtu, uint32(max(l.Queue, 1))
	}
	if err := n.tc.put(unix.RTM_NEWTCLASS, dev, root, class(id), "htb", htbOptions(rate)); err != nil {
		return err
	}
	return n.tc.put(unix.RTM_NEWQDISC, dev, class(id), outer(id), "pfifo",
		nl.NewRtAttr(nl.TCA_OPTIONS, nl.Uint32Attr(limit)))
}

func htbOptions(rate uint64) *nl.RtAttr {
	// With a link layer, the kernel computes what older ones got as a table.
	spec := nl.TcRateSpec{Rate: uint32(min(rate, math.MaxUint32)), Linklayer: nl.LINKLAYER_ETHERNET}
	copt := nl.TcHtbCopt{
		Rate: spec, Ceil: spec, Buffer: ticks(bucket), Cbuffer: ticks(bucket),
		Quantum: mtu + ether, // a turn among classes that could all send
	}
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_HTB_PARMS, copt.Serialize())
	if rate > math.MaxUint32 {
		options.AddRtAttr(nl.TCA_HTB_RATE64, nl.Uint64Attr(rate))
		options.AddRtAttr(nl.TCA_HTB_CEIL64, nl.Uint64Attr(rate))
	}
	return options
}

// share is a probability as the kernel compares it with a random number of 32
// bits: what is not 0 does not become so, nor what is not 1 that.
func share(p float64) uint32 {
	if p <= 0 {
		return 0
	}
	return uint32(min(max(math.Round(p*(1<<32)), 1), math.MaxUint32))
}

// ticks is a duration in the scheduler's unit of time, 64 ns.
func ticks(d time.Duration) uint32 {
	return uint32(math.Round(float64(d) / 1e3 * netlink.TickInUsec()))
}

// octets is a rate in bytes a second.
func octets(bits int64) uint64 { return uint64(max(bits/8, 1)) }
