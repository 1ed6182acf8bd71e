package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoTUN reports a machine on which TUN devices cannot be made.
var ErrNoTUN = errors.New("no TUN devices")

const clone = "/dev/net/tun"

// backlog is how many packets a device keeps for the relay: some 50 ms of
// small packets at 1 Gbit/s, in case the pump is held up.
const backlog = 4096

// TUN is one end of a network device: what is sent through the device is read
// from it, what is written to it arrives. The device goes when it is closed.
type TUN struct {
	name string
	fd   int
}

// OpenTUN makes a device in the network namespace of the calling thread. The
// error is ErrNoTUN where the machine has none.
func OpenTUN(device string) (*TUN, error) { return openTUN(clone, device) }

func openTUN(clone, device string) (*TUN, error) {
	ifr, err := unix.NewIfreq(device)
	if err != nil || device == "" {
		return nil, fmt.Errorf("TUN device %q: a name has 1 to %d bytes", device, unix.IFNAMSIZ-1)
	}
	fd, err := unix.Open(clone, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%w: open %s: %w: load the kernel module with `modprobe tun`; in a container, give it the device (--device %s)",
			ErrNoTUN, clone, err, clone)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: open %s: %w: run as root; in a container, give it the device (--device %s)",
			ErrNoTUN, clone, err, clone)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", clone, err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EPERM) {
			return nil, fmt.Errorf("make TUN device %s: %w: run as root, or with CAP_NET_ADMIN", device, err)
		}
		return nil, fmt.Errorf("make TUN device %s: %w", device, err)
	}
	return &TUN{name: device, fd: fd}, nil
}

// Name is the device's.
func (t *TUN) Name() string { return t.name }

// Close removes the device. Of one that is attached to a relay, it is the
// relay that calls it.
func (t *TUN) Close() error {
	if t.fd < 0 {
		return nil
	}
	fd := t.fd
	t.fd = -1
	return unix.Close(fd)
}

// Configure gives the device of the calling thread's network namespace its
// address, with the route to addr's subnet that comes with it, and sets it and
// the loopback device up.
func Configure(device string, addr netip.Prefix) error {
	if !addr.Addr().Is4() {
		return fmt.Errorf("device %s: address %s is not IPv4", device, addr)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("device %s: %w", device, err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("device lo: %w", err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set device lo up: %w", err)
	}
	dev, err := h.LinkByName(device)
	if err != nil {
		return fmt.Errorf("device %s: %w", device, err)
	}
	a, err := netlink.ParseAddr(addr.String())
	if err != nil {
		return fmt.Errorf("device %s: address %s: %w", device, addr, err)
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"MTU", func() error { return h.LinkSetMTU(dev, mtu) }},
		{"queue length", func() error { return h.LinkSetTxQLen(dev, backlog) }},
		{"address " + addr.String(), func() error { return h.AddrAdd(dev, a) }},
		{"state up", func() error { return h.LinkSetUp(dev) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("set %s of device %s: %w", step.what, device, err)
		}
	}
	return nil
}
