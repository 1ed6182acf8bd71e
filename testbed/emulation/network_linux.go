package emulation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/kernel"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
	"github.com/weft-mesh/weft/testbed/emulation/relay"
)

// network is the links between the nodes' namespaces.
type network interface {
	// attach gives the namespace of a node its device and address.
	attach(node, namespace string, addr netip.Prefix) error
	// Set makes or changes one direction between two nodes.
	Set(from, to string, l testbed.Link, pass bool) error
	counters() (map[direction]LinkCounters, error)
	// Run carries packets until ctx ends.
	Run(ctx context.Context) error
	// Close removes the devices. Run has returned.
	Close() error
}

// subnet is that of all nodes' addresses.
const subnet = 8

// address is that of the i-th node, of its tier.
func address(i int, n testbed.Node) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n.Tier), 0, byte(i + 1)})
}

// userNetwork carries packets in this process.
type userNetwork struct{ *relay.Relay }

// device is the name of a node's network device.
const device = "weft0"

func newUserNetwork(seed uint64, log *slog.Logger) (network, error) {
	r, err := relay.New(relay.Config{Seed: seed, Log: log})
	if err != nil {
		return nil, err
	}
	return userNetwork{r}, nil
}

func (u userNetwork) attach(node, namespace string, addr netip.Prefix) error {
	var tun *relay.TUN
	err := ns.Do(namespace, func() (err error) {
		if tun, err = relay.OpenTUN(device); err != nil {
			return err
		}
		if err := relay.Configure(device, addr); err != nil {
			_ = tun.Close()
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", node, err)
	}
	if err := u.Attach(node, addr.Addr(), tun); err != nil {
		return errors.Join(err, tun.Close())
	}
	return nil
}

func (u userNetwork) counters() (map[direction]LinkCounters, error) {
	out := map[direction]LinkCounters{}
	for p, c := range u.Counters() {
		out[direction{p.From, p.To}] = LinkCounters{
			Packets: c.Packets, Bytes: c.Bytes, UnderWay: c.UnderWay,
			Queue: c.DroppedQueue, Loss: c.DroppedLoss, Cut: c.DroppedCut, Other: c.DroppedMemory + c.DroppedDevice,
		}
	}
	return out, nil
}

// kernelNetwork leaves packets to the kernel.
type kernelNetwork struct{ *kernel.Network }

func newKernelNetwork(hub string, log *slog.Logger) (network, error) {
	n, err := kernel.New(kernel.Config{Hub: hub, Log: log})
	if err != nil {
		return nil, err
	}
	return kernelNetwork{n}, nil
}

func (k kernelNetwork) attach(node, namespace string, addr netip.Prefix) error {
	return k.Attach(namespace, node, addr)
}

func (k kernelNetwork) counters() (map[direction]LinkCounters, error) {
	all, err := k.Counters()
	if err != nil {
		return nil, err
	}
	out := map[direction]LinkCounters{}
	for p, c := range all {
		out[direction{p.From, p.To}] = LinkCounters{
			Packets: c.Packets, Bytes: c.Bytes, UnderWay: c.UnderWay, Queue: c.Queue, Loss: c.Loss, Cut: c.Cut,
		}
	}
	return out, nil
}

// Run has nothing to do.
func (k kernelNetwork) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// choose decides how links are emulated, and says why.
func choose(asked Shaping) (use Shaping, why string) {
	if asked != Auto {
		return asked, string(asked) + " (as asked)"
	}
	if err := kernel.Supported(); err != nil {
		return User, fmt.Sprintf("%s (%s)", User, err)
	}
	return Kernel, string(Kernel)
}

// loopback brings a namespace's own loopback device up.
func loopback(namespace string) error {
	return ns.Do(namespace, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("loopback device of %s: %w", namespace, err)
		}
		defer h.Close()
		lo, err := h.LinkByName("lo")
		if err == nil {
			err = h.LinkSetUp(lo)
		}
		if err != nil {
			return fmt.Errorf("loopback device of %s: %w", namespace, err)
		}
		return nil
	})
}
