package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Supported reports whether this kernel can emulate every link, which it finds
// out by trying, in a network namespace that is gone afterwards. Where
// something is missing the error is ErrUnsupported and names all of it; modules
// that are there but not loaded, the kernel loads for this. Without root it
// says so.
func Supported() error {
	has, err := probe()
	if err != nil {
		return err
	}
	return has.err()
}

// features are the parts of the kernel that links are made of.
type features struct {
	veth, bridge, htb, u32, netem bool
	nests                         error // why a netem cannot be in a netem; nil: it can
}

// errForgets is about the kernels before "net/sched: netem: account for backlog
// updates from child qdisc" of December 2024.
var errForgets = errors.New("forgets the packets in a qdisc inside it; Linux 6.13, 6.12.6 and 6.1.121 do not, " +
	"nor do later ones of their series")

const netemKind = "netem (module sch_netem)"

// missing names what is missing, netem last: it is not needed for every link.
func (f features) missing() []string {
	var out []string
	for _, x := range []struct {
		has  bool
		name string
	}{
		{f.veth, "veth pairs (module veth)"},
		{f.bridge, "bridges (module bridge)"},
		{f.htb, "HTB (module sch_htb)"},
		{f.u32, "u32 filters (module cls_u32)"},
		{f.netem, netemKind},
	} {
		if !x.has {
			out = append(out, x.name)
		}
	}
	return out
}

func (f features) err() error {
	if missing := f.missing(); len(missing) > 0 {
		return fmt.Errorf("%w: it lacks %s", ErrUnsupported, strings.Join(missing, ", "))
	}
	if f.nests != nil {
		return fmt.Errorf("%w: its netem %w", ErrUnsupported, f.nests)
	}
	return nil
}

// probe tries everything in a namespace without a name, which ends with the
// thread.
func probe() (f features, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: nothing else ever runs in the namespace
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			f, err = try()
		}
	}()
	<-done
	if errors.Is(err, os.ErrPermission) {
		return f, fmt.Errorf("emulating links in the kernel needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN): %w", err)
	}
	if err != nil {
		return f, fmt.Errorf("find out what this kernel can do of links: %w", err)
	}
	return f, nil
}

// try finds out what the kernel of the calling thread's namespace can do.
func try() (f features, err error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return f, err
	}
	defer h.Close()
	c, err := newTC()
	if err != nil {
		return f, err
	}
	defer c.close()

	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridge
	if f.bridge, err = works(h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})); err != nil {
		return f, err
	}
	attrs.Name = "p1"
	pair := netlink.NewVeth(attrs)
	pair.PeerName = Device
	if f.veth, err = works(h.LinkAdd(pair)); err != nil {
		return f, err
	}
	// Traffic control is tried on what every namespace has.
	lo, err := h.LinkByName("lo")
	if err != nil {
		return f, err
	}
	if err := h.LinkSetUp(lo); err != nil {
		return f, err
	}
	dev := lo.Attrs().Index
	glob := nl.TcHtbGlob{Version: 3, Rate2Quantum: 10, Defcls: 1}
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_HTB_INIT, glob.Serialize())
	f.htb, err = works(c.put(unix.RTM_NEWQDISC, dev, netlink.HANDLE_ROOT, root, "htb", options))
	if err != nil || !f.htb {
		return f, err
	}
	if err := c.put(unix.RTM_NEWTCLASS, dev, root, class(1), "htb", htbOptions(unlimited)); err != nil {
		return f, err
	}
	if f.u32, err = works(c.hash(dev)); err != nil {
		return f, err
	}
	f.netem, err = works(c.put(unix.RTM_NEWQDISC, dev, class(1), outer(1), "netem",
		netemOptions(nl.TcNetemQopt{Limit: underway}, unlimited)))
	if err != nil || !f.netem {
		return f, err
	}
	f.nests = nests(h, c, lo)
	return f, nil
}

// nests sends a packet through lo's netem into one inside it that will never
// let it go, and looks whether the outer one counts it as its own: HTB asks no
// class for packets that says that it has none.
func nests(h *netlink.Handle, c *tc, lo netlink.Link) error {
	const octetsPerSecond = 1
	err := c.put(unix.RTM_NEWQDISC, lo.Attrs().Index, outer(1)|1, inner(1), "netem",
		netemOptions(nl.TcNetemQopt{Limit: underway}, octetsPerSecond))
	if err != nil {
		return fmt.Errorf("takes none inside it: %w", err)
	}
	s, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		return fmt.Errorf("cannot be tried: %w", err)
	}
	defer s.Close()
	if _, err := s.Write(make([]byte, 100)); err != nil {
		return fmt.Errorf("cannot be tried: %w", err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Second); ; <-tick.C {
		waiting := map[uint32]uint32{}
		qdiscs, err := h.QdiscList(lo)
		if err != nil {
			return fmt.Errorf("cannot be tried: %w", err)
		}
		for _, q := range qdiscs {
			waiting[q.Attrs().Handle] = q.Attrs().Statistics.Queue.Qlen
		}
		switch {
		case waiting[inner(1)] > 0 && waiting[outer(1)] > 0:
			return nil
		case waiting[inner(1)] > 0:
			return errForgets
		case time.Now().After(deadline):
			return errors.New("passed no packet on to one inside it within a second")
		}
	}
}

// works tells a kernel that lacks something from one that fails.
func works(err error) (bool, error) {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	return err == nil, err
}
