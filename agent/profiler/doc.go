// Package profiler decides when a node measures what detectors cost there, and
// tells the coordinators.
//
// A coordinator says, with the node's assignments, of which models at which
// resolutions it wants to know ([Profiler.Follow]). What nobody has measured yet,
// or was measured on another processor, the node measures by itself: one at a
// time, and not while frames of workflows wait. A measuring that frames come to
// wait beside is given up and begun again later.
//
// # When a profile no longer holds
//
// The profiler also watches what the frames of workflows take here. When that
// differs from the profile by more than a ratio for some periods, what was seen
// takes the place of the times of execution; load, memory and energy stay. To
// measure once more by itself would be no better: what has made the difference,
// other work on the machine as a rule, is away when the node is idle, or makes
// that measuring wrong, too; and the profile would differ from then on, again and
// again.
//
// cmd/weftd wires it: to the processes that measure, to the agent, and to the
// coordinators.
package profiler
