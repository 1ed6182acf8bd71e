// Package ns makes, enters and removes network namespaces by name, as
// ip-netns(8) keeps them, so that `ip netns exec NAME` works on them too. It
// wraps vishvananda/netns. Only testbed/emulation and its packages import it;
// everything but the names needs root, and Linux.
package ns
