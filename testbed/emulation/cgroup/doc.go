// Package cgroup limits what the processes of an emulated node may use of this
// machine, and says what they used. It wraps containerd/cgroups and hides
// which version the machine has: v1 (also next to an empty v2, "hybrid") or
// v2. Only testbed/emulation imports it; everything needs root, and Linux.
//
// # CPU
//
// A quota of c cores is c·P of CPU time in each period P (CFS bandwidth
// control: Turner, Rao and Rao, "CPU bandwidth control for CFS", Linux
// Symposium 2010). Any period gives the same average; within a period a node
// runs at full speed and then stands still. A frame's work must take as long
// as on a slower machine, not only a minute's, so periods are as short as the
// kernel's smallest quota of 1 ms allows: 5 ms from 0.2 cores on, 1 ms / c
// below. Measured with a kernel tick of 4 ms, bursts of 20 ms of work on 0.2
// cores, which ought to take 100 ms, took 22 ms at the kernel's default period
// of 100 ms, 73 ms at 20 ms and 93 ms at 5 ms (standard deviations 7, 6 and 1
// ms). What is missing is the last slice, which the kernel cuts no finer than
// its tick.
package cgroup
