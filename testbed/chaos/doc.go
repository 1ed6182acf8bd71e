// Package chaos breaks a running mesh on purpose, round after round, and checks
// what must hold while and after it: leaders are elected, no workflow is lost,
// no stage runs twice, frames flow again, their accounts add up.
//
// [Plan] draws the faults of every round from a seed; it is pure, so a seed and
// a number of rounds name a run. [Run] carries the rounds out on a mesh that
// somebody else has brought up (testbed/emulation, behind [Ground] and [Harm]),
// and watches every node and every coordinator by itself while it does. What was
// seen is a [Record], kept as JSON lines; [Check] is a pure function of it. So
// what a round is accused of can be looked up, and checked again.
//
// With [Config].For, it is a soak test: rounds go on for so long, and memory,
// goroutines and file descriptors of every weftd are sampled beside them.
//
// Only cmd/weft imports it.
package chaos
