// Package study reads documents that describe a set of experiments as a paper has
// them: the same experiments on scenarios of several sizes, simulated and emulated,
// beside the figures that were published and what is to be reached.
//
// A study names scenarios ([Run]) and what is done with each: an [Experiment]
// takes so many of its sources, and has their quality adapted by some rule or by
// none. What is then run are plain scenarios ([Run.Variants]). Package experiment
// measures them and makes a report of what came out.
//
// The package opens nothing but the files that [Load] is told to read. testbed/...
// and cmd/weft may import it.
package study
