package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// tc sends messages of traffic control (rtnetlink(7), tc(8)) to one namespace.
// The netlink package's own calls have no pfifo's limit, and no netem whose
// rate leaves out headers or is taken back.
type tc struct {
	sockets map[int]*nl.SocketHandle
}

// newTC opens the socket in the namespace of the calling thread.
func newTC() (*tc, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	most := unix.NsecToTimeval(int64(time.Minute)) // as netlink.Handle
	err = errors.Join(
		s.SetExtAck(true), // the kernel says in words what is wrong
		s.SetSendTimeout(&most), s.SetReceiveTimeout(&most),
	)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &tc{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (c *tc) close() { c.sockets[unix.NETLINK_ROUTE].Close() }

// Handles on a port. Majors of qdiscs: 1 is HTB, the class of node i has those
// from 4i.
const (
	root  = uint32(1 << 16)        // 1:, HTB
	table = uint32(1 << 20)        // 1:, u32's hash table, 256 buckets
	mtu   = 1500                   // of veth
	ether = 14                     // header that qdiscs count and IP does not
	_     = uint(16383 - maxNodes) // majors are 16 bits
)

func class(id uint16) uint32 { return root | uint32(id) }

// qdisc is what is in class id: the outermost, the one in it, or what replaces
// both.
func outer(id uint16) uint32 { return uint32(4*id) << 16 }
func inner(id uint16) uint32 { return uint32(4*id+1) << 16 }
func sink(id uint16) uint32  { return uint32(4*id+2) << 16 }

// put makes a qdisc or class or, where it has the same handle and kind, changes
// it in place.
func (c *tc) put(what uint16, dev int, parent, handle uint32, kind string, options *nl.RtAttr) error {
	req := c.request(what, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK,
		&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(dev), Parent: parent, Handle: handle})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(kind)))
	if options != nil {
		req.AddData(options)
	}
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("set %s %s: %w", kind, netlink.HandleStr(handle), err)
	}
	return nil
}

func (c *tc) request(what uint16, flags int, msg *nl.TcMsg) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(int(what), flags)
	req.Sockets = c.sockets
	req.AddData(msg)
	return req
}

// classify gives a port its HTB, which passes by what no filter gives a class,
// and a hash of the last byte of IPv4 source addresses.
func (c *tc) classify(dev int) error {
	glob := nl.TcHtbGlob{Version: 3, Rate2Quantum: 10}
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_HTB_INIT, glob.Serialize())
	if err := c.put(unix.RTM_NEWQDISC, dev, netlink.HANDLE_ROOT, root, "htb", options); err != nil {
		return err
	}
	return c.hash(dev)
}

// hash makes the table of filters, and the filter that leads to it.
func (c *tc) hash(dev int) error {
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_U32_DIVISOR, nl.Uint32Attr(256))
	if err := c.filter(dev, table, options); err != nil {
		return err
	}
	hash := nl.TcU32Sel{Nkeys: 1, Hoff: 12, Hmask: big(0xff), Keys: make([]nl.TcU32Key, 1)}
	options = nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_U32_LINK, nl.Uint32Attr(table))
	options.AddRtAttr(nl.TCA_U32_SEL, hash.Serialize())
	return c.filter(dev, 0, options)
}

// direct sends IPv4 packets from an address to class id.
func (c *tc) direct(dev int, from netip.Addr, id uint16) error {
	a := from.As4()
	match := nl.TcU32Sel{
		Flags: nl.TC_U32_TERMINAL, Nkeys: 1,
		Keys: []nl.TcU32Key{{Off: 12, Mask: ^uint32(0), Val: big(binary.BigEndian.Uint32(a[:]))}},
	}
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_U32_HASH, nl.Uint32Attr(table|uint32(a[3])<<12))
	options.AddRtAttr(nl.TCA_U32_CLASSID, nl.Uint32Attr(class(id)))
	options.AddRtAttr(nl.TCA_U32_SEL, match.Serialize())
	return c.filter(dev, 0, options)
}

// filter adds to a port's u32 filter of IPv4 packets.
func (c *tc) filter(dev int, handle uint32, options *nl.RtAttr) error {
	const priority = 1
	req := c.request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, &nl.TcMsg{
		Family: nl.FAMILY_ALL, Ifindex: int32(dev), Parent: root, Handle: handle,
		Info: priority<<16 | uint32(nl.Swap16(unix.ETH_P_IP)),
	})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("u32")))
	req.AddData(options)
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("set u32 filter: %w", err)
	}
	return nil
}

// drops is how many packets a qdisc has dropped. The kernel can list qdiscs of
// all devices only, so each is asked for.
func (c *tc) drops(dev int, parent, handle uint32) (uint64, error) {
	// Linux 6.1, for one, answers only who asks for an echo, and with an
	// acknowledgement even silence ends.
	req := c.request(unix.RTM_GETQDISC, unix.NLM_F_ECHO|unix.NLM_F_ACK,
		&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(dev), Parent: parent, Handle: handle})
	found, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWQDISC)
	if err != nil {
		return 0, fmt.Errorf("read qdisc %s: %w", netlink.HandleStr(handle), err)
	}
	for _, m := range found {
		attrs, err := nl.ParseRouteAttr(m[nl.SizeofTcMsg:])
		if err != nil {
			return 0, fmt.Errorf("read qdisc %s: %w", netlink.HandleStr(handle), err)
		}
		for _, a := range attrs {
			const at = 12 // of drops in struct tc_stats
			if a.Attr.Type == nl.TCA_STATS && len(a.Value) >= at+4 {
				return uint64(binary.NativeEndian.Uint32(a.Value[at:])), nil
			}
		}
	}
	return 0, fmt.Errorf("read qdisc %s: no counters", netlink.HandleStr(handle))
}

// big is a number in the order of bytes of packets.
func big(v uint32) uint32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return binary.NativeEndian.Uint32(b[:])
}
