// Package emulation brings an edge-cloud continuum up on one Linux machine and
// takes it down again: a network namespace for each node, links between them,
// limits of CPU and memory, and a real weftd in each. [Testbed] is the whole of
// it, [Place] what other processes see of it. testbed/experiment and cmd/weft
// import it; it needs root.
//
// # What a node is
//
// A namespace (weft-NAME.NODE) whose only way out is the emulated network, a
// cgroup (weft-testbed/NAME/NODE), an address (10.T.0.N: T is 1 for the edge, 2
// for the fog, 3 for the cloud), and a directory DIR/nodes/NODE with its
// configuration, keys, data and log. No namespace has a route to this machine
// or to its networks, so all testbeds use the same addresses.
//
// # Nothing stays behind
//
// [Testbed.Run] takes everything down before it returns, whatever happened. If
// this process is killed, the kernel kills the nodes with it (PR_SET_PDEATHSIG:
// the signal is sent when the thread that forked ends, so one thread, which
// lives as long as Run, forks them all). Namespaces and cgroups stay; a record
// in /run/weft/testbeds/NAME names them, and [Place.Down] removes them. A lock
// beside the record says whether its holder lives: the kernel lets go of it
// with the process, and unlike a PID it is not used again.
//
// # CPU scale
//
// A node may use its cores times [Config.CPUScale], so that many nodes fit a
// small machine in true proportion; weftd offers the mesh the unscaled cores.
// One instance may use all of that, unless the scenario has slow cores: then it
// works as a core of CPUScale times the speed does.
// What weftd itself takes does not become less with them, nor do the pictures of a
// drawn camera, which no real node draws: the scenario's CPUOverhead is beyond it.
// Nodes boot unlimited, because at a fraction of a core that would take
// minutes; [Testbed.Limit] then sets the quotas.
package emulation
