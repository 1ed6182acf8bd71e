// Package des is the core of a discrete-event simulation: a [Queue] of events
// in virtual time, and random numbers that stay the same when a model grows.
//
// The queue is a 4-ary heap of events by value; scheduling one allocates
// nothing once the heap has grown to the events pending. Events at the same
// moment come in the order in which they were scheduled, so a run depends on
// nothing but its seed.
//
// What an event means is for the model to say: it carries a kind and three
// numbers. Events are not taken back. A model that changes its mind counts a
// generation up and passes over events of an earlier one.
//
// testbed/sim uses this package.
package des
