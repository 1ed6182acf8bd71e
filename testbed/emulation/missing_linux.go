package emulation

import (
	"errors"
	"fmt"
	"os"

	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/kernel"
)

// Missing says all that this machine lacks for the testbed, each with its
// remedy; nil: nothing. The error is ErrMissing.
func Missing(cfg Config) error {
	var errs []error
	lack := func(format string, args ...any) { errs = append(errs, fmt.Errorf("- "+format, args...)) }
	root := os.Geteuid() == 0
	if !root {
		lack("you are not root, who alone makes network namespaces and cgroups: use `sudo weft testbed …`")
	}
	if _, err := os.Stat("/proc/self/ns/net"); err != nil {
		lack("the kernel has no network namespaces: it needs CONFIG_NET_NS")
	}
	if needsTUN(cfg.Shaping, root) {
		if _, err := os.Stat("/dev/net/tun"); err != nil {
			lack("there is no /dev/net/tun, through which links are emulated: `modprobe tun`; in a container, give it the device (--device /dev/net/tun)")
		}
	}
	if err := cgroup.Missing(); err != nil {
		lack("%w", err)
	}
	switch info, err := os.Stat(cfg.Weftd); {
	case cfg.Weftd == "":
		lack("no weftd is named: build it with `make build`, and give its path")
	case err != nil:
		lack("weftd: %w: build it with `make build`, and give its path", err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		lack("weftd: %s is not a program", cfg.Weftd)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w:\n%w", ErrMissing, errors.Join(errs...))
}

// needsTUN reports whether links will be in user space. What the kernel can do
// only root can find out; without, the answer is the cautious one.
func needsTUN(s Shaping, root bool) bool {
	return s == User || s == Auto && (!root || kernel.Supported() != nil)
}
