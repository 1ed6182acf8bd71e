// Package live carries out a scenario on a running mesh: it waits until the
// nodes are there, measures what the simulator needs to know ([Calibrate]),
// submits the workflow, walks the timeline and samples how it goes ([Run]).
//
// The mesh is known by its API and by a [Ground], which does to machines and
// links what the timeline says; testbed/emulation is one. Only cmd/weft and
// tests import live.
package live
