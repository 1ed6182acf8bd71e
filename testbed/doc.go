// Package testbed is the vocabulary of experiments: the [Scenario] (machines,
// links, sources, timeline), the [Topology] that the timeline changes, and the
// [Recording] of what came of it. A scenario is read with [Parse].
//
// The same scenario is carried out twice: testbed/emulation runs the real
// weftd on emulated machines and links, testbed/sim the same decisions in
// virtual time. Both leave a Recording, which testbed/experiment turns into
// tables, plots and a report.
//
// testbed is pure: it reads no clock, draws no random numbers and opens no
// sockets. Anything in testbed/… and cmd/weft may import it.
package testbed
