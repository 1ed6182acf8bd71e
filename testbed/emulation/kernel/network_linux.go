package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// Device is what a node's interface is called in its namespace.
const Device = "weft0"

const (
	bridge   = "bridge"
	maxNodes = 1023 // ports of a Linux bridge
)

// Config is that of a Network.
type Config struct {
	Hub string // name of the namespace for the bridge; it must not exist
	Log *slog.Logger
}

// Network joins namespaces. Its methods may be called concurrently.
type Network struct {
	hub   string
	log   *slog.Logger
	netem bool

	mu     sync.Mutex // over all below
	link   *netlink.Handle
	tc     *tc
	bridge int // index of the device
	nodes  []*node
	named  map[string]*node
	joined map[direction]*tally // that have a class
	closed bool
}

// node is one that is attached. Its devices are weft0 in its namespace and p1,
// p2, … in the hub.
type node struct {
	name string
	id   uint16 // from 1
	addr netip.Addr
	mac  net.HardwareAddr
	port int             // index of the device in the hub
	link *netlink.Handle // in the node's namespace
	dev  int             // index of the device there
}

type direction struct{ from, to uint16 }

// New makes the hub. The caller closes the network.
func New(cfg Config) (*Network, error) {
	if cfg.Hub == "" {
		return nil, errors.New("links in the kernel: no name for the hub's namespace")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	has, err := probe()
	if err != nil {
		return nil, err
	}
	if missing := has.missing(); len(missing) > 0 && missing[0] != netemKind {
		return nil, has.err()
	}
	n := &Network{
		hub: cfg.Hub, log: cfg.Log, netem: has.netem && has.nests == nil,
		named: map[string]*node{}, joined: map[direction]*tally{},
	}
	if err := ns.Create(cfg.Hub); err != nil {
		return nil, err
	}
	if err := n.makeBridge(); err != nil {
		return nil, errors.Join(fmt.Errorf("hub %s: %w", cfg.Hub, err), n.Close())
	}
	n.log.Info("links are in the kernel", "hub", n.hub, "netem", n.netem)
	return n, nil
}

func (n *Network) makeBridge() (err error) {
	err = ns.Do(n.hub, func() (err error) {
		if n.link, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("open netlink: %w", err)
		}
		n.tc, err = newTC()
		return err
	})
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridge
	b := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: new(bool)} // off
	if err := n.link.LinkAdd(b); err != nil {
		return fmt.Errorf("make bridge: %w", err)
	}
	n.bridge = b.Index
	return n.bringUp(n.link, b)
}

// bringUp sets a device up without an IPv6 address: it would make traffic of
// its own, which is not shaped.
func (n *Network) bringUp(h *netlink.Handle, l netlink.Link) error {
	err := h.LinkSetIP6AddrGenMode(l, nl.IN6_ADDR_GEN_MODE_NONE)
	if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("turn off IPv6 on %s: %w", l.Attrs().Name, err)
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring up %s: %w", l.Attrs().Name, err)
	}
	return nil
}

// Attach gives the node's namespace an interface, weft0, with an IPv4 address
// and the prefix in which the other nodes are. Nothing is shaped before Set.
func (n *Network) Attach(namespace, name string, addr netip.Prefix) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("attach %s to hub %s: %w", name, n.hub, err)
		}
	}()
	if !addr.IsValid() || !addr.Addr().Is4() {
		return fmt.Errorf("%s is not an IPv4 address with a prefix, 10.0.0.1/16 for instance", addr)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	if len(n.nodes) == maxNodes {
		return fmt.Errorf("a Linux bridge joins at most %d nodes", maxNodes)
	}
	if n.named[name] != nil {
		return ErrAttached
	}
	for _, o := range n.nodes {
		if o.addr == addr.Addr() {
			return fmt.Errorf("%w: %s, by node %s", ErrAttached, o.addr, o.name)
		}
	}
	x := &node{
		name: name, id: uint16(len(n.nodes) + 1), addr: addr.Addr(), mac: mac(addr.Addr()),
	}
	if err := n.plug(x, namespace, addr); err != nil {
		return err
	}
	n.nodes = append(n.nodes, x)
	n.named[name] = x
	return nil
}

// plug makes the node's devices. On an error it leaves none.
func (n *Network) plug(x *node, namespace string, addr netip.Prefix) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, n.unplug(x))
		}
	}()
	err = ns.Do(namespace, func() (err error) {
		x.link, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return err
	}
	if err := n.makePair(x, namespace); err != nil {
		return err
	}
	dev, err := x.link.LinkByName(Device)
	if err != nil {
		return fmt.Errorf("find %s: %w", Device, err)
	}
	x.dev = dev.Attrs().Index
	if err := x.link.LinkSetGSOMaxSegs(dev, 1); err != nil {
		return fmt.Errorf("turn off segmentation offload: %w", err)
	}
	ip := &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), 32)}
	if err := x.link.AddrAdd(dev, &netlink.Addr{IPNet: ip}); err != nil {
		return fmt.Errorf("set address %s: %w", addr, err)
	}
	if err := n.bringUp(x.link, dev); err != nil {
		return err
	}
	if err := n.tc.classify(x.port); err != nil {
		return err
	}
	if err := n.introduce(x); err != nil {
		return err
	}
	return errors.Join(await(n.link, x.port), await(x.link, x.dev))
}

// await waits until a device that is up carries packets: the kernel sees to
// that, and to the bridge, a moment after both ends of a pair are up.
func await(h *netlink.Handle, index int) error {
	const most = 10 * time.Second
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(most); ; <-tick.C {
		l, err := h.LinkByIndex(index)
		if err != nil {
			return fmt.Errorf("find interface %d: %w", index, err)
		}
		if l.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("interface %s is %s %s after it was brought up", l.Attrs().Name, l.Attrs().OperState, most)
		}
	}
}

// makePair makes weft0 and the port, and joins the port to the bridge.
func (n *Network) makePair(x *node, namespace string) error {
	f, err := os.Open(ns.Path(namespace))
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", namespace, err)
	}
	defer f.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("p%d", x.id)
	port := netlink.NewVeth(attrs)
	port.PeerName, port.PeerHardwareAddr, port.PeerNamespace = Device, x.mac, netlink.NsFd(f.Fd())
	if err := n.link.LinkAdd(port); err != nil {
		return fmt.Errorf("make interface %s: %w", Device, err)
	}
	x.port = port.Index
	if err := n.link.LinkSetAlias(port, x.name); err != nil {
		return fmt.Errorf("name port %s: %w", attrs.Name, err)
	}
	if err := n.link.LinkSetMasterByIndex(port, n.bridge); err != nil {
		return fmt.Errorf("join port %s to the bridge: %w", attrs.Name, err)
	}
	// The bridge need learn nothing, so it never floods what it has forgotten.
	err = n.link.NeighSet(&netlink.Neigh{
		LinkIndex: x.port, Family: unix.AF_BRIDGE, HardwareAddr: x.mac,
		State: netlink.NUD_NOARP, Flags: netlink.NTF_MASTER,
	})
	if err != nil {
		return fmt.Errorf("tell the bridge of %s: %w", x.mac, err)
	}
	if err := n.link.LinkSetLearning(port, false); err != nil {
		return fmt.Errorf("turn off learning of port %s: %w", attrs.Name, err)
	}
	if err := n.link.LinkSetFlood(port, false); err != nil {
		return fmt.Errorf("turn off flooding of port %s: %w", attrs.Name, err)
	}
	return n.bringUp(n.link, port)
}

// introduce tells x and all others each other's hardware addresses.
func (n *Network) introduce(x *node) error {
	tell := func(a, b *node) error {
		err := a.link.NeighSet(&netlink.Neigh{
			LinkIndex: a.dev, IP: b.addr.AsSlice(), HardwareAddr: b.mac, State: netlink.NUD_PERMANENT,
		})
		if err != nil {
			return fmt.Errorf("tell %s the hardware address of %s: %w", a.name, b.name, err)
		}
		return nil
	}
	for _, o := range n.nodes {
		if err := errors.Join(tell(x, o), tell(o, x)); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) unplug(x *node) error {
	var err error
	if x.port != 0 {
		err = n.link.LinkDel(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: x.port}})
	}
	if x.link != nil {
		x.link.Close()
	}
	return err
}

// Close removes the hub, and with it the nodes' interfaces, which the kernel
// does within moments; the nodes' namespaces stay. A second call does nothing.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	// Sockets keep a namespace.
	for _, x := range n.nodes {
		x.link.Close()
	}
	if n.link != nil {
		n.link.Close()
	}
	if n.tc != nil {
		n.tc.close()
	}
	return ns.Delete(n.hub)
}

// mac is a hardware address made from an IPv4 address; 02 says that it is
// locally administered.
func mac(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0, b[0], b[1], b[2], b[3]}
}
