// Package study is a set of experiments on scenarios, as a paper describes them,
// that is carried out and reported as one: the same experiments on scenarios of
// several sizes, simulated and emulated, beside the figures that were published.
//
// A study is a document ([Parse]). It names scenarios ([Run]) and what is varied
// of each: an [Experiment] takes so many of its sources, and has their quality
// adapted by some rule or by none; a [Sweep] gives a parameter one value after
// the other. What is run are plain scenarios ([Run.Arms], [Sweep.At]); package
// experiment measures them ([experiment.Arm.Measure]), and a caller says how one
// is carried out. [Write] makes a report of what it came to:
//
//	report.md       all of it for people
//	summary.json    a [Summary]
//	raw.csv         a row for each run of an experiment
//	decisions.csv   what was decided about qualities in each of them
//	figures/        each as PNG and as SVG
//
// The package reads no clock and draws no random numbers. cmd/weft may import it.
package study
